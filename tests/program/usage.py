# SPDX-License-Identifier: Apache-2.0
"""Words: help, lists, plans, and one line for what the user got wrong."""
import json
import pathlib
import re

from program import CASE, ROOT, expect, expect_golden, expect_refused, flags, main, moebench, small


def _page(topic):
    """A page of help.md, where its flags are not filled in."""
    text = (ROOT / "src/cli/help.md").read_text()
    return re.search(rf"^(# {topic}: .*?)\n*(?=^# |\Z)", text, re.DOTALL | re.MULTILINE)[1] + "\n"


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
    for topic, words in (("presets", "mixtral-8x7b"), ("engines", "naive-mask"), ("backends", "cpu"), ("comms", "self")):
        part = moebench(f"list {topic}").out
        assert part.startswith(f"{topic}:\n") and words in part.split() and part in shown.out
    expect_refused(moebench("list suite"), 2, "unknown topic of list 'suite'; did you mean 'suites'?")


def the_presets_are_these():
    shown = moebench("list presets")
    assert shown.code == 0
    expect_golden(shown.out, "presets.txt")


def the_suites_plan_these_cases():
    for path in sorted((ROOT / "suites").glob("*.json")):
        planned = moebench(f"run --suite {path.stem} --plan --backend cpu")
        assert planned.code == 0 and planned.err == ""
        expect_golden(re.sub(r"(backend|comm)=\w+", r"\1=…", planned.out), f"plan-{path.stem}.txt")


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
    refused = moebench("run --tokens 8 --hidden 8 --ffn 8 --experts 4,8,16 --top-k 6")
    expect_refused(refused, 2, "top_k 6 exceeds experts 4", "experts=4", "--filter")


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
    assert verified.code == 0 and time.monotonic() - begin < 20
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
