# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM: what was measured stays, and the program ends."""
import os
import pathlib
import signal
import subprocess
import time

from program import (CASE, Skip, expect, finish, flags, long, main, moebench, points_in, programs, report, start, statuses,
                     until)


def _interrupted_by(number):
    """A long sweep that gets a signal once two of its cases are written."""
    process = start(f"run {long()} --json a.json")
    until(process, lambda: len(points_in("a.json.part")) >= 2, "two points")
    process.send_signal(number)
    return finish(process)


def _keeps_what_was_measured(ended, name):
    assert ended.code == 130
    assert ended.errors() == [f"moebench: interrupted by {name}"]
    held = report("a.json")
    assert held["run"]["exit_code"] == 130 and held["run"]["interrupted"]
    states = statuses(held)
    assert len(states) >= 3 and states[-1] == "interrupted" and set(states[:-1]) == {"ok"}
    assert not pathlib.Path("a.json.part").exists()
    expect(ended.out, "time", "interrupted")


def ctrl_c_keeps_what_was_measured():
    _keeps_what_was_measured(_interrupted_by(signal.SIGINT), "SIGINT")


def sigterm_keeps_what_was_measured():
    _keeps_what_was_measured(_interrupted_by(signal.SIGTERM), "SIGTERM")


def a_closed_terminal_keeps_what_was_measured():
    _keeps_what_was_measured(_interrupted_by(signal.SIGHUP), "SIGHUP")


def a_second_hangup_does_not_cut_the_ending_short():
    process = start(f"run {long()} --json a.json")
    until(process, lambda: len(points_in("a.json.part")) >= 2, "two points")
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
    _keeps_what_was_measured(finish(process), "SIGHUP")


def nohup_goes_on_after_a_hangup():
    process = start(f"run {long()} --max-points 4 --json a.json", wrapper=["nohup"])
    until(process, lambda: points_in("a.json.part"), "a point")
    process.send_signal(signal.SIGHUP)
    assert finish(process).code == 0 and statuses(report("a.json")) == ["ok"] * 4


def resume_goes_on_after_ctrl_c():
    _interrupted_by(signal.SIGINT)
    held = report("a.json")["points"]
    done = sum(point["status"] == "ok" for point in held)
    resumed = moebench(f"run {long()} --max-points {done + 1} --json a.json --resume")
    assert resumed.code == 0 and resumed.err.count("  already measured\n") == done
    assert statuses(report("a.json")) == ["ok"] * (done + 1)


def ctrl_c_ends_the_measuring_of_peaks():
    process = start(f"run {flags(**CASE)} --json a.json")
    until(process, lambda: pathlib.Path("a.json.part").exists(), "the report to be opened")
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    assert statuses(report("a.json")) == ["interrupted"] and report("a.json")["peaks"] == []


def ctrl_c_ends_verify():
    process = start(f"verify {flags(**{**CASE, 'seed': '1:10000:1'})}")
    while not process.stderr.readline().startswith("[3/10000]"):
        assert process.poll() is None, "the program ended before the third case"
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130


def _cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def a_second_signal_ends_the_program_at_once():
    if b"libtsan" in subprocess.run(["ldd", programs.moebench], capture_output=True).stdout:
        raise Skip("ThreadSanitizer holds signals back while a thread computes")
    # A minute of checking, inside which the first signal is not looked for.
    process = start("run --tokens 2048 --hidden 1024 --ffn 4096 --experts 2 --backend cpu --no-peaks --check full --json a.json")
    until(process, lambda: _cpu_seconds(process) > 1, "a second of work")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "one signal was enough: this tests nothing"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    ended = finish(process)
    assert ended.code == 130 and time.monotonic() - began < 10


main(globals())
