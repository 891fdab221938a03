# SPDX-License-Identifier: Apache-2.0
"""Which points of the reports a figure shows, in which series, and what it calls them."""
import difflib
import operator
import re
from typing import Dict

from report import NO_MATTER, Refused

RELATIONS = {"<=": operator.le, ">=": operator.ge, "!=": operator.ne, "=": operator.eq, "<": operator.lt,
             ">": operator.gt}


def both_ways(case):
    """The settings, with tokens and experts said per rank and in all."""
    ranks, ep = case.get("ranks", 1), case.get("ep", 1)
    said = dict(case)
    for one, per, count in (("tokens", "total-tokens", ranks), ("experts-per-rank", "experts", ep)):
        if one in said and per not in said:
            said[per] = said[one] * count
        elif per in said and one not in said and said[per] % count == 0:
            said[one] = said[per] // count
    return said


def parse_filter(text):
    """'experts<=16,engine=loop' as a function of a case; the same language as `moebench run --filter`."""
    conditions = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([\w-]+)\s*(<=|>=|!=|=|<|>)\s*([^=<>!]+)", part)
        if not match:
            raise Refused(f"--filter '{part}': expected KEY OP VALUE, OP one of = != < <= > >=")
        key, relation, value = match.groups()
        try:
            value = float(value)
        except ValueError:
            value = value.strip()
            if relation not in ("=", "!="):
                raise Refused(f"--filter '{part}': a word has no order; valid: = !=")
        conditions.append((key, RELATIONS[relation], value))

    def holds(case):
        said = both_ways(case)
        return all(key in said and isinstance(said[key], str) == isinstance(value, str) and
                   relation(said[key], value) for key, relation, value in conditions)
    holds.keys = [key for key, _, _ in conditions]
    return holds


def check_filter(holds, reports):
    """Refuses a condition on what is no setting, as moebench does."""
    known = set(ORDER) | {"graph", "cache", "streams", "exchange", "comm"}
    known |= {key for report in reports for point in report.points for key in point.case}
    for key in getattr(holds, "keys", []):
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), 1)
            raise Refused(f"--filter: unknown flag '{key}'" + (f"; did you mean '{near[0]}'?" if near else
                                                               f"; valid: {', '.join(sorted(known))}"))


def select(reports, holds=lambda case: True):
    """The points with times that pass the filter, normalised; and a sentence for each other that passes it."""
    chosen = [point for report in reports for point in report.points if holds(point.case)]
    normalise(chosen)
    timed = [point for point in chosen if point.times.get("total") and point.total.p50 > 0]
    if not timed:
        names = ", ".join(str(report.path) for report in reports)
        total = sum(len(report.points) for report in reports)
        why = "points are missing" if total == 0 else f"no point with a time is left of {total}"
        raise Refused(f"{names}: {why}")
    lost: Dict[str, list] = {}
    for point, name in zip(chosen, labels(chosen)):
        if point not in timed:
            word = "no time" if point.status == "ok" else point.status.replace("_", " ")
            lost.setdefault(f"{word}: {point.reason}" if point.reason else word, []).append(name or "one point")
    return timed, [f"Left out ({why}): {'; '.join(names)}." for why, names in lost.items()]


def normalise(points):
    """Says tokens and experts in the way in which they vary least, and drops what follows from the rest."""
    for one, other in (("tokens", "total-tokens"), ("experts", "experts-per-rank")):
        said = [both_ways(point.case) for point in points]
        values = {key: {case.get(key) for case in said} for key in (one, other)}
        swept = any(other in point.axes for point in points)
        use = other if None not in values[other] and (swept or len(values[other]) < len(values[one])) else one
        if None in values[use]:
            continue
        for point, case in zip(points, said):
            point.settings.pop(one, None), point.settings.pop(other, None)
            point.settings[use] = case[use]
    for point in points:
        point.settings.pop("comm", None)
        if point.settings.get("ep") == point.ranks:
            point.settings.pop("ep")


PASSES = {"fwd": "forward", "fwd+bwd": "forward + backward", "step": "forward + backward + sync"}
COUNTED = {"ranks": ("rank", ""), "tokens": ("token", " per rank"), "total-tokens": ("token", " in all"),
           "experts": ("expert", ""), "experts-per-rank": ("expert", " per rank")}
SUBJECTS = {"layer": "MoE layer", "linear": "one linear layer", "dense": "dense FFN"}
BARE = {"engine", "dtype", "subject", "activation", "pass", "backend", "comm"}  # the value says what it is
ORDER = ["subject", "ranks", "ep", "tokens", "total-tokens", "hidden", "ffn", "experts", "experts-per-rank", "top-k",
         "activation", "bias", "gate", "routing", "pass", "engine", "dtype", "backend", "seed"]
UNSAID = {"bias": "off", "gate": "topk", "routing": "random", "ranks": 1, "subject": "layer"}  # the usual


def word_of(key, value):
    if key in BARE:
        return {**PASSES, **SUBJECTS}.get(value, str(value))
    if key in COUNTED:
        one, rest = COUNTED[key]
        return f"{value} {one}{'' if value == 1 else 's'}{rest}"
    return f"{key} {value}"


def keys_of(points):
    """Every setting of any point, in the order of ORDER."""
    keys = dict.fromkeys(key for point in points for key in point.settings)
    return sorted(keys, key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER))


def value_of(point, key):
    if key in NO_MATTER.get(point.settings.get("subject"), ()):
        return None
    return point.settings.get(key)


def labels(points, but=(), by_report=True):
    """What tells each point from the others: settings that vary, except those in `but`; the machine; if points of two
    commits are still alike, the commit; and as the last resort when it was measured."""
    varying = [key for key in keys_of(points)
               if key not in but and len({value_of(point, key) for point in points}) > 1]
    devices = {point.device for point in points}
    if len(devices) > 1 and "backend" in varying:
        varying.remove("backend")  # the devices say it
    parts = [[word_of(key, value_of(point, key)) for key in varying if value_of(point, key) is not None]
             for point in points]
    if len(devices) > 1:
        parts = [words + [point.device] for words, point in zip(parts, points)]
    if not by_report:
        return [" · ".join(words) for words in parts]
    if len({tuple(words) for words in parts}) < len({(tuple(words), p.report.commit) for words, p in zip(parts, points)}):
        parts = [words + [point.report.commit] for words, point in zip(parts, points)]
    if len({tuple(words) for words in parts}) < len({(tuple(w), p.report) for w, p in zip(parts, points)}):
        reports = list(dict.fromkeys(point.report for point in points))
        names = {report: report.start for report in reports}  # when it was measured; a file's name says nothing
        if len(set(names.values())) < len(reports):
            names = {report: f"report {i + 1}" for i, report in enumerate(reports)}
        parts = [words + [names[point.report]] for point, words in zip(points, parts)]
    return [" · ".join(words) for words in parts]


def constants(points):
    """What all points have in common, for the small print under the title."""
    words = []
    for key in keys_of(points):
        values = {value_of(point, key) for point in points}
        value = values.pop()
        if not values and value is not None and key not in ("seed", "backend") and UNSAID.get(key) != value:
            word = f"engine {value}" if key == "engine" else word_of(key, value)
            words.append(word.replace(" per rank", "") if all(point.ranks == 1 for point in points) else word)
    devices = {point.device for point in points}
    return words + (list(devices) if len(devices) == 1 else [])


def group(points, axis, but=()):
    """Series over `axis`: {label: points with rising values of it}, in the order of the reports."""
    members: Dict[tuple, list] = {}
    for point in points:
        rest = tuple((key, value_of(point, key)) for key in keys_of(points) if key not in (axis, *but))
        members.setdefault((point.report, rest), []).append(point)
    if len(members) > 16:
        raise Refused(f"{points[0].report.path}: {len(members)} series are too many to tell apart; "
                      "choose some with --filter")
    names = labels([series[0] for series in members.values()], but=(axis, *but))
    return {name: sorted(series, key=lambda point: point.settings[axis])
            for name, series in zip(names, members.values())}


def require_axis(points, axis):
    """The points that have the setting, of which there must be two values at least."""
    having = [point for point in points if isinstance(value_of(point, axis), (int, float))]
    values = sorted({point.settings[axis] for point in having})
    if len(values) < 2:
        names = ", ".join(dict.fromkeys(str(point.report.path) for point in points))
        found = f"{axis} is {values[0]} throughout" if values else f"no point has {axis}"
        raise Refused(f"{names}: {found}; the figure needs several values of it")
    return having, values
