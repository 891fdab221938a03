# SPDX-License-Identifier: Apache-2.0
"""ab: two programs in turns. A shell script stands for a program whose times are known."""
import copy
import json
import pathlib
import random

from program import expect, expect_refused, main, moebench, report, small

SCRIPT = """#!/bin/sh
# Writes the next of its reports where --json says.
echo "$0 $*" >> calls
while [ $# -gt 0 ]; do [ "$1" = --json ] && json=$2; shift; done
next=$(($(cat {name}.count 2>/dev/null || echo 0) + 1))
echo $next > {name}.count
cp {name}-$next.json "$json"
"""


def _fake(name, medians, change=lambda document: None):
    """A program whose k-th run takes medians[k] microseconds, forward and backward halves of it."""
    if not pathlib.Path("base.json").exists():
        assert moebench(f"run {small(engine='loop', iters=40)} --no-stages --json base.json").code == 0
    for k, median in enumerate(medians, 1):
        document = copy.deepcopy(json.loads(pathlib.Path("base.json").read_text()))
        for name_of, time in document["points"][0]["time"].items():
            around = median if name_of == "total" else median / 2
            time.update(min_us=around * 0.99, p5_us=around * 0.99, p25_us=around, p50_us=around, p75_us=around,
                        p95_us=around * 1.01, max_us=around * 1.01, ci95_low_us=around * 0.999,
                        ci95_high_us=around * 1.001, tflops=time["flops"] / around / 1e6)
        change(document)
        path = pathlib.Path(f"{name}-{k}.json")
        path.write_text(json.dumps(document))
        report(path)
    program = pathlib.Path(name)
    program.write_text(SCRIPT.format(name=name))
    program.chmod(0o755)


def _medians(around, spread_pct, n=10, seed=1):
    chance = random.Random(seed)
    return [around * (1 + chance.uniform(-spread_pct, spread_pct) / 100) for _ in range(n)]


def slower_in_turns_is_a_regression():
    _fake("old", _medians(100, 1))
    _fake("new", _medians(105, 1, seed=2))
    judged = moebench("ab ./old ./new --json ab.json")
    assert judged.code == 5
    expect(judged.out, "1 slower", "A  ./old: commit", "10 processes")
    expect(judged.err, "[10/10] A ")
    point = json.loads(pathlib.Path("ab.json").read_text())["points"][0]
    assert point["verdict"] == "slower" and point["processes_a"] == 10 and point["p"] < 0.01
    assert 1.04 < point["ratio_low"] < point["ratio"] < point["ratio_high"] < 1.06
    assert point["passes"]["forward"]["verdict"] == "slower"


def a_program_against_itself_is_the_same():
    _fake("old", _medians(100, 1))
    _fake("new", _medians(100, 1, seed=2))
    judged = moebench("ab ./old ./new --quiet")
    assert judged.code == 0 and judged.err == ""
    expect(judged.out, "1 same")


def what_both_share_does_not_hide_a_difference():
    load = _medians(100, 30)  # a neighbour that slows both of a pair alike
    _fake("old", load)
    _fake("new", [1.1 * x for x in load])
    assert moebench("ab ./old ./new").code == 5
    assert moebench("compare --help").code == 0


def noise_alone_is_no_regression():
    _fake("old", _medians(100, 30))
    _fake("new", _medians(103, 30, seed=2))
    judged = moebench("ab ./old ./new")
    assert judged.code == 0
    expect(judged.out, "1 ambiguous", "faster to")


def few_processes_cannot_tell():
    _fake("old", _medians(100, 1))
    _fake("new", _medians(150, 1))
    judged = moebench("ab ./old ./new --repetitions 5")
    assert judged.code == 0
    expect(judged.out, "too few processes to tell: 5 and 5 give p = 0.062 at best")


def both_take_turns_and_the_common_flags():
    _fake("old", _medians(100, 1))
    _fake("new", _medians(100, 1))
    moebench("ab './old --tokens 8' ./new -- --experts 4 --filter 'experts<=8'")
    calls = pathlib.Path("calls").read_text().splitlines()
    assert len(calls) == 20
    assert all(" run " in call and "--experts 4 --filter experts<=8 --json " in call for call in calls)
    assert all(("--tokens 8" in call) == call.startswith("./old") for call in calls)
    firsts = [call.split()[0] for call in calls[::2]]
    assert firsts.count("./old") == 5, firsts
    for first, second in zip(calls[::2], calls[1::2]):
        assert first.split()[0] != second.split()[0]
    pathlib.Path("old.count").unlink(), pathlib.Path("new.count").unlink(), pathlib.Path("calls").unlink()
    moebench("ab './old --tokens 8' ./new")
    assert [call.split()[0] for call in pathlib.Path("calls").read_text().splitlines()[::2]] == firsts


def a_forward_pass_that_pays_for_backward_is_mixed():
    def trade(document):
        times = document["points"][0]["time"]
        for name, factor in (("forward", 1.2), ("backward", 0.8)):
            for key, value in times[name].items():
                if key.endswith("_us") and isinstance(value, float):
                    times[name][key] = value * factor
            times[name]["tflops"] /= factor

    _fake("old", _medians(100, 0.5))
    _fake("new", _medians(100, 0.5, seed=2), trade)
    judged = moebench("ab ./old ./new --markdown")
    assert judged.code == 5
    expect(judged.out, "| mixed |", "forward slower: 1.", "backward faster: 0.8", "| --- |")


def kept_reports_are_judged_alike():
    _fake("old", _medians(100, 1))
    _fake("new", _medians(105, 1, seed=2))
    assert moebench("ab ./old ./new --keep kept").code == 5
    for side in "ab":
        pathlib.Path(side).mkdir()
        for file in pathlib.Path("kept").glob(f"{side}-*.json"):
            file.rename(pathlib.Path(side) / file.name)
    assert moebench("compare a b --paired").code == 5
    unpaired = moebench("compare a b")
    assert unpaired.code == 5
    expect(unpaired.out, "1 slower")


def two_settings_of_this_program_are_compared():
    judged = moebench(f"ab '--engine loop' '--engine naive-mask' --repetitions 2 -- {small(iters=10)} --no-stages")
    assert judged.code == 0, "two processes cannot tell"
    expect(judged.out, "too few processes")


def repetitions_are_processes_and_one_report():
    done = moebench(f"run {small(engine='loop,naive-mask', iters=20)} --repetitions 3 --json r.json",
                    variables={"MOEBENCH_JSON": "other.json"})
    assert done.code == 0
    expect(done.err, "[process 3/3]", "report: r.json")
    expect(done.out, "±: over 3 processes, whose medians differ by ")
    document = report("r.json")
    assert "--repetitions" in document["run"]["argv"] and len(document["points"]) == 2
    assert not pathlib.Path("other.json").exists()
    for point in document["points"]:
        medians, total = point["repetitions"]["median_us"], point["time"]["total"]
        assert len(medians) == 3 and total["p50_us"] == sorted(medians)[1]
        assert total["ci95_low_us"] <= min(medians) and max(medians) <= total["ci95_high_us"]
    expect_refused(moebench(f"run {small()} --repetitions 2 --json r.json --resume"), 2, "--repetitions and --resume")


def what_cannot_be_run_is_said():
    expect_refused(moebench("ab ./old"), 2, "ab needs two programs")
    expect_refused(moebench("ab ./nothing ./nothing"), 3, "cannot start ./nothing: No such file")
    expect_refused(moebench("ab '--tokns 8' ''"), 2, "unknown flag '--tokns'")
    expect_refused(moebench("ab 'x --json y' z"), 2, "--json is ab's own business")
    expect_refused(moebench("ab \"x 'y\" z"), 2, "has a quote that does not end")
    pathlib.Path("ab.json").write_text("{}")
    expect_refused(moebench("ab x y --json ab.json"), 2, "ab.json already exists")


main(globals())
