#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput against arithmetic intensity, under the ceilings measured on the machine: how near is each stage?"""
import sys

from page import COLOURS, STAGE_COLOURS, Page, figures, flops_unit, main, marker, plain_log
from matplotlib.lines import Line2D
from report import Refused
from series import labels, group, select, value_of

WHOLE = "whole pass"
TINT = {**STAGE_COLOURS, WHOLE: "#222222"}
BYTES_OF = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}


class Dot:
    """Work of one rank, the busiest: FLOPs, bytes and the time they took."""

    def __init__(self, point, what, which, flops, size, us):
        self.point, self.what, self.which = point, what, which
        self.intensity, self.tflops = flops / size, flops / us * 1e-6


def dots_of(point):
    """Every stage that has FLOPs, and every pass as a whole."""
    dots = [Dot(point, stage.stage, stage.which, stage.flops, stage.bytes, stage.p50)
            for stage in point.stages if stage.flops > 0 and stage.bytes > 0 and stage.p50 > 0]
    for which in ("forward", "backward"):
        stages = [stage for stage in point.stages if stage.which == which]
        flops, size = sum(stage.flops for stage in stages), sum(stage.bytes for stage in stages)
        if point.case.get("subject") == "linear" and which == "forward":  # x [T, H] · w [H, F]: each read or written once
            t, h, f = (point.case.get(key, 0) for key in ("tokens", "hidden", "ffn"))
            flops, size = 2 * t * h * f, (t * h + h * f + t * f) * BYTES_OF.get(point.case.get("dtype"), 4)
        if flops > 0 and size > 0 and which in point.times and point.times[which].p50 > 0:
            dots.append(Dot(point, WHOLE, which, flops, size, point.times[which].p50))
    return dots


def draw_ceilings(page, points, unit, unit_name, least):
    """The measured peaks of each machine: bandwidth · intensity, up to the GEMM peak."""
    owners = {}
    for point in points:
        if point.peaks and point.peaks.gemm_tflops > 0 and point.peaks.copy_gbs > 0:
            owners.setdefault((point.report, point.peaks), point)
    right = page.axes.get_xlim()[1]
    for i, ((_, peaks), name) in enumerate(zip(owners, labels(list(owners.values()), but=VARIES_WITHIN))):
        ridge = peaks.gemm_tflops * 1e3 / peaks.copy_gbs
        line, = page.axes.plot([least, ridge, max(right, ridge * 4)],
                               [least * peaks.copy_gbs * 1e-3 / unit, peaks.gemm_tflops / unit, peaks.gemm_tflops / unit],
                               color="#555555", linewidth=1.4, linestyle=["-", "--", ":", "-."][i % 4], zorder=1)
        line.set_label(f"measured ceilings{' of ' + name if name else ''}: copy {figures(peaks.copy_gbs)} GB/s, "
                       f"GEMM {figures(peaks.gemm_tflops / unit)} {unit_name}")
        page.legends.append([line])


VARIES_WITHIN = ("tokens", "total-tokens", "hidden", "ffn", "experts", "experts-per-rank", "top-k", "engine", "routing",
                 "activation", "bias", "gate", "pass", "subject", "ep", "seed")


def sweep_of(points):
    """The number that takes most values: along it points are joined and numbered."""
    numbers = {}
    for point in points:
        for key in point.settings:
            value = value_of(point, key)
            if isinstance(value, (int, float)) and key not in ("seed", "ep"):
                numbers.setdefault(key, set()).add(value)
    key = max(numbers, key=lambda name: len(numbers[name]), default=None)
    return key if key and len(numbers[key]) > 1 else None


def number_dots(page, dots, sweep):
    """Writes the swept value beside each dot where nothing else is; where there is no room, none."""
    axes, renderer = page.axes, page.figure.canvas.get_renderer()
    spots = [axes.transData.transform((dot.intensity, dot.tflops / page.unit)) for dot in dots]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    for dot, (x, y) in zip(dots, spots):
        for dx, dy, across, up in ((7, 0, "left", "center"), (0, 7, "center", "bottom"), (0, -7, "center", "top"),
                                   (-7, 0, "right", "center")):
            text = axes.annotate(f"{dot.point.settings[sweep]:g}", (dot.intensity, dot.tflops / page.unit), xytext=(dx, dy),
                                 textcoords="offset points", ha=across, va=up, fontsize=7.5, color=TINT[dot.what])
            box = text.get_window_extent(renderer).extents
            if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                taken.append(tuple(box))
                break
            text.remove()


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    dots = [dot for point in points for dot in dots_of(point)]
    if not dots:
        raise Refused(f"{points[0].report.path}: no point has stages with FLOPs (measured with --no-stages?)")
    ceilings = [point.peaks for point in points if point.peaks and point.peaks.gemm_tflops > 0]
    unit, unit_name = flops_unit(max([dot.tflops for dot in dots] + [peaks.gemm_tflops for peaks in ceilings]))
    page = Page("Roofline: how near each stage comes to the machine's limits", points, height=4.3)
    page.unit = unit
    axes = page.axes
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_log(axes.xaxis), plain_log(axes.yaxis)

    sweep = sweep_of(points)
    series = group(points, sweep) if sweep else {name: [point] for name, point in zip(labels(points), points)}
    for i, members in enumerate(series.values()):
        for what in TINT:
            for which in ("forward", "backward"):
                run = [dot for dot in dots if dot.point in members and (dot.what, dot.which) == (what, which)]
                run.sort(key=lambda dot: dot.point.settings.get(sweep, 0))
                axes.plot([dot.intensity for dot in run], [dot.tflops / unit for dot in run], color=TINT[what],
                          linewidth=0.9, marker=marker(i), markersize=6.5, markeredgewidth=1.3,
                          markerfacecolor=TINT[what] if which == "forward" else "white")
    least = min(dot.intensity for dot in dots) / 2
    axes.set_xlim(left=least)
    draw_ceilings(page, points, unit, unit_name, least)

    whats = [what for what in TINT if any(dot.what == what for dot in dots)]
    page.legends[0] = [Line2D([], [], color=TINT[what], marker="o", linestyle="none", label=what) for what in whats]
    for which, fill in (("forward", "#8c8c8c"), ("backward", "white")):
        if any(dot.which == which for dot in dots):
            page.legends[0].append(Line2D([], [], color="#8c8c8c", marker="o", markerfacecolor=fill, linestyle="none",
                                          label=which))
    if len(series) > 1:
        page.legends.insert(1, [Line2D([], [], color="#8c8c8c", marker=marker(i), linestyle="none", label=name)
                                for i, name in enumerate(series)])
    if sweep:
        page.finishes.append(lambda: number_dots(page, dots, sweep))
        page.notes.append(f"Numbers at the points: {sweep.replace('-', ' ')}.")
    page.notes += notes
    axes.set_xlabel("arithmetic intensity, FLOP per byte")
    axes.set_ylabel(unit_name + (" per rank" if any(point.ranks > 1 for point in points) else ""))
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
