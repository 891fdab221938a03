# SPDX-License-Identifier: Apache-2.0
"""Files: reports that are valid, kept, replaced, resumed, and what happens when they cannot be written."""
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess

import program
from program import (CASE, ROOT, Skip, a_tiny_disk, expect, expect_refused, finish, flags, lines_of, long, main, moebench, points_in, report, small,
                     start, statuses, until, validate)


def a_report_obeys_the_schema():
    measured = moebench(f"run {small(engine='loop,naive-mask')} --check full --json a.json")
    assert measured.code == 0
    if not validate("a.json"):
        raise Skip("this Python has no jsonschema (apt-get install python3-jsonschema)")
    held = report("a.json")
    assert statuses(held) == ["ok", "ok"]
    assert [point["axes"] for point in held["points"]] == [{"engine": "loop"}, {"engine": "naive-mask"}]
    assert all(point["check"]["passed"] and point["stop"]["samples"] == 3 for point in held["points"])
    assert held["run"]["exit_code"] == 0 and not held["run"]["interrupted"] and held["peaks"] == []
    assert not pathlib.Path("a.json.part").exists()
    expect(measured.out, "loop", "naive-mask", "time")
    expect(measured.err, "[1/2]", "[2/2]", "report: a.json")


def limits_follow_from_measured_peaks():
    measured = moebench(f"run {flags(**CASE, iters=6)} --json a.json")
    assert measured.code == 0
    held = report("a.json")
    (peaks,) = held["peaks"]
    assert peaks["gemm_tflops"] > 0 and peaks["copy_gbs"] > 0 and peaks["link_gbs"] is None
    assert held["points"][0]["time"]["total"]["limit_pct"] > 0
    expect(measured.out, "limit")


def only_samples_that_are_asked_for_are_kept():
    for flag, kept in (("", 0), ("--samples", 3)):
        assert moebench(f"run {small()} --json a.json --force {flag}").code == 0
        total = report("a.json")["points"][0]["time"]["total"]
        assert total["n"] == 3 and len(total.get("samples_us", [])) == kept


def _paths(schema, node, path=""):
    """Paths of all values of a schema that fit in one cell: numbers, words, texts and lists of texts."""
    if "$ref" in node:
        yield from _paths(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]], path)
    for choice in node.get("oneOf", []):
        yield from _paths(schema, choice, path)
    for key, value in node.get("properties", {}).items():
        yield from _paths(schema, value, f"{path}.{key}" if path else key)
    items = node.get("items", {})
    kinds = {node.get("type")} if isinstance(node.get("type"), str) else set(node.get("type", []))
    if "enum" in node or kinds & {"number", "integer", "string", "boolean"} or "enum" in items or items.get("type") == "string":
        yield path


def csv_and_schema_have_the_same_fields():
    schema = json.loads((ROOT / "docs/report.schema.json").read_text())
    point = json.loads(json.dumps(schema["$defs"]["point"]))
    for key in ("axes", "case", "stages"):
        del point["properties"][key]
    described = set(_paths(schema, point))
    header = moebench(f"run {small()} --csv - --quiet").out.splitlines()[0].split(",")
    assert len(header) == len(set(header))
    columns = {name for name in header[:-5] if not name.startswith(("case.", "stages."))}
    assert columns == described, columns ^ described


def the_csv_has_a_row_per_case():
    assert moebench(f"run {small(engine='loop,naive-mask')} --csv a.csv --json a.json").code == 0
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case.engine"] for row in rows] == ["loop", "naive-mask"]
    for row, point in zip(rows, report("a.json")["points"]):
        assert row["status"] == "ok" and row["case.tokens"] == "8"
        assert abs(float(row["time.total.p50_us"]) / point["time"]["total"]["p50_us"] - 1) < 1e-3


def a_dash_is_standard_output():
    shown = moebench(f"run {small(engine='loop,naive-mask')} --json -")
    assert shown.code == 0 and statuses(json.loads(shown.out)) == ["ok", "ok"] and json.loads(shown.out)["run"]["exit_code"] == 0
    expect(shown.err, "subject=layer", "time: median")
    pathlib.Path("shown.json").write_text(shown.out)
    report("shown.json")
    table = moebench(f"run {small(engine='loop,naive-mask')} --csv - --quiet --json a.json")
    assert table.code == 0 and [row["status"] for row in csv.DictReader(table.out.splitlines())] == ["ok", "ok"]
    expect(table.err, "time: median")
    expect_refused(moebench(f"run {small()} --json - --csv -"), 2, "--json and --csv both write -")
    expect_refused(moebench(f"run {small()} --json - --resume"), 2, "--resume needs --json FILE")
    assert sorted(os.listdir()) == ["a.json", "shown.json"]


def a_suite_is_in_the_report_and_its_question_above_the_table():
    text = json.dumps({"name": "mine", "question": "Is it fast?", "expectation": "It is not.", "fixed": {"tokens": 8, "hidden": 8, "ffn": 8}})
    pathlib.Path("mine.json").write_text(text)
    shown = moebench("run --suite mine.json --backend cpu --no-peaks --iters 6 --json a.json --csv a.csv")
    assert shown.code == 0 and shown.out.startswith("question: Is it fast?\nexpected: It is not.\n\nsubject=layer")
    assert report("a.json")["suite"] == {"name": "mine", "question": "Is it fast?", "expectation": "It is not.", "text": text}
    held = report("a.json")
    with open("a.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["commit"], row["host"], row["device"], row["date"], row["suite"]) == (
        held["tool"]["commit"], held["machine"]["host"], held["machine"]["ranks"][0]["device"], held["run"]["start"], "mine")
    assert moebench("run --suite smoke --max-points 1 --iters 6 --no-peaks --json b.json").code == 0
    assert report("b.json")["suite"]["text"] == (program.ROOT / "suites/smoke.json").read_text()
    assert moebench(f"run {small()} --json c.json").code == 0 and report("c.json")["suite"] is None


def few_samples_explain_the_question_mark():
    expect(moebench(f"run {small(iters=3)}").out, "?: fewer than 6 samples")
    assert "fewer than" not in moebench(f"run {small(iters=6)}").out


def quiet_says_nothing_but_warnings_on_stderr():
    measured = moebench(f"run {small()} --quiet --json a.json")
    held = report("a.json")
    assert measured.code == 0 and measured.err == "".join(f"warning: {sentence}\n" for sentence in held["warnings"]) and measured.out != ""
    resumed = moebench(f"run {small(iters=5)} --quiet --json a.json --resume")
    expect(resumed.err, "warning: 1 points were kept from the run of ")
    assert all(line.startswith("warning: ") for line in resumed.err.splitlines())
    quiet = moebench(f"verify {flags(**CASE)} --quiet").err
    assert all(line.startswith("warning: ") for line in quiet.splitlines()), quiet


def a_folder_gets_a_report_of_its_own_name():
    assert moebench(f"run {small()} --json results/smoke/").code == 0
    (made,) = pathlib.Path("results/smoke").iterdir()
    assert made.suffix == ".json" and report(made)["run"]["exit_code"] == 0
    pathlib.Path("s.json").write_text('{"name": "My suite", "fixed": {"experts": 4}}')
    assert moebench(f"run {small()} --suite s.json --json results/smoke/").code == 0, "a suite makes another name"
    assert [path.name for path in pathlib.Path("results/smoke").iterdir() if path.name.endswith("-my-suite.json")]


def an_unwritable_report_is_refused_before_the_first_case():
    pathlib.Path("folder.json").mkdir()
    for path, reason in (("none/a.json", "there is no directory none"), ("folder.json", "not a regular file"),
                         ("/proc/a.json", "No such file"), (f"{'x' * 300}.json", "File name too long")):
        refused = moebench(f"run {small()} --json {path}")
        expect_refused(refused, 3, f"cannot write {path}", reason)
        assert "[1/1]" not in refused.err
    expect_refused(moebench(f"run {small()} --csv none/a.csv"), 3, "there is no directory none")
    expect_refused(moebench(f"run {small()} --json /proc/results/"), 3, "cannot make the directory /proc/results/")


def an_existing_report_is_refused():
    assert moebench(f"run {small()} --json a.json").code == 0
    before = pathlib.Path("a.json").read_bytes()
    refused = moebench(f"run {small()} --json a.json")
    expect_refused(refused, 2, "a.json already exists", "--force", "--resume")
    assert "[1/1]" not in refused.err
    assert pathlib.Path("a.json").read_bytes() == before and not pathlib.Path("a.json.part").exists()


def an_existing_table_is_refused():
    pathlib.Path("a.csv").write_text("precious\n")
    refused = moebench(f"run {small()} --csv a.csv --json a.json")
    expect_refused(refused, 2, "a.csv already exists", "--force")
    assert pathlib.Path("a.csv").read_text() == "precious\n" and os.listdir() == ["a.csv"]
    assert moebench(f"run {small()} --csv a.csv --force").code == 0
    assert pathlib.Path("a.csv").read_text().startswith("id,status,")
    expect_refused(moebench(f"run {small()} --csv a.json --json a.json"), 2, "--json and --csv both write a.json")


def force_replaces_a_report():
    assert moebench(f"run {small(engine='naive-mask')} --json a.json").code == 0
    assert moebench(f"run {small()} --json a.json --force").code == 0
    assert [point["case"]["engine"] for point in report("a.json")["points"]] == ["loop"]


def resume_measures_again_what_was_checked_less():
    unchecked = moebench(f"run {small(check='none')} --json a.json")
    assert unchecked.code == 0
    expect(unchecked.out, "unchecked: 1 point")
    (point,) = report("a.json")["points"]
    assert point["status"] == "ok" and point["check"]["verdict"] == "unchecked"
    again = moebench(f"run {small(check='full')} --json a.json --resume")
    assert again.code == 0 and "  already measured\n" not in again.err and "unchecked" not in again.out
    assert "points were kept" not in again.err, "it was measured again"
    expect(again.err, "warning: 1 points of the run of ", " are measured again")
    (point,) = report("a.json")["points"]
    assert point["check"]["mode"] == "full" and point["check"]["verdict"] == "ok"
    for less in ("none", "quick", "full"):
        assert "  already measured\n" in moebench(f"run {small(check=less)} --json a.json --resume").err
    rechecked = moebench(f"run {small(check='full', recheck='on')} --json a.json --resume")
    assert rechecked.code == 0 and "  already measured\n" not in rechecked.err
    (point,) = report("a.json")["points"]
    assert point["check"]["recheck"]["sets"] >= 1 and len(point["check"]["recheck"]["items"]) >= 8


def resume_measures_only_what_is_missing():
    assert moebench(f"run {small()} --json a.json").code == 0
    (held,) = report("a.json")["points"]
    resumed = moebench(f"run {small(engine='loop,naive-mask')} --json a.json --resume")
    assert resumed.code == 0
    expect(resumed.err, "[1/2] layer engine=loop  already measured", "[2/2] layer engine=naive-mask")
    first, second = report("a.json")["points"]
    assert first["time"] == held["time"] and second["case"]["engine"] == "naive-mask"
    # Its place is that in the sweep that goes on, also where it was measured in another.
    assert [point["axes"] for point in (first, second)] == [{"engine": "loop"}, {"engine": "naive-mask"}]
    assert [line.split()[0] for line in resumed.out.splitlines() if line.startswith(("loop", "naive", "–"))] == ["loop", "naive-mask"]


def resume_measures_again_what_failed():
    assert moebench(f"run {small(ranks='1,2')} --comm self --json a.json").code == 6
    assert statuses(report("a.json")) == ["ok", "skipped"]
    resumed = moebench(f"run {small(ranks='1,2')} --comm self --json a.json --resume")
    assert resumed.code == 6
    expect(resumed.err, "[1/2] layer ranks=1  already measured", "[2/2] layer ranks=2  skipped: needs 2 ranks")
    assert statuses(report("a.json")) == ["ok", "skipped"]


def resume_begins_where_there_is_nothing():
    assert moebench(f"run {small()} --json a.json --resume").code == 0
    assert statuses(report("a.json")) == ["ok"]


def resume_refuses_what_is_no_report():
    pathlib.Path("a.json").write_text('{"schema": "something/9"}\n')
    expect_refused(moebench(f"run {small()} --json a.json --resume"), 2, "a.json")
    assert pathlib.Path("a.json").read_text() == '{"schema": "something/9"}\n'


def a_repeat_of_the_run_is_one_shell_line():
    given = f"run {small(routing='hot:0.5')} --json 'my report.json'"
    assert moebench(given, variables={"MOEBENCH_SEED": "3"}).code == 0
    run = report("my report.json")["run"]
    assert run["repro"] == f"MOEBENCH_SEED=3 moebench {given.replace('my report', 'my report.repeat')}"
    before = pathlib.Path("my report.json").read_bytes()
    path = pathlib.Path("bin")
    path.mkdir()
    (path / "moebench").symlink_to(program.programs.moebench)
    again = subprocess.run(["sh", "-c", run["repro"]], env={"PATH": f"{path.absolute()}:{os.environ['PATH']}"},
                           capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert report("my report.repeat.json")["points"][0]["case"]["seed"] == 3
    assert pathlib.Path("my report.json").read_bytes() == before


def a_repeat_never_writes_what_the_run_wrote():
    for given, repeated in (("--json a.json --force", "--json a.repeat.json"),
                            ("--json=a.json --csv dir/t.csv --force", "--json=a.repeat.json --csv dir/t.repeat.csv"),
                            ("--json dir/ --resume", "--json dir/repeat/")):
        pathlib.Path("dir").mkdir(exist_ok=True)
        assert moebench(f"run {small()} {given}").code == 0
        made = pathlib.Path("a.json") if "a.json" in given else next(pathlib.Path("dir").glob("*.json"))
        assert report(made)["run"]["repro"] == f"moebench run {small()} {repeated}"
    assert moebench(f"run {small()}", variables={"MOEBENCH_JSON": "b.json", "MOEBENCH_RESUME": "on", "MOEBENCH_FORCE": "on"}).code == 2
    assert moebench(f"run {small()}", variables={"MOEBENCH_JSON": "b.json", "MOEBENCH_FORCE": "on"}).code == 0
    assert report("b.json")["run"]["repro"] == f"MOEBENCH_JSON=b.repeat.json moebench run {small()}"


def two_runs_never_write_one_report():
    for flag in ("", "--resume", "--force"):
        first = start(f"run {long()} --json two.json --force")
        until(first, lambda: points_in("two.json.part"), "a point")
        second = moebench(f"run {small(experts=8)} --json two.json {flag}")
        expect_refused(second, 3, f"another run (pid {first.pid}) is writing two.json", "wait for its end")
        assert "[1/1]" not in second.err
        first.terminate()
        assert finish(first).code == 130
        assert "ok" in statuses(report("two.json")) and not pathlib.Path("two.json.part").exists()


def a_report_that_appears_meanwhile_is_kept():
    process = start(f"run {long()} --json a.json")
    until(process, lambda: points_in("a.json.part"), "a point")
    pathlib.Path("a.json").write_text("precious\n")
    process.terminate()
    ended = finish(process)
    expect(ended.err, "a.json: a file of that name has appeared meanwhile", "every record is kept in a.json.part")
    assert pathlib.Path("a.json").read_text() == "precious\n" and points_in("a.json.part")


def a_table_that_appears_meanwhile_is_kept():
    process = start(f"run {long()} --csv a.csv --json a.json")
    until(process, lambda: points_in("a.json.part"), "a point")
    pathlib.Path("a.csv").write_text("precious\n")
    process.terminate()
    ended = finish(process)
    spare = f"a.csv.{process.pid}"
    assert ended.code == 130
    expect(ended.err, "a.csv: a file of that name has appeared meanwhile", f"this run's table is {spare}")
    assert pathlib.Path("a.csv").read_text() == "precious\n"
    assert pathlib.Path(spare).read_text().startswith("id,status,") and report("a.json")["run"]["exit_code"] == 130


def a_table_is_written_anew_from_a_resumed_report():
    process = start(f"run {long()} --csv a.csv --json a.json")
    until(process, lambda: len(points_in("a.json.part")) >= 2, "two points")
    process.kill()
    finish(process)
    assert not pathlib.Path("a.csv").exists()
    held = len(points_in("a.json.part"))
    for more in (1, 2):  # the second time the table is there, and is replaced
        assert moebench(f"run {long()} --max-points {held + more} --csv a.csv --json a.json --resume").code == 0
        with open("a.csv", newline="") as file:
            assert [row["status"] for row in csv.DictReader(file)] == ["ok"] * (held + more)
    pathlib.Path("b.csv").write_text("precious\n")
    expect_refused(moebench(f"run {long()} --max-points 1 --csv b.csv --json a.json --resume"), 2, "b.csv already exists and is no table")


def a_point_keeps_the_run_that_measured_it():
    assert moebench(f"run {small(iters=5)} --json a.json").code == 0
    first = report("a.json")["run"]
    resumed = moebench(f"run {small(iters=7, engine='loop,naive-mask')} --json a.json --resume")
    assert resumed.code == 0
    expect(resumed.err, "warning: 1 points were kept from the run of ", "kept points were measured with --iters 5 --warmup 1 --no-peaks, the others with --iters 7 ")
    held = report("a.json")
    assert [point["run"] for point in held["points"]] == [first["id"], held["run"]["id"]] and first["id"] != held["run"]["id"]
    (earlier,) = held["earlier_runs"]
    assert earlier["argv"] == first["argv"] and earlier["start"] == first["start"] and earlier["commit"] == held["tool"]["commit"]


def a_case_that_does_not_fit_is_skipped_and_the_sweep_goes_on():
    measured = moebench(f"run {small(tokens='500000000,8', hidden=1024)} --json a.json")
    assert measured.code == 6
    big, fits = report("a.json")["points"]
    assert big["status"] == "skipped" and big["time"] is None and fits["status"] == "ok"
    assert re.match(r"needs [0-9.]+ TB on each rank, [0-9.]+ [GT]B are available", big["reason"]), big["reason"]
    expect(measured.out, "skipped", big["reason"])
    expect(measured.err, f"[1/2] layer tokens=500000000  skipped: {big['reason']}", "[2/2] layer tokens=8")


def weights_that_do_not_fit_are_skipped():
    # 64 experts of 2 x 65536 x 262144 weights of 4 bytes, and as many gradients: 17.6 TB; and 0.7 for the check of one.
    measured = moebench(f"run {small(hidden=65536, ffn=262144, experts=64)}")
    assert measured.code == 6
    expect(measured.out, "skipped", "needs 18.3 TB on each rank")


def _what_was_written_stays(stopped, part, reason):
    assert stopped.code == 3
    assert len(stopped.errors()) == 1
    expect(stopped.errors()[0], f"cannot write {part}: {reason}", "--resume")
    written = points_in(part)
    assert len(written) >= 2
    assert all(point["status"] == "ok" for point in written)
    assert not any(path.name.endswith((".tmp", ".new")) for path in pathlib.Path(part).parent.iterdir())
    # The table holds one row more: what could not be written was measured all the same.
    rows = [line for line in stopped.out.splitlines() if line.strip() and line.split()[0].isdigit()]
    assert len(rows) == len(written) + 1, rows
    assert "failed" not in stopped.out + stopped.err


def a_full_disk_keeps_what_was_written():
    with a_tiny_disk():
        stopped = moebench(f"run {small(seed='1:50:1')} --json disk/a.json")
        _what_was_written_stays(stopped, "disk/a.json.part", "No space left on device")
        held = len(points_in("disk/a.json.part"))
        shutil.copy("disk/a.json.part", "a.json.part")
    resumed = moebench(f"run {small(seed=f'1:{held + 2}:1')} --json a.json --resume")
    assert resumed.code == 0 and resumed.err.count("  already measured\n") == held
    assert statuses(report("a.json")) == ["ok"] * (held + 2)


def a_limit_on_file_sizes_is_like_a_full_disk():
    stopped = moebench(f"run {small(seed='1:50:1')} --json a.json", file_limit=32768)
    _what_was_written_stays(stopped, "a.json.part", "File too large")


def a_disk_that_is_full_at_the_start_is_refused():
    with a_tiny_disk():
        pathlib.Path("disk/ballast").write_bytes(b"x" * 32768)
        expect_refused(moebench(f"run {small()} --json disk/a.json"), 3, "No space left on device")
        assert os.listdir("disk") == ["ballast"]


def a_report_that_nobody_finished_is_not_lost():
    assert moebench(f"run {small()} --json a.json").code == 0
    whole = json.loads(pathlib.Path("a.json").read_text())
    head = {key: value for key, value in whole.items() if key != "points"}
    torn = json.dumps({"point": whole["points"][0]})[:100]
    pathlib.Path("b.json.part").write_text("".join(
        json.dumps(line) + "\n" for line in ({"head": {**head, "points": []}}, {"point": whole["points"][0]})) + torn)
    expect_refused(moebench(f"run {small()} --json b.json"), 2, "b.json.part holds a run that did not finish", "--resume", "--force")
    assert len(points_in("b.json.part")) == 1
    resumed = moebench(f"run {small(engine='loop,naive-mask')} --json b.json --resume")
    assert resumed.code == 0
    expect(resumed.err, "[1/2] layer engine=loop  already measured")
    assert statuses(report("b.json")) == ["ok", "ok"] and lines_of("b.json.part") == []


main(globals())
