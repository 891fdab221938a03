# SPDX-License-Identifier: Apache-2.0
"""Where a setting comes from: command line, environment, suite, preset, default."""
import json
import pathlib

from program import CASE, expect, expect_refused, flags, main, moebench


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


main(globals())
