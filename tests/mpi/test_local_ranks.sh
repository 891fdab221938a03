#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test_local_ranks.sh NCCL_FAULT: ranks that a process starts itself end with it, however it ends.
set -u
program=$1

fail() {
  echo "FAILED: $1"
  kill -9 $(pgrep -f "$marker") 2>/dev/null
  exit 1
}

# await COUNT WHAT: until so many processes run.
await() {
  for _ in $(seq 100); do
    [ "$(pgrep -fc "$marker")" = "$1" ] && return
    sleep 0.1
  done
  fail "$2: $(pgrep -fa "$marker")"
}

marker="sleep idle $$ --ranks 3" # the ranks have the same command line

start() {
  mkfifo "$pipe" || exit 1
  "$program" sleep idle $$ --ranks 3 >"$pipe" 2>/dev/null &
  parent=$!
  read -r line <"$pipe"
  rm "$pipe"
  [ "$line" = "all ranks are here" ] || fail "the ranks did not start"
}

pipe=$(mktemp -u)
start
await 4 "three ranks and their parent"
kill -9 $parent
await 0 "ranks outlive a parent that was killed"

start
kill -TERM $parent
wait $parent
[ $? = 130 ] || fail "the exit code of interrupted ranks is not the parent's"
await 0 "ranks outlive a parent that was told to end"

# A stopped rank is not given the time that others may need to end.
SECONDS=0
MB_GRACE_S=60 "$program" stop barrier $$ --ranks 3 >/dev/null 2>&1
[ $? = 124 ] || fail "the exit code of a wait that was too long is not the parent's"
[ $SECONDS -lt 30 ] || fail "a stopped rank kept its parent for $SECONDS s"
exit 0
