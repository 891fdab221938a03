# SPDX-License-Identifier: Apache-2.0
"""Where a setting comes from: command line, environment, suite, preset, default."""
import json
import os
import pathlib
import time

from program import CASE, expect, expect_refused, flags, long, main, moebench, report, small, start


def _planned(arguments, **variables):
    planned = moebench(f"run {arguments} --backend cpu --plan", variables=variables)
    assert planned.code == 0
    return planned.out


def a_variable_sets_a_flag():
    expect(_planned("", MOEBENCH_ENGINE="naive-mask"), " engine=naive-mask ")
    expect(_planned("", MOEBENCH_TOP_K="1,2"), " top-k=1 ", " top-k=2 ")
    assert _planned("", MOEBENCH_QUIET="on") == _planned("")


def the_nearest_setting_wins():
    pathlib.Path("s.json").write_text(json.dumps({"name": "s", "fixed": {"hidden": 32}}))
    preset, suite, variable = "--preset mixtral-8x7b", "--suite s.json", {"MOEBENCH_HIDDEN": "16"}
    expect(_planned(""), " hidden=1024 ")
    expect(_planned(preset), " hidden=4096 ")
    expect(_planned(f"{preset} {suite}"), " hidden=32 ", " ffn=14336 ")
    expect(_planned(f"{preset} {suite}", **variable), " hidden=16 ", " ffn=14336 ")
    expect(_planned(f"{preset} {suite} --hidden 8", **variable), " hidden=8 ", " ffn=14336 ")


def the_other_way_of_saying_a_thing_wins_too():
    expect(_planned("--experts-per-rank 3", MOEBENCH_EXPERTS="8"), " experts=3 ")
    expect(_planned("--experts 6", MOEBENCH_EXPERTS_PER_RANK="3"), " experts=6 ")


def a_variable_that_means_nothing_is_warned_of():
    warned = moebench(f"run {flags(**CASE)} --plan", variables={"MOEBENCH_EXPERT": "8"})
    assert warned.code == 0
    assert warned.err == ("moebench: warning: MOEBENCH_EXPERT is not a setting of moebench and is ignored; "
                          "did you mean MOEBENCH_EXPERTS?\n")


def a_wrong_value_names_its_variable():
    expect_refused(moebench("run", variables={"MOEBENCH_ITERS": "many"}), 2, "MOEBENCH_ITERS: 'many'")


def a_suite_says_how_to_measure():
    pathlib.Path("s.json").write_text('{"name": "s", /* small */ "preset": "mixtral-8x7b", "fixed": {"tokens": 8, "hidden": 8, "ffn": 8, "backend": "cpu"},'
                                      ' "method": {"iters": 4, "warmup": 1, "check": "full"}}')
    assert moebench("run --suite s.json --no-peaks --json a.json").code == 0
    (point,) = report("a.json")["points"]
    assert (point["case"]["experts"], point["case"]["activation"], point["stop"]["samples"], point["check"]["mode"]) == (8, "swiglu", 4, "full")
    assert moebench("run --suite s.json --no-peaks --iters 5 --json b.json", variables={"MOEBENCH_CHECK": "none"}).code == 0
    (point,) = report("b.json")["points"]
    assert point["stop"]["samples"] == 5 and point["check"]["mode"] == "none", "command line and environment come first"
    pathlib.Path("t.json").write_text('{"name": "t", "method": {"noise": "quiet"}}')
    expect_refused(moebench("run --suite t.json"), 2, "suite t: noise: 'quiet' is not a number")


def columns_are_added_on_request():
    shown = moebench(f"run {small(iters=20, routing='hot:1')} --columns imbalance,memory,p95,n")
    assert shown.code == 0
    expect(shown.out, "max/mean  peak memory", "kB", " 20\n")
    expect_refused(moebench("run --columns imbalanse"), 2, "unknown column 'imbalanse'; did you mean 'imbalance'?")


def peaks_are_kept_for_the_next_run():
    case = flags(**{**CASE, "iters": 6, "warmup": 1})
    first = moebench(f"run {case} --peaks p.json --json a.json --quiet")
    again = moebench(f"run {case} --peaks p.json --json b.json")
    assert first.code == 0 and again.code == 0 and "measuring peaks" not in again.err
    (measured,), (kept,) = report("a.json")["peaks"], report("b.json")["peaks"]
    assert measured["kept_since"] is None and kept["kept_since"].startswith("20")
    assert {**measured, "kept_since": 0} == {**kept, "kept_since": 0} and measured["gemm_spread_pct"] >= 0
    assert report("b.json")["points"][0]["time"]["total"]["limit_pct"] > 0
    other = json.loads(pathlib.Path("p.json").read_text())
    other["places"] = {"elsewhere: GPU": next(iter(other["places"].values()))}
    pathlib.Path("p.json").write_text(json.dumps(other))
    assert moebench(f"run {case} --peaks p.json --json c.json").code == 0
    assert report("c.json")["peaks"][0]["kept_since"] is None, "those of another machine are not taken"
    assert len(json.loads(pathlib.Path("p.json").read_text())["places"]) == 2
    pathlib.Path("mine.txt").write_text("mine")
    expect_refused(moebench(f"run {case} --peaks mine.txt"), 2, "mine.txt is no file of peaks")
    expect_refused(moebench(f"run {case} --peaks p.json --no-peaks"), 2, "give one")


def threads_are_an_axis():
    assert moebench(f"run {small(threads='1,2,3')} --json t.json").code == 0
    points = report("t.json")["points"]
    assert [point["case"]["threads"] for point in points] == [1, 2, 3]
    assert len({point["id"] for point in points}) == 3
    assert any("3 threads share" in warning for warning in points[2]["warnings"]) == (len(os.sched_getaffinity(0)) < 3)
    assert moebench(f"run {small()} --json plain.json").code == 0
    assert "threads" not in report("plain.json")["points"][0]["case"]


def peaks_are_of_as_many_threads_as_the_case():
    assert moebench(f"run {flags(**{**CASE, 'threads': '1,2', 'iters': 2})} --json t.json").code == 0
    assert sorted(peaks["threads"] for peaks in report("t.json")["peaks"]) == [1, 2]


def a_case_computes_with_the_threads_it_asks_for():
    def threads_with(count):
        process = start(f"run {long(threads=count)} --quiet")
        tasks, most, deadline = pathlib.Path(f"/proc/{process.pid}/task"), 0, time.monotonic() + 3
        while time.monotonic() < deadline and process.poll() is None:
            most = max(most, len(list(tasks.iterdir())))
            time.sleep(0.02)
        process.kill()
        process.wait()
        return most
    cores = len(os.sched_getaffinity(0))
    many = cores + 4
    assert threads_with(many) - threads_with(cores) == many - 1  # beside those of the pool without --threads


main(globals())
