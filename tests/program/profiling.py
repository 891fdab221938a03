# SPDX-License-Identifier: Apache-2.0
"""Looking inside: timelines, the profiler's window, NVTX ranges as a profiler hears them."""
import json
import os
import pathlib
import shlex
import statistics
import subprocess

from program import CASE, ROOT, Skip, expect, expect_refused, flags, main, moebench, programs, small

FORWARD = ["gate", "plan", "pack", "sizes", "dispatch", "shared", "experts", "collect", "combine"]
BACKWARD = ["combine", "collect", "experts", "shared", "dispatch", "pack", "gate"]
TRAVELS = {"sizes", "dispatch", "collect"}
PLAIN = [[stage for stage in stages if stage != "shared"] for stages in (FORWARD, BACKWARD)]  # of a layer without shared experts
ALONE = [[stage for stage in stages if stage not in TRAVELS] for stages in PLAIN]


def _watched(**changes):
    """Flags of a case to look at."""
    return flags(**{**CASE, "warmup": 1, **changes})


def _slices(path, rank):
    """[(name, category, begin, end)] of one rank, in the order of the file."""
    events = json.loads(pathlib.Path(path).read_text())["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X"}
    return [(e["name"], e["cat"], e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X" and e["pid"] == rank]


def _stages_by_pass(slices):
    """[(pass, [stage, …])] of all iterations; slices must nest, and what stands side by side must not overlap."""
    ends, passes, last = {}, [], {"iteration": 0, "pass": 0, "stage": 0}
    inside = {"pass": "iteration", "stage": "pass"}
    for name, kind, begin, end in slices:
        assert begin <= end and begin >= last[kind] - 1e-6, f"{kind} {name} begins before the one before it ends"
        last[kind] = end
        if kind in inside:
            outer_begin, outer_end = ends[inside[kind]]
            assert outer_begin - 1e-6 <= begin and end <= outer_end + 1e-6, f"{kind} {name} is not inside its {inside[kind]}"
        ends[kind] = (begin, end)
        if kind == "pass":
            passes.append((name, []))
        elif kind == "stage":
            passes[-1][1].append(name)
    return passes


def a_trace_holds_every_stage_of_every_iteration():
    traced = moebench(f"run {_watched(iters=4)} --trace a.json")
    assert traced.code == 0 and traced.errors() == []
    expect(traced.out, "4 iterations in a.json", "perfetto")
    slices = _slices("a.json", 0)
    assert [name for name, kind, *_ in slices if kind == "iteration"] == [f"iteration {i}" for i in range(4)]
    assert _stages_by_pass(slices) == [("forward", ALONE[0]), ("backward", ALONE[1])] * 4
    about = json.loads(pathlib.Path("a.json").read_text())["otherData"]
    assert about["experts"] == str(CASE["experts"]) and about["backend"] == "cpu"


def shared_experts_are_a_stage_in_two_pieces():
    traced = moebench(f"run {_watched(iters=2)} --shared-experts 1 --trace a.json")
    assert traced.code == 0
    forward = ["gate", "plan", "pack", "shared", "experts", "combine", "shared"]
    assert _stages_by_pass(_slices("a.json", 0)) == [("forward", forward), ("backward", ["combine", "experts", "shared", "pack", "shared", "gate"])] * 2
    for shared in (0, 2):
        assert moebench(f"run {_watched()} --shared-experts {shared} --max-time 0.1 --json {shared}.json").code == 0
        point = json.loads(pathlib.Path(f"{shared}.json").read_text())["points"][0]
        flops = {stage["flops"] for stage in point["stages"] if stage["stage"] == "shared"}
        assert flops == ({2 * 8 * 2 * 128, 4 * 8 * 2 * 128} if shared else set()), point["stages"]  # T·N·2HF


def ranks_are_processes_aligned_at_the_barrier():
    for ranks in (2, 3):
        traced = moebench(f"run {_watched(experts=6)} --comm mpi --pass step --trace {ranks}.json", ranks=ranks)
        assert traced.code == 0 and traced.out.count("perfetto") == 1, "more than one rank prints"
        all_slices = [_slices(f"{ranks}.json", rank) for rank in range(ranks)]
        for slices in all_slices:
            assert _stages_by_pass(slices) == [("forward", PLAIN[0]), ("backward", PLAIN[1]), ("sync", ["sync"])] * 3
        begins = [[begin for _, kind, begin, _ in slices if kind == "iteration"] for slices in all_slices]
        for begins_of_rank in begins:  # one clock per rank, so only in the median
            ahead = statistics.median(mine - first for mine, first in zip(begins_of_rank, begins[0]))
            assert abs(ahead) < 1e-3, begins
        names = [event["args"]["name"] for event in json.loads(pathlib.Path(f"{ranks}.json").read_text())["traceEvents"]
                 if event["name"] == "process_name"]
        assert [name.split(":")[0] for name in names] == [f"rank {rank}" for rank in range(ranks)]


def what_is_looked_at_is_one_case_and_not_timed():
    for flag in ("--profile", "--trace t.json"):
        word = flag.split()[0]
        expect_refused(moebench(f"run {_watched(experts='4,8')} {flag}"), 2, f"{word} takes one case, not 2", "--filter")
        expect_refused(moebench(f"run {_watched()} {flag} --json a.json"), 2, f"{word} times nothing, so --json")
        expect_refused(moebench(f"run {_watched()} {flag} --samples"), 2, f"{word} times nothing, so --samples")
        expect_refused(moebench(f"run {_watched(ranks=1)} {flag}", ranks=2), 2,
                       f"{word} takes a case on all ranks: the case has 1, but 2 run")
    expect_refused(moebench(f"run {_watched()} --profile --trace t.json"), 2, "give one of them")
    assert os.listdir() == []


def an_existing_trace_is_kept_unless_forced():
    pathlib.Path("a.json").write_text("mine")
    expect_refused(moebench(f"run {_watched()} --trace a.json"), 2, "a.json already exists; give --force")
    assert pathlib.Path("a.json").read_text() == "mine"
    assert moebench(f"run {_watched()} --trace a.json --force").code == 0
    assert _slices("a.json", 0)
    expect_refused(moebench(f"run {_watched()} --trace none/a.json"), 3, "there is no directory none")


def without_a_profiler_it_says_how_to_start_one():
    looked = moebench(f"run {_watched()} --profile")
    assert looked.code == 0
    expect(looked.out, "3 iterations inside the profiler's window", "No profiler listens", "tools/nsys", "tools/ncu")


def _heard(arguments, payloads=True, ranks=None):
    """The lines that a profiler writes down: tests/program/nvtx_log.cpp."""
    library = os.environ.get("NVTX_LOG_LIBRARY", "")
    if not os.path.exists(library):
        raise Skip("built without NVTX, or the profiler of this test was not built")
    variables = {"NVTX_LOG": os.path.abspath("heard"), "NVTX_INJECTION64_PATH": library}
    looked = moebench(arguments, variables={**variables, **({"NVTX_LOG_PAYLOADS": "1"} if payloads else {})}, ranks=ranks)
    assert looked.code == 0
    return looked, pathlib.Path("heard").read_text().splitlines()


def _passes_heard(lines):
    """[(pass, [stage, …])] of the pushes and pops; every push must meet its pop."""
    passes, depth = [], 0
    for line in lines:
        if line.startswith("push "):
            name = line.split()[1].removeprefix("moebench@")
            passes.append((name, [])) if depth == 0 else passes[-1][1].append(name)
            depth += 1
        elif line == "pop":
            depth -= 1
        assert 0 <= depth <= 2, line
    assert depth == 0
    return passes


def a_profiler_hears_a_range_for_the_case_and_each_pass_and_stage():
    looked, lines = _heard(f"run {_watched(iters=2)} --profile --check none")
    assert "No profiler listens" not in looked.out
    expect(lines[0], "start moebench@layer case=", " rank=0 tokens=8 hidden=8 ffn=8 experts=4 top-k=2")
    assert lines[-1] == "end 7"
    passes = _passes_heard(lines)
    assert passes[-4:] == [("forward", ALONE[0]), ("backward", ALONE[1])] * 2
    ids = {line.split("case=")[1].split()[0] for line in lines if "case=" in line}
    moebench(f"run {small(iters=6)} --json a.json")
    assert ids == {json.loads(pathlib.Path("a.json").read_text())["points"][0]["id"]}


def samples_have_ranges_too():
    _, lines = _heard(f"run {small(iters=7)} --no-stages --check none", payloads=False)
    passes = _passes_heard(lines)
    assert passes[-14:] == [("forward", ALONE[0]), ("backward", ALONE[1])] * 7
    assert len(lines[0].split()[2]) == 16, "an older profiler gets the id alone"


def _wrapped(tool, *arguments, **variables):
    return subprocess.run([ROOT / "tools" / tool, *arguments], capture_output=True, text=True,
                          env={**os.environ, **variables})


def wrappers_run_what_they_print():
    pathlib.Path("fake").write_text('#!/bin/sh\necho "ran: $*"\n')
    pathlib.Path("fake").chmod(0o755)
    tool = os.path.abspath("fake")
    for name, variable, parts in (
            ("nsys", "NSYS", ["--capture-range=cudaProfilerApi", "--output out", "run --experts 8 --profile"]),
            ("ncu", "NCU", ["--nvtx-include moebench@experts/", "--clock-control none", "--export out",
                            "run --experts 8 --profile --iters 1"])):
        done = _wrapped(name, "-o", "out", programs.moebench, "run", "--experts", "8", **{variable: tool})
        assert done.returncode == 0 and done.stderr == "", done
        printed, ran = done.stdout.splitlines()
        assert shlex.split(printed) == [tool, *ran.removeprefix("ran: ").split()]
        expect(printed, programs.moebench, *parts)
        assert _wrapped(name, "-n", "x", **{variable: tool}).stdout.count("\n") == 1
    expect(_wrapped("ncu", "-s", "combine", "-p", "backward", "-n", "x").stdout, "moebench@backward/combine/")


def wrappers_keep_an_earlier_report():
    pathlib.Path("fake").write_text('#!/bin/sh\necho "ran: $*"\n')
    pathlib.Path("fake").chmod(0o755)
    for name, variable, kept in (("nsys", "NSYS", "out.nsys-rep"), ("ncu", "NCU", "out.ncu-rep")):
        pathlib.Path(kept).write_text("mine")
        tool = {variable: os.path.abspath("fake")}
        refused = _wrapped(name, "-o", "out", "x", **tool)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "ran:" not in refused.stdout, refused
        expect(refused.stderr, f"tools/{name}: {kept} already exists; give -o FILE, or -f to replace it")
        assert "ran:" in _wrapped(name, "-o", "out", "-f", "x", **tool).stdout
        first = _wrapped(name, "-o", "other", "x", **tool)
        assert first.returncode == 0 and "force-overwrite=true" not in first.stdout and "--force-overwrite " not in first.stdout


def wrappers_refuse_in_one_line():
    for name, arguments, code, words in (
            ("nsys", ["x"], 3, "'none-such' is not there"), ("ncu", ["x"], 3, "'none-such' is not there"),
            ("nsys", [], 2, "no command given"), ("ncu", ["-q", "x"], 2, "unknown flag '-q'; valid: -s STAGE"),
            ("ncu", ["-s", "lunch", "x"], 2, "-s 'lunch': valid is one of gate plan pack")):
        done = _wrapped(name, *arguments, NSYS="none-such", NCU="none-such")
        assert done.returncode == code and done.stderr.count("\n") == 1, done
        expect(done.stderr, f"tools/{name}: {words}")


def what_the_wrappers_start_is_a_run_for_a_profiler():
    pathlib.Path("fake").write_text('#!/bin/bash\nwhile [ "$1" != "$PROGRAM_OF_THE_TEST" ]; do shift; done\nexec "$@"\n')
    pathlib.Path("fake").chmod(0o755)
    fake = os.path.abspath("fake")
    for name, variable, iterations in (("nsys", "NSYS", "3 iterations"), ("ncu", "NCU", "1 iteration")):
        done = _wrapped(name, programs.moebench, "run", *_watched().split(), PROGRAM_OF_THE_TEST=programs.moebench, **{variable: fake})
        assert done.returncode == 0, done
        expect(done.stdout, f"{iterations} inside the profiler's window")


main(globals())
