#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Validates reports against docs/report.schema.json, and against what a schema cannot say.

    validate.py [--schema FILE] [--reject] REPORT_OR_DIRECTORY...

Exit status: 0 if every report is valid (with --reject: if every one is invalid), 1 if not, 2 for what cannot be read,
77 if python3-jsonschema is not installed (ctest counts that as skipped).
"""
import argparse
import json
import pathlib
import sys

DEFAULT_SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"
ORDER = ["min_us", "p5_us", "p25_us", "p50_us", "p75_us", "p95_us", "p99_us", "max_us"]


def refuse_constant(word):
    raise ValueError(f"{word} is not JSON")


def load(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        sys.exit(2)


def summaries(point):
    """Every summary of a point, with its path."""
    for name, time in (point["time"] or {}).items():
        yield f"time.{name}", time
    if point["host"]:
        yield "host", point["host"]
    for i, stage in enumerate(point["stages"] or []):
        if stage["time"]:
            yield f"stages[{i}].time", stage["time"]


def contradictions(report):
    """What has the right form and cannot be true."""
    seen = set()
    for i, point in enumerate(report["points"]):
        where = f"points[{i}]"
        if point["id"] in seen:
            yield f"{where}.id: {point['id']} is there twice"
        seen.add(point["id"])
        for path, summary in summaries(point):
            values = [summary[key] for key in ORDER if summary[key] is not None]
            if values != sorted(values):
                yield f"{where}.{path}: percentiles do not rise: {values}"
            low, high = summary["ci95_low_us"], summary["ci95_high_us"]
            if low is not None and not low <= summary["p50_us"] <= high:
                yield f"{where}.{path}: the median is outside its interval"
            if len(summary.get("samples_us", [])) not in (0, summary["n"]):
                yield f"{where}.{path}: n is {summary['n']} of {len(summary['samples_us'])} samples"
        for path, time in (point["time"] or {}).items():
            if time["p50_us"] > 0 and abs(time["tflops"] - time["flops"] / time["p50_us"] / 1e6) > 1e-6 * time["tflops"]:
                yield f"{where}.time.{path}: tflops is not flops / median"


def errors_of(report, validator):
    import jsonschema
    found = []
    for error in sorted(validator.iter_errors(report), key=lambda e: list(map(str, e.absolute_path))):
        error = jsonschema.exceptions.best_match([error])  # of alternatives, what went wrong in the likely one
        found.append(f"{'.'.join(map(str, error.absolute_path)) or 'report'}: {error.message[:200]}")
    return found or list(contradictions(report))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--schema", type=pathlib.Path, default=DEFAULT_SCHEMA)
    parser.add_argument("--reject", action="store_true", help="succeed only if every report is invalid")
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    try:
        import jsonschema
    except ImportError:
        print("skipped: python3-jsonschema is not installed (apt-get install python3-jsonschema)")
        return 77
    schema = load(args.schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = [file for path in args.paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        print("no reports there", file=sys.stderr)
        return 2
    wrong = 0
    for file in files:
        errors = errors_of(load(file), validator)
        print(f"{file}: {'invalid' if errors else 'valid'}")
        for error in errors[:10]:
            print(f"    {error}")
        wrong += bool(errors) != args.reject
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
