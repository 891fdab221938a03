#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""predict_exchange.py CLUSTER MOEBENCH: links calibrated between 2 hosts predict the layer's exchange between 4.

The hosts are network namespaces, and their links so slow that the cores idle. Others may hold the cores, which makes an
exchange slower but never faster: the best of three attempts counts.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77
RATE = "200mbit"
LAYER = ["--tokens", "4096", "--hidden", "256", "--ffn", "16", "--experts", "8", "--top-k", "2", "--dtype", "fp32"]
LARGEST_ERROR_PCT = {"balanced:spread": 5, "zipf:1": 10}


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def why_not(cluster):
    if os.geteuid() != 0:
        return "network namespaces need root"
    if "no hosts" not in subprocess.run([cluster, "info"], capture_output=True, text=True).stdout:
        return "no iproute2 here, or somebody's cluster is up"
    if subprocess.run([cluster, "up", "1"], capture_output=True).returncode:
        return "this machine makes no network namespaces"
    return ""


def predicted_us(moebench, routing):
    """One exchange of the layer on 4 hosts, from the fabric of 2."""
    projection = json.loads(run(moebench, "project", *LAYER, "--routing", routing, "--nodes", "4", "--gpus-per-node", "1",
                                "--dedup", "none", "--fabric", "two.json", "--json", "-"))
    return projection["points"][0]["exchange"]["each_us"]


def measured_us(cluster, moebench, routing):
    """The stage `dispatch` of the layer on 4 hosts: the fastest of its times, in which no rank came late."""
    run(cluster, "run", "4", "--", moebench, "run", *LAYER, "--routing", routing, "--steps", "1", "--pass", "fwd", "--cache", "hot",
        "--backend", "cpu", "--comm", "mpi", "--iters", "6", "--warmup", "1", "--no-peaks", "--check", "none", "--json", "four.json", "--force")
    (point,) = json.loads(pathlib.Path("four.json").read_text())["points"]
    return next(stage["time"]["min_us"] for stage in point["stages"] if stage["stage"] == "dispatch")


def check(cluster, moebench):
    run(cluster, "up", "4", "--rate", RATE)
    missed = dict(LARGEST_ERROR_PCT)
    for _ in range(3):
        run(cluster, "run", "2", "--", moebench, "calibrate", "--backend", "cpu", "--comm", "mpi", "--way", "messages",
            "--bytes", "1048576:4194304:*2", "--name", "two", "-o", "two.json", "--force")
        for routing, largest in list(missed.items()):
            told, seen = predicted_us(moebench, routing), measured_us(cluster, moebench, routing)
            error = 100 * (told / seen - 1)
            print(f"{routing}: predicted {told / 1e3:.1f} ms, measured {seen / 1e3:.1f} ms, {error:+.1f} %", flush=True)
            if abs(error) <= largest:
                del missed[routing]
        if not missed:
            return
    sys.exit(f"further off than allowed: {', '.join(missed)}")


def main():
    cluster, moebench = sys.argv[1:]
    if why := why_not(cluster):
        print(f"SKIPPED: {why}")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            check(cluster, moebench)
        finally:
            run(cluster, "down")
            os.chdir("/")


main()
