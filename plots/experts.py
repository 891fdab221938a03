#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time against the number of experts (Figure 5 of the FastMoE paper): does a layer slow down as it gets wider?"""
import sys

from page import Page, colour, figures, lighter, main, marker, time_unit
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from series import group, require_axis, select

MOST_BARS = 30  # more cannot be distinguished
SHARES = {"forward": 1.0, "backward": 0.45, "sync": 0.18}


def number_size(width, values):
    """Points of type for a number above a bar, 0 where there is no room."""
    inches = 6.6 * width / len(values)
    return 8 if inches > 0.32 else 7 if inches > 0.26 else 6.5 if inches > 0.23 else 0


def draw_bars(page, series, axis, values, unit):
    """One group per value, one bar per series; the passes stacked, the interval of the whole on top."""
    axes, width = page.axes, 0.82 / len(series)
    for i, members in enumerate(series.values()):
        for point in members:
            x, bottom = values.index(point.settings[axis]) + (i - (len(series) - 1) / 2) * width, 0
            for which, share in SHARES.items():
                if which not in point.times:
                    continue
                height = point.times[which].p50 / unit
                axes.bar(x, height, width * 0.9, bottom, color=lighter(colour(i), share), linewidth=0)
                bottom += height
            total = point.total
            axes.errorbar(x, total.p50 / unit, yerr=[[e / unit] for e in total.error], color="#222222", linewidth=1.1,
                          capsize=min(3, 16 * width))
            if number_size(width, values):
                axes.annotate(figures(total.p50 / unit), (x, (total.high or total.p50) / unit), xytext=(0, 4.5),
                              textcoords="offset points", ha="center", fontsize=number_size(width, values))
    axes.set_xticks(range(len(values)))
    axes.set_xticklabels([f"{value:g}" for value in values])
    axes.tick_params(axis="x", length=0)


def draw_lines(page, series, axis, values, unit):
    """The whole as a solid line, its forward part as a dashed one; no logarithm, so that steady growth is straight."""
    for i, members in enumerate(series.values()):
        x = [point.settings[axis] for point in members]
        totals = [point.total for point in members]
        errors = zip(*[time.error for time in totals])
        page.axes.errorbar(x, [time.p50 / unit for time in totals], yerr=[[e / unit for e in side] for side in errors],
                           color=colour(i), marker=marker(i))
        if all(point.split for point in members):
            page.axes.plot(x, [point.times["forward"].p50 / unit for point in members], "--", color=colour(i),
                           linewidth=1.2, marker=marker(i), markersize=3.5)
    page.axes.set_xlim(0, values[-1] * 1.04)


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    axis = "experts" if any("experts" in point.settings for point in points) else "experts-per-rank"
    points, values = require_axis(points, axis)
    series = group(points, axis)
    unit, unit_name = time_unit(max(point.total.p50 for point in points))
    bars = len(series) * len(values) <= MOST_BARS
    split = any(point.split for point in points)

    page = Page("Time of one iteration against the number of experts", points)
    page.notes = [f"{'Bars and the numbers above them: medians' if bars else 'Medians'}; error bars: 95 % interval of the whole "
                  "iteration."] + notes
    if any(abs(sum(time.p50 for time in point.times.values()) / point.total.p50 - 2) > 0.02 for point in points):
        page.notes[0] += " The median of a whole need not be the sum of the medians of its parts."
    (draw_bars if bars else draw_lines)(page, series, axis, values, unit)
    if len(series) > 1 or not split:
        for i, name in enumerate(series):
            page.legends[0].append(Patch(color=colour(i), label=name or "measured") if bars else
                                Line2D([], [], color=colour(i), marker=marker(i), label=name or "measured"))
    if split and bars:
        base = "#555555" if len(series) > 1 else colour(0)
        page.legends[0] += [Patch(color=lighter(base, share), label=which) for which, share in SHARES.items()
                         if any(which in point.times for point in points)]
    elif split:
        page.legends[0] += [Line2D([], [], color="#555555", label="whole"),
                         Line2D([], [], color="#555555", linestyle="--", linewidth=1.2, label="forward alone")]
    page.axes.set_ylim(0, 1.09 * max(point.total.high or point.total.p50 for point in points) / unit)
    page.axes.set_xlabel("experts" if axis == "experts" else "experts per rank")
    page.axes.set_ylabel(f"time, {unit_name}")
    page.axes.grid(False, axis="x")
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
