#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bandwidth and time of the links between ranks against bytes, for each way: from moebench links --json.

    links.py LINKS.json -o FIGURE.png
"""
import argparse
import sys

from page import COLOURS, STYLE, figures, plt
from report import Refused, read_document

SCHEMA = "moebench.links/1"
WAYS = {"messages": COLOURS[1], "copy": COLOURS[2], "store": COLOURS[0]}
LABELS = {"messages": "messages", "copy": "copies (copy engines)", "store": "stores of a kernel, with flag"}


def read_links(path):
    document = read_document(path, SCHEMA, "links", ["way", "pattern", "bytes_to_each_peer", "peers", "gbs", "min_us", "p50_us", "max_us"])
    if not any(point["pattern"] == "all" for point in document["points"]):
        raise Refused(f"{path}: holds no points in which all send to all")
    return document


def sizes_of(document):
    return sorted({p["bytes_to_each_peer"] for p in document["points"] if p["pattern"] == "all"})


def draw(document):
    """Left the rate, right the time, both against the bytes to each peer; bars from the fastest to the slowest repeat."""
    figure, (rates, times) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for way, colour in WAYS.items():
        points = [p for p in document["points"] if p["way"] == way and p["pattern"] == "all"]
        if not points:
            continue
        sizes = [p["bytes_to_each_peer"] for p in points]
        sent = [p["peers"] * p["bytes_to_each_peer"] for p in points]
        low = [p["gbs"] - s / p["max_us"] * 1e-3 for p, s in zip(points, sent)]
        high = [s / p["min_us"] * 1e-3 - p["gbs"] for p, s in zip(points, sent)]
        rates.errorbar(sizes, [p["gbs"] for p in points], [low, high], fmt="o-", color=colour, capsize=2, label=LABELS[way])
        times.errorbar(sizes, [p["p50_us"] for p in points],
                       [[p["p50_us"] - p["min_us"] for p in points], [p["max_us"] - p["p50_us"] for p in points]],
                       fmt="o-", color=colour, capsize=2)
    for axes in (rates, times):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("bytes to each peer")
        axes.set_xticks(sizes_of(document)[::2])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 2**20:g} MiB" if value >= 2**20 else f"{value / 2**10:g} KiB")
    rates.set_ylabel("GB/s that leave one rank")
    rates.set_ylim(bottom=0)
    rates.legend(frameon=False)
    times.set_ylabel("µs, slowest rank")
    times.set_yscale("log")
    times.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ranks = document["machine"]["ranks"]
    figure.suptitle(f"{len(ranks)} ranks, {ranks[0]['device'].split(',')[0]}: all send to all others", x=0.01, ha="left")
    return figure


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("links")
    parser.add_argument("-o", "--output", default="links.png")
    given = parser.parse_args(arguments)
    try:
        document = read_links(given.links)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with plt.rc_context(STYLE):
        draw(document).savefig(given.output, dpi=120)
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
