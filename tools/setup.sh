# SPDX-License-Identifier: Apache-2.0
# Sourced by quickstart and test: what has to be installed, and the build.

say() { printf '== %s\n' "$*"; }

# What each Debian package is for. Nothing is installed twice.
packages='
g++|the compiler
cmake|configures the build
ninja-build|runs the build
git|the commit that goes into reports
nlohmann-json3-dev|reads and writes suites and reports
libcxxopts-dev|parses the command line
libopenblas-dev|matrix products on the CPU
libopenmpi-dev|several ranks
openmpi-bin|mpirun
python3-matplotlib|draws the figures
'
test_packages='
libgtest-dev|runs the tests
libbenchmark-dev|times single stages (moebench_kernels)
python3-jsonschema|checks reports against their schema
iproute2|simulated hosts for the tests over a slow link
clang|fuzzes the parsers
libclang-rt-14-dev|the fuzzer itself
procps|lets tests see that no process is left behind
'

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install LIST: says what is missing and why, and installs it.
install_missing() {
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: please install what tools/setup.sh lists"
    return
  fi
  missing=''
  while IFS='|' read -r package reason; do
    [ -n "$package" ] || continue
    is_installed "$package" && continue
    say "missing: $package ($reason)"
    missing="$missing $package"
  done <<END
$1
END
  [ -n "$missing" ] || return 0
  sudo=''
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
}

# build PRESET [TARGET]: configures, since more may be installed than last time, and builds what changed.
build() {
  cmake --preset "$1" -Wno-dev >/dev/null
  cmake --build --preset "$1" ${2:+--target "$2"}
}

# The python that has matplotlib: Debian's, or whichever is first on the path.
find_python() {
  for python in python3 /usr/bin/python3; do
    "$python" -c 'import matplotlib' 2>/dev/null && { echo "$python"; return; }
  done
  return 1
}
