#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test_report_numbers.sh ROOT PYTHON: numbers in README.md and docs/ are those of the reports, and a wrong one is found.
set -u
root=$1 python=$2
fail() {
  echo "FAILED: $1"
  exit 1
}

"$python" "$root/tools/report-numbers" --check || fail "a number is not its report's"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$root/README.md" "$root/docs" "$root/results" "$copy"
sed -i 's#| \*\*\([0-9]*\) / 559\*\*#| **\1 / 560**#' "$copy/README.md"
"$python" "$root/tools/report-numbers" --check "$copy" && fail "a wrong cell of a table was not found"
"$python" "$root/tools/report-numbers" "$copy" >/dev/null || fail "it did not write the table"
"$python" "$root/tools/report-numbers" --check "$copy" || fail "what it wrote is not right"
sed -i 's#150  2.3 %#151  2.3 %#' "$copy/README.md"
"$python" "$root/tools/report-numbers" --check "$copy" && fail "a wrong row of the table on Figure 5 was not found"
exit 0
