#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who gets the tokens: rows of every expert step by step, rows of every rank, and the time of each step."""
import sys

from page import Page, colour, main, time_unit
from report import Refused
from series import select


def steps_of(point):
    """The routing steps of the one point that a figure shows."""
    if not point.routing:
        raise Refused(f"{point.report.path}: the point holds no routing steps; measure it with --samples")
    if not all(step.expert_rows for step in point.routing):
        raise Refused(f"{point.report.path}: routing.steps: 'expert_rows' is missing; measure it with --samples")
    return point.routing


def draw_experts(axes, figure, steps):
    """Rows over their mean: 1 is even."""
    mean = sum(steps[0].expert_rows) / len(steps[0].expert_rows) or 1
    shares = [[rows / mean for rows in step.expert_rows] for step in steps]
    image = axes.imshow(shares, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0)
    axes.set_xlabel("expert")
    axes.set_ylabel("step")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="rows / mean", fraction=0.05, pad=0.02)


def draw_ranks(axes, steps):
    """One group per rank, its mean over the steps, with the least and the most."""
    ranks = range(len(steps[0].rank_rows))
    rows = [[step.rank_rows[rank] for step in steps] for rank in ranks]
    means = [sum(of_rank) / len(of_rank) for of_rank in rows]
    spread = [[mean - min(of_rank) for mean, of_rank in zip(means, rows)], [max(of_rank) - mean for mean, of_rank in zip(means, rows)]]
    axes.bar(ranks, means, 0.7, color=colour(0), linewidth=0)
    axes.errorbar(ranks, means, yerr=spread, fmt="none", color="#222222", linewidth=1.1)
    axes.axhline(sum(means) / len(means), color="#555555", linewidth=1)
    axes.set_xticks(list(ranks))
    axes.set_xlabel("rank")
    axes.set_ylabel("rows, mean and extremes")
    axes.grid(False, axis="x")


def draw_times(axes, steps):
    unit, name = time_unit(max(step.p50 for step in steps))
    timed = [(i, step) for i, step in enumerate(steps) if step.n > 0]
    axes.bar([i for i, _ in timed], [step.p50 / unit for _, step in timed], 0.7, color=colour(1), linewidth=0)
    for i, step in timed:
        if step.low is not None:
            axes.errorbar(i, step.p50 / unit, yerr=[[(step.p50 - step.low) / unit], [(step.high - step.p50) / unit]],
                          color="#222222", linewidth=1.1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step")
    axes.set_ylabel(f"time {name}")
    axes.grid(False, axis="x")


def draw(reports, holds, _):
    points, notes = select(reports, holds)
    with_steps = [point for point in points if point.routing] or points
    if len(with_steps) > 1:
        notes.append(f"The first of {len(with_steps)} points with steps; choose another with --filter.")
    point = with_steps[0]
    steps = steps_of(point)
    page = Page("Rows of experts and ranks, step by step", [point], height=5.6, rows=2, columns=2,
                gridspec_kw={"height_ratios": [1.3, 1]})
    for axes in page.axes[0]:
        axes.remove()
    experts = page.figure.add_subplot(page.axes[0][0].get_gridspec()[0, :])
    draw_experts(experts, page.figure, steps)
    draw_ranks(page.axes[1][0], steps)
    draw_times(page.axes[1][1], steps)
    most = max(max(step.expert_rows) / (sum(step.expert_rows) / len(step.expert_rows) or 1) for step in steps)
    page.lead.append(f"max/mean over experts, of the most uneven step: {most:.2f}")
    page.notes += notes
    return page


if __name__ == "__main__":
    sys.exit(main(draw, __doc__))
