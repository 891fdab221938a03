# SPDX-License-Identifier: Apache-2.0
"""When and how often: moebench's method (docs/method.md) with PyTorch's events."""
import gc
import math
import statistics
import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sampling:
    warmup: int = 3
    iters: int = 0  # exactly so many samples; 0: until the noise target or the time budget
    min_time_s: float = 0.2
    max_time_s: float = 1.5
    noise_pct: float = 1.0
    min_samples: int = 10


class Marks:
    """Points on the device's time line: CUDA events, or on the CPU, where calls return when they are done, its clock."""

    def __init__(self, device, count):
        self.cuda = device.type == "cuda"
        self.points = [torch.cuda.Event(enable_timing=True) if self.cuda else 0 for _ in range(count)]

    def record(self, mark):
        if self.cuda:
            self.points[mark].record()
        else:
            self.points[mark] = time.perf_counter_ns()

    def elapsed_us(self, start, end):
        first, last = self.points[start], self.points[end]
        return first.elapsed_time(last) * 1e3 if self.cuda else (last - first) * 1e-3


class Subject:
    """One layer with its inputs, run pass by pass. `run` yields after each pass."""

    def __init__(self, layer, call, workload, sets, backward):
        self.layer, self.call, self.backward = layer, call, backward
        self.inputs = [(workload.input(step).requires_grad_(backward), workload.output_gradient(step) if backward else None)
                       for step in range(sets)]

    def clear(self):
        """Gradients of the last iteration away: the next ones are written, not added."""
        self.layer.zero_grad(set_to_none=True)
        for x, _ in self.inputs:
            x.grad = None

    def run(self, step):
        x, dy = self.inputs[step % len(self.inputs)]
        if not self.backward:
            with torch.no_grad():
                self.call(x)
            yield
            return
        y = self.call(x)
        yield
        y.backward(dy)
        yield


class Stopwatch:
    """Iterations of a subject in microseconds: each pass, their total, the host's view of the whole."""

    def __init__(self, subject, device):
        self.subject, self.device = subject, device
        self.passes = ["forward", "backward"] if subject.backward else ["forward"]
        self.marks = Marks(device, len(self.passes) + 1)
        self.holds = device.type == "cuda" and not subject.layer.waits_for_device
        self.queueing_s = 0.0  # longest time that the host took to queue an iteration

    def iterate(self, step):
        self.subject.clear()
        self.synchronize()
        if self.holds:
            self.hold()
        start = time.perf_counter()
        self.marks.record(0)
        for number, _ in enumerate(self.subject.run(step)):
            self.marks.record(number + 1)
        self.queueing_s = max(self.queueing_s, time.perf_counter() - start) if step >= 2 else 0.0
        self.synchronize()
        host = (time.perf_counter() - start) * 1e6
        count = len(self.passes)
        return [self.marks.elapsed_us(i, i + 1) for i in range(count)] + [self.marks.elapsed_us(0, count), host]

    def hold(self):
        """Keeps the device busy until everything is queued, so that what queueing costs is not in its time."""
        fastest_clock_hz = 2e9
        torch.cuda._sleep(int(min(1.5 * self.queueing_s + 50e-6, 0.02) * fastest_clock_hz))

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def interval_rank(n):
    """r so that the median lies between the r-th smallest and r-th largest of n samples with 95 %; 0 below 6."""
    if n > 1000:
        return math.floor((n + 1 - 1.959963984540054 * math.sqrt(n)) / 2)
    rank, tail = 0, 0.5**n
    term = tail
    while rank < n and tail <= 0.025:
        term *= (n - rank) / (rank + 1)
        tail += term
        rank += 1
    return rank


def percentile(ordered, percent):
    """Linear between order statistics."""
    place = percent / 100 * (len(ordered) - 1)
    below = int(place)
    if below + 1 >= len(ordered):
        return ordered[-1]
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (place - below)


def summary(samples):
    """A summary as docs/report.md has it."""
    ordered, n = sorted(samples), len(samples)
    median, rank = percentile(ordered, 50), interval_rank(n)
    spread = percentile(sorted(abs(x - median) for x in ordered), 50)
    result = {"n": n, "mean_us": statistics.fmean(ordered), "stdev_us": statistics.stdev(ordered) if n > 1 else 0.0,
              "min_us": ordered[0], "max_us": ordered[-1]}
    result.update({f"p{p}_us": percentile(ordered, p) for p in (5, 25, 50, 75, 95, 99)})
    result["noise_pct"] = 100 * 1.4826 * spread / median if median > 0 else None
    result["ci95_low_us"], result["ci95_high_us"] = (ordered[rank - 1], ordered[n - rank]) if rank else (None, None)
    return result


def median_error_pct(samples):
    """Half the 95 % interval of the median over the median; infinite where there is none."""
    found = summary(samples)
    if found["ci95_low_us"] is None or found["p50_us"] == 0:
        return math.inf
    return 100 * (found["ci95_high_us"] - found["ci95_low_us"]) / 2 / found["p50_us"]


def reason_to_stop(totals, sampling):
    """"samples", "noise" or "time"; None while more are wanted."""
    spent = sum(totals) * 1e-6
    if sampling.iters:
        return "samples" if len(totals) >= sampling.iters else None
    quiet = len(totals) >= sampling.min_samples and spent >= sampling.min_time_s
    if quiet and median_error_pct(totals) <= sampling.noise_pct:
        return "noise"
    return "time" if spent >= sampling.max_time_s else None


def measure(stopwatch, sets, sampling):
    """Warms up, then samples. ({pass or "total" or "host": samples}, stop, first iteration in µs)."""
    gc.collect()
    gc.disable()  # it would strike in the midst of a sample
    warmup = max(sampling.warmup, sets, 3)  # the first two queue slowly, the third tells how long queueing takes
    first = [stopwatch.iterate(step) for step in range(warmup)][0][-1]
    columns = {name: [] for name in stopwatch.passes + ["total", "host"]}
    step, reason = warmup, None
    while reason is None:
        for _ in range(max(1, len(columns["total"]) // 8)):  # asking sorts the samples: more rarely the more there are
            for name, us in zip(columns, stopwatch.iterate(step)):
                columns[name].append(us)
            step += 1
            if len(columns["total"]) == sampling.iters:
                break
        reason = reason_to_stop(columns["total"], sampling)
    gc.enable()
    error, unmet = median_error_pct(columns["total"]), []
    if not sampling.iters and len(columns["total"]) < sampling.min_samples:
        unmet.append(f"{len(columns['total'])} samples < {sampling.min_samples}")
    if error > sampling.noise_pct:
        unmet.append(f"noise {error:.4g} % > target {sampling.noise_pct:.3g} %")
    return columns, {"reason": reason, "unmet": ", ".join(unmet) or None, "warmup": warmup,
                     "samples": len(columns["total"]), "noise_target_pct": sampling.noise_pct}, first
