# SPDX-License-Identifier: Apache-2.0
"""Past the machine: memory of whole models, and layers on GPUs that are not there."""
import json
import pathlib
import re

from program import ROOT, expect, expect_refused, main, moebench


def _valid(path, schema):
    """Holds a file against a schema of docs/, where this Python has jsonschema."""
    try:
        import jsonschema
    except ImportError:
        return
    jsonschema.validate(json.loads(pathlib.Path(path).read_text()), json.loads((ROOT / "docs" / schema).read_text()))


def _write_a_fabric(path, gpus_per_node):
    def number(value):
        return {"value": value, "provenance": "published", "source": "a test"}
    tier = {"nominal_gbs": number(100), "achieved_gbs": number(90), "latency_us": number(5)}
    pathlib.Path(path).write_text(json.dumps(
        {"schema": "moebench.fabric/1", "name": "here", "about": "a test", "gpus_per_node": gpus_per_node, "tiers": "serial",
         "intra": tier, "inter": tier, "largest_gpus": number(64), "error_pct": number(5)}))


def links_measures_every_way_and_size():
    done = moebench("links --ranks 2 --backend cpu --bytes 4096,16384 --json links.json")
    assert done.code == 0, done.err
    expect(done.out, "2 ranks over mpi", "Every rank to all others at once:", "messages µs", "copy µs", "store µs", "16 KiB")
    _valid("links.json", "links.schema.json")
    links = json.loads(pathlib.Path("links.json").read_text())
    found = [(point["way"], point["pattern"], point["bytes_to_each_peer"]) for point in links["points"]]
    assert found == [(way, "all", size) for way in ("messages", "copy", "store") for size in (4096, 16384)], found
    for point in links["points"]:
        assert 0 < point["min_us"] <= point["p50_us"] <= point["max_us"] and point["n"] >= 5 and point["peers"] == 1
    expect_refused(moebench("links --ranks 2 --backend cpu --bytes 4096 --json links.json"), 2, "links.json", "--force")


def links_looks_at_each_pair_of_three_ranks():
    done = moebench("links --ranks 3 --backend cpu --bytes 4096 --json -")
    pairs = [tuple(point["pair"]) for point in json.loads(done.out)["points"] if point["pattern"] == "pair" and point["way"] == "copy"]
    assert pairs == [(0, 1), (0, 2), (1, 2)], pairs


def links_refuses_what_cannot_be():
    for words, *parts in (
            ("links", "links are between ranks", "--ranks 2"),
            ("links --ranks 2 --backend cpu --bytes 100", "--bytes '100': 100 is less than 2048"),
            ("calibrate --ranks 2 --backend cpu --bytes 4096", "calibrate needs three sizes within a host, not 1"),
            ("calibrate --ranks 2 --way fast", "unknown way 'fast'", "messages, copy, store")):
        expect_refused(moebench(words), 2, *parts)


def calibrate_makes_a_fabric_that_project_takes():
    done = moebench("calibrate --ranks 2 --backend cpu --way copy --bytes 65536:4194304:*4 --name here -o here.json")
    assert done.code == 0, done.err
    expect(done.out, "fabric here:", "within a host", "the lines miss a measured exchange by up to")
    _valid("here.json", "fabric.schema.json")
    done = moebench("project --preset mixtral-8x7b --nodes 1 --fabric here.json")
    assert done.code == 0, done.err
    expect(done.out, "here")


def project_measures_the_ranks_that_may_set_the_time():
    layer = "--tokens 32 --hidden 16 --ffn 16 --experts 8 --top-k 2 --dtype fp32 --routing zipf:1"
    _write_a_fabric("here.json", gpus_per_node=4)
    command = f"project {layer} --nodes 1,2 --fabric here.json --compute alone.json --measure --iters 7 --json whole.json"
    done = moebench(command)
    assert done.code == 0, done.err
    _valid("whole.json", "projection.schema.json")
    rows = json.loads(pathlib.Path("whole.json").read_text())["points"]
    measured = json.loads(pathlib.Path("alone.json").read_text())["points"]
    for row in rows:
        ranks = {point["case"]["as-rank"] for point in measured if point["case"]["ranks"] == row["gpus"]}
        assert ranks == {*row["worst_ranks"], row["median_rank"]}, (ranks, row)
        assert row["compute"]["as_rank"] in row["worst_ranks"] and row["compute"]["gate_experts"] == 8
        worst = [point["ranks"]["rows"] for point in measured
                 if point["case"]["ranks"] == row["gpus"] and point["case"]["as-rank"] == row["worst_ranks"][0]]
        assert worst == [[row["rows"]["worst"]]], (worst, row["rows"])
    expect(done.out, "alone")
    kept = pathlib.Path("alone.json").read_text()
    without = json.loads(kept)
    for point in without["points"]:
        del point["ranks"]["rows"]
    pathlib.Path("alone.json").write_text(json.dumps(without))
    expect_refused(moebench(command.replace("--measure --iters 7 --json whole.json", "")), 2, "--compute: alone.json", "ranks.rows", "as-rank=")
    pathlib.Path("alone.json").write_text(kept)
    again = moebench(command + " --force")
    assert again.code == 0 and "µs" not in again.err and "ms ±" not in again.err, again.err
    expect_refused(moebench("project --nodes 1 --fabric here.json --measure"), 2, "--measure needs --compute REPORT")


def memory_of_a_layout_is_one_table():
    done = moebench("memory --preset deepseek-v3 --gpus 1024 --tp 2 --pp 8 --ep 64")
    assert done.code == 0 and done.err == ""
    expect(done.out, "671.0 B parameters, 37.6 B active per token (published: 671, 37)",
           "the fullest GPU holds 1.28 B parameters of experts and 1.42 B others", "overload  weights", "This split fits at")
    assert max(map(len, done.out.splitlines())) < 140


def memory_finds_the_fewest_gpus_for_a_trillion_parameters():
    done = moebench("memory --preset kimi-k2 --json plan.json")
    assert done.code == 0, done.err
    expect(done.out, "1026.4 B parameters", "the best first")
    _valid("plan.json", "memory.schema.json")
    plan = json.loads(pathlib.Path("plan.json").read_text())
    fitting = [layout for layout in plan["layouts"] if layout["memory"][0]["fits"]]
    assert plan["layouts"][0]["gpus"] == min(layout["gpus"] for layout in fitting)
    assert [memory["overload"] for memory in plan["layouts"][0]["memory"]] == [1, 1.5, 2, 4]


def memory_parts_add_up():
    done = moebench("memory --preset mixtral-8x7b --gpus 64 --ep 8 --tp 2 --pp 2 --overload 1,3 --json - --optimizer muon --weights fp8")
    plan = json.loads(done.out)
    expect(done.err, "mixtral-8x7b")
    for memory in plan["layouts"][0]["memory"]:
        parts = sum(memory[f"{part}_bytes"] for part in ("weights", "gradients", "optimizer", "activations", "buffers"))
        assert abs(parts - memory["total_bytes"]) < 1
        assert abs(memory["free_bytes"] + parts - plan["gpu"]["memory_bytes"]) < 1
    assert plan["choices"]["optimizer"] == "muon" and plan["choices"]["fp8_weights"]


def memory_that_does_not_fit_is_exit_code_6():
    done = moebench("memory --preset kimi-k2 --gpus 64 --ep 64 --json plan.json")
    assert done.code == 6 and len(done.errors()) == 1
    expect(done.errors()[0], "nothing fits: with TP 1, PP 1, EP 64 on 64 GPUs the smallest shortfall is", "GiB at overload 1")
    _valid("plan.json", "memory.schema.json")
    assert not json.loads(pathlib.Path("plan.json").read_text())["layouts"][0]["memory"][0]["fits"]


def memory_refuses_what_cannot_be():
    for words, *parts in (
            ("", "memory needs --preset NAME", "deepseek-v3"),
            ("--preset fastmoe", "is one layer and no whole model"),
            ("--preset deepseek-v4", "unknown preset", "did you mean 'deepseek-v3'"),
            ("--preset deepseek-v3 --gpus 1000 --tp 2 --pp 8 --ep 64", "--gpus 1000 is no multiple of --tp 2 times --pp 8 = 16"),
            ("--preset deepseek-v3 --gpus 64 --ep 6", "--ep 6 does not divide the 256 experts"),
            ("--preset deepseek-v3 --gpus 64 --ep 6,12", "none of 2 layouts is possible"),
            ("--preset deepseek-v3 --tp 3", "--tp 3 does not divide the 128 attention heads"),
            ("--preset deepseek-v3 --pp 99", "--pp 99 exceeds the 61 layers"),
            ("--preset deepseek-v3 --pp 1 --vp 2", "--vp 2 needs --pp"),
            ("--preset deepseek-v3 --gpus 0", "--gpus", "0 is less than 1"),
            ("--preset deepseek-v3 --gpus 8,16", "--gpus", "is not one value"),
            ("--preset deepseek-v3 --gpus 99999999999999999999", "is not a whole number"),
            ("--preset deepseek-v3 --tp 1::2", "--tp"),
            ("--preset deepseek-v3 --overload nan", "--overload: 'nan' is not a number"),
            ("--preset deepseek-v3 --overload 0.5", "--overload: '0.5' is not a number from 1"),
            ("--preset deepseek-v3 --overload 1,,2", "--overload: '' is not a number"),
            ("--preset deepseek-v3 --gpu h1000", "unknown GPU 'h1000'; did you mean"),
            ("--preset deepseek-v3 --gpu-memory -5", "--gpu-memory"),
            ("--preset deepseek-v3 --gpu-memory inf", "--gpu-memory: 'inf'"),
            ("--preset deepseek-v3 --optimizer adam", "unknown optimizer 'adam'", "adamw"),
            ("--preset deepseek-v3 --recompute some", "unknown recompute choice 'some'"),
            ("--preset deepseek-v3 --exchange-buffers capacity:0", "--exchange-buffers: '0' is not a number"),
            ("--preset deepseek-v3 --exchange-buffers big", "unknown kind of buffers 'big'"),
            ("--preset deepseek-v3 --tokens 0", "0 is less than 1"),
            ("--preset deepseek-v3 --experts 8", "unknown flag '--experts'"),
            ("--preset deepseek-v3 stray", "unexpected 'stray'")):
        expect_refused(moebench(f"memory {words} --json no.json"), 2, *parts)
        assert not pathlib.Path("no.json").exists(), words


def memory_does_not_replace_a_file():
    pathlib.Path("plan.json").write_text("mine")
    expect_refused(moebench("memory --preset dbrx --json plan.json"), 2, "already exists; give --force")
    assert pathlib.Path("plan.json").read_text() == "mine"
    assert moebench("memory --preset dbrx --json plan.json --force").code == 0
    _valid("plan.json", "memory.schema.json")
    assert moebench("memory --preset dbrx --json nowhere/plan.json").code == 3

def _fabric(**changes):
    """A fabric without a name of a GPU, in mine.json."""
    fabric = json.loads((ROOT / "fabrics/hgx-h100-ndr.json").read_text())
    del fabric["gpu"]
    fabric.update(changes)
    pathlib.Path("mine.json").write_text(json.dumps(fabric))
    return fabric


LAYER = "--hidden 16 --ffn 32 --experts 16 --top-k 2 --dtype fp32"


def _one_rank(more="--tokens 16,24"):
    """A report of 2 experts on one rank."""
    done = moebench(f"run --backend cpu {LAYER.replace('--experts 16', '--experts 2')} {more} --iters 8 --warmup 1 --no-peaks --quiet --json one.json")
    assert done.code == 0, done.err


def the_selftest_predicts_what_was_held_out():
    done = moebench("project --selftest")
    assert done.code == 0 and done.err == ""
    expect(done.out, "DeepEP LL dispatch fp8", "128 GPUs  -5.0 %", "HybridEP dispatch", "All as expected.")


def every_fabric_holds_to_its_schema():
    files = sorted((ROOT / "fabrics").glob("*.json"))
    listed = moebench("list fabrics").out
    assert len(files) >= 6
    for file in files:
        _valid(file, "fabric.schema.json")
        expect(listed, file.stem)


def a_projection_says_where_each_row_comes_from():
    done = moebench("project --preset deepseek-v3 --tokens 256 --nodes 1,2,8,32 --fabric hgx-h100-ndr --json p.json")
    assert done.code == 0, done.err
    expect(done.out, "exchanges alone", "315 GB/s (fitted)", "extrapolated", "Not in it: congestion")
    _valid("p.json", "projection.schema.json")
    points = json.loads(pathlib.Path("p.json").read_text())["points"]
    assert [point["exchange"]["provenance"] for point in points] == ["fitted", "fitted", "fitted", "extrapolated"]
    assert points[3]["exchange"]["error_pct"] > points[2]["exchange"]["error_pct"] == 7.9
    assert abs(points[1]["nodes_per_token"] - 1.99) < 0.02 and points[0]["net_bytes"] == 0
    assert points[0]["compute"] is None


def a_projection_takes_compute_from_a_report():
    _one_rank()
    _fabric()
    done = moebench(f"project {LAYER} --tokens 16 --nodes 1,2 --fabric mine.json --compute one.json --json p.json")
    assert done.code == 0, done.err
    expect(done.out, "measured, one.json", "no compute: one.json has no case of 1 experts on one GPU; measured: 2")
    _valid("p.json", "projection.schema.json")
    point = json.loads(pathlib.Path("p.json").read_text())["points"][0]
    assert point["experts_per_gpu"] == 2 and point["compute"]["total_us"] > 0 and point["efficiency"] > 0
    assert abs(point["time"]["overlap_0_us"] - point["compute"]["total_us"] - 4 * point["exchange"]["each_us"]) < 1e-6


def compute_of_fewer_experts_than_top_k_is_measured_with_a_smaller_top_k():
    layer = LAYER.replace("--top-k 2", "--top-k 4")
    run = "run --backend cpu --hidden 16 --ffn 32 --dtype fp32 --iters 8 --warmup 1 --no-peaks --quiet"
    pathlib.Path("suite.json").write_text(json.dumps({"name": "both", "cases": [
        {"experts": 2, "top-k": 1, "tokens": 48}, {"experts": 2, "top-k": 1, "tokens": 96},
        {"experts": 16, "top-k": 4, "tokens": 16}]}))
    assert moebench(f"{run} --suite ./suite.json --json both.json").code == 0
    _fabric()
    done = moebench(f"project {layer} --tokens 16 --nodes 1 --fabric mine.json --compute both.json --json -")
    assert done.code == 0, done.err
    compute = json.loads(done.out)["points"][0]["compute"]
    assert compute["gate_experts"] == 16 and 0 < compute["experts_forward_us"] < compute["forward_us"]


def a_what_if_is_said_in_every_output():
    words = "project --preset deepseek-v3 --tokens 64 --nodes 2 --fabric roce-400"
    done = moebench(f"{words} --what-if nic=25,overlap=0.5 --json -")
    expect(done.err, "WHAT IF nic=25,overlap=0.5", "between nodes 25 GB/s (given)", "what if")
    what_if = json.loads(done.out)
    assert what_if["what_if"] == "nic=25,overlap=0.5"
    point, before = what_if["points"][0], json.loads(moebench(f"{words} --json -").out)["points"][0]
    assert point["exchange"]["provenance"] == "given" and before["exchange"]["provenance"] == "published"
    assert abs(point["exchange"]["net_us"] / before["exchange"]["net_us"] - 48.5 / 25) < 1e-9
    assert "at_overlap_us" in point["time"]


def project_refuses_what_cannot_be():
    _fabric()
    _one_rank()
    layer = f"{LAYER} --tokens 16"
    for words, *parts in (
            ("", "project needs --fabric NAME|FILE", "hgx-h100-ndr"),
            ("--fabric hgx-h100", "unknown fabric 'hgx-h100'"),
            ("--fabric none.json", "fabric 'none.json' cannot be read or is empty"),
            ("--fabric .json", "cannot be read or is empty"),
            ("--fabric mine.json --nodes 0", "0 is less than 1"),
            ("--fabric mine.json --nodes 1:64:*1", "--nodes '1:64:*1': the factor"),
            ("--fabric mine.json --nodes 65", "--nodes 65 are 520 GPUs, more than 8 times the 64", "--extrapolate"),
            ("--fabric mine.json --nodes 60000 --extrapolate", "are more than 65536 GPUs"),
            ("--fabric mine.json --gpus-per-node 9", "--gpus-per-node 9 exceeds the 8"),
            ("--fabric mine.json --ep 5", "--ep 5 does not divide the 8 GPUs"),
            ("--fabric astra-hgx-h100 --nodes 2", "has no links between nodes"),
            ("--fabric astra-hgx-h100 --what-if nic=3", "has no links between nodes"),
            ("--fabric mine.json --what-if nic=-3", "--what-if: 'nic=-3': '-3' is not a number"),
            ("--fabric mine.json --what-if speed=3", "unknown what-if 'speed'"),
            ("--fabric mine.json --dedup all", "unknown deduplication 'all'"),
            ("--fabric mine.json --routing some", "some"),
            ("--fabric mine.json --tokens 1,2", "project takes one layer, and the flags say 2"),
            ("--fabric mine.json --experts 0", "--experts"),
            ("--fabric mine.json --tokens 130000000", "more choices than"),
            ("--fabric mine.json --compute one.json --tokens 15", "15 tokens are outside the measured 16 to 24"),
            ("--fabric mine.json --compute one.json --hidden 32", "no case of one.json is this layer on one GPU: hidden 32"),
            ("--fabric mine.json --compute mine.json", "mine.json"),
            ("--fabric hgx-h100-ndr --compute one.json", "was measured on no GPU, and hgx-h100-ndr has H100")):
        given = layer
        for flag in ("--experts", "--tokens", "--hidden"):  # the last one counts
            if flag in words:
                given = re.sub(rf"{flag} \d+", "", given)
        expect_refused(moebench(f"project {given} {words} --json no.json"), 2, *parts)
        assert not pathlib.Path("no.json").exists(), words


def project_refuses_fabrics_with_mistakes():
    whole = _fabric()
    rate = whole["intra"]["achieved_gbs"]
    for change, *parts in (
            ({"itra": 1}, "unknown key \"itra\"; did you mean \"intra\"?"),
            ({"schema": "moebench.report/1"}, "the schema is 'moebench.report/1'"),
            ({"gpus_per_node": 0}, "gpus_per_node is 0"),
            ({"tiers": "both"}, "tiers is 'both'; valid: concurrent, serial"),
            ({"intra": {**whole["intra"], "achieved_gbs": {**rate, "value": -315}}}, "intra.achieved_gbs.value is -315"),
            ({"intra": {**whole["intra"], "achieved_gbs": {**rate, "value": float("nan")}}}, "malformed JSON"),
            ({"intra": {**whole["intra"], "achieved_gbs": {"value": 1, "provenance": "published"}}}, "\"source\" is missing"),
            ({"intra": {**whole["intra"], "achieved_gbs": 315}}, "must be an object, not number"),
            ({"error_pct": {**rate, "provenance": "guessed"}}, "unknown provenance 'guessed'")):
        _fabric(**change)
        expect_refused(moebench("project --preset dbrx --fabric mine.json --json no.json"), 2, "mine.json", *parts)
        assert not pathlib.Path("no.json").exists()
    for text in ("", "{", "[1]", "\0\0", "null", '"x"', "{" * 2000):
        pathlib.Path("mine.json").write_text(text)
        expect_refused(moebench("project --preset dbrx --fabric mine.json"), 2, "mine.json")


def project_refuses_reports_that_do_not_show_one_gpu():
    _one_rank()
    _fabric()
    words = f"project {LAYER} --tokens 16 --fabric mine.json --compute changed.json"
    report = json.loads(pathlib.Path("one.json").read_text())

    def refused(part):
        pathlib.Path("changed.json").write_text(json.dumps(report))
        expect_refused(moebench(words), 2, "changed.json", part)

    rank = report["machine"]["ranks"][0]
    gpu = {"name": "NVIDIA H100 80GB HBM3", "multiprocessors": 132, "memory_bytes": 8e10, "cache_bytes": 5e7}
    report["machine"].update(gpus=[gpu], ranks=[{**rank, "uuid": "GPU-1"}, {**rank, "rank": 1, "uuid": "GPU-1"}])
    refused("share a GPU")
    report["machine"].update(gpus=[], ranks=[rank])
    for point in report["points"]:
        point["case"]["routing"] = "zipf:1"
    refused("no case of changed.json is this layer on one GPU")
    for point in report["points"]:
        point["case"]["routing"] = "random"
    report["points"][0]["check"]["passed"] = None
    report["points"][0]["check"].update(mode="none", items=[])
    refused("failed or was not checked")
    report["points"][0].update(status="incorrect", reason="wrong")
    refused("failed or was not checked")


main(globals())
