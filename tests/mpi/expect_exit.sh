#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# expect_exit.sh CODE PATTERN SECONDS COMMAND...: runs COMMAND; fails unless it ends with CODE within SECONDS and
# prints a line that matches PATTERN.
set -u
code=$1 pattern=$2 limit=$3
shift 3
start=$(date +%s%N)
output=$(timeout --kill-after=5 "$((limit + 10))" "$@" 2>&1)
got=$?
took_ms=$((($(date +%s%N) - start) / 1000000))
echo "$output"
echo "exit $got after $took_ms ms; expected $code within $limit s and a line like: $pattern"
[ "$got" = "$code" ] && [ "$took_ms" -le "$((limit * 1000))" ] && grep -qE -- "$pattern" <<<"$output"
