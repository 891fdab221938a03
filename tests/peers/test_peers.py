#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the peers to moebench: the same numbers, results that are right, reports that moebench reads.

    test_peers.py MOEBENCH [CLASS]

Exit status: 0 if all passed, 1 if not, 77 without PyTorch (ctest counts that as skipped).
"""
import contextlib
import io
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / "tools/peers"
sys.dont_write_bytecode = True
sys.path.insert(0, str(PEERS))
MOEBENCH = ""
EAGER = "torch-mask,torch-rau,torch-index,torch-grouped"


class InADirectory(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder.name)

    def peers(self, *arguments):
        """Runs the program in this process: (exit code, stdout, stderr)."""
        out, err, argv, code = io.StringIO(), io.StringIO(), sys.argv, None
        sys.argv = [str(PEERS / "run"), *arguments]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                runpy.run_path(str(PEERS / "run"), run_name="__main__")
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = argv
        return code, out.getvalue(), err.getvalue()

    def points(self, *arguments):
        """The points of a run on the CPU."""
        code, out, err = self.peers("--backend", "cpu", "--iters", "6", "--json", "peers.json", *arguments)
        self.assertEqual((code, err), (0, ""), out)
        return json.loads(pathlib.Path("peers.json").read_text())["points"]

    def assert_refuses(self, saying, *arguments):
        code, out, err = self.peers(*arguments)
        self.assertEqual((code, out), (2, ""))
        self.assertRegex(err, rf"\Aerror: [^\n]*{saying}[^\n]*\n\Z")


class Alone(InADirectory):
    def test_a_python_without_torch_is_told_so_in_one_line(self):
        pathlib.Path("torch.py").write_text("raise ImportError('not here')\n")
        done = subprocess.run([sys.executable, PEERS / "run"], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": os.getcwd()})
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertRegex(done.stderr, r"\Aerror: [^\n]* has no torch: [^\n]*\n\Z")


class Numbers(unittest.TestCase):
    """The formulas and random numbers of moebench, written a second time."""

    def setUp(self):
        import workload
        self.of = workload
        self.paper = workload.Shape(4096, 1024, 4096, 8, 2, "gelu", "fp32")

    def test_the_mixer_is_the_published_one_for_numbers_and_tensors(self):
        import torch
        expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]  # SplitMix64 from state 0
        self.assertEqual([self.of.mix(0, index) for index in (0, 1)], expected)
        self.assertEqual(self.of.mix(0, torch.arange(2)).tolist(), [self.of.signed(bits) for bits in expected])

    def test_costs_are_those_of_the_worked_example(self):
        self.assertEqual(self.of.flops_of(self.paper, "forward"), 137506062336)  # docs/formulas.md
        self.assertEqual(self.of.flops_of(self.paper, "backward"), 275012124672)
        self.assertEqual(self.of.bytes_of(self.paper, "forward", 8), 453279812)
        self.assertEqual(self.of.bytes_of(self.paper, "backward", 8), 956596224)
        self.assertEqual(sum(self.of.memory_of(self.paper, True, 1).values()), 1309114368)

    def test_intervals_are_those_of_the_binomial_distribution(self):
        import timing
        self.assertEqual([timing.interval_rank(n) for n in (5, 6, 12, 100)], [0, 1, 3, 40])
        found = timing.summary([float(i) for i in range(1, 13)])
        self.assertEqual((found["p50_us"], found["ci95_low_us"], found["ci95_high_us"]), (6.5, 3, 10))
        self.assertIsNone(timing.summary([1.0] * 5)["ci95_low_us"])

    def test_sampling_ends_by_count_noise_or_time(self):
        import timing
        rule = timing.Sampling(min_time_s=0.001, max_time_s=0.1, noise_pct=1)
        self.assertIsNone(timing.reason_to_stop([100.0] * 9, rule))
        self.assertEqual(timing.reason_to_stop([100.0] * 10, rule), "noise")
        self.assertIsNone(timing.reason_to_stop([100.0, 200.0] * 10, rule))
        self.assertEqual(timing.reason_to_stop([5e4, 6e4], rule), "time")
        self.assertEqual(timing.reason_to_stop([1.0] * 3, timing.Sampling(iters=3)), "samples")


class Layers(InADirectory):
    def test_every_layer_is_right_for_odd_shapes(self):
        for shape in ("--tokens 1 --experts 3 --top-k 1", "--tokens 37 --experts 5 --top-k 3 --activation swiglu",
                      "--tokens 40 --experts 4 --top-k 4", "--tokens 8 --experts 32 --top-k 2"):
            for point in self.points("--hidden", "16", "--ffn", "24", "--engine", EAGER, "--force", *shape.split()):
                self.assertEqual([item["name"] for item in point["check"]["items"]],
                                 ["gate", "score", "y", "dx", "dw1", "dw2"])

    def test_bf16_and_the_forward_pass_alone_are_right(self):
        for point in self.points("--tokens", "64", "--hidden", "32", "--ffn", "48", "--dtype", "bf16", "--pass", "fwd",
                                 "--engine", EAGER):
            self.assertEqual(list(point["time"]), ["forward", "total"])
            self.assertLess(max(item["error"] for item in point["check"]["items"]), 1.5e-2)

    def test_a_wrong_result_has_no_time(self):
        import layers

        class Wrong(layers.Grouped):
            def forward(self, x):
                return super().forward(x) * 1.001

        known = layers.engines
        layers.engines = lambda: {**known(), "torch-wrong": (Wrong, False)}
        self.addCleanup(setattr, layers, "engines", known)
        code, out, _ = self.peers("--backend", "cpu", "--tokens", "16", "--hidden", "16", "--ffn", "16", "--iters", "6",
                                  "--engine", "torch-wrong,torch-grouped", "--json", "peers.json")
        self.assertEqual(code, 4)
        wrong, right = json.loads(pathlib.Path("peers.json").read_text())["points"]
        self.assertEqual((wrong["status"], wrong["time"], right["status"]), ("incorrect", None, "ok"))
        self.assertRegex(wrong["reason"], "y error 0.00")
        self.assertIn("incorrect: ", out)


    def test_the_layers_of_libraries_are_right(self):
        import importlib.util
        if importlib.util.find_spec("transformers") is None:
            self.skipTest("transformers is not installed")
        for top_k in ("1", "3"):
            for point in self.points("--tokens", "37", "--hidden", "16", "--ffn", "24", "--experts", "5", "--top-k", top_k,
                                     "--activation", "swiglu", "--engine", "transformers,transformers-grouped", "--force"):
                self.assertEqual(point["status"], "ok")

    def test_what_an_engine_cannot_run_is_skipped_with_the_reason(self):
        code, out, _ = self.peers("--backend", "cpu", "--tokens", "8", "--hidden", "16", "--ffn", "16", "--iters", "6",
                                  "--engine", "torch-grouped-compiled,transformers,torch-grouped", "--json", "peers.json")
        self.assertEqual(code, 6)
        skipped, library, right = json.loads(pathlib.Path("peers.json").read_text())["points"]
        self.assertEqual((skipped["status"], skipped["time"], right["status"]), ("skipped", None, "ok"))
        self.assertIn("skipped: torch._grouped_mm multiplies bf16 only", out)
        self.assertEqual(library["status"], "skipped")
        self.assertRegex(library["reason"], "has no gelu, only swiglu|is not installed")


class Reports(InADirectory):
    SHAPE = "--tokens 96 --hidden 32 --ffn 48 --experts 5,8".split()

    def test_what_is_computed_is_what_moebench_computes(self):
        points = self.points(*self.SHAPE, "--engine", "torch-grouped")
        done = subprocess.run([MOEBENCH, "run", *self.SHAPE, "--backend", "cpu", "--engine", "loop", "--no-peaks", "--iters", "6",
                               "--json", "moebench.json", "--quiet"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        own = json.loads(pathlib.Path("moebench.json").read_text())["points"]
        for peer, point in zip(points, own, strict=True):
            self.assertEqual(list(peer["case"]), list(point["case"]))
            self.assertEqual({**peer["case"], "engine": "loop"}, point["case"])
            self.assertEqual(peer["load"], point["load"])  # the same routing, from the same numbers
            for name in ("forward", "backward", "total"):
                for cost in ("flops", "bytes"):
                    self.assertEqual(peer["time"][name][cost], point["time"][name][cost])
            self.assertEqual(peer["memory"]["estimated_bytes"], point["memory"]["estimated_bytes"])
            import document
            self.assertEqual(document.case_id(point["case"]), point["id"])

    def test_a_report_obeys_the_schema_and_is_compared(self):
        self.points(*self.SHAPE, "--engine", "torch-mask,torch-grouped", "--samples")
        done = subprocess.run([sys.executable, ROOT / "tests/report/validate.py", "peers.json"], capture_output=True, text=True)
        self.assertIn(done.returncode, (0, 77), done.stdout)
        compared = subprocess.run([MOEBENCH, "compare", "peers.json", "peers.json"], capture_output=True, text=True)
        self.assertEqual(compared.returncode, 0, compared.stderr)
        self.assertIn("torch-mask", compared.stdout)

    def test_bad_arguments_are_refused_in_one_line(self):
        self.assert_refuses("--engine 'loop': expected one of torch-mask, ", "--engine", "loop")
        self.assert_refuses("--experts '8:64': expected whole numbers", "--experts", "8:64")
        self.assert_refuses("--top-k 9 exceeds --experts 8", "--top-k", "9")
        self.assert_refuses("--backend 'gpu': expected one of auto, cuda, cpu", "--backend", "gpu")
        self.assert_refuses("unrecognized arguments: --experst", "--experst", "8")
        pathlib.Path("kept.json").write_text("{}")
        self.assert_refuses("kept.json already exists; give --force", "--json", "kept.json")


if __name__ == "__main__":
    MOEBENCH = os.path.abspath(sys.argv.pop(1))
    if sys.argv[1:] != ["Alone"]:
        try:
            import torch  # noqa: F401
        except ImportError:
            print("skipped: PyTorch is not installed")
            sys.exit(77)
    unittest.main(verbosity=2)
