#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where the time goes: each stage of the layer, forward then backward, against the least time the machine allows."""
import sys

from page import STAGE_COLOURS, Page, figures, lighter, main, time_unit
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from report import BACKWARD, FORWARD, STAGES, Refused
from series import labels, select

MOST_BARS = 40
PIPELINE = [("forward", word) for word in FORWARD] + [("backward", word) for word in BACKWARD] + [("sync", "sync")]


def draw_bar(axes, y, point, unit):
    """The stages end to end; returns where they end."""
    times = {(stage.which, stage.stage): stage.p50 for stage in point.stages}
    left = 0
    for which, word in PIPELINE:
        width = times.get((which, word), 0) / unit
        back = which == "backward"
        axes.barh(y, width, 0.62, left, color=lighter(STAGE_COLOURS[word], 0.6 if back else 1),
                  hatch="////" if back else None, edgecolor="white", linewidth=0)
        left += width
    return left


def fused_note(points):
    into = dict.fromkeys((stage.stage, stage.fused_into) for point in points for stage in point.stages
                         if stage.fused_into)
    return ["Fused: " + ", ".join(f"{word} into {other}" for word, other in into) + "."] if into else []


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    whole = points
    points = [point for point in points if point.stages]
    if not points:
        raise Refused(f"{whole[0].report.path}: no point has stages (measured with --no-stages, or not a layer)")
    if len(points) > MOST_BARS:
        raise Refused(f"{points[0].report.path}: {len(points)} points are too many for one figure; "
                      f"choose up to {MOST_BARS} with --filter")
    page = Page("Where the time goes, stage by stage", points, height=0.75 + 0.34 * len(points))
    axes = page.axes
    ends = [max(sum(stage.p50 for stage in point.stages), point.total.p50, point.total.floor) for point in points]
    unit, unit_name = time_unit(max(ends))
    for y, (point, end) in enumerate(zip(points, ends)):
        draw_bar(axes, y, point, unit)
        axes.plot([point.total.p50 / unit], [y - 0.42], marker="v", color="#222222", markersize=5.5, clip_on=False)
        if point.total.floor > 0:
            axes.plot([point.total.floor / unit] * 2, [y - 0.38, y + 0.38], color="#222222", linewidth=2.2)
            axes.annotate(f"{figures(point.total.limit_pct, 2)} %", (end / unit, y), xytext=(6, 0), fontsize=9,
                          textcoords="offset points", va="center")
    axes.set_yticks(range(len(points)))
    axes.set_yticklabels(labels(points))
    axes.set_ylim(len(points) - 0.45, -0.6)
    axes.set_xlim(0, max(ends) / unit * 1.13)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"time, {unit_name}")

    seen = {(stage.stage, stage.which) for point in points for stage in point.stages if stage.p50 > 0}
    words = [Patch(color=STAGE_COLOURS[word], label=word) for word in STAGES if any(word == s for s, _ in seen)]
    marks = []
    if any(which == "backward" for _, which in seen):
        marks.append(Patch(facecolor="#b5b5b5", edgecolor="white", hatch="////", linewidth=0, label="backward"))
    page.legends = [words, marks + [
        Line2D([], [], color="#222222", linestyle="none", marker="|", markersize=11, markeredgewidth=2.2,
               label="least time at the measured peaks"),
        Line2D([], [], color="#222222", linestyle="none", marker="v", label="whole layer, timed without timestamps between stages")]]
    page.notes = ["In %: the least time, as a part of the whole layer's time."]
    if any(point.ranks > 1 for point in points):
        page.notes[0] += " Each stage is that of its slowest rank, waiting included: together they may exceed the whole."
    lost = len(whole) - len(points)
    page.notes += fused_note(points) + ([f"Left out: {lost} points without stages."] if lost else []) + notes
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
