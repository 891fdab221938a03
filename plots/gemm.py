#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput against batch size (Figure 3 of the FastMoE paper): why the tokens of an expert must be gathered."""
import sys

from page import Page, colour, figures, flops_unit, main, marker, plain_log, value_ticks
from matplotlib.lines import Line2D
from series import group, require_axis, select


def peak_of(members):
    """What the ranks of a series reached together in a large matrix product; 0 if not measured."""
    peaks = members[0].peaks
    return peaks.gemm_tflops * peaks.ranks if peaks else 0


def draw_peaks(page, series, unit, unit_name):
    """A dashed line at each measured peak, and the legend: one peak has a line of its own there, of several each is
    named with its series and has its colour."""
    peaks = {peak_of(members) for members in series.values()} - {0}
    grey = dict(color="#555555", linewidth=1.3, linestyle="--")
    for i, (name, members) in enumerate(series.items()):
        peak, label = peak_of(members), name or "measured"
        if len(peaks) > 1 and peak > 0:
            label += f" (peak {figures(peak / unit)} {unit_name})"
            page.axes.axhline(peak / unit, **{**grey, "color": colour(i)})
        page.legends[0].append(Line2D([], [], color=colour(i), marker=marker(i), label=label))
    if len(peaks) == 1:
        page.axes.axhline(max(peaks) / unit, **grey)
    if peaks:
        page.legends[0].append(Line2D([], [], **grey, label="measured peak" if len(peaks) > 1 else
                                      f"measured peak: {figures(max(peaks) / unit)} {unit_name}"))


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    points = [point for point in points if point.case.get("subject") == "linear"] or points
    axis = "tokens" if all("tokens" in point.settings for point in points) else "total-tokens"
    points = [point for point in points if point.settings.get(axis, 0) > 0]  # none has no place on a log axis
    points, values = require_axis(points, axis)
    series = group(points, axis)
    heights = [point.total.tflops for point in points] + [peak_of(members) for members in series.values()]
    unit, unit_name = flops_unit(max(heights))

    page = Page("Throughput against batch size", points)
    page.notes = ["Medians; error bars: their 95 % intervals."] + notes
    axes = page.axes
    for i, members in enumerate(series.values()):
        errors = zip(*[point.total.tflops_error for point in members])
        axes.errorbar([point.settings[axis] for point in members], [point.total.tflops / unit for point in members],
                      yerr=[[e / unit for e in side] for side in errors], color=colour(i), marker=marker(i))
    draw_peaks(page, series, unit, unit_name)
    if any(0 < peak_of(members) < max(point.total.tflops for point in members) for members in series.values()):
        page.notes[0] += " A point above the measured peak: that peak was measured on a square product, and in a worse moment."
    tops = [max(point.total.tflops for point in members) for members in series.values()]
    if min(tops) > 0 and max(tops) > 5 * min(tops):  # a small machine, or a slow format, beside a fast one
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    else:
        axes.set_ylim(0, max(heights) / unit * 1.06)
    value_ticks(axes.xaxis, values, log=True)
    axes.set_xlabel("batch size: " + ("tokens" if axis == "tokens" else "tokens in all"))
    axes.set_ylabel(unit_name)
    axes.grid(False, axis="x")
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
