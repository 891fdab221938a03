# SPDX-License-Identifier: Apache-2.0
"""Reports of moebench, read and checked as far as the figures need them; and as a table for pandas:

    import report
    table = report.frame("a.json", "b.json")   # a row per point: table.groupby("case.engine")["time.total.p50_us"].min()

Fields are those of docs/report.schema.json; only what a figure uses is looked at.
"""
import json
import re
from typing import Dict, List, NamedTuple, Optional

SCHEMA = "moebench.report/1"
FORWARD = ["gate", "plan", "pack", "sizes", "dispatch", "shared", "experts", "collect", "combine"]
BACKWARD = ["combine", "collect", "experts", "shared", "dispatch", "pack", "gate"]
STAGES = FORWARD + ["sync"]
PASSES = ["total", "forward", "backward", "sync"]
# Settings that older reports do not hold: at these values a case is what it was without them.
DEFAULTS = {"graph": "off", "cache": "cold", "overlap": "none", "placement": "contiguous", "routing-via": "auto",
            "capacity": "none", "aux-loss": "none", "z-loss": "none", "shared-experts": 0,
            "router-dtype": "case"}
# Settings that a subject does not read: they tell none of its points apart.
NO_MATTER = {"linear": {"ep", "experts", "experts-per-rank", "top-k", "shared-experts", "activation", "bias", "gate", "routing", "engine"},
             "dense": {"ep", "experts", "experts-per-rank", "gate", "routing", "engine"}}
COUNTS = {"ranks", "ep", "tokens", "total-tokens", "hidden", "ffn", "experts", "experts-per-rank", "top-k"}


class Refused(Exception):
    """What the user gave cannot be drawn; one line that names it and says what is missing."""


class Node:
    """A place in a file, which can say where it is if what is there is not what it should be."""

    def __init__(self, value, file, path=""):
        self.value, self.file, self.path = value, file, path

    def refuse(self, expected):
        kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
        found = kinds.get(type(self.value)) or str(self.value)[:30]
        raise Refused(f"{self.file}: {self.path or 'report'}: expected {expected}, found {found}")

    def child(self, key):
        return Node(self.value[key], self.file, f"{self.path}.{key}".lstrip("."))

    def has(self, key):
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return self.value.get(key) is not None

    def require(self, *keys):
        for key in keys:
            if not self.has(key):
                raise Refused(f"{self.file}: {self.path or 'report'}: '{key}' is missing")

    def __getitem__(self, key):
        self.require(key)
        return self.child(key)

    def items(self):
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return [(key, self.child(key)) for key in self.value]

    def list(self):
        if not isinstance(self.value, list):
            self.refuse("a list")
        return [Node(value, self.file, f"{self.path}[{i}]") for i, value in enumerate(self.value)]

    def number(self):
        """From 0 to 1e30: what is beyond no machine reached, and no axis can show."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            self.refuse("a number")
        if not 0 <= self.value <= 1e30:
            self.refuse("a number from 0 to 1e30")
        return float(self.value) if self.value > 1e-30 else 0.0

    def text(self):
        if not isinstance(self.value, str):
            self.refuse("text")
        return short(self.value)

    def word_or_number(self):
        if isinstance(self.value, str):
            return self.text()
        number = self.number()
        return int(number) if number == int(number) else number

    def count(self):
        number = self.number()
        if number != int(number) or (number < 1 and not self.path.endswith("tokens")):
            self.refuse("a whole number from 1 up")
        return int(number)

    def number_or(self, key, default):
        return self[key].number() if self.has(key) else default


class Time(NamedTuple):
    """A median with its 95 % interval, in microseconds; the interval is None with too few samples."""
    p50: float
    low: Optional[float]
    high: Optional[float]
    tflops: float  # all ranks
    flops: float   # all ranks
    bytes: float   # all ranks
    floor: float
    limit_pct: float

    @property
    def error(self):
        """How far the interval reaches below and above the median."""
        return (self.p50 - self.low, self.high - self.p50) if self.low is not None else (0, 0)

    @property
    def tflops_error(self):
        """How far the rates at both ends of the interval lie below and above the rate at the median."""
        if not self.low:
            return (0, 0)
        return (max(0, self.tflops - self.flops / self.high * 1e-6), max(0, self.flops / self.low * 1e-6 - self.tflops))


class Stage(NamedTuple):
    stage: str
    which: str  # forward, backward, sync
    fused_into: Optional[str]
    p50: float  # 0 if fused
    flops: float  # this and what follows: of the busiest rank
    bytes: float


class Step(NamedTuple):
    """One routing step: rows over all ranks, and its time."""
    expert_rows: List[float]  # empty without --samples
    rank_rows: List[float]
    over_experts: float  # max / mean rows
    over_ranks: float
    n: int  # samples
    p50: float
    low: Optional[float]
    high: Optional[float]


class Peaks(NamedTuple):
    backend: str
    dtype: str
    ranks: int
    gemm_tflops: float  # per rank, as all rates here; 0 if not measured
    copy_gbs: float
    link_gbs: float


class Point:
    """One measured case. `settings` are its flags; `normalise` adapts them to the points beside it."""

    def __init__(self, node, report):
        self.report = report
        self.id = node["id"].text()
        self.case = {key: value.count() if key in COUNTS else value.word_or_number()
                     for key, value in node["case"].items()}
        self.settings = {key: value for key, value in self.case.items() if DEFAULTS.get(key) != value}
        self.axes = [key for key, _ in node["axes"].items()]
        self.status = node["status"].text()
        self.reason = node["reason"].text() if node.has("reason") else ""
        self.times: Dict[str, Time] = {}
        self.stages: List[Stage] = []
        self.exchange_gbs = 0.0
        self.routing: List[Step] = []
        self.over_experts = self.over_ranks = 0.0  # max / mean rows; 0: unknown
        self.fullest: Optional[int] = None  # the rank with over 5 % more rows than the mean, for which the others wait
        if self.status != "ok" or not node.has("time"):
            return
        self.times = {key: read_time(node["time"][key]) for key in PASSES if node["time"].has(key)}
        self.stages = [read_stage(stage) for stage in node["stages"].list()] if node.has("stages") else []
        self.exchange_gbs = node["rates"].number_or("exchange_gbs", 0.0)
        if node.has("load"):
            self.over_experts, self.over_ranks = (node["load"][key]["imbalance"].number() + 1 for key in ("rows_per_expert", "rows_per_rank"))
        if node.has("routing"):
            self.routing = [read_step(step) for step in node["routing"]["steps"].list()]
        if node.has("ranks") and node["ranks"].has("rows"):
            rows = [of.number() for of in node["ranks"]["rows"].list()]
            self.fullest = rows.index(max(rows)) if rows and max(rows) * len(rows) > 1.05 * sum(rows) else None

    @property
    def total(self):
        return self.times["total"]

    @property
    def split(self):
        """Whether more than the forward pass was timed."""
        return "forward" in self.times and "backward" in self.times

    @property
    def ranks(self):
        return self.case.get("ranks", 1)

    @property
    def device(self):
        return self.report.device_of(self.case.get("backend"))

    @property
    def peaks(self):
        """The ceilings measured beside this point, or None."""
        wanted = (self.case.get("backend"), self.case.get("dtype"), self.ranks)
        return next((p for p in self.report.peaks if p[:3] == wanted), None)


def read_time(node):
    known = node.has("ci95_low_us") and node.has("ci95_high_us")
    p50 = node["p50_us"].number()
    low, high = (node["ci95_low_us"].number(), node["ci95_high_us"].number()) if known else (None, None)
    if known and not low <= p50 <= high:
        node.refuse("a median inside its interval")
    return Time(p50, low, high, node["tflops"].number(), node["flops"].number(),
                node.number_or("bytes", 0.0), node.number_or("floor_us", 0.0), node.number_or("limit_pct", 0.0))


def read_stage(node):
    fused = node["fused_into"].text() if node.has("fused_into") else None
    stage = node["stage"].text()
    if stage not in STAGES:
        node.child("stage").refuse("one of " + ", ".join(STAGES))
    return Stage(stage, node["pass"].text(), fused, 0.0 if fused else node["time"]["p50_us"].number(),
                 node["flops"].number(), node["bytes"].number())


def read_step(node):
    experts = [rows.number() for rows in node["expert_rows"].list()] if node.has("expert_rows") else []
    known = node.has("ci95_low_us") and node.has("ci95_high_us")
    low, high = (node["ci95_low_us"].number(), node["ci95_high_us"].number()) if known else (None, None)
    return Step(experts, [rows.number() for rows in node["rank_rows"].list()], node["rows_per_expert"]["imbalance"].number() + 1,
                node["rows_per_rank"]["imbalance"].number() + 1, int(node["n"].number()), node.number_or("p50_us", 0.0), low, high)


def read_peaks(node):
    return Peaks(node["backend"].text(), node["dtype"].text(), int(node["ranks"].number()),
                 *(node.number_or(key, 0.0) for key in ("gemm_tflops", "copy_gbs", "link_gbs")))


class Rank(NamedTuple):
    host: str
    uuid: str   # of its GPU; empty on a CPU and in older reports
    cores: str  # "0-3,8"; empty where unknown


def read_rank(node):
    return Rank(*(node[key].text() if node.has(key) else "" for key in ("host", "uuid", "cores")))


def count_of(cores):
    """How many "0-3,8" lists."""
    ends = [part.split("-") for part in cores.split(",") if part]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


class Report:
    def __init__(self, node, path):
        if not node.has("schema") or node["schema"].value != SCHEMA:
            raise Refused(f"{path}: not a report of moebench: 'schema' is not '{SCHEMA}'")
        self.path = path
        self.name = short(re.sub(r"(\.json)?(\.part)?$", "", str(path).split("/")[-1]))
        tool, machine = node["tool"], node["machine"]
        self.version = tool["version"].text()
        self.commit = tool["commit"].text()[:7] if tool.has("commit") else "no commit"
        if tool.has("dirty") and tool["dirty"].value is True:
            self.commit += ", modified"
        self.start = node["run"]["start"].text()[:16].replace("T", " ")
        self.date = self.start[:10]
        self.cpu = machine["cpu"]["model"].text()
        self.gpus = [gpu["name"].text() for gpu in machine["gpus"].list()]
        self.devices = [rank["device"].text() for rank in machine["ranks"].list()]
        self.ranks = [read_rank(rank) for rank in machine["ranks"].list()]
        self.usable_threads = int(machine["cpu"].number_or("usable_threads", 0))
        self.peaks = [read_peaks(peaks) for peaks in node["peaks"].list()]
        self.points = [Point(point, self) for point in node["points"].list()]

    def device_of(self, backend):
        """What computed: 'AMD EPYC, 2 threads' or 'H200'."""
        if backend == "cpu":
            names = [device for device in self.devices if device.startswith(self.cpu)] or [self.cpu]
        else:
            names = self.gpus or self.devices
        return " + ".join(dict.fromkeys(re.sub(r"^NVIDIA |\((R|TM)\)", "", name) for name in names))


    def sharing(self, ranks, backend, comm):
        """'4 ranks on 1 GPU', '4 ranks on 2 hardware threads', or nothing where each rank has its own."""
        those = self.ranks[:ranks]
        if ranks < 2 or len(those) < ranks:
            return ""
        if backend != "cpu":
            gpus = {rank.uuid for rank in those}
            if "" not in gpus:
                return f"{ranks} ranks on {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if len(gpus) < ranks else ""
            return f"{ranks} ranks over MPI: GPUs may be shared" if comm == "mpi" else ""
        if len({rank.host for rank in those}) > 1:
            return ""
        threads = count_of(those[0].cores) if all(rank.cores == those[0].cores for rank in those) else ranks
        threads = threads or self.usable_threads or ranks
        return f"{ranks} ranks on {threads} hardware thread{'s' if threads > 1 else ''}" if threads < ranks else ""


def rows(*paths):
    """A dictionary per point, whose keys are paths in it: "case.tokens", "time.total.p50_us", "stages.forward.gate.p50_us",
    and from which report, commit, host and date it is."""
    found = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        if document.get("schema") != SCHEMA:
            raise Refused(f"{path}: not a report of moebench: 'schema' is not '{SCHEMA}'")
        for point in document["points"]:
            row = {"report": str(path), "commit": document["tool"]["commit"], "host": document["machine"]["host"],
                   "date": document["run"]["start"]}
            for stage in point.pop("stages") or []:
                row[f"stages.{stage['pass']}.{stage['stage']}.p50_us"] = (stage["time"] or {}).get("p50_us")
            flatten(point, "", row)
            found.append(row)
    return found


def flatten(value, path, row):
    """Numbers, words and lists below `value` by their paths."""
    if isinstance(value, dict):
        for key, inner in value.items():
            flatten(inner, f"{path}.{key}".lstrip("."), row)
    else:
        row[path] = value


def frame(*paths):
    """rows() as a pandas.DataFrame."""
    try:
        import pandas
    except ImportError:
        raise Refused("there is no pandas here (apt-get install python3-pandas); report.rows() needs none")
    return pandas.DataFrame(rows(*paths))


def short(text):
    """Text fit for a figure: one line of what can be printed."""
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= 100 else text[:99] + "…"


def parse(text, path, what="report"):
    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    try:
        return Node(json.loads(text, parse_constant=refuse), path)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path}: {what} is not JSON: {error or 'nested too deeply'}")


def text_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise Refused(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def read_document(path, schema, what, keys):
    """A file of another schema than a report's, "links" or "projection", as plain dictionaries; its points have `keys`."""
    root = parse(text_of(path), path, what)
    if not root.has("schema") or root["schema"].value != schema:
        raise Refused(f"{path}: no {what} of moebench: expected the schema {schema}")
    points = root["points"].list()
    if not points:
        raise Refused(f"{path}: holds no points")
    for point in points:
        point.require(*keys)
    return root.value


def read(path):
    """The report at `path`: a finished one, or the .part of a run that goes on or was cut short."""
    text = text_of(path)
    if not str(path).endswith(".part"):
        return Report(parse(text, path), path)
    lines = [parse(line, path, f"line {i + 1}") for i, line in enumerate(text.split("\n")[:-1])]
    if not lines or not lines[0].has("head"):
        raise Refused(f"{path}: line 1: the head of a report is missing")
    report = Report(lines[0]["head"], path)
    points = {point.id: point for point in report.points}
    for line in lines[1:]:
        if line.has("peaks"):
            report.peaks.insert(0, read_peaks(line["peaks"]))  # the newest is found first
        if line.has("point"):
            point = Point(line["point"], report)
            points[point.id] = point
    report.points = list(points.values())
    return report
