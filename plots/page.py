# SPDX-License-Identifier: Apache-2.0
"""How every figure looks: its command line, colours and units, and the page around its axes."""
import argparse
import math
import sys
import textwrap
import warnings

try:
    import matplotlib
except ImportError:
    print(f"error: {sys.executable} has no matplotlib: apt-get install python3-matplotlib (for /usr/bin/python3) "
          "or pip install matplotlib", file=sys.stderr)
    sys.exit(2)
matplotlib.use("Agg")
import matplotlib.pyplot as plt

from report import Refused, read, short
from series import check_filter, constants, parse_filter

WIDTH = 7.5  # inches; 900 pixels at the resolution below
DPI = 120
LEFT = 0.16  # inches before titles, legends and notes
INK, PALE = "#222222", "#6b6b6b"
# Okabe and Ito (2008): distinguishable with every kind of colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#222222", "#8c8c8c"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
# Local moves are green, exchanges yellow to red, the experts blue.
STAGE_COLOURS = {"gate": "#CC79A7", "plan": "#B6DCCB", "pack": "#5DBB9A", "sizes": "#F0D264", "dispatch": "#E69F00",
                 "shared": "#56B4E9", "experts": "#0A5A9C", "collect": "#D55E00", "combine": "#00755A", "sync": "#4D4D4D"}

STYLE = {
    "font.size": 10, "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": PALE, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "grid.color": "#e4e4e4", "grid.linewidth": 0.8, "lines.linewidth": 1.8, "lines.markersize": 5.5,
    "errorbar.capsize": 3, "hatch.linewidth": 0.9,
    "text.parse_math": False,  # a dollar in the name of a machine is a dollar
}


def colour(i):
    return COLOURS[i % len(COLOURS)]


def marker(i):
    return MARKERS[i % len(MARKERS)]


def lighter(name, share):
    """The colour with `share` of it left, the rest white."""
    return tuple(1 - share * (1 - c) for c in matplotlib.colors.to_rgb(name))


def time_unit(most_us):
    """(microseconds in the unit, its name) for times up to `most_us`."""
    return next((unit for unit in ((1e6, "s"), (1e3, "ms")) if most_us >= unit[0]), (1, "µs"))


def flops_unit(most_tflops):
    """(TFLOP/s in the unit, its name) for rates up to `most_tflops`."""
    units = ((1e3, "PFLOP/s"), (1, "TFLOP/s"), (1e-3, "GFLOP/s"))
    return next((unit for unit in units if most_tflops >= unit[0]), (1e-6, "MFLOP/s"))


def figures(value, count=3):
    """`value` with `count` significant figures and no exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    decimals = count - 1 - math.floor(math.log10(abs(value) * 1.0005))
    return f"{value:,.{max(0, decimals)}f}".replace(",", " ") if abs(value) >= 1e5 else f"{value:.{max(0, decimals)}f}"


def value_ticks(axis, values, log=False):
    """Ticks at the values measured and nowhere else, those left out that would crowd the larger ones."""
    if log:
        axis.axes.set_xscale("log", base=2)
    place = math.log2 if log else float
    room = 0.055 * (place(values[-1]) - (place(values[0]) if log else 0))
    kept = []
    for value in reversed(values):
        if not kept or place(kept[-1]) - place(value) >= room:
            kept.append(value)
    axis.set_ticks(kept)
    axis.set_ticklabels([f"{value:g}" if value < 1e5 else f"{value:.0e}" for value in kept])
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def percent(share, _=None):
    return f"{100 * share:.0f} %"


def plain_log(axis):
    """Powers of ten as people say them: 0.01, 0.1, 1."""
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


class Page:
    """A figure: title, constant settings and legend above the axes, notes below them, nothing over the data."""

    def __init__(self, title, points, height=3.4, rows=1, columns=1, **subplots):
        self.title, self.points, self.height = title, points, height
        self.figure, self.axes = plt.subplots(rows, columns, figsize=(WIDTH, height), **subplots)
        self.legends = [[]]  # of handles; each begins a line of its own
        self.lead = []  # lines before the settings
        self.notes = []
        self.finishes = []  # called when everything has its place

    def save(self, path):
        title = textwrap.wrap(self.title, 78)
        settings = self.lead + wrap_parts(constants(self.points), 122)
        notes = [line for note in self.notes[:8] for line in wrap(note)[:3]]
        if len(self.notes) > 8:
            notes.append(f"… and {len(self.notes) - 8} more.")
        notes += wrap(provenance(self.points))[:4]
        legends = [self.place_legend(handles) for handles in self.legends if handles]
        above = 0.14 + 0.24 * len(title) + 0.17 * len(settings) + 0.14 + sum(height + 0.07 for _, height in legends)
        below = 0.14 + 0.145 * len(notes)
        whole = above + self.height + below
        self.figure.set_size_inches(WIDTH, whole)
        y = 0.14
        for line in title:
            self.write(line, y, whole, fontsize=12.5, fontweight="bold")
            y += 0.24
        for line in settings:
            self.write(line, y + 0.02, whole, fontsize=8.5, color=PALE)
            y += 0.17
        y += 0.08
        for legend, height in legends:
            legend.set_bbox_to_anchor((LEFT / WIDTH, 1 - y / whole), self.figure.transFigure)
            y += height + 0.07
        for i, line in enumerate(notes):
            self.write(line, whole - below + 0.06 + 0.145 * i, whole, fontsize=7.5, color=PALE)
        self.figure.tight_layout(rect=(0.01, below / whole, 0.99, 1 - above / whole), pad=0.6, h_pad=1.2, w_pad=2)
        for finish in self.finishes:
            finish()
        try:
            self.figure.savefig(path, dpi=DPI)
        except (OSError, ValueError) as error:
            raise Refused(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}")

    def write(self, text, y, whole, **style):
        """A line whose top is `y` inches below the top of the page."""
        self.figure.text(LEFT / WIDTH, 1 - y / whole, text, va="top", **style)

    def place_legend(self, handles):
        """A legend in as many columns as fit, read row by row, and its height in inches."""
        for columns in range(min(len(handles), 9), 0, -1):
            by_column = [handle for column in range(columns) for handle in handles[column::columns]]
            legend = self.figure.legend(handles=by_column, ncol=columns, loc="upper left", frameon=False,
                                        borderaxespad=0, borderpad=0, handlelength=1.8, columnspacing=1.5,
                                        labelspacing=0.35)
            box = legend.get_window_extent(self.figure.canvas.get_renderer())
            if box.width <= (WIDTH - 0.3) * self.figure.dpi or columns == 1:
                return legend, box.height / self.figure.dpi
            legend.remove()


def wrap(note):
    return textwrap.wrap(note, 140, break_on_hyphens=False)


def wrap_parts(parts, width):
    """The parts in lines, broken between parts only."""
    lines = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += " · " + part
        else:
            lines.append(part)
    return lines


def provenance(points):
    """Which build measured, and when: what a figure must not lose when it leaves its report."""
    reports = list(dict.fromkeys(point.report for point in points))
    what = list(dict.fromkeys(f"moebench {r.version} ({r.commit}), {r.date}" for r in reports))
    return "Measured with " + "; ".join(what[:4]) + (f"; and {len(what) - 4} more" if len(what) > 4 else "") + "."


def main(draw, summary, reports="+", options=()):
    """Parses the command line, reads, draws and saves. Returns the exit code."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("reports", nargs=reports, metavar="REPORT", help="from moebench run --json; a .part will do")
    parser.add_argument("-o", "--output", metavar="FIGURE", help="a .png, .svg or .pdf [SCRIPT.png]")
    parser.add_argument("--title", help="instead of the figure's own")
    parser.add_argument("--filter", default="", metavar="EXPR", help="draw only these: 'experts<=16,engine=loop'")
    for name, settings in options:
        parser.add_argument(name, **settings)
    parser.error = lambda message: parser.exit(2, f"error: {message}; see {parser.prog} --help\n")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "Glyph .* missing")  # the name of a machine in a script that the font has not
    output = given.output or parser.prog.replace(".py", "") + ".png"
    try:
        holds = parse_filter(given.filter)
        with matplotlib.rc_context({key: value for key, value in STYLE.items() if key in matplotlib.rcParams}):
            reports = [read(path) for path in given.reports]
            check_filter(holds, reports)
            page = draw(reports, holds, given)
            page.title = short(given.title) if given.title else page.title
            page.save(output)
    except Refused as refused:
        print("error: " + " ".join(str(refused).split()), file=sys.stderr)
        return 2
    print(output)
    return 0
