#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test_wake_check.sh TOOLS PYTHON: what tools/wake-check says of a program that is slower on an idle machine by so much.
set -eu
tools=$1 python=$2
build=$(mktemp -d)
trap 'rm -r "$build"' EXIT

# play IDLE_US: writes a report with that time beside no busy process, else with 100 us.
play() {
  cat >"$build/moebench" <<END
#!$(command -v "$python")
import json, os, pathlib, subprocess, sys
busy = any("while True: pass" in pathlib.Path(f"/proc/{p}/cmdline").read_text(errors="ignore").replace("\0", " ")
           for p in pathlib.Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read_text().split())
case = {"engine": "loop", "experts": "16", "tokens": "8"}
pathlib.Path(sys.argv[-1]).write_text(json.dumps({"points": [
    {"status": "ok", "case": case, "time": {"total": {"p50_us": 100 if busy else $1}}}]}))
END
  chmod +x "$build/moebench"
}

# expect CODE WORDS: how it must end and what it must say.
expect() {
  code=0
  said=$("$python" "$tools/wake-check" --build "$build" --turns 2 --busy 1 --anyway 2>/dev/null) || code=$?
  if [ "$code" != "$1" ] || [[ $said != *"$2"* ]]; then
    echo "FAILED: code $code, expected $1; said '$said', expected '$2'"
    exit 1
  fi
}

play 107
expect 0 "all agree within 10 %"
play 125
expect 1 "loop 16 8: idle 125.0 us, beside 1 busy 100.0 us: +25.0 % APART"
echo "it tells what agrees from what does not"
