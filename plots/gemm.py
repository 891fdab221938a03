#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput against batch size (Figure 3 of the FastMoE paper): why the tokens of an expert must be gathered."""
import sys

from page import Page, colour, figures, flops_unit, main, marker, value_ticks
from matplotlib.lines import Line2D
from series import group, labels, require_axis, select


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    points = [point for point in points if point.case.get("subject") == "linear"] or points
    axis = "tokens" if all("tokens" in point.settings for point in points) else "total-tokens"
    points = [point for point in points if point.settings.get(axis, 0) > 0]  # none has no place on a log axis
    points, values = require_axis(points, axis)
    series = group(points, axis)
    ceilings = {}  # of the series' machines, each once
    for members in series.values():
        if members[0].peaks and members[0].peaks.gemm_tflops > 0:
            ceilings.setdefault((members[0].report, members[0].peaks), members[0])
    heights = [point.total.tflops for point in points] + [peaks.gemm_tflops * peaks.ranks for _, peaks in ceilings]
    unit, unit_name = flops_unit(max(heights))

    linear = all(point.case.get("subject") == "linear" for point in points)
    page = Page(f"Throughput of {'one linear layer (hidden → ffn)' if linear else 'the layer'} against batch size", points)
    page.notes = ["Medians; error bars: their 95 % intervals."] + notes
    axes = page.axes
    for i, (name, members) in enumerate(series.items()):
        rates = [point.total.tflops for point in members]
        spans = [(rate - point.total.flops / point.total.high * 1e-6, point.total.flops / point.total.low * 1e-6 - rate)
                 if point.total.low else (0, 0) for rate, point in zip(rates, members)]
        below, above = zip(*[(max(0, low), max(0, high)) for low, high in spans])
        axes.errorbar([point.settings[axis] for point in members], [rate / unit for rate in rates],
                      yerr=[[e / unit for e in below], [e / unit for e in above]], color=colour(i), marker=marker(i))
        page.legends[0].append(Line2D([], [], color=colour(i), marker=marker(i), label=name or "measured"))
    names = labels(list(ceilings.values()), but=("tokens", "total-tokens"))
    for i, ((_, peaks), name) in enumerate(zip(ceilings, names)):
        whole = peaks.gemm_tflops * peaks.ranks
        line = axes.axhline(whole / unit, color="#555555", linewidth=1.3, linestyle=["--", ":", "-."][i % 3],
                            label=f"measured peak{' of ' + name if name else ''}: {figures(whole / unit)} {unit_name}")
        page.legends[0].append(line)
    value_ticks(axes.xaxis, values)
    axes.set_ylim(0, max(heights) / unit * 1.06)
    axes.set_xlabel("batch size: " + ("tokens" if axis == "tokens" else "tokens in all"))
    axes.set_ylabel(unit_name)
    axes.grid(False, axis="x")
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
