#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every C++ and CUDA source that git knows is laid out as .clang-format says. usage: check_format.py ROOT [FILE]...

Exits 77 (skipped) without clang-format 14: other versions lay out some lines in another way.
"""
import pathlib
import re
import shutil
import subprocess
import sys

VERSION = "14"
PATTERNS = ("*.cpp", "*.h", "*.cu", "*.cuh")


def find_formatter():
    """clang-format of the right version, or why there is none."""
    why = f"no clang-format-{VERSION}: apt-get install clang-format-{VERSION}"
    for name in (f"clang-format-{VERSION}", "clang-format"):
        program = shutil.which(name)
        if not program:
            continue
        text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        if re.search(rf"version {VERSION}\.", text):
            return program, ""
        why = f"only {text.strip()}, and {VERSION} is wanted"
    return None, why


def sources(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "--", *PATTERNS], capture_output=True, text=True, check=False)
    return [pathlib.Path(root) / name for name in listed.stdout.split("\0") if name and (pathlib.Path(root) / name).exists()]


def main(root, files):
    formatter, why = find_formatter()
    if not formatter:
        print(f"SKIPPED: {why}")
        return 77
    files = files or sources(root)
    if not files:
        print(f"SKIPPED: git lists no source in {root}")
        return 77
    done = subprocess.run([formatter, "--dry-run", "-Werror", "--style=file", *map(str, files)], capture_output=True, text=True,
                          check=False)
    print(done.stderr or f"{len(files)} files are laid out as .clang-format says")
    return bool(done.returncode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
