# SPDX-License-Identifier: Apache-2.0
"""Routings: steps, what is replayed, traces from their recording to the report."""
import hashlib
import json
import pathlib
import pickle
import struct
import zipfile

from program import ROOT, expect, expect_refused, main, moebench, report, small

GOLDEN = ROOT / "tests/trace/golden"


def a_report_says_who_got_the_tokens():
    assert moebench(f"run {small(routing='one', tokens=8)} --json a.json --samples").code == 0
    (point,) = report("a.json")["points"]
    routing = point["routing"]
    assert (routing["how"], routing["ranks_per_token"], routing["trace"]) == ("planted", 1, None)
    assert routing["steps"][0]["expert_rows"] == [8, 8, 0, 0] and routing["steps"][0]["rows_per_expert"]["empty"] == 2
    assert moebench(f"run {small()} --json b.json").code == 0
    assert report("b.json")["points"][0]["routing"]["how"] == "gate"
    assert report("b.json")["points"][0]["routing"]["steps"] == [], "nobody asked for steps"


def steps_have_their_load_and_their_time():
    assert moebench(f"run {small(routing='burst:1', tokens=16, iters=12, cache='hot')} --json a.json").code == 0
    (point,) = report("a.json")["points"]
    steps = point["routing"]["steps"]
    assert [step["n"] for step in steps] == [3, 3, 3, 3] and all(step["p50_us"] > 0 for step in steps)
    assert [step["rows_per_expert"]["imbalance"] for step in steps[:3]] == [0, 0, 0]
    assert steps[3]["rows_per_expert"]["max"] == 16
    assert moebench(f"run {small(steps=2, iters=4)} --json b.json").code == 0
    assert len(report("b.json")["points"][0]["routing"]["steps"]) == 2
    expect_refused(moebench(f"run {small(routing='W7', steps=3)}"), 2, "--steps 3 is less than the 4 steps of routing W7")


def more_experts_than_hidden_are_replayed():
    assert moebench(f"run {small(routing='W1', experts=16)} --json a.json --check full").code == 0
    (point,) = report("a.json")["points"]
    assert point["routing"]["how"] == "replayed" and point["check"]["passed"]
    expect_refused(moebench(f"run {small(routing='W1', experts=16, routing_via='planted')}"), 2, "needs experts <= hidden")


def the_table_of_gates_and_routings_is_what_runs_do():
    listed = moebench("list gate-routings").out
    shown = "```\n" + listed.split("\n", 1)[1] + "```"
    assert shown in (ROOT / "docs/routing.md").read_text(), "docs/routing.md shows another table than 'moebench list gate-routings'"
    lines = listed.splitlines()[2:]
    for top_k, name in ((1, "one"), (2, "two")):
        layer = f"--experts 16 --top-k {top_k} --tokens 64 --hidden 32 --ffn 8"
        assert moebench(f"trace record {layer} --backend cpu --routing balanced -o {name}.moeroute").code == 0
    seen, rows = set(), {}
    for line in (line for line in lines if not line.startswith("  (")):
        rows.setdefault(line[25:], line)  # one gate for each row of answers: the reasons are the same
    for line in rows.values():
        gate, words = line[2:25].split(), [word for word in line[25:].split() if not word.startswith("(")]
        options = ["--gate", *gate]
        top_k = 1 if gate[0] == "switch" else 2
        trace = f"trace:{'one' if top_k == 1 else 'two'}.moeroute"
        asked = (dict(routing="random"), dict(routing="zipf:1"), dict(routing="zipf:1", hidden=8),
                 dict(routing="zipf:1", routing_via="replayed"), dict(routing=trace))
        assert len(words) == len(asked), line
        for word, routing in zip(words, asked):
            given = " ".join(["run", small(**{**dict(tokens=64, hidden=32, experts=16, top_k=top_k, iters=1), **routing}), *options])
            done = moebench(given + " --json a.json --force")
            assert done.code == (2 if word == "refused" else 0), (given, word, done.err)
            if word != "refused":
                assert report("a.json")["points"][0]["routing"]["how"] == word, (given, word)
            seen.add(word)
    assert seen == {"gate", "planted", "replayed", "refused"}


def ranks_replay_the_same_routing():
    for ranks in (1, 2):
        given = f"run {small(routing='zipf:1', experts=16, total_tokens=16, ranks=ranks).replace('--tokens 8 ', '')}"
        assert moebench(f"{given} --samples --check full --json {ranks}.json").code == 0
    one, two = (report(f"{ranks}.json")["points"][0]["routing"]["steps"][0]["expert_rows"] for ranks in (1, 2))
    assert one == two


def a_recorded_routing_comes_back():
    layer = small(experts=8, tokens=32, routing="zipf:1").replace("--iters 3", "").replace("--warmup 1", "").replace("--no-peaks", "")
    assert moebench(f"trace record {layer} --steps 2 -o a.moeroute").code == 0
    assert moebench(f"run {small(experts=8, tokens=32, routing='zipf:1', steps=2)} --samples --json planted.json").code == 0
    assert moebench(f"run {small(experts=8, tokens=32, routing='trace:a.moeroute')} --samples --check full --json replayed.json").code == 0
    planted, replayed = (report(f"{name}.json")["points"][0]["routing"] for name in ("planted", "replayed"))
    assert (planted["how"], replayed["how"]) == ("planted", "replayed")
    assert [step["expert_rows"] for step in planted["steps"]] == [step["expert_rows"] for step in replayed["steps"]]
    trace = replayed["trace"]
    assert (trace["name"], trace["steps"], trace["fitting"], len(trace["sha256"])) == ("a.moeroute", 2, None, 64)
    expect_refused(moebench("trace record -o a.moeroute --backend cpu"), 2, "a.moeroute already exists")


def traces_of_others_are_replayed():
    for name, tokens in (("v1", 6), ("r3.npy@layer=1", 5), ("counts.npy", 6), ("megatron@layer=4@step=1", 7)):
        given = small(experts=8, tokens=tokens, routing=f"trace:{GOLDEN}/{name}")
        assert moebench(f"run {given} --check full --json a.json --force").code == 0
        assert report("a.json")["points"][0]["routing"]["how"] == "replayed"
    more = moebench(f"run {small(experts=8, tokens=60, routing=f'trace:{GOLDEN}/v1')} --json b.json")
    assert more.code == 0
    expect(report("b.json")["points"][0]["routing"]["trace"]["fitting"], "tokens are repeated: the trace has 6 of 60")
    expect_refused(moebench(f"run {small(experts=4, routing=f'trace:{GOLDEN}/v1')}"), 2, "has 8 experts, the case has 4")
    expect_refused(moebench(f"run {small(experts=8, top_k=3, routing=f'trace:{GOLDEN}/v1')}"), 2, "has top-k 2, the case has 3")
    expect_refused(moebench(f"run {small(routing='trace:no.npy')}"), 2, "no.npy")
    expect_refused(moebench(f"run {small(routing='trace:x@layer=one')}"), 2, "is not FILE[@layer=L]")


class _Tensors(pickle.Unpickler):
    """Reads a .pt without torch, by the rules of pickle: what its opcodes call are these few functions."""

    def __init__(self, archive):
        self.archive = archive
        super().__init__(archive.open(archive.namelist()[0]))

    def find_class(self, module, name):
        return {"_rebuild_tensor_v2": lambda storage, offset, size, stride, *_: (storage, offset, size, stride),
                "LongStorage": "q", "IntStorage": "i", "FloatStorage": "f", "OrderedDict": dict}[name]

    def persistent_load(self, what):
        kind, code, key, device, count = what
        folder = self.archive.namelist()[0].split("/")[0]
        return kind, device, struct.unpack(f"<{count}{code}", self.archive.read(f"{folder}/data/{key}"))


def a_trace_is_written_for_the_token_imbalance_benchmark():
    assert moebench(f"trace convert {GOLDEN}/v1 -o again/").code == 0
    theirs, ours = (json.loads((folder / "manifest.json").read_text()) for folder in (GOLDEN / "v1", pathlib.Path("again")))
    assert theirs.keys() <= ours.keys() and theirs["tensors"].keys() == ours["tensors"].keys()
    for name, entry in ours["tensors"].items():
        path = pathlib.Path("again") / entry["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        assert {**entry, "sha256": 0} == {**theirs["tensors"][name], "sha256": 0}
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(GOLDEN / "v1" / entry["file"]) as golden:
            assert archive.testzip() is None, "a checksum of the archive"
            assert name == "source_rank" or _Tensors(archive).load() == _Tensors(golden).load()
    assert moebench("trace show again").code == 0
    expect_refused(moebench(f"trace convert {GOLDEN}/v1 -o again/"), 2, "again/ already exists")
    expect_refused(moebench(f"trace convert {GOLDEN}/megatron --experts 8 -o v1/"), 2, "holds weights, and the trace has none")


def a_case_is_named_by_what_its_trace_holds():
    pathlib.Path("moved.npy").write_bytes((GOLDEN / "r3.npy").read_bytes())
    for name, trace in (("a", f"{GOLDEN}/r3.npy"), ("b", "moved.npy@layer=0"), ("c", "moved.npy@layer=1")):
        assert moebench(f"run {small(experts=8, tokens=5, routing=f'trace:{trace}')} --json {name}.json").code == 0
    a, b, c = (report(f"{name}.json")["points"][0]["id"] for name in "abc")
    assert a == b != c
    compared = moebench("compare a.json b.json")
    assert "not in B" not in compared.out and "not in A" not in compared.out, compared.out
    expect(moebench("compare a.json c.json").out, "not in B")


def experts_are_placed_by_a_plan():
    layer = dict(experts=32, hidden=64, tokens=64, top_k=4, ranks=4, routing="W6", placement="eplb", iters=12)
    assert moebench(f"run {small(**layer)} --check full --json a.json").code == 0
    (point,) = report("a.json")["points"]
    placement, steps = point["routing"]["placement"], point["routing"]["steps"]
    assert placement["window"] == 1 and placement["expert_bytes"] == 4 * 2 * 64 * 8 and len(placement["steps"]) == len(steps) == 12
    for planned, step in zip(placement["steps"], steps):
        assert abs(planned["max_over_mean_planned"] - step["rows_per_rank"]["max_over_mean"]) < 1e-6, "the plan is what ran"
        assert planned["max_over_mean_oracle"] <= planned["max_over_mean_planned"] + 1e-9
        assert planned["max_over_mean_before"] > 2
    assert any(planned["moved_experts"] for planned in placement["steps"])
    assert sum(p["max_over_mean_planned"] for p in placement["steps"]) < 0.7 * sum(p["max_over_mean_before"] for p in placement["steps"])
    expect_refused(moebench(f"run {small(routing='W6', placement='eplb:0')}"), 2, "placement 'eplb:0' is not eplb:W")
    expect_refused(moebench(f"run {small(routing='W6', placement='shadow:2')}"), 2, "placement")


def traces_are_shown_and_converted():
    shown = moebench(f"trace show {GOLDEN}/v1")
    assert shown.code == 0
    expect(shown.out, "experts 8, top-k 2", "max/mean", "2.67")
    assert moebench(f"trace convert {GOLDEN}/megatron@layer=3 -o layer3.jsonl").code == 0
    lines = [json.loads(line) for line in pathlib.Path("layer3.jsonl").read_text().splitlines()]
    first = [json.loads((GOLDEN / f"megatron/router_trace_rank{rank}.jsonl").read_text().splitlines()[0]) for rank in (0, 1)]
    assert [line["step"] for line in lines] == [0, 1]
    assert lines[0]["top_indices"] == first[0]["top_indices"] + first[1]["top_indices"]
    assert moebench(f"trace convert {GOLDEN}/v1 -o counts.npy@as=counts").code == 0
    assert moebench("trace show counts.npy@as=counts").code == 0
    pathlib.Path("cut.npy").write_bytes((GOLDEN / "r3.npy").read_bytes()[:-1])
    expect_refused(moebench("trace show cut.npy"), 2, "cut.npy at byte 128")
    expect_refused(moebench("trace"), 2, "valid: record, show, convert")
    expect_refused(moebench("trace show"), 2, "needs a trace")


def experts_that_choose_have_as_many_rows_as_each_other_on_any_number_of_ranks():
    for ranks in (1, 2):
        given = f"run {small(gate='expert-choice', gate_group=8, top_k=1, hidden=16, total_tokens=32, ranks=ranks, steps=1).replace('--tokens 8 ', '')}"
        for exchange in ("fused", "direct"):
            assert moebench(f"{given} --exchange {exchange} --samples --check full --json {ranks}-{exchange}.json").code == 0
    for name in ("1-fused", "2-fused", "2-direct"):
        (point,) = report(f"{name}.json")["points"]
        assert point["check"]["passed"] and point["routing"]["steps"][0]["expert_rows"] == [8, 8, 8, 8]
        assert point["load"]["drops"]["dropped_pct"] == 0 and 0 < point["load"]["drops"]["lost_tokens"] < 32
    expect_refused(moebench(f"run {small(gate='expert-choice', routing='zipf:1')}"), 2, "gate expert-choice does not follow routing zipf:1")
    expect_refused(moebench(f"run {small(gate='expert-choice', capacity='none')}"), 2, "needs a capacity")
    expect_refused(moebench(f"run {small(gate='expert-choice', gate_group=3)}"), 2, "gate-group 3 does not divide the 8 tokens of rank 0")


def a_bias_that_moves_evens_out_the_load_step_by_step():
    rows = {}
    for ranks in (1, 2):
        given = f"run {small(gate='sigmoid', gate_bias_update=0.1, routing='hot:1', steps=8, hidden=16, total_tokens=32, ranks=ranks, iters=8).replace('--tokens 8 ', '')}"
        assert moebench(f"{given} --samples --check full --json {ranks}.json").code == 0
        (point,) = report(f"{ranks}.json")["points"]
        assert point["check"]["passed"]
        rows[ranks] = [step["expert_rows"] for step in point["routing"]["steps"]]
    assert rows[1] == rows[2] and len(rows[1]) == 8
    assert rows[1][0][0] == 32 and rows[1][7][0] <= 24, "of expert 0"
    expect_refused(moebench(f"run {small(gate_bias_update=0.1)}"), 2, "this gate has no bias")
    expect_refused(moebench(f"run {small(gate='sigmoid', gate_bias_update=0)}"), 2, "gate-bias-update '0' must be a number above 0")


def sinkhorn_is_the_same_on_any_number_of_ranks():
    rows = []
    for ranks in (1, 2):
        given = f"run {small(gate='sinkhorn', gate_group=8, hidden=16, total_tokens=32, ranks=ranks, steps=1).replace('--tokens 8 ', '')}"
        assert moebench(f"{given} --samples --check full --json {ranks}.json").code == 0
        rows.append(report(f"{ranks}.json")["points"][0]["routing"]["steps"][0]["expert_rows"])
    assert rows[0] == rows[1] and max(rows[0]) <= 20
    expect_refused(moebench(f"run {small(gate='sinkhorn', routing='zipf:1', routing_via='planted')}"), 2, "gate sinkhorn does not follow routing zipf:1")
    expect_refused(moebench(f"run {small(sinkhorn_iterations=3)}"), 2, "valid: --gate sinkhorn")


main(globals())
