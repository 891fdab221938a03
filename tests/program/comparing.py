# SPDX-License-Identifier: Apache-2.0
"""compare: what it says of two reports, and with which exit code."""
import copy
import json
import pathlib

from program import expect, expect_refused, main, moebench, report, small


def _base():
    """A report of two points whose samples are near each other, whatever the machine did."""
    assert moebench(f"run {small(engine='loop,naive-mask', iters=40)} --samples --json a.json --force").code == 0
    document = report("a.json")
    for point in document["points"]:
        _spread(point, around=100.0)
    _write("a.json", document)
    return document


def _spread(point, around):
    """Forty samples within half a percent of `around` microseconds, in place of what was measured."""
    total = point["time"]["total"]
    point["stop"].update(unmet=None, flags=[])
    samples = sorted(around * (1 + (i - 19.5) * 0.00025) for i in range(40))
    for name, time in point["time"].items():
        if name != "total":  # as the total moves, so do its passes
            time.update({key: around / 2 for key in time if key.endswith("_us") and key.startswith(("p", "m", "ci"))})
            time.update(tflops=time["flops"] / (around / 2) / 1e6)
    total.update(n=40, samples_us=samples, min_us=samples[0], p5_us=samples[2], p25_us=samples[10], p50_us=around,
                 p75_us=samples[29], p95_us=samples[37], p99_us=samples[39], max_us=samples[39], mean_us=around,
                 ci95_low_us=samples[13], ci95_high_us=samples[26], tflops=total["flops"] / around / 1e6)


def _write(path, document):
    pathlib.Path(path).write_text(json.dumps(document))
    report(path)  # what is compared is a valid report


def _compare(change):
    """The base against a copy of it in which the first point was changed."""
    document = copy.deepcopy(_base())
    change(document["points"][0])
    _write("b.json", document)
    return moebench("compare a.json b.json")


def a_report_is_the_same_as_itself():
    _base()
    compared = moebench("compare a.json a.json")
    assert compared.code == 0 and compared.err == ""
    expect(compared.out, "2 same", "geometric mean of B/A 1.000", "loop", "naive-mask")


def the_table_can_be_csv():
    _base()
    compared = moebench("compare a.json a.json --csv c.csv")
    assert compared.code == 0
    rows = pathlib.Path("c.csv").read_text().splitlines()
    assert rows[0].startswith("engine,verdict,reason,a_us,b_us,ratio") and rows[1].startswith("loop,same,"), rows
    expect_refused(moebench("compare a.json a.json --csv c.csv"), 2, "c.csv already exists")
    shown = moebench("compare a.json a.json --csv -")
    assert shown.code == 0 and shown.out.splitlines() == rows
    expect(shown.err, "2 same")


def ten_percent_slower_is_a_regression():
    compared = _compare(lambda point: _spread(point, around=110.0))
    assert compared.code == 5
    expect(compared.out, "1 same", "1 slower", "1.100")


def a_threshold_decides_what_is_a_regression():
    document = copy.deepcopy(_base())
    _spread(document["points"][0], around=110.0)
    _write("b.json", document)
    assert moebench("compare a.json b.json --threshold 9").code == 5
    allowed = moebench("compare a.json b.json --threshold 12")
    assert allowed.code == 0
    expect(allowed.out, "2 same", "threshold 12 %")
    assert moebench("compare a.json b.json", variables={"MOEBENCH_THRESHOLD": "12"}).code == 0


def doubts_of_either_report_are_repeated():
    document = copy.deepcopy(_base())
    document["warnings"].append("load average was 8.08 on 2 usable threads")
    document["points"][0]["warnings"].append("clocks fell")
    document["points"][0]["stop"]["unmet"] = "noise 2.9 % > target 1 %"
    _write("b.json", document)
    compared = moebench("compare a.json b.json")
    expect(compared.out, "! B: load average was 8.08 on 2 usable threads", "! B: clocks fell",
           "! B missed its target in 1 of 2 points: noise 2.9 % > target 1 %")
    assert compared.code == 0


def what_may_not_be_the_build_is_not_judged():
    def missed(point):
        _spread(point, around=110.0)
        point["stop"]["unmet"] = "noise 2.9 % > target 1 %"

    def drifts(point):
        _spread(point, around=110.0)
        point["stop"]["flags"] = ["drift"]

    for change, why in ((missed, "repeat in turns: B missed its target: noise 2.9 %"), (drifts, "samples drift in B")):
        compared = _compare(change)
        assert compared.code == 0
        expect(compared.out, "1 ambiguous", why, "ambiguous: repeat in turns: moebench ab moebench moebench -- --tokens 8")


def peaks_that_differ_leave_no_verdict():
    document = copy.deepcopy(_base())
    peaks = {"backend": "cpu", "dtype": "fp32", "ranks": 1, "gemm_tflops": 0.1, "copy_gbs": 14.9, "launch_us": 3,
             "link_gbs": None, "link_latency_us": None}
    document["peaks"] = [peaks]
    _write("a.json", document)
    document["peaks"] = [{**peaks, "copy_gbs": 26.0}]
    _write("b.json", document)
    compared = moebench("compare a.json b.json")
    assert compared.code == 0
    expect(compared.out, "2 ambiguous", "the machines' own peaks differ: copy 14.9 / 26 GB/s")


def a_title_names_commit_date_and_machine():
    document = _base()
    compared = moebench("compare a.json a.json").out
    expect(compared, f"A  a.json: ", f"B  a.json: ", document["run"]["start"], document["machine"]["cpu"]["model"])
    if document["tool"]["commit"]:
        expect(compared, document["tool"]["commit"][:10])


def a_comparison_is_written_as_json_and_markdown():
    _compare(lambda point: _spread(point, around=110.0))
    compared = moebench("compare a.json b.json --json c.json --markdown")
    assert compared.code == 5
    expect(compared.out, "| engine | A µs | B µs | B/A | low | high | verdict | why |", "| 1.100 |")
    written = json.loads(pathlib.Path("c.json").read_text())
    assert written["schema"] == "moebench.comparison/1" and written["exit_code"] == 5
    assert [point["verdict"] for point in written["points"]] == ["slower", "same"]
    expect_refused(moebench("compare a.json b.json --json c.json"), 2, "c.json already exists")
    assert moebench("compare a.json b.json --json c.json --force").code == 5


def a_filter_and_a_percent_sign_are_taken():
    _compare(lambda point: _spread(point, around=110.0))
    assert moebench("compare a.json b.json --filter engine=naive-mask").code == 0
    assert moebench("compare a.json b.json --threshold 12%").code == 0
    expect_refused(moebench("compare a.json b.json --threshold -3"), 2, "-3")


def faster_is_no_error():
    compared = _compare(lambda point: _spread(point, around=90.0))
    assert compared.code == 0
    expect(compared.out, "1 faster", "0.900")


def a_wrong_result_is_refused():
    def spoil(point):
        point.update(status="incorrect", reason="y error 0.5 exceeds 1e-05", time=None, host=None, stages=None,
                     first_iteration_us=None, capture_us=None, comm_us=None, queue_us=None, setup_us=None, device=None,
                     device_unknown=None, ranks=None, rates=None, stop=None)
        point["check"]["passed"] = False

    compared = _compare(spoil)
    assert compared.code == 4
    expect(compared.out, "1 refused", "incorrect in B: y error 0.5 exceeds 1e-05")


def a_point_without_a_partner_is_said():
    compared = _compare(lambda point: point["case"].update(seed=7))
    assert compared.code == 6
    expect(compared.out, "missing", "not in B", "not in A")


def another_machine_is_said():
    document = copy.deepcopy(_base())
    document["machine"]["cpu"]["model"] = "Abacus 9"
    _write("b.json", document)
    compared = moebench("compare a.json b.json")
    assert compared.code == 0
    expect(compared.out, "! A and B differ in CPU: ", "Abacus 9")


def an_unfinished_report_can_be_compared():
    document = _base()
    lines = [{"head": {**document, "points": []}}, *({"point": point} for point in document["points"])]
    pathlib.Path("b.json.part").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert moebench("compare a.json b.json.part").code == 0


def what_is_no_report_is_refused():
    _base()
    for name, text, code in (("text.json", "no JSON", 2), ("list.json", "[1]", 2), ("empty.json", "", 2),
                             ("other.json", '{"schema": "other/1"}', 2), ("deep.json", "[" * 100000, 2)):
        pathlib.Path(name).write_text(text)
        expect_refused(moebench(f"compare a.json {name}"), code, name)
    expect_refused(moebench("compare a.json none.json"), 3, "none.json")
    expect_refused(moebench("compare a.json ."), 3, "cannot read")
    expect_refused(moebench("compare a.json"), 2, "compare needs two reports")


main(globals())
