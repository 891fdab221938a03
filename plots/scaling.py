#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput against the number of ranks (Figure 6 of the FastMoE paper), the efficiency kept, and the link's share."""
import sys
from copy import copy

from page import Page, colour, flops_unit, main, marker, percent, plain_log, value_ticks
from matplotlib.lines import Line2D
from series import both_ways, group, require_axis, select


def series_over_ranks(points):
    """Weak or strong scaling, experts per rank or in all: whatever is constant along the ranks makes the series."""
    candidates = []
    for tokens in ("tokens", "total-tokens"):
        for experts in ("experts-per-rank", "experts"):
            for point in points:
                said = both_ways(point.case)
                for key in ("tokens", "total-tokens", "experts", "experts-per-rank"):
                    point.settings.pop(key, None)
                point.settings.update({key: said[key] for key in (tokens, experts) if key in said})
            members = {tuple(sorted((key, str(value)) for key, value in point.settings.items() if key != "ranks"))
                       for point in points}
            candidates.append((len(members), len(candidates), [dict(point.settings) for point in points], tokens))
    _, _, settings, tokens = min(candidates)
    for point, chosen in zip(points, settings):
        point.settings = chosen
    return group(points, "ranks"), tokens


def share_lone_ranks(points):
    """A rank alone exchanges nothing, so its point begins the curve of every exchange."""
    exchanges = sorted({point.settings["exchange"] for point in points if "exchange" in point.settings})
    shared = []
    for point in points:
        for exchange in [None] if "exchange" in point.settings or not exchanges else exchanges:
            shared.append(copy(point))
            shared[-1].settings = dict(point.settings, **({"exchange": exchange} if exchange else {}))
    return shared


def look(i):
    """Later curves are dashed and hollow: one that lies on another leaves it to be seen."""
    return dict(color=colour(i), marker=marker(i), linestyle="-" if i == 0 else (0, (4, 2 + i)),
                markerfacecolor=colour(i) if i == 0 else "none")


def draw_throughput(page, axes, series, unit):
    for i, (name, members) in enumerate(series.items()):
        ranks = [point.ranks for point in members]
        rates = [point.total.tflops / unit for point in members]
        errors = zip(*[point.total.tflops_error for point in members])
        axes.plot([0, ranks[-1]], [0, rates[0] * ranks[-1] / ranks[0]], ":", color=colour(i), linewidth=1.3)
        axes.errorbar(ranks, rates, yerr=[[e / unit for e in side] for side in errors], **look(i))
        if name:
            page.legends[0].append(Line2D([], [], label=name, **look(i)))
    page.legends[0].append(Line2D([], [], color="#555555", linestyle=":", linewidth=1.3,
                                  label="in proportion to the ranks"))
    axes.set_ylim(bottom=0)


def draw_efficiency(axes, series):
    for i, members in enumerate(series.values()):
        each = [point.total.tflops / point.ranks for point in members]
        if each[0] > 0:
            axes.plot([point.ranks for point in members], [rate / each[0] for rate in each], **look(i))
    axes.axhline(1, color="#555555", linewidth=1, linestyle=":")
    axes.set_ylim(0, max(1.08, axes.get_ylim()[1]))
    axes.yaxis.set_major_formatter(percent)


def draw_exchange(page, axes, series):
    """What the exchanges of rows reached, against what the link gave to an all-to-all of its own."""
    links = {}
    for i, members in enumerate(series.values()):
        crossing = [point for point in members if point.exchange_gbs > 0]
        axes.plot([point.ranks for point in crossing], [point.exchange_gbs for point in crossing], **look(i))
        for point in crossing:
            if point.peaks and point.peaks.link_gbs > 0:
                link = links.setdefault((point.report, point.peaks.dtype, point.peaks.backend), {})
                link[point.ranks] = point.peaks.link_gbs
    for link in links.values():
        axes.plot(sorted(link), [link[ranks] for ranks in sorted(link)], "_--", color="#222222", linewidth=1.1,
                  markersize=9, markeredgewidth=1.6)
    if links:
        page.legends[0].append(Line2D([], [], color="#222222", marker="_", linestyle="--", linewidth=1.1, markersize=9,
                                   label="measured link (all-to-all)"))
    rates = [point.exchange_gbs for members in series.values() for point in members if point.exchange_gbs > 0]
    rates += [gbs for link in links.values() for gbs in link.values()]
    if max(rates) > 20 * min(rates):
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    else:
        axes.set_ylim(0, 1.08 * max(rates))


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    points, values = require_axis(points, "ranks")
    points = share_lone_ranks(points)
    series, tokens = series_over_ranks(points)
    unit, unit_name = flops_unit(max(point.total.tflops for point in points))
    exchanges = any(point.exchange_gbs > 0 for point in points)

    page = Page(f"{'Weak' if tokens == 'tokens' else 'Strong'} scaling: throughput against ranks", points, height=4.0)
    page.figure.clear()
    grid = page.figure.add_gridspec(2, 2, width_ratios=[1.25, 1])
    whole = page.figure.add_subplot(grid[:, 0])
    right = [page.figure.add_subplot(grid[0, 1]), page.figure.add_subplot(grid[1, 1])] if exchanges else \
        [page.figure.add_subplot(grid[:, 1])]
    draw_throughput(page, whole, series, unit)
    whole.set_ylabel(f"{unit_name}, all ranks")
    draw_efficiency(right[0], series)
    right[0].set_ylabel("efficiency")
    if exchanges:
        draw_exchange(page, right[1], series)
        right[1].set_ylabel("exchange and waiting, GB/s")
    for axes in [whole] + right:
        value_ticks(axes.xaxis, values)
        axes.set_xlim(0, values[-1] * 1.05)
        axes.grid(False, axis="x")
    for axes in (whole, right[-1]):
        axes.set_xlabel("ranks")
    page.notes = ["Medians; error bars: their 95 % intervals. Efficiency: throughput per rank, against the smallest "
                  "number of ranks." + (" Exchange: bytes of a rank over the time of dispatch and collect, in which it also waits for the "
                                        "slowest rank." if exchanges else "")] + notes
    page.lead = list(dict.fromkeys(filter(None, (point.report.sharing(point.ranks, point.case.get("backend"), point.case.get("comm"))
                                                 for point in sorted(points, key=lambda point: -point.ranks)))))[:1]
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
