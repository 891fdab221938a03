# SPDX-License-Identifier: Apache-2.0
"""Words: help, lists, plans, and one line for what the user got wrong."""
import ast
import importlib
import json
import pathlib
import re
import sys

from program import CASE, ROOT, Skip, expect, expect_golden, expect_refused, flags, main, moebench, small


def _page(topic):
    """A page of help.md, where its flags are not filled in."""
    text = (ROOT / "src/cli/help.md").read_text()
    return re.search(rf"^(# {topic}: .*?)\n*(?=^# |\Z)", text, re.DOTALL | re.MULTILINE)[1] + "\n"


_NEED = r"  needs [\d.]+ [kMGT]B, sampled within [\d:]+$|  skipped: needs .*$"  # of the machine, at the end of a planned case


def _topics():
    return re.findall(r"^# ([a-z-]+):", (ROOT / "src/cli/help.md").read_text(), re.MULTILINE)


def help_is_the_page_that_was_written():
    for words in ("help", "", "--help", "-h"):
        assert moebench(words).out == _page("overview")
    for topic in ("axes", "suites", "environment", "exit-codes"):
        assert moebench(f"help {topic}").out == _page(topic)


def every_topic_has_a_page():
    for topic in _topics():
        shown = moebench(f"help {topic}")
        assert shown.code == 0 and shown.err == "" and len(shown.out) > 100
    for command in ("run", "verify", "compare", "info"):
        page = moebench(f"help {command}").out
        expect(page, "  --")
        assert moebench(f"{command} -h").out == page
    expect_refused(moebench("help axis"), 2, "unknown help topic 'axis'", "axes")


def every_example_in_the_help_can_be_planned():
    suite = re.search(r"^    \{$.*?^    \}$", moebench("help suites").out, re.DOTALL | re.MULTILINE)[0]
    pathlib.Path("my-suite.json").write_text(suite)
    lines = "".join(moebench(f"help {topic}").out for topic in _topics()).splitlines()
    found = [re.match(r"    (?:MOEBENCH_\S+ )*(?:mpirun -np \d+ )?moebench ((?:run|verify).*)", line) for line in lines]
    examples = [match[1].split("  ")[0] for match in found if match and "[flags]" not in match[1]]
    assert len(examples) >= 10, examples
    for example in examples:
        planned = moebench(example if "--plan" in example else f"{example} --plan")
        assert planned.code == 0 and planned.out, example


def the_version_says_what_was_built():
    shown = moebench("--version")
    assert shown.code == 0 and shown.err == ""
    assert re.fullmatch(r"moebench \d+\.\d+\.\d+ \(([0-9a-f]{12}|no commit)(, modified)?(, [A-Za-z]+)?(, (mpi|cuda|nccl))*\)\n",
                        shown.out), shown.out


def list_names_what_can_be_given():
    shown = moebench("list")
    assert shown.code == 0 and shown.err == ""
    for path in (ROOT / "suites").glob("*.json"):
        suite = json.loads(path.read_text())
        expect(shown.out, f"  {suite['name']} ", suite["question"])
    for topic, words in (("presets", "mixtral-8x7b"), ("engines", "naive-mask"), ("backends", "cpu"), ("comms", "self"),
                         ("stages", "dispatch")):
        part = moebench(f"list {topic}").out
        assert part.startswith(f"{topic}:\n") and words in part.split() and part in shown.out
    expect_refused(moebench("list suite"), 2, "unknown topic of list 'suite'; did you mean 'suites'?")


def stages_are_named_alike_everywhere():
    rows = [re.match(r"  (\S+) +(\S+(?: \S+)*?) +(between ranks|on each rank) +(#\w{6})  \S", line)
            for line in moebench("list stages").out.splitlines()[2:]]
    order = {"forward": [], "backward": [], "sync": []}
    for name, passes, _, _ in map(re.Match.groups, rows):
        for one in passes.split():
            order[one].append(name)
    order["backward"].reverse()
    names, colours = [row[1] for row in rows], {row[1]: row[4] for row in rows}
    stage = json.loads((ROOT / "docs/report.schema.json").read_text())["$defs"]["stage"]["properties"]
    assert stage["stage"]["enum"] == names and stage["fused_into"]["enum"] == names + [None]
    assert stage["pass"]["enum"] == list(order)
    sys.path.insert(0, str(ROOT / "plots"))
    plots = importlib.import_module("report")
    assert (plots.FORWARD, plots.BACKWARD, plots.STAGES) == (order["forward"], order["backward"], names)
    words = re.search(r"STAGE_COLOURS = (\{.*?\})", (ROOT / "plots/page.py").read_text(), re.DOTALL)[1]
    assert json.loads(words) == colours
    expect((ROOT / "tools/ncu").read_text(), f'stages=" {" ".join(names)} "', f"  {', '.join(names)} [", f'passes=" {" ".join(order)} "')
    text = (ROOT / "tests/program/profiling.py").read_text()
    forward, backward, travels = (ast.literal_eval(re.search(rf"^{name} = (.*)$", text, re.MULTILINE)[1])
                                  for name in ("FORWARD", "BACKWARD", "TRAVELS"))
    assert (forward, backward) == (order["forward"], order["backward"])
    assert travels | {"sync"} == {row[1] for row in rows if row[3] == "between ranks"}


def the_presets_are_these():
    shown = moebench("list presets")
    assert shown.code == 0
    expect_golden(shown.out, "presets.txt")


def the_suites_plan_these_cases():
    for path in sorted((ROOT / "suites").glob("*.json")):
        planned = moebench(f"run --suite {path.stem} --plan --backend cpu")
        assert planned.code == 0 and planned.err == ""
        cases = re.sub(_NEED, "", planned.out, flags=re.MULTILINE)
        expect_golden(re.sub(r"(backend|comm)=\w+", r"\1=…", cases), f"plan-{path.stem}.txt")


def a_plan_says_what_each_case_needs():
    planned = moebench(f"run {flags(**CASE)} --engine loop,naive-mask --max-time 7 --plan")
    lines = planned.out.splitlines()
    assert [re.search(r"  needs \d+\.\d [kM]B, sampled within (.*)$", line)[1] for line in lines] == ["0:07", "0:14"], lines
    expect(moebench(f"run {flags(**CASE)} --iters 5 --plan").out, "B, 5 samples\n")
    assert re.search(r"  needs \S+ [kM]B\n$", moebench(f"verify {flags(**CASE)} --plan").out)


def a_plan_says_which_cases_would_be_skipped():
    planned = moebench("run --tokens 1000000 --hidden 16384 --ffn 65536 --experts 64,4 --backend cpu --plan")
    assert planned.code == 0
    for line in planned.out.splitlines():
        assert re.search(r"  skipped: needs \S+ TB on each rank, \S+ [MGT]B are available$", line), line
    expect(moebench(f"run {flags(**CASE)} --ranks 1,2 --comm self --plan").out,
           "  skipped: needs 2 ranks, but 1 runs; start with mpirun -np 2\n")


def what_cannot_run_is_refused_before_anything_is_measured():
    alone = f"run {flags(**CASE)} --dtype bf16"
    for arguments in (alone, f"{alone} --plan", f"{alone} --ranks 2", alone.replace("run", "verify")):
        expect_refused(moebench(arguments), 2, "backend cpu computes in fp32, not bf16")
    expect_refused(moebench(f"run {flags(**CASE)} --subject linear --pass step"), 2, "subject linear has no step pass; valid: fwd")
    expect_refused(moebench(f"{alone} --engine loop,naive-mask"), 2, "not bf16 (in the case 'layer engine=loop'; none of the 2 cases")


def what_cannot_run_is_left_out_of_a_product():
    arguments = f"run {small(dtype='fp32,bf16', engine='loop,naive-mask')}"
    done = moebench(arguments)
    assert done.code == 0
    left_out = [line for line in done.err.splitlines() if "left out" in line]
    assert left_out == ["2 of 4 cases cannot run and are left out; --plan lists all; the first, 'layer dtype=bf16 engine=loop': "
                        "backend cpu computes in fp32, not bf16"], left_out
    lines = moebench(f"{arguments} --plan").out.splitlines()
    assert len(lines) == 4 and all("fp32" in line and "needs" in line for line in lines[:2]), lines
    for line in lines[2:]:
        assert line.startswith("–   subject=layer") and line.endswith("  left out: backend cpu computes in fp32, not bf16"), line


def the_pass_follows_the_subject():
    done = moebench(f"run {small(subject='dense,layer,linear')}")
    assert done.code == 0 and "left out" not in done.err
    for row in (r"dense +fwd\+bwd ", r"layer +fwd\+bwd ", r"linear +fwd "):
        assert re.search(row, done.out), row


def several_presets_are_one_sweep():
    planned = moebench("run --preset dbrx,mixtral-8x7b --scale 0.125 --backend cpu --plan")
    expect(planned.out, "hidden=768 ffn=1344", "hidden=512 ffn=1792")
    expect_refused(moebench("run --preset dbrx,mixtral"), 2, "unknown preset 'mixtral'")


def settings_that_change_nothing_are_said():
    expect(moebench(f"run {small(streams=4)}").err, "--streams changes nothing here: only engine streams reads it\n")
    expect(moebench(f"run {small(scale=0.5, suite='smoke')}").err, "--scale 0.5 shrinks what was typed, too: tokens 8 → 4\n")


def an_engine_of_another_backend_is_said_to_be_one():
    if "  cuda" not in moebench("list backends").out:
        raise Skip("built without CUDA")
    expect_refused(moebench(f"run {flags(**CASE)} --engine grouped"), 2, "moebench: engine grouped is of backend cuda, ")
    left = moebench(f"run {small(engine='grouped,loop')}")
    assert left.code == 0
    expect(left.err, "1 of 2 cases cannot run and is left out", "engine grouped is of backend cuda, ")


def a_short_time_needs_no_second_flag():
    assert moebench(f"run {flags('no-peaks', **CASE, max_time=0.05)}").code == 0
    expect_refused(moebench("run --suite smoke --suite smoke"), 2, "--suite is given twice; give it once")


def list_says_what_auto_stands_for():
    expect(moebench("list engines").out, "on cpu, loop\n")


def a_plan_measures_nothing_and_writes_nothing():
    planned = moebench(f"run {small(engine='loop,naive-mask')} --plan --json a.json --csv a.csv")
    assert planned.code == 0
    assert planned.out.count("\n") == 2
    assert not list(pathlib.Path().iterdir())


def an_unknown_word_names_the_nearest():
    expect_refused(moebench("run --experst 4"), 2, "unknown flag '--experst'; did you mean '--experts'?")
    expect_refused(moebench("rnu"), 2, "unknown command 'rnu'; did you mean 'run'?")
    expect_refused(moebench("run --engine lop"), 2, "unknown engine 'lop'; did you mean 'loop'?")
    expect_refused(moebench("run --suite smok"), 2, "unknown suite 'smok'; did you mean 'smoke'?")
    expect_refused(moebench("run --preset mixtral"), 2, "unknown preset 'mixtral'", "mixtral-8x7b")
    expect_refused(moebench("run --backend gpu"), 2, "unknown backend 'gpu'", "cpu")


def an_impossible_shape_is_refused():
    expect_refused(moebench("run --top-k 9 --experts 8"), 2, "moebench: top_k 9 exceeds experts 8")
    expect_refused(moebench(f"run {flags(**CASE)} --ranks 3 --ep 2"), 2, "ep")
    refused = moebench("run --tokens 8 --hidden 8 --ffn 8 --experts 4,5 --top-k 6")
    expect_refused(refused, 2, "top_k 6 exceeds experts 4", "experts=4", "none of the 2 cases")
    left = moebench(f"run {small(experts='4,8,16', top_k=6)}")
    assert left.code == 0
    expect(left.err, "1 of 3 cases cannot run and is left out", "'layer experts=4': top_k 6 exceeds experts 4")


def sizes_beyond_counting_are_refused():
    for size in (f"--tokens {2**63 - 1}", f"--hidden {2**62} --ffn 2", "--hidden 3000000000 --ffn 3000000000",
                 f"--experts {2**40} --hidden {2**20}"):
        expect_refused(moebench(f"run {size} --backend cpu"), 2, "at most")
    expect_refused(moebench(f"run --tokens {2**64}"), 2, "not a whole number")
    expect_refused(moebench("run --tokens 1:9223372036854775807:1"), 2, "--tokens")
    expect_refused(moebench("run --seed 1:1000:1 --tokens 1:1000:1"), 2, "more than 100000 cases")


def a_mistake_in_a_suite_names_file_line_and_key():
    def refused(text, *parts):
        pathlib.Path("s.json").write_text(text)
        expect_refused(moebench("run --suite s.json"), 2, "s.json:", *parts)

    refused('{\n  "name": "s",\n  "fixed": {\n    "tokens": 8,\n    "expert": 8\n  }\n}', "s.json:5:", "expert", "experts")
    refused('{\n  "name": "s",\n  "axis": {}\n}', "s.json:3:", "unknown key 'axis'; did you mean 'axes'?")
    refused('{\n  "name": "s",\n  "axes": {"experts": [8, 16}\n}', "s.json:3:")
    refused('{\n  "name": "s",\n  "axes": {"tokens": ["x"]}\n}', "s.json:3:", "tokens", "x")
    refused('{"fixed": {}}', "s.json:1:", '"name" is missing')
    expect_refused(moebench("run --suite none.json"), 2, "none.json", "cannot be read")


def verify_shows_errors_beside_their_bounds():
    verified = moebench(f"verify {flags(**CASE)} --engine loop,naive-mask,naive-rau --pass fwd+bwd")
    assert verified.code == 0
    expect(verified.out, "loop", "naive-mask", "naive-rau")


def verify_without_a_check_is_refused():
    expect_refused(moebench(f"verify {flags(**CASE)} --check none"), 2, "--check none", "quick, full")
    unchecked = {"MOEBENCH_CHECK": "none"}
    expect_refused(moebench(f"verify {flags(**CASE)}", variables=unchecked), 2, "MOEBENCH_CHECK=none")
    assert moebench(f"verify {flags(**CASE)} --check quick", variables=unchecked).code == 0


def verify_alone_takes_seconds_and_says_how_far_it_is():
    import time
    begin = time.monotonic()
    verified = moebench("verify --backend cpu")
    assert verified.code == 0
    if "sanitizers" not in verified.err:  # which make it several times slower
        assert time.monotonic() - begin < 20
    expect(verified.err, "no size was given", "[1/2]", "[2/2]")
    expect(verified.out, "gelu", "swiglu", "tokens=256")
    assert "no size was given" not in moebench(f"verify {flags(**CASE)}").err


def info_names_the_machine():
    shown = moebench("info")
    assert shown.code == 0 and shown.err == ""
    expect(shown.out, "build:", "machine:", "cpu", "rank 0", "engines")


def what_cannot_be_printed_is_an_error():
    import subprocess
    import program
    with open("/dev/full", "w") as full:
        done = subprocess.run([program.programs.moebench, "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3 and done.stderr == "moebench: cannot write to standard output\n", done


main(globals())
