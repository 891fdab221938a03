#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The MoE tax: how much of what a dense network of the same arithmetic reaches each engine loses, shape by shape."""
import sys

from page import Page, colour, main, percent
from matplotlib.patches import Patch
from report import Refused
from series import keys_of, labels, select, value_of, word_of

SHAPE = ["tokens", "total-tokens", "hidden", "ffn", "experts", "experts-per-rank", "top-k", "activation"]
MOST_BARS = 60
TIMES = ["forward", "total"]
TITLES = {"fwd": "forward", "fwd+bwd": "forward + backward", "step": "step"}


class Tax:
    """1 - dense time / layer time of one pass. Both true medians lie in their intervals: then the tax lies in [low, high]."""

    def __init__(self, dense, layer):
        self.value = 1 - dense.p50 / layer.p50
        known = dense.low is not None and layer.low is not None and layer.low > 0
        self.low, self.high = (1 - dense.high / layer.low, 1 - dense.low / layer.high) if known else (None, None)

    @property
    def error(self):
        """How far the interval reaches below and above."""
        return (self.value - self.low, self.high - self.value) if self.low is not None else (0, 0)


def shape_of(point):
    """What a layer and its dense network must have in common."""
    return tuple(point.case.get(key) for key in SHAPE + ["dtype", "bias", "ranks", "pass"]) + (point.device,)


def network_of(point):
    """The same but for the experts, which a dense network does not have: one may stand for several shapes."""
    return tuple(point.case.get(key) for key in SHAPE + ["dtype", "bias", "ranks", "pass"]
                 if key not in ("experts", "experts-per-rank")) + (point.device,)


def pairs_of(points):
    """[(layer, dense)], and a sentence on layers without a dense network beside them."""
    networks = [point for point in reversed(points) if point.case.get("subject") == "dense"]
    dense = {**{network_of(point): point for point in networks}, **{shape_of(point): point for point in networks}}
    layers = latest([point for point in points if point.case.get("subject") == "layer"])
    found = [(layer, dense.get(shape_of(layer)) or dense.get(network_of(layer))) for layer in layers]
    pairs = [(layer, network) for layer, network in found if network]
    lost = [layer for layer, network in found if not network]
    if not pairs:
        names = ", ".join(dict.fromkeys(str(point.report.path) for point in points))
        raise Refused(f"{names}: no layer has a dense network of the same shape beside it; "
                      "measure both with --subject dense,layer or --suite moe-tax")
    note = [f"Left out (no dense network beside it): {'; '.join(filter(None, labels(lost))) or 'one point'}."] if lost else []
    return pairs, note


def latest(layers):
    """Of layers with the same settings in several reports the last: an engine has one bar at a shape."""
    return list({shape_of(layer) + (str(sorted((key, str(value)) for key, value in layer.settings.items())),): layer
                 for layer in layers}.values())


def name_of_shape(point, varying):
    """One line for each kind of setting that varies over the shapes."""
    return "\n".join(word_of(key, value_of(point, key)).replace(" per rank", "") for key in varying) or "one shape"


def title_of(which, layers):
    """What was timed."""
    return which if which != "total" else " or ".join(dict.fromkeys(TITLES[layer.case["pass"]] for layer in layers))


def draw_pass(axes, which, pairs, shapes, series):
    """One group per shape, one bar per engine, each with its interval and its tax above it."""
    width = 0.84 / len(series)
    pairs = [(layer, dense) for layer, dense in pairs if which in layer.times and which in dense.times]
    for layer, dense in pairs:
        tax = Tax(dense.times[which], layer.times[which])
        i = series.index(layer.series_name)
        # Side by side over the label of the shape, without gaps for engines that are not there.
        here = sorted({series.index(other.series_name) for other, _ in pairs if shape_of(other) == shape_of(layer)})
        x = shapes.index(shape_of(layer)) + (here.index(i) - (len(here) - 1) / 2) * width
        axes.bar(x, tax.value, width * 0.9, color=colour(i), linewidth=0)
        axes.errorbar(x, tax.value, yerr=[[e] for e in tax.error], color="#222222", linewidth=1.1, capsize=min(3, 16 * width))
        if 6.6 * width / len(shapes) > 0.16:
            top = max(0, tax.high if tax.high is not None else tax.value)
            axes.annotate(f"{100 * tax.value:.0f}", (x, top), xytext=(0, 2), textcoords="offset points", ha="center",
                          fontsize=7)
    axes.axhline(0, color="#555555", linewidth=1)
    axes.set_ylabel(f"tax, {title_of(which, [layer for layer, _ in pairs])}")
    axes.yaxis.set_major_formatter(percent)
    axes.set_xticks(range(len(shapes)))
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    pairs, without = pairs_of(points)
    layers = [layer for layer, _ in pairs]
    for layer, name in zip(layers, labels(layers, but=SHAPE, by_report=False)):
        layer.series_name = name or "layer"
    series = list(dict.fromkeys(layer.series_name for layer in layers))
    shapes = list(dict.fromkeys(shape_of(layer) for layer in layers))
    passes = [which for which in TIMES if any(which in layer.times for layer in layers)]
    if any(not layer.split for layer in layers):
        passes = ["total"]
    if len(series) * len(shapes) > MOST_BARS:
        raise Refused(f"{points[0].report.path}: {len(series)} engines by {len(shapes)} shapes are too many for one figure; "
                      "choose some with --filter")

    page = Page("MoE tax: what the layer loses against a dense network of the same FLOPs", layers,
                height=0.5 + 2.1 * len(passes), rows=len(passes), sharex=True, squeeze=False)
    varying = [key for key in keys_of(layers) if key in SHAPE and len({value_of(layer, key) for layer in layers}) > 1]
    for axes, which in zip(page.axes[:, 0], passes):
        draw_pass(axes, which, pairs, shapes, series)
    firsts = [next(layer for layer in layers if shape_of(layer) == shape) for shape in shapes]
    names = [name_of_shape(layer, varying) for layer in firsts]
    longest = max(len(line) for name in names for line in name.split("\n"))
    room = 6.6 * 72 / len(shapes) / (0.62 * longest)  # points of type at which no label touches the next
    page.axes[-1, 0].set_xticklabels(names, fontsize=max(4.5, min(9, room)))
    page.legends[0] = [Patch(color=colour(i), label=name) for i, name in enumerate(series)]
    page.notes = ["Tax: 1 - dense time / layer time, of the medians; the layer's time holds gate, plan, permutation and combine. "
                  "Error bars follow from both 95 % intervals."] + without + notes
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
