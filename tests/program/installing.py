# SPDX-License-Identifier: Apache-2.0
"""cmake --install: the program, its man page and what makes shells complete it."""
import os
import pathlib
import re
import shutil
import subprocess

from program import Skip, expect, expect_refused, main, moebench, programs

COMMANDS = ["run", "verify", "compare", "ab", "report", "info", "list", "help"]


def _flags(command):
    return re.findall(r"^  --([a-z-]+)", moebench(f"help {command}").out, re.MULTILINE)


def _complete(script, words):
    """What bash offers for the last of `words`."""
    done = subprocess.run(["bash", "-c", f'source "{script}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _moebench; printf "%s\\n" "${{COMPREPLY[@]}}"',
                           "bash", *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split()


def bash_completes_commands_flags_and_values():
    pathlib.Path("moebench.bash").write_text(moebench("help completion-bash").out)
    assert set(COMMANDS) <= set(_complete("moebench.bash", ["moebench", ""]))
    assert _complete("moebench.bash", ["moebench", "ver"]) == ["verify"]
    for command in ("run", "compare", "ab", "report"):
        assert _complete("moebench.bash", ["moebench", command, "--"]) == [f"--{flag}" for flag in _flags(command)], command
    assert _complete("moebench.bash", ["moebench", "run", "--dtype", ""]) == ["fp32", "tf32", "bf16", "fp16"]
    assert "smoke" in _complete("moebench.bash", ["moebench", "run", "--suite", ""])
    assert _complete("moebench.bash", ["moebench", "run", "--preset", "mixtral"]) == ["mixtral-8x7b", "mixtral-8x22b"]
    assert _complete("moebench.bash", ["moebench", "run", "--tokens", ""]) == []
    pathlib.Path("a report.json").touch()
    assert " ".join(_complete("moebench.bash", ["moebench", "compare", "a"])) == "a report.json"


def every_flag_is_in_every_text():
    man, zsh, fish = (moebench(f"help {text}").out for text in ("man", "completion-zsh", "completion-fish"))
    for command in ("run", "verify", "compare", "ab", "report", "info"):
        for flag in _flags(command):
            expect(zsh, f"'--{flag}[")
            expect(fish, f"__fish_seen_subcommand_from {command}' -l {flag} ")
            expect(man, "\n.B " + f"--{flag}".replace("-", "\\-"))
    for shell, text in (("zsh", zsh), ("fish", fish)):
        if shutil.which(shell):
            pathlib.Path(shell).write_text(text)
            subprocess.run([shell, "-n", shell], check=True)
    expect_refused(moebench("help completion-tcsh"), 2, "unknown help topic 'completion-tcsh'")


def the_man_page_is_set_without_a_complaint():
    if not shutil.which("groff"):
        raise Skip("no groff here (apt-get install groff)")
    pathlib.Path("moebench.1").write_text(moebench("help man").out)
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "moebench.1"], capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stderr == b"", done.stderr.decode()
    expect(done.stdout.decode(), "--top", "interrupted; the report holds what was measured")


def an_installation_has_all_of_it():
    build = pathlib.Path(programs.moebench).parent
    if not (build / "cmake_install.cmake").exists() or not (build / "texts/man").exists():
        raise Skip("not a whole build of CMake: build all")
    done = subprocess.run(["cmake", "--install", build, "--prefix", os.getcwd() + "/there"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    there = pathlib.Path("there")
    for path in ("bin/moebench", "share/man/man1/moebench.1", "share/bash-completion/completions/moebench",
                 "share/zsh/site-functions/_moebench", "share/fish/vendor_completions.d/moebench.fish"):
        assert (there / path).exists(), path
    shown = subprocess.run([there / "bin/moebench", "--version"], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and shown.stdout.startswith("moebench ")
    assert "run" in _complete(there / "share/bash-completion/completions/moebench", ["moebench", "ru"])


main(globals())
