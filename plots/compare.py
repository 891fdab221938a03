#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two reports against each other: by how much each point became slower or faster, and how sure that is."""
import sys

from page import PALE, Page, figures, main, time_unit
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator
from report import DEFAULTS, NO_MATTER, Refused
from series import labels, select

MOST_ROWS = 60
STANDARD = {**DEFAULTS, "exchange": "fused", "streams": 16}  # what a report from before these settings measured
VERDICTS = {"slower": ("#D55E00", "s"), "faster": ("#0072B2", "o"), "no clear change": ("#6b6b6b", "D")}


class Ratio:
    """Time of B over time of A. Both true medians lie in their intervals: then their ratio lies in [low, high]."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.value = b.total.p50 / a.total.p50
        known = a.total.low is not None and b.total.low is not None and a.total.low > 0
        self.low, self.high = (b.total.low / a.total.high, b.total.high / a.total.low) if known else (None, None)

    def verdict(self, limit):
        """By the intervals alone; `moebench compare` asks a rank test too where the reports hold samples."""
        if self.low is None or self.low <= 1 <= self.high or 1 / limit <= self.value <= limit:
            return "no clear change"
        return "slower" if self.value > 1 else "faster"


def pair(a_points, b_points):
    """The points of both that have the same settings, and those of A that B has not, and of B that A has not."""
    def key(point):
        """As `moebench compare` pairs: without what the subject does not read, and a missing setting is at its standard."""
        unread = NO_MATTER.get(point.case.get("subject"), ())
        return tuple(sorted((name, str(value)) for name, value in point.case.items()
                            if name not in unread and STANDARD.get(name) != value))

    in_b = {key(point): point for point in b_points}
    in_a = {key(point) for point in a_points}
    return ([Ratio(point, in_b[key(point)]) for point in a_points if key(point) in in_b],
            [point for point in a_points if key(point) not in in_b],
            [point for point in b_points if key(point) not in in_a])


def what_differs(a, b):
    """What to call the two reports, beside A and B."""
    for of in (lambda report: " + ".join(dict.fromkeys(report.devices)), lambda report: f"commit {report.commit}",
               lambda report: report.name, lambda report: str(report.path)):
        if of(a) != of(b):
            return of(a), of(b)
    return a.name, b.name


def draw_rows(axes, ratios, limit):
    unit, unit_name = time_unit(max(point.total.p50 for ratio in ratios for point in (ratio.a, ratio.b)))
    times = [" → ".join(figures(point.total.p50 / unit) for point in (ratio.a, ratio.b)) for ratio in ratios]
    right = 6 + width_of(axes, times + [f"A → B, {unit_name}"]) + 14  # points: the second column begins behind the first
    beside = dict(xycoords=axes.get_yaxis_transform(), textcoords="offset points", va="center")
    for y, ratio in enumerate(ratios):
        colour, shape = VERDICTS[ratio.verdict(limit)]
        if ratio.low is not None:
            axes.plot([ratio.low, ratio.high], [y, y], color=colour, linewidth=2)
        axes.plot([ratio.value], [y], marker=shape, color=colour, markersize=6,
                  markerfacecolor=colour if ratio.low is not None else "white")
        axes.annotate(times[y], (1, y), xytext=(6, 0), fontsize=9, **beside)
        axes.annotate(f"{ratio.value:.3f}", (1, y), xytext=(right, 0), fontsize=9, **beside)
    axes.annotate(f"A → B, {unit_name}", (1, -0.95), xytext=(6, 0), fontsize=8.5, color=PALE, **beside)
    axes.annotate("B / A", (1, -0.95), xytext=(right, 0), fontsize=8.5, color=PALE, **beside)


def width_of(axes, texts):
    """The width of the widest text, in points, as it will be drawn."""
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    drawn = [figure.text(0, 0, text, fontsize=9) for text in texts]
    widest = max(text.get_window_extent(renderer).width for text in drawn)
    for text in drawn:
        text.remove()
    return widest * 72 / figure.dpi


def draw(reports, holds, given):
    if not 0 <= given.threshold < 1e6:
        raise Refused(f"--threshold {given.threshold:g}: expected a percentage from 0 up")
    a, b = reports
    points, notes = select(reports, holds)
    ratios, only_a, only_b = pair(*[[point for point in points if point.report is report] for report in reports])
    if not ratios:
        raise Refused(f"{a.path}, {b.path}: no point of the one has the settings of a point of the other")
    if len(ratios) > MOST_ROWS:
        raise Refused(f"{a.path}: {len(ratios)} points are too many for one figure; "
                      f"choose up to {MOST_ROWS} with --filter")
    limit = 1 + given.threshold / 100
    names = what_differs(a, b)
    page = Page("What changed from A to B", [ratio.a for ratio in ratios] + [ratio.b for ratio in ratios],
                height=0.95 + 0.27 * len(ratios))
    axes = page.axes
    axes.axvspan(1 / limit, limit, color="#ececec", linewidth=0, zorder=0)
    axes.axvline(1, color="#555555", linewidth=1, zorder=1)
    draw_rows(axes, ratios, limit)
    axes.set_yticks(range(len(ratios)))
    axes.set_yticklabels(labels([ratio.a for ratio in ratios]))
    axes.set_ylim(len(ratios) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    ends = [end for ratio in ratios for end in (ratio.low or ratio.value, ratio.value, ratio.high or ratio.value)]
    least, most = min(ends + [1 / limit, 0.999]), max(ends + [limit, 1.001])
    axes.set_xscale("log")
    axes.set_xlim(least / (most / least) ** 0.06, most * (most / least) ** 0.06)
    ticks = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(*axes.get_xlim())
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick > 0]))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("← B is faster      time of B / time of A      B is slower →")

    found = {ratio.verdict(limit) for ratio in ratios}
    page.legends = [[Line2D([], [], color=colour, marker=shape, linewidth=2, label=word)
                     for word, (colour, shape) in VERDICTS.items() if word in found] +
                    [Patch(color="#ececec", label=f"within the threshold of {given.threshold:g} %")]]
    page.lead = [f"A: {names[0]} · B: {names[1]}"]
    page.notes = ["Ratio of the medians, with the interval that follows from both 95 % intervals."]
    if any(ratio.low is None for ratio in ratios):
        page.notes[0] += " Hollow: too few samples for an interval."
    for side, lost in (("A", only_a), ("B", only_b)):
        if lost:
            page.notes.append(f"Timed only in {side}: {'; '.join(filter(None, labels(lost))) or 'one point'}.")
    page.notes += notes
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__, reports=2, options=[("--threshold", dict(
        type=float, default=2, metavar="PCT", help="what counts as a change [2]"))]))
