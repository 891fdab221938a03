#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time of a projected layer against GPUs, its efficiency, and what bounds it: from moebench project --json.

    projection.py PROJECTION.json -o FIGURE.png
"""
import argparse
import sys

from page import COLOURS, INK, PALE, STYLE, figures, plt, time_unit, value_ticks
from report import Refused, read_document

SCHEMA = "moebench.projection/1"
BOUNDS = {"compute": COLOURS[0], "latency": COLOURS[3], "nvlink": COLOURS[2], "network": COLOURS[1]}
PARTS = [("latency", "latency_us"), ("network", "net_us"), ("nvlink", "node_us")]


def read_projection(path):
    return read_document(path, SCHEMA, "projection", ["gpus", "time", "exchange"])


def split(points):
    """Points up to where they are extrapolated, and from the last of these on."""
    solid = [point for point in points if point["exchange"]["provenance"] != "extrapolated"]
    beyond = [point for point in points if point["exchange"]["provenance"] == "extrapolated"]
    return solid, (solid[-1:] + beyond if beyond else [])


def draw_time(axes, points, unit):
    gpus = [point["gpus"] for point in points]
    low = [(p["time"]["overlap_1_us"] - p["time"]["error_us"]) / unit for p in points]
    high = [(p["time"]["overlap_0_us"] + p["time"]["error_us"]) / unit for p in points]
    axes.fill_between(gpus, low, high, color=COLOURS[0], alpha=0.12, linewidth=0, label="with the error of exchanges")
    lines = [("overlap_0_us", "no overlap"), ("overlap_1_us", "the smaller part hidden")]
    for key, style in lines if any(p["compute"] for p in points) else [("overlap_0_us", "exchanges alone")]:
        solid, beyond = split(points)
        shade = COLOURS[0] if key == "overlap_0_us" else COLOURS[2]
        axes.plot([p["gpus"] for p in solid], [p["time"][key] / unit for p in solid], "o-", color=shade, label=style)
        axes.plot([p["gpus"] for p in beyond], [p["time"][key] / unit for p in beyond], "o--", color=shade, markerfacecolor="white")
    if any("at_overlap_us" in p["time"] for p in points):
        axes.plot(gpus, [p["time"]["at_overlap_us"] / unit for p in points], "s:", color=INK, label="what if")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)


def draw_efficiency(axes, points):
    known = [point for point in points if point["efficiency"] is not None]
    axes.set_ylabel("efficiency")
    axes.set_ylim(0, 1.05)
    if not known:
        axes.text(0.5, 0.5, "no compute: --compute REPORT was not given or does not hold these cases", ha="center",
                  transform=axes.transAxes, color=PALE, fontsize=8.5)
        return
    axes.plot([p["gpus"] for p in known], [p["efficiency"] for p in known], "o-", color=COLOURS[0])


def draw_bounds(axes, points):
    """Shares of the time without overlap, one bar for each number of GPUs."""
    for i, point in enumerate(points):
        whole = point["time"]["overlap_0_us"] or 1
        compute = (point["compute"] or {"total_us": 0})["total_us"]
        exchanges = point["exchange"]["total_us"] / (point["exchange"]["each_us"] or 1)
        parts = {"compute": compute}
        parts["latency"] = point["exchange"]["latency_us"] * exchanges
        slower = max(PARTS[1:], key=lambda part: point["exchange"][part[1]])
        parts[slower[0]] = whole - compute - parts["latency"]
        bottom = 0
        for name, part in parts.items():
            axes.bar(i, part / whole, bottom=bottom, color=BOUNDS[name], width=0.7)
            bottom += part / whole
    axes.set_xticks(range(len(points)), [str(point["gpus"]) for point in points])
    for name, shade in BOUNDS.items():
        axes.bar(0, 0, color=shade, label=name)
    axes.legend(frameon=False, fontsize=8, ncol=4, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    axes.set_ylabel("share of the time")
    axes.set_ylim(0, 1)
    axes.grid(False)


def caption(document):
    layer, fabric = document["layer"], document["fabric"]
    sources = {point["exchange"]["provenance"] for point in document["points"]}
    lines = [f"{layer['tokens']} tokens per GPU, hidden {layer['hidden']}, ffn {layer['ffn']}, {layer['experts']} experts, top-{layer['top-k']}, "
             f"{layer['dtype']}, {layer['routing']}, {document['passes']}; {fabric['name']}",
             f"compute: {'measured' if document['compute_report'] else 'none'}; exchange: {', '.join(sorted(sources))}; "
             f"error of an exchange {figures(fabric['error_pct']['value'])} %, wider beyond {fabric['largest_gpus']['value']:g} GPUs; dashed: extrapolated"]
    if document["what_if"]:
        lines.append(f"WHAT IF {document['what_if']}")
    return lines


def draw(document, path):
    points = sorted(document["points"], key=lambda point: point["gpus"])
    divisor, name = time_unit(max(point["time"]["overlap_0_us"] for point in points))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, 1, figsize=(7.5, 8.2), gridspec_kw={"height_ratios": [3, 1.4, 1.4]})
        draw_time(axes[0], points, divisor)
        axes[0].set_ylabel(f"time of the layer, {name}")
        axes[0].set_xlabel("GPUs")
        draw_efficiency(axes[1], points)
        axes[1].set_xlabel("GPUs")
        for axis in axes[:2]:
            axis.set_xlim(points[0]["gpus"] / 1.2, points[-1]["gpus"] * 1.2)
            value_ticks(axis.xaxis, [point["gpus"] for point in points], log=True)
        draw_bounds(axes[2], points)
        axes[2].set_xlabel("GPUs")
        figure.suptitle("A projected MoE layer, and what bounds it", x=0.02, ha="left", fontsize=12)
        figure.text(0.02, 0.945, "\n".join(caption(document)), fontsize=7.5, color=PALE, va="top")
        figure.tight_layout(rect=(0, 0, 1, 0.91))
        figure.savefig(path, dpi=120)
        plt.close(figure)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("projection")
    parser.add_argument("-o", "--output", default="projection.png")
    given = parser.parse_args(arguments)
    try:
        draw(read_projection(given.projection), given.output)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
