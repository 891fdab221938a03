#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws every figure from reports that moebench has just written, and checks what the scripts say of bad ones.

    test_plots.py DIRECTORY [CLASS]     with linear.json and layer.json in DIRECTORY

Exit status: 0 if all passed, 1 if not, 77 without matplotlib (ctest counts that as skipped).
"""
import contextlib
import copy
import io
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import unittest
import warnings

PLOTS = pathlib.Path(__file__).resolve().parents[2] / "plots"
sys.dont_write_bytecode = True
sys.path.insert(0, str(PLOTS))
REPORTS = pathlib.Path()
SCRIPTS = ["gemm", "experts", "scaling", "stages", "roofline"]  # and compare, which takes two
LAYER_SCRIPTS = ["experts", "stages", "roofline"]


def load(name):
    return json.loads((REPORTS / name).read_text(encoding="utf-8"))


def scaled(report):
    """A report over 1, 2 and 4 ranks, made of one measured point."""
    report = copy.deepcopy(report)
    point, peaks = report["points"][0], report["peaks"][0]
    report["points"], report["peaks"] = [], []
    for ranks in (1, 2, 4):
        more = copy.deepcopy(point)
        more["id"] = f"ranks{ranks}"
        more["case"].update(ranks=ranks, ep=ranks, experts=2 * ranks)
        more["rates"]["exchange_gbs"] = 1.0 if ranks > 1 else None
        report["points"].append(more)
        report["peaks"].append(dict(peaks, ranks=ranks, link_gbs=2.0 if ranks > 1 else None))
    return report


def taxed(report):
    """The report of layers, with a dense network beside each shape that takes a quarter of the time of the loop."""
    report = copy.deepcopy(report)
    for point in [p for p in report["points"] if p["case"]["engine"] == "loop"]:
        dense = copy.deepcopy(point)
        dense["id"] += "d"
        dense["case"]["subject"] = "dense"
        for time in dense["time"].values():
            time.update(p50_us=time["p50_us"] / 4, ci95_low_us=time["p50_us"] / 5, ci95_high_us=time["p50_us"] / 3)
        report["points"].append(dense)
    return report


class Scripts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.directory = pathlib.Path(self.folder.name)

    def write(self, content, name="report.json"):
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else
                         (content if isinstance(content, str) else json.dumps(content)).encode())
        return path

    def run_script(self, script, *arguments):
        """Runs it as a program in this process (to start Python and matplotlib takes a second), in the directory."""
        path, out, err, code = PLOTS / f"{script}.py", io.StringIO(), io.StringIO(), None
        argv, here = sys.argv, os.getcwd()
        sys.argv = [str(path), *map(str, arguments)]
        os.chdir(self.directory)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = argv
            os.chdir(here)
            sys.modules["matplotlib.pyplot"].close("all")
        return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())

    def assert_draws(self, script, *arguments):
        figure = self.directory / f"{script}.png"
        if figure.exists():
            figure.unlink()
        done = self.run_script(script, *arguments, "-o", figure)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stderr)
        self.assertEqual(done.stdout, f"{figure}\n")
        head = figure.read_bytes()[:24]
        self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
        width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        self.assertEqual(width, 900)
        self.assertTrue(200 < height < 2000, height)

    def assert_refuses(self, script, *arguments, saying):
        done = self.run_script(script, *arguments)
        self.assertEqual(done.returncode, 2, f"{script} {arguments}: {done.stderr}{done.stdout}")
        self.assertRegex(done.stderr, rf"\Aerror: [^\n]*{saying}[^\n]*\n\Z")
        self.assertEqual(list(self.directory.glob("*.png")), [])


class Figures(Scripts):
    def test_a_script_runs_by_its_name_and_leaves_the_figure_beside_it(self):
        done = subprocess.run([sys.executable, PLOTS / "stages.py", REPORTS / "layer.json"], cwd=self.directory,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "stages.png\n", ""))
        self.assertTrue((self.directory / "stages.png").exists())
        for script in SCRIPTS + ["compare", "tax"]:
            self.assertTrue(os.access(PLOTS / f"{script}.py", os.X_OK), f"{script}.py is not executable")

    def test_one_product_becomes_the_gemm_figure_and_a_roofline(self):
        for script in ("gemm", "roofline"):
            self.assert_draws(script, REPORTS / "linear.json")

    def test_the_layer_becomes_bars_over_experts_stages_and_a_roofline(self):
        for script in LAYER_SCRIPTS:
            self.assert_draws(script, REPORTS / "layer.json")

    def test_layers_beside_dense_networks_become_the_tax_figure(self):
        self.assert_draws("tax", self.write(taxed(load("layer.json"))))
        peers = load("layer.json")  # of a peer, without dense networks of its own
        for point in peers["points"]:
            point["case"]["engine"] = "torch-" + point["case"]["engine"]
        self.assert_draws("tax", self.write(taxed(load("layer.json"))), self.write(peers, "peers.json"))

    def test_many_points_over_experts_become_lines(self):
        report = load("layer.json")
        for experts in range(8, 200, 8):
            point = copy.deepcopy(report["points"][0])
            point["id"], point["case"]["experts"] = str(experts), experts
            report["points"].append(point)
        self.assert_draws("experts", self.write(report))

    def test_steps_become_the_load_figure(self):
        self.assert_draws("load", REPORTS / "steps.json")
        report = load("steps.json")
        report["points"].append(copy.deepcopy(report["points"][0]))
        self.assert_draws("load", self.write(report))

    def test_several_ranks_become_the_scaling_figure(self):
        self.assert_draws("scaling", self.write(scaled(load("layer.json"))))

    def test_two_reports_are_drawn_over_each_other_and_compared(self):
        other = load("layer.json")
        other["tool"]["commit"] = "0" * 40
        path = self.write(other, "other.json")
        for script in LAYER_SCRIPTS + ["compare"]:
            self.assert_draws(script, REPORTS / "layer.json", path)

    def test_a_part_is_drawn_up_to_where_it_was_cut(self):
        head = load("layer.json")
        points, peaks = head.pop("points"), head.pop("peaks")
        head.update(points=[], peaks=[])
        lines = [{"head": head}] + [{"peaks": p} for p in peaks] + [{"point": p} for p in points] + [{"warning": "w"}]
        text = "".join(json.dumps(line) + "\n" for line in lines) + '{"point": {"id": "cu'
        self.assert_draws("stages", self.write(text, "report.json.part"))

    def test_points_without_a_time_an_interval_or_a_floor_leave_a_figure(self):
        report = load("layer.json")
        lost, vague = report["points"][0], report["points"][-1]
        lost.update(status="skipped", reason="needs 2 TB", time=None, host=None, stages=None, rates=None, stop=None)
        for time in vague["time"].values():
            time.update(ci95_low_us=None, ci95_high_us=None, floor_us=None, limit_pct=None)
        for script in LAYER_SCRIPTS + ["compare"]:
            self.assert_draws(script, *[self.write(report)] * (2 if script == "compare" else 1))

    def test_names_that_look_like_formulas_or_break_lines_do_no_harm(self):
        report = load("layer.json")
        for rank in report["machine"]["ranks"]:
            rank["device"] = "AMD $\\frac \n\u65e5\u672c " + "x" * 500
        for script in LAYER_SCRIPTS:
            self.assert_draws(script, self.write(report, "$report_1.json"), "--title", "a $ b")


class Contents(unittest.TestCase):
    """What stands in the figures, seen in the objects before they become pixels."""

    def setUp(self):
        import report
        import series
        self.series, self.read = series, lambda name: report.read(str(REPORTS / name))

    def test_labels_name_what_differs_and_nothing_else(self):
        points, notes = self.series.select([self.read("layer.json")])
        self.assertEqual(self.series.labels(points), ["2 experts · loop", "2 experts · naive-mask", "4 experts · loop",
                                                      "4 experts · naive-mask"])
        self.assertEqual(list(self.series.group(points, "experts")), ["loop", "naive-mask"])
        self.assertEqual(notes, [])
        self.assertIn("16 tokens", self.series.constants(points))

    def test_reports_of_two_commits_are_told_apart_by_commit_alone(self):
        first, second = self.read("layer.json"), self.read("layer.json")
        second.commit = "abcdef0"
        points, _ = self.series.select([first, second], self.series.parse_filter("engine=loop,experts<4"))
        self.assertEqual(self.series.labels(points), [first.commit, "abcdef0"])

    def test_commits_are_not_named_where_the_settings_tell_reports_apart(self):
        first, second = self.read("layer.json"), self.read("layer.json")
        second.commit = "abcdef0"
        points, _ = self.series.select([first, second], self.series.parse_filter("experts<4"))
        for point in points[2:]:
            point.settings["engine"] = "torch-" + point.settings["engine"]
        self.assertEqual(self.series.labels(points), ["loop", "naive-mask", "torch-loop", "torch-naive-mask"])

    def test_the_tax_is_that_of_the_medians_and_its_interval_follows_from_both(self):
        import report
        import tax
        time = self.read("layer.json").points[0].total
        found = tax.Tax(time._replace(p50=60, low=50, high=70), time._replace(p50=100, low=90, high=110))
        self.assertAlmostEqual(found.value, 0.4)
        self.assertAlmostEqual(found.low, 1 - 70 / 90)
        self.assertAlmostEqual(found.high, 1 - 50 / 110)
        self.assertEqual(tax.Tax(time._replace(low=None, high=None), time).error, (0, 0))
        points = report.Report(report.Node(taxed(load("layer.json")), "t"), "t").points
        pairs, notes = tax.pairs_of(points)
        self.assertEqual([(layer.case["experts"], layer.case["engine"], dense.case["experts"]) for layer, dense in pairs],
                         [(2, "loop", 2), (2, "naive-mask", 2), (4, "loop", 4), (4, "naive-mask", 4)])
        self.assertEqual(notes, [])
        # A dense network has no experts: one of them is beside layers with any number.
        one = [p for p in points if p.case["subject"] != "dense" or p.case["experts"] == 2]
        self.assertEqual([dense.case["experts"] for _, dense in tax.pairs_of(one)[0]], [2] * 4)
        for point in one:
            if point.case["subject"] == "layer" and point.case["experts"] == 4:
                point.case["hidden"] *= 2
        self.assertEqual(tax.pairs_of(one)[1],
                         ["Left out (no dense network beside it): loop; naive-mask."])

    def test_the_tax_of_the_whole_time_is_named_after_what_was_timed(self):
        import report
        import tax
        points = report.Report(report.Node(taxed(load("layer.json")), "t"), "t").points
        self.assertEqual(tax.title_of("forward", points), "forward")
        self.assertEqual(tax.title_of("total", points), "forward + backward")
        for point in points:
            point.case["pass"] = "fwd"
        self.assertEqual(tax.title_of("total", points), "forward")

    def test_a_point_without_a_time_is_named_with_its_reason(self):
        report = self.read("layer.json")
        report.points[1].times, report.points[1].status, report.points[1].reason = {}, "timed_out", "rank 1 is silent"
        points, notes = self.series.select([report])
        self.assertEqual(len(points), 3)
        self.assertEqual(notes, ["Left out (timed out: rank 1 is silent): 2 experts · naive-mask."])

    def test_the_filter_compares_numbers_as_numbers_and_words_as_words(self):
        case = {"experts": 16, "ep": 4, "ranks": 4, "tokens": 8, "engine": "loop"}
        for text, expected in (("experts<=16", True), ("experts<9", False), ("engine!=loop", False), ("", True),
                               ("experts-per-rank=4,total-tokens=32", True), ("engine=loop, experts>16", False)):
            self.assertEqual(self.series.parse_filter(text)(case), expected, text)

    def test_a_ratio_is_slower_only_if_its_interval_and_the_threshold_say_so(self):
        import compare
        report = self.read("layer.json")

        def verdict(p50, low, high):
            a, b = copy.copy(report.points[0]), copy.copy(report.points[0])
            a.times = {"total": a.total._replace(p50=100, low=99, high=101)}
            b.times = {"total": b.total._replace(p50=p50, low=low, high=high)}
            return compare.Ratio(a, b).verdict(1.02)

        self.assertEqual(verdict(110, 109, 111), "slower")
        self.assertEqual(verdict(90, 89, 91), "faster")
        self.assertEqual(verdict(110, 100, 120), "no clear change")  # could be 0.99
        self.assertEqual(verdict(101.5, 101.4, 101.6), "no clear change")  # within the threshold
        self.assertEqual(verdict(110, None, None), "no clear change")

    def test_bars_are_as_high_as_the_report_says(self):
        import experts
        import matplotlib.pyplot as plt
        report = self.read("layer.json")
        axes = experts.draw([report], lambda case: True, None).axes
        heights = sorted(patch.get_height() for patch in axes.patches)
        unit = 1e3 if max(point.total.p50 for point in report.points) >= 1e3 else 1
        expected = sorted(point.times[which].p50 / unit for point in report.points for which in ("forward", "backward"))
        plt.close("all")
        for height, value in zip(heights, expected):
            self.assertAlmostEqual(height, value)
        self.assertEqual(len(heights), len(expected))


class Refusals(Scripts):
    def test_what_is_no_report_is_named_in_one_line(self):
        for content, saying in ((b"", "report.json: report is not JSON"), (b"\xff\xfe", "report.json: cannot be read"),
                                ("[1, 2]", "report.json: report: expected an object, found a list"),
                                ("{}", "report.json: not a report of moebench"), ("[" * 100000, "report.json: .*not JSON"),
                                ('{"schema": "moebench.report/1"}', "report.json: report: 'tool' is missing"),
                                ('{"schema": NaN}', "report.json: .*not JSON")):
            path = self.write(content)
            for script in SCRIPTS:
                self.assert_refuses(script, path, saying=saying)
            self.assert_refuses("compare", path, path, saying=saying)

    def test_a_missing_file_and_a_directory_are_named(self):
        self.assert_refuses("gemm", "nothing.json", saying="nothing.json: cannot be read: No such file")
        self.assert_refuses("stages", self.directory, saying="cannot be read: Is a directory")

    def test_a_broken_field_is_named_with_its_place(self):
        def broken(change):
            report = load("layer.json")
            change(report["points"][2])
            return self.write(report)

        for change, saying in (
                (lambda p: p["time"]["total"].pop("p50_us"), r"points\[2\].time.total: 'p50_us' is missing"),
                (lambda p: p["time"]["total"].update(p50_us="fast"), r"time.total.p50_us: expected a number, found text"),
                (lambda p: p["time"]["total"].update(p50_us=-1), r"p50_us: expected a number from 0 to 1e30, found -1"),
                (lambda p: p["time"]["total"].update(p50_us=1e300), r"p50_us: expected a number from 0"),
                (lambda p: p["time"]["total"].update(ci95_low_us=1e9), r"time.total: expected a median inside"),
                (lambda p: p["stages"][0].update(stage="lunch"), r"stages\[0\].stage: expected one of gate"),
                (lambda p: p["case"].update(experts="many"), r"case.experts: expected a number, found text"),
                (lambda p: p["case"].update(ranks=0), r"case.ranks: expected a whole number from 1 up"),
                (lambda p: p.update(case=None), r"points\[2\]: 'case' is missing")):
            for script in ("stages", "experts"):
                self.assert_refuses(script, broken(change), saying="report.json: .*" + saying)

    def test_a_report_without_what_the_figure_needs_is_refused(self):
        empty = dict(load("layer.json"), points=[])
        for script in SCRIPTS:
            self.assert_refuses(script, self.write(empty), saying="report.json: points are missing")
        self.assert_refuses("gemm", REPORTS / "layer.json", saying="layer.json: tokens is 16 throughout")
        self.assert_refuses("experts", REPORTS / "linear.json", saying="linear.json: no point has experts")
        self.assert_refuses("scaling", REPORTS / "layer.json", saying="layer.json: ranks is 1 throughout")
        self.assert_refuses("stages", REPORTS / "linear.json", saying="linear.json: no point has stages")
        self.assert_refuses("tax", REPORTS / "layer.json", saying="layer.json: no layer has a dense network of the same shape")
        self.assert_refuses("compare", REPORTS / "layer.json", REPORTS / "linear.json", saying="no point of the one has")
        self.assert_refuses("load", REPORTS / "layer.json", saying="layer.json: the point holds no routing steps")

    def test_a_part_without_a_head_is_refused(self):
        self.assert_refuses("stages", self.write('{"point": {}}\n', "report.json.part"), saying="line 1: the head")
        self.assert_refuses("stages", self.write("", "report.json.part"), saying="line 1: the head")
        self.assert_refuses("stages", self.write('{"head": {}}\nrubbish\n', "a.part"), saying="line 2 is not JSON")

    def test_a_filter_by_what_is_no_setting_names_the_nearest(self):
        self.assert_refuses("stages", REPORTS / "layer.json", "--filter", "expert<=4", saying="unknown flag 'expert'; did you mean 'experts'")
        self.assert_refuses("stages", REPORTS / "layer.json", "--filter", "zzz=4", saying="unknown flag 'zzz'; valid: ")

    def test_bad_arguments_are_refused(self):
        layer = REPORTS / "layer.json"
        self.assert_refuses("stages", layer, "--filter", "experts~4", saying="--filter 'experts~4'")
        self.assert_refuses("stages", layer, "--filter", "engine<loop", saying="a word has no order")
        self.assert_refuses("stages", layer, "--filter", "experts=5", saying="no point with a time is left of 4")
        self.assert_refuses("stages", layer, "-o", "figure.xyz", saying="figure.xyz: cannot be written")
        self.assert_refuses("stages", layer, "-o", "nowhere/figure.png", saying="nowhere/figure.png: cannot be written")
        self.assert_refuses("compare", layer, layer, "--threshold=-1", saying="--threshold -1")
        self.assert_refuses("compare", layer, saying="required: REPORT")
        self.assert_refuses("stages", saying="required: REPORT")


if __name__ == "__main__":
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("skipped: matplotlib is not installed (apt-get install python3-matplotlib)")
        sys.exit(77)
    REPORTS = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
