#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figure of time against imbalance: what it draws, in which order, and what it refuses.

    test_skew.py DIRECTORY     with skew.json, layer.json and linear.json in DIRECTORY

Exit status: 0 if all passed, 1 if not, 77 without matplotlib (ctest counts that as skipped).
"""
import copy
import pathlib
import sys
import unittest

import test_plots
from test_plots import load


def over_two_ranks(report):
    """The same report as if two ranks had measured it; rank 1 has all rows where the routing is `one`."""
    report = copy.deepcopy(report)
    for point in report["points"]:
        point["case"].update(ranks=2, ep=2)
        uneven = point["case"]["routing"] == "one"
        point["ranks"]["rows"] = [0, 64] if uneven else [31, 33]
        point["load"]["rows_per_rank"].update(imbalance=1.0 if uneven else 0.0)
    return report


class Skew(test_plots.Scripts):
    def points(self, document):
        import report
        return report.Report(report.Node(document, "t"), "t").points

    def test_draws_a_panel_for_each_engine(self):
        self.assert_draws("skew", test_plots.REPORTS / "skew.json")
        self.assert_draws("skew", self.write(over_two_ranks(load("skew.json"))))
        import skew
        page = skew.draw([__import__("report").read(str(test_plots.REPORTS / "skew.json"))], lambda case: True, None)
        self.assertEqual([axes.texts[-1].get_text() for axes in page.figure.axes], ["loop", "naive-mask"])

    def test_orders_points_by_imbalance_and_adds_the_passes_of_a_stage(self):
        import skew
        groups, alone = skew.panels(self.points(load("skew.json")))
        self.assertEqual([[p.settings["routing"] for p in group] for group in groups.values()], [["balanced", "zipf:1", "one"]] * 2)
        self.assertEqual(alone, [])
        point = groups["loop"][-1]
        self.assertAlmostEqual(skew.imbalance(point), 2)  # of 4 experts two have all the rows
        self.assertAlmostEqual(skew.stage_times(point)["experts"], sum(s.p50 for s in point.stages if s.stage == "experts"))

    def test_several_ranks_are_uneven_over_ranks_and_wait_for_one(self):
        import skew
        points = self.points(over_two_ranks(load("skew.json")))
        uneven = [point for point in points if point.settings["routing"] == "one"]
        self.assertEqual([(skew.imbalance(point), point.fullest) for point in uneven], [(2, 1)] * 2)
        labels = [handle.get_label() for handle in skew.legends(points)[1]]
        self.assertEqual(labels, ["whole layer, rank 1 has the most rows: all wait for it", "whole layer, rows of ranks within 5 %"])
        alone = self.points(load("skew.json"))
        self.assertTrue(all(point.fullest is None for point in alone), "one rank waits for none")

    def test_refuses_reports_without_two_routings_or_stages(self):
        self.assert_refuses("skew", test_plots.REPORTS / "layer.json", saying="layer.json: no two points differ in routing alone")
        self.assert_refuses("skew", test_plots.REPORTS / "linear.json", saying="linear.json: no point has stages and rows of experts")


if __name__ == "__main__":
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("skipped: matplotlib is not installed (apt-get install python3-matplotlib)")
        sys.exit(77)
    test_plots.REPORTS = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
