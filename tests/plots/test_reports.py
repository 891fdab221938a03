#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reports as the figures and pandas see them: what tells points apart, what pairs them, which ranks share.

    test_reports.py DIRECTORY     with layer.json in DIRECTORY

Exit status: 0 if all passed, 1 if not, 77 without matplotlib (ctest counts that as skipped).
"""
import pathlib
import sys
import unittest

import test_plots
from test_plots import load, taxed

REPORTS = pathlib.Path()


class Reports(unittest.TestCase):
    def setUp(self):
        import report
        import series
        self.series, self.read = series, lambda name: report.read(str(REPORTS / name))

    def test_an_engine_in_two_reports_has_one_bar_at_a_shape(self):
        import report
        import tax
        both = [point for _ in range(2) for point in report.Report(report.Node(taxed(load("layer.json")), "t"), "t").points]
        self.assertEqual(len(tax.pairs_of(both)[0]), 4)

    def test_reports_of_one_commit_are_told_apart_by_their_times_and_never_by_their_files(self):
        first, second = self.read("layer.json"), self.read("layer.json")
        second.start = "2026-01-31 12:00"
        points, _ = self.series.select([first, second], self.series.parse_filter("engine=loop,experts<4"))
        self.assertEqual(self.series.labels(points), [first.start, "2026-01-31 12:00"])
        second.start = first.start
        self.assertEqual(self.series.labels(points), ["report 1", "report 2"])

    def test_ranks_that_share_are_named(self):
        import report
        made = report.Report(report.Node(load("layer.json"), "t"), "t")
        made.ranks = [report.Rank("h", "", "0-1")] * 4
        self.assertEqual(made.sharing(4, "cpu", "mpi"), "4 ranks on 2 hardware threads")
        self.assertEqual(made.sharing(2, "cpu", "mpi"), "")
        made.ranks = [report.Rank("h", "GPU-1", "0-1")] * 4
        self.assertEqual(made.sharing(4, "cuda", "mpi"), "4 ranks on 1 GPU")
        made.ranks = [report.Rank("h", f"GPU-{i}", "0-1") for i in range(4)]
        self.assertEqual(made.sharing(4, "cuda", "nccl"), "")
        made.ranks = [report.Rank("h", "", "")] * 4
        self.assertEqual(made.sharing(4, "cuda", "mpi"), "4 ranks over MPI: GPUs may be shared")

    def test_points_are_paired_as_moebench_pairs_them(self):
        import compare
        old, new = self.read("layer.json"), self.read("layer.json")
        for point in old.points:
            point.case.pop("graph"), point.case.pop("cache")
        self.assertEqual(len(compare.pair(old.points, new.points)[0]), 4)
        for point in old.points + new.points:
            point.case["subject"] = "dense"
        old.points[0].case["experts"], old.points[0].case["gate"] = 64, "other"
        self.assertEqual(len(compare.pair(old.points[:1], new.points)[0]), 1)

    def test_the_columns_beside_a_comparison_do_not_touch(self):
        import compare
        import page
        axes = page.plt.subplots()[1]
        narrow, wide = compare.width_of(axes, ["1 → 2"]), compare.width_of(axes, ["0.853 → 0.910", "1 → 2"])
        self.assertGreater(wide, 2 * narrow)
        self.assertFalse(axes.figure.texts)
        page.plt.close("all")

    def test_a_report_becomes_rows_and_a_table(self):
        import report
        rows = report.rows(REPORTS / "layer.json", REPORTS / "layer.json")
        self.assertEqual(len(rows), 8)
        points = load("layer.json")["points"]
        self.assertEqual(rows[0]["time.total.p50_us"], points[0]["time"]["total"]["p50_us"])
        self.assertEqual(rows[5]["case.engine"], points[1]["case"]["engine"])
        self.assertGreater(rows[0]["stages.forward.experts.p50_us"], 0)
        try:
            import pandas  # noqa: F401
        except ImportError:
            with self.assertRaisesRegex(report.Refused, "no pandas here"):
                report.frame(REPORTS / "layer.json")
            return
        self.assertEqual(list(report.frame(REPORTS / "layer.json")["case.experts"]), [p["case"]["experts"] for p in points])


if __name__ == "__main__":
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("skipped: matplotlib is not installed (apt-get install python3-matplotlib)")
        sys.exit(77)
    REPORTS = test_plots.REPORTS = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
