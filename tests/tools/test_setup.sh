#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test_setup.sh SETUP: which packages tools/setup.sh would install on several systems, each played by a dpkg-query and an
# apt-cache that know only its packages.
set -u
. "$1"
fakes=$(mktemp -d)
trap 'rm -r "$fakes"' EXIT

# play INSTALLED KNOWN CLANG: a system where these packages are installed, those can be, and clang is of that number.
play() {
  cat >"$fakes/dpkg-query" <<END
#!/bin/bash
case \$2 in
  *Status*) case " $1 " in *" \$3 "*) echo installed ;; *) exit 1 ;; esac ;;
  *) exit 1 ;;
esac
END
  cat >"$fakes/apt-cache" <<END
#!/bin/bash
case \$1 in
  madison) case " $2 " in *" \$2 "*) echo "\$2 | 1 | a mirror" ;; esac ;;
  show) [ -n "$3" ] && printf 'Breaks: clang-3.2\nDepends: clang-$3 (>= $3~)\n' ;;
esac
END
  chmod +x "$fakes"/*
  PATH=$fakes:/usr/bin:/bin
}

# expect LIST WANTED: what is missing of the list, in its order.
expect() {
  missing=''
  each_package "$1" count_missing
  [ "$missing" = "$2" ] && return
  echo "FAILED: missing '$missing', expected '$2'"
  exit 1
}

fuzzer='libclang-rt-CLANG-dev libclang-common-CLANG-dev|the fuzzer'
play "" "libclang-rt-19-dev libclang-common-19-dev" 19 # Debian 13
expect "$fuzzer" " libclang-rt-19-dev"
play "" "libclang-common-14-dev" 14 # Ubuntu 22.04
expect "$fuzzer" " libclang-common-14-dev"
play "libclang-rt-14-dev" "" 14
expect "$fuzzer" ""
play "" "" "" # before the first apt-get update
expect "$fuzzer" " libclang-rt-14-dev"
play "" "clang-format-19" 19 # one that may be missing
expect "clang-format-14 none|the layout" ""
play "" "clang-format-14 clang-format-18" 18
expect "clang-format-14 none|the layout" " clang-format-14"
play "g++ cmake" "ninja-build git" 14
expect "g++|a
cmake|b
ninja-build|c
git|d" " ninja-build git"
echo "the right packages on every system"
