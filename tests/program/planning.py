# SPDX-License-Identifier: Apache-2.0
"""Past the machine: memory of whole models."""
import json
import pathlib

from program import ROOT, expect, expect_refused, main, moebench


def _valid(path, schema):
    """Holds a file against a schema of docs/, where this Python has jsonschema."""
    try:
        import jsonschema
    except ImportError:
        return
    jsonschema.validate(json.loads(pathlib.Path(path).read_text()), json.loads((ROOT / "docs" / schema).read_text()))


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


main(globals())
