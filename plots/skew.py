#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an uneven routing costs: time of each stage against max/mean rows, per engine and exchange, with the fullest rank."""
import sys

from page import PALE, STAGE_COLOURS, Page, figures, main, marker, time_unit
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from report import STAGES, Refused
from series import labels, select

MOST_PANELS = 8
SAME = 0.005  # max/mean that differ by less stand side by side


def imbalance(point):
    """max/mean rows of the most uneven step that is known: over ranks, and over experts where there is one rank."""
    key = "over_ranks" if point.ranks > 1 else "over_experts"
    return max([getattr(point, key), *(getattr(step, key) for step in point.routing)])


def panels(points):
    """Points that differ in routing alone, in the order of their imbalance: {name: points}."""
    members = {}
    for point in points:
        rest = tuple((key, value) for key, value in point.settings.items() if key != "routing")
        members.setdefault((point.report, rest), []).append(point)
    groups = [sorted(group, key=imbalance) for group in members.values()]
    whole = [group for group in groups if len(group) > 1]
    if not whole:
        raise Refused(f"{points[0].report.path}: no two points differ in routing alone")
    if len(whole) > MOST_PANELS:
        raise Refused(f"{points[0].report.path}: {len(whole)} panels are too many; choose up to {MOST_PANELS} with --filter")
    names = labels([group[0] for group in whole], but=("routing",))
    return dict(zip(names, whole)), [point for group in groups if len(group) == 1 for point in group]


def stage_times(point):
    """Microseconds of each stage, its passes together."""
    times = {}
    for stage in point.stages:
        times[stage.stage] = times.get(stage.stage, 0) + stage.p50
    return {stage: time for stage, time in times.items() if time > 0}


def marker_of(rank):
    return "o" if rank is None else marker(rank + 1)


def names_above(axes, group, unit, top):
    """The routings above their totals, those of one imbalance in one line."""
    together = []
    for point in group:
        if not together or imbalance(point) - imbalance(together[-1][0]) > SAME:
            together.append([])
        together[-1].append(point)
    room, at = 0.052 * (imbalance(group[-1]) - 1 or 1), 0
    for points in together:
        at = max(imbalance(points[0]), at + room)
        axes.annotate(", ".join(point.settings.get("routing", "") for point in points), (imbalance(points[0]), max(p.total.p50 for p in points) / unit),
                      xytext=(at, top), rotation=90, fontsize=6.5, color=PALE, ha="center", va="bottom", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": "#d0d0d0", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5})


def draw_panel(axes, name, group, unit, top):
    at = [imbalance(point) for point in group]
    times = [stage_times(point) for point in group]
    for stage in STAGES:
        if any(stage in of for of in times):
            axes.plot(at, [of.get(stage, 0) / unit for of in times], "-", marker=".", color=STAGE_COLOURS[stage], linewidth=1.3)
    axes.plot(at, [point.total.p50 / unit for point in group], color="#222222", linewidth=1.3)
    for x, point in zip(at, group):
        low, high = point.total.error
        axes.errorbar(x, point.total.p50 / unit, yerr=[[low / unit], [high / unit]], color="#222222", marker=marker_of(point.fullest),
                      markerfacecolor="white" if point.fullest is None else "#222222", markersize=6, linewidth=1)
    names_above(axes, group, unit, top)
    axes.set_ylim(0, top)
    axes.text(0.02, 0.98, name, transform=axes.transAxes, va="top", fontsize=8.5, fontweight="bold",
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.set_xlabel("max/mean rows over " + ("ranks" if group[0].ranks > 1 else "experts"))


def legends(points):
    seen = {stage for point in points for stage in stage_times(point)}
    ranks = sorted({point.fullest for point in points if point.fullest is not None})
    total = [Line2D([], [], color="#222222", marker=marker_of(rank), label=f"whole layer, rank {rank} has the most rows: all wait for it") for rank in ranks]
    none = [Line2D([], [], color="#222222", marker="o", markerfacecolor="white",
                   label="whole layer" + (", rows of ranks within 5 %" if any(p.ranks > 1 for p in points) else ""))]
    return [[Patch(color=STAGE_COLOURS[stage], label=stage) for stage in STAGES if stage in seen],
            total + (none if any(point.fullest is None for point in points) else [])]


def draw(reports, holds, _):
    whole, notes = select(reports, holds)
    points = [point for point in whole if point.stages and point.over_experts]
    if not points:
        raise Refused(f"{whole[0].report.path}: no point has stages and rows of experts (measured with --no-stages, or not a layer)")
    groups, alone = panels(points)
    drawn = [point for group in groups.values() for point in group]
    unit, unit_name = time_unit(max(point.total.p50 for point in drawn))
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    page = Page("What an uneven routing costs, stage by stage", drawn, height=3.7 * rows, rows=rows, columns=columns, squeeze=False)
    axes = [one for row in page.axes for one in row]
    for one in axes[len(groups):]:
        one.remove()
    for one, (name, group) in zip(axes, groups.items()):
        draw_panel(one, name, group, unit, 1.18 * max(max([p.total.p50 + p.total.error[1], *stage_times(p).values()]) for p in group) / unit)
    for row in page.axes:
        row[0].set_ylabel(f"time, {unit_name}")
    page.legends = legends(drawn)
    worst = max(drawn, key=imbalance)
    page.lead.append(f"max/mean of the most uneven point: {figures(imbalance(worst))} ({worst.settings.get('routing')})")
    page.notes = ["Forward and backward of a stage together, each of its slowest rank, waiting included: stages may exceed the whole layer."]
    lost = len(whole) - len(points)
    page.notes += ([f"Left out: {lost} points without stages or rows of experts."] if lost else []) + notes
    page.notes += [f"Left out: {len(alone)} points of one routing alone."] if alone else []
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
