# SPDX-License-Identifier: Apache-2.0
# Sourced by quickstart and test: what has to be installed, and the build.

say() { printf '== %s\n' "$*"; }

# What each package is for. Where systems name one differently, all names are given and the first that the system knows
# is taken; CLANG stands for the number of its clang, and "none" for doing without. Nothing is installed twice.
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
libclang-rt-CLANG-dev libclang-common-CLANG-dev|the fuzzer itself
clang-format-14 none|checks the layout of the sources
clang-tidy|checks the sources for defects
procps|lets tests see that no process is left behind
'

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
is_known() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

# The number of the clang that the package `clang` is for: 14 on Debian 12, 19 on Debian 13.
clang_number() {
  { dpkg-query -W -f='Depends: ${Depends}\n' clang || apt-cache show clang; } 2>/dev/null |
    grep '^Depends:' | grep -oE 'clang-[0-9]+' | head -n 1 | cut -d- -f2
}

# choose NAME...: the first that is installed, else the first that can be, else the first.
choose() {
  for name; do is_installed "$name" && echo "$name" && return; done
  for name; do
    [ "$name" = none ] && return
    is_known "$name" && echo "$name" && return
  done
  echo "$1"
}

# each_package LIST DO: calls DO NAME REASON with the name that this system uses.
each_package() {
  clang=$(clang_number)
  while IFS='|' read -r names reason; do
    [ -n "$names" ] || continue
    # shellcheck disable=SC2086
    name=$(choose ${names//CLANG/${clang:-14}})
    [ -z "$name" ] || "$2" "$name" "$reason"
  done <<<"$1"
}

count_missing() { is_installed "$1" || missing="$missing $1"; }
say_missing() { is_installed "$1" || say "missing: $1 ($2)"; }

# install_missing LIST: says what is missing and why, and installs it.
install_missing() {
  if ! command -v apt-get >/dev/null; then
    say "neither Debian nor Ubuntu: please install what tools/setup.sh lists"
    return
  fi
  missing=''
  each_package "$1" count_missing
  [ -n "$missing" ] || return 0
  sudo=''
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  missing=''  # again: only now are all names known
  each_package "$1" count_missing
  each_package "$1" say_missing
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
