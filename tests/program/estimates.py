# SPDX-License-Identifier: Apache-2.0
"""The memory that a case was estimated to need, against what it took."""
from program import main, moebench, report

FACTOR = 1.5  # an estimate is at most so many times the peak
PROCESS_BYTES = 24e6  # what a process takes for itself at first use, and the estimate's allowance for that
LAYER = "--hidden 256 --ffn 512 --experts 8"


def _holds(settings, ranks=None):
    """The estimate of one case lies between its peak and FACTOR times that. One thread: it waits for no other on a busy machine."""
    assert moebench(f"run {settings} --backend cpu --threads 1 --iters 2 --no-peaks --no-stages --json m.json --force", ranks=ranks).code == 0
    document = report("m.json")
    memory = document["points"][0]["memory"]
    estimated, peak = memory["estimated_bytes"], memory["peak_bytes"]
    assert peak <= 1.001 * estimated, f"{settings}: {peak:.4g} bytes were taken, {estimated:.4g} estimated"
    assert estimated <= FACTOR * peak, f"{settings}: {estimated:.4g} bytes were estimated, {peak:.4g} taken"
    if "-fsanitize=" in document["tool"]["flags"]:
        return  # a sanitizer keeps freed memory
    both, resident = estimated + memory["host_estimated_bytes"], memory["resident_bytes"]
    assert resident <= both, f"{settings}: {resident:.4g} bytes were resident, {both:.4g} estimated"
    assert both <= FACTOR * resident + PROCESS_BYTES, f"{settings}: {both:.4g} bytes were estimated, {resident:.4g} resident"


def the_estimate_holds_for_layers():
    for shape in (f"--tokens 2048 {LAYER}", f"--tokens 1024 {LAYER} --pass fwd", f"--tokens 1024 {LAYER} --activation swiglu --bias on",
                  "--tokens 512 --hidden 512 --ffn 1024 --experts 16 --top-k 4"):
        _holds(shape)


def the_estimate_holds_for_every_engine():
    for engine in ("naive-sample", "naive-mask", "naive-rau"):
        _holds(f"--tokens 1024 {LAYER} --engine {engine}")


def the_estimate_holds_for_every_check():
    _holds(f"--tokens 1024 {LAYER} --check none")
    _holds(f"--tokens 256 {LAYER} --check full")
    _holds(f"--tokens 1024 {LAYER} --shared-experts 2")


def the_estimate_holds_for_other_subjects():
    _holds("--subject dense --tokens 1024 --hidden 256 --ffn 512")
    _holds("--subject linear --tokens 1024 --hidden 512 --ffn 1024 --pass fwd")


def the_estimate_holds_for_several_ranks():
    for exchange in ("fused", "direct", "direct --overlap tile", "fused --routing zipf:1.2"):
        _holds(f"--tokens 1024 {LAYER} --exchange {exchange}", ranks=2)


def a_case_is_skipped_for_what_its_check_needs():
    plan = {check: moebench(f"run --backend cpu --plan --tokens 2048 {LAYER} --check {check}").out for check in ("none", "quick")}
    needs = {check: float(out.split("  needs ")[1].split(" MB")[0]) for check, out in plan.items()}
    assert needs["quick"] > 1.2 * needs["none"], needs


main(globals())
