#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput against arithmetic intensity, under the ceilings measured on the machine: how near is each stage?"""
import sys

from page import PALE, STAGE_COLOURS, Page, figures, flops_unit, main, marker, plain_log
from matplotlib.lines import Line2D
from report import Refused
from series import group, labels, select, value_of

WHOLE = "whole pass"
TINT = {**STAGE_COLOURS, WHOLE: "#222222"}
LINES = ["-", "--", ":", "-."]
PLACES = [(0, 5, "center", "bottom"), (0, -5, "center", "top"), (6, 0, "left", "center"), (-6, 0, "right", "center")]
NOT_OF_PEAKS = ("tokens", "total-tokens", "hidden", "ffn", "experts", "experts-per-rank", "top-k", "engine", "routing",
                "activation", "bias", "gate", "pass", "subject", "ep", "seed")


class Dot:
    """Work of one rank (a stage's busiest, a pass's average): FLOPs, bytes and the time they took."""

    def __init__(self, point, what, which, flops, size, us):
        self.point, self.what, self.which = point, what, which
        self.intensity, self.tflops = flops / size, flops / us * 1e-6


def dots_of(point):
    """Every stage that has FLOPs, and every pass as a whole."""
    dots = [Dot(point, stage.stage, stage.which, stage.flops, stage.bytes, stage.p50)
            for stage in point.stages if stage.flops > 0 and stage.bytes > 0 and stage.p50 > 0]
    for which in ("forward", "backward"):
        time = point.times.get(which)
        if time and time.flops > 0 and time.bytes > 0 and time.p50 > 0:
            dots.append(Dot(point, WHOLE, which, time.flops / point.ranks, time.bytes / point.ranks, time.p50))
    return dots


def ceilings_of(points):
    """The measured peaks, each once, with the name of the machine that has them."""
    owners = {}
    for point in points:
        if point.peaks and point.peaks.gemm_tflops > 0 and point.peaks.copy_gbs > 0:
            owners.setdefault((point.report, point.peaks), point)
    return [(peaks, name) for (_, peaks), name in zip(owners, labels(list(owners.values()), but=NOT_OF_PEAKS))]


def draw_ceilings(axes, ceilings, unit, least, most):
    """Bandwidth · intensity, up to the GEMM peak."""
    lines = []
    for i, (peaks, _) in enumerate(ceilings):
        ridge = peaks.gemm_tflops * 1e3 / peaks.copy_gbs
        x = sorted({least, min(max(ridge, least), most), most})
        y = [min(peaks.gemm_tflops, intensity * peaks.copy_gbs * 1e-3) / unit for intensity in x]
        lines += axes.plot(x, y, color="#555555", linewidth=1.4, linestyle=LINES[i % 4], zorder=1)
    return lines


def draw_runs(axes, runs, unit):
    for (i, what), run in runs.items():
        axes.plot([dot.intensity for dot in run], [dot.tflops / unit for dot in run], color=TINT[what], linewidth=0.9,
                  marker=marker(i), markersize=6)


def number_dots(axes, runs, sweep, unit):
    """Writes the swept value beside the dots, the ends of a run first; where there is no room, none."""
    renderer = axes.figure.canvas.get_renderer()
    taken, waiting = [], []
    for run in runs.values():
        spots = [axes.transData.transform((dot.intensity, dot.tflops / unit)) for dot in run]
        taken += [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
        for (x, y), (u, v) in zip(spots, spots[1:]):  # what joins the dots is in the way as well
            steps = 1 + int(max(abs(u - x), abs(v - y)) / 5)
            taken += [(x + (u - x) * s / steps, y + (v - y) * s / steps) * 2 for s in range(steps)]
        waiting += [(index not in (0, len(run) - 1), dot) for index, dot in enumerate(run)]
    for _, dot in sorted(waiting, key=lambda entry: entry[0]):
        for dx, dy, across, up in PLACES:
            text = axes.annotate(f"{dot.point.settings[sweep]:g}", (dot.intensity, dot.tflops / unit), xytext=(dx, dy),
                                 textcoords="offset points", ha=across, va=up, fontsize=7.5, color=TINT[dot.what])
            box = text.get_window_extent(renderer).extents
            if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                taken.append(tuple(box))
                break
            text.remove()


def sweep_of(points):
    """The number that takes most values: along it points are joined and numbered."""
    numbers = {}
    for point in points:
        for key in point.settings:
            value = value_of(point, key)
            if isinstance(value, (int, float)) and key not in ("seed", "ep"):
                numbers.setdefault(key, set()).add(value)
    key = max(numbers, key=lambda name: len(numbers[name]), default=None)
    return key if key and len(numbers[key]) > 1 and all(key in point.settings for point in points) else None


def runs_of(series, dots, which):
    """{(index of the series, stage): its dots of one pass in the order of the sweep}."""
    runs = {}
    for i, members in enumerate(series.values()):
        for dot in (dot for point in members for dot in dots if dot.point is point and dot.which == which):
            runs.setdefault((i, dot.what), []).append(dot)
    return runs


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    dots = [dot for point in points for dot in dots_of(point)]
    if not dots:
        raise Refused(f"{points[0].report.path}: no point has stages with FLOPs (measured with --no-stages?)")
    ceilings = ceilings_of(points)
    unit, unit_name = flops_unit(max([dot.tflops for dot in dots] + [peaks.gemm_tflops for peaks, _ in ceilings]))
    passes = [which for which in ("forward", "backward") if any(dot.which == which for dot in dots)]
    sweep = sweep_of(points)
    series = group(points, sweep) if sweep else {name: [point] for name, point in zip(labels(points), points)}
    page = Page("Roofline: how near each stage comes to the machine's limits", points, height=3.9, columns=len(passes),
                squeeze=False, sharex=True, sharey=True)
    least, most = min(dot.intensity for dot in dots) / 1.7, max(dot.intensity for dot in dots) * 1.7
    most = max([most] + [2 * peaks.gemm_tflops * 1e3 / peaks.copy_gbs for peaks, _ in ceilings])
    for axes, which in zip(page.axes[0], passes):
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_log(axes.xaxis), plain_log(axes.yaxis)
        runs = runs_of(series, dots, which)
        draw_runs(axes, runs, unit)
        lines = draw_ceilings(axes, ceilings, unit, least, most)
        axes.set_xlim(least, most)
        axes.set_title(which, fontsize=10, loc="left", color=PALE)
        axes.set_xlabel("intensity, FLOP per byte")
        if sweep:
            page.finishes.append(lambda axes=axes, runs=runs: number_dots(axes, runs, sweep, unit))
    low, high = page.axes[0][0].get_ylim()
    page.axes[0][0].set_ylim(low / 1.3, high * 1.1)
    page.axes[0][0].set_ylabel(unit_name + (" per rank" if any(point.ranks > 1 for point in points) else ""))

    page.legends = [[Line2D([], [], color=TINT[what], marker="o", linestyle="none", label=what) for what in TINT
                     if any(dot.what == what for dot in dots)]]
    if len(series) > 1:
        page.legends.append([Line2D([], [], color="#8c8c8c", marker=marker(i), linestyle="none", label=name)
                             for i, name in enumerate(series)])
    for line, (peaks, name) in zip(lines, ceilings):
        line.set_label(f"measured ceilings{' of ' + name if name else ''}: copy {figures(peaks.copy_gbs)} GB/s, "
                       f"GEMM {figures(peaks.gemm_tflops / unit)} {unit_name}")
        page.legends.append([line])
    if sweep:
        page.notes.append(f"Numbers at the points: {sweep.replace('-', ' ')}.")
    if any(dot.point.peaks and dot.tflops > 1.02e-3 * dot.intensity * dot.point.peaks.copy_gbs > 0 for dot in dots):
        page.notes.append("A point above the slope found data in a cache: the slope is the copy bandwidth of memory.")
    page.notes += notes
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
