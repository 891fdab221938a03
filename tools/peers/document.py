# SPDX-License-Identifier: Apache-2.0
"""A report as moebench writes it (docs/report.schema.json), made of what PyTorch and /proc say."""
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALLOWED = re.compile(r"(NCCL_|CUDA_|OMP_|OPENBLAS_|UCX_|NVSHMEM_|MOEBENCH_)|(SLURM_JOB_ID|SLURM_JOB_NODELIST|SLURM_NTASKS|"
                     r"NVIDIA_TF32_OVERRIDE)$")


def utc(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def first_match(pattern, path, default=""):
    try:
        found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
    except OSError:
        return default
    return found.group(1).strip() if found else default


def git(*arguments):
    """What git says of this checkout; None outside one."""
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def tool():
    version = first_match(r"^project\(moebench VERSION (\S+)", ROOT / "CMakeLists.txt", "0")
    return {"version": f"{version} tools/peers", "commit": git("rev-parse", "HEAD") or None,
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")), "build_type": "Python",
            "compiler": f"Python {platform.python_version()}, torch {torch.__version__}", "flags": "",
            "features": ["cuda"] if torch.version.cuda else []}


def environment():
    return {"host": platform.node(), "os": first_match(r'^PRETTY_NAME="?([^"\n]*)', "/etc/os-release"),
            "kernel": f"{platform.system()} {platform.release()}",
            "container": "docker" if os.path.exists("/.dockerenv") else None, "load_average": os.getloadavg()[0],
            "variables": {name: value for name, value in sorted(os.environ.items()) if ALLOWED.match(name)}, "warnings": []}


def cpu():
    """What is cheap to know; 0 and null stand for what is not looked at."""
    info = "/proc/cpuinfo"
    return {"model": first_match(r"^model name\s*: (.*)", info, platform.machine()), "architecture": platform.machine(),
            "sockets": 0, "cores": 0, "threads": os.cpu_count(), "usable_threads": len(os.sched_getaffinity(0)),
            "quota_threads": None, "numa_nodes": 0,
            "memory_bytes": float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")), "caches": [], "governor": None,
            "turbo": None, "virtual_machine": first_match(r"^flags.*\b(hypervisor)\b", info) != ""}


def last_level_cache(device):
    """Bytes: of the GPU, or of the first core's largest cache, 32 MiB if that is unknown."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    sizes = [first_match(r"^(\d+)K", path, "0") for path in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max([int(size) << 10 for size in sizes] + [0]) or 32 << 20


def versions(names=("torch", "triton", "transformers")):
    found = {name for name in names if importlib.util.find_spec(name)}
    return {name: importlib.metadata.version(name) for name in names if name in found}


def machine(device):
    gpus, libraries, name = [], versions(), f"{cpu()['model']}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        gpus = [{"name": found.name, "multiprocessors": found.multi_processor_count, "memory_bytes": float(found.total_memory),
                 "cache_bytes": float(found.L2_cache_size)}]
        libraries["cuda runtime"] = torch.version.cuda
        name = f"{found.name}, {found.multi_processor_count} multiprocessors"
    return {"host": platform.node(), "cpu": cpu(), "gpus": gpus, "mpi": None, "libraries": libraries,
            "ranks": [{"rank": 0, "host": platform.node(), "pid": os.getpid(), "device": name}]}


def head(device):
    now, line = time.time(), shlex.join(["tools/peers/run", *sys.argv[1:]])
    return {"schema": "moebench.report/1", "tool": tool(),
            "run": {"id": f"{utc(now)}-{os.getpid()}", "argv": ["tools/peers/run", *sys.argv[1:]], "repro": line,
                    "start": utc(now), "end": None, "wall_s": 0.0, "exit_code": 0, "interrupted": False},
            "environment": environment(), "machine": machine(device), "peaks": [], "points": [], "warnings": []}


def case_id(case):
    """FNV-1a over the settings, as moebench hashes them: the same case has the same id in every report."""
    code = 0xCBF29CE484222325
    for byte in "".join(f"{flag}={value}\n" for flag, value in case.items()).encode():
        code = (code ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return f"{code:016x}"


def load(rows):
    """How evenly `rows` are spread."""
    ordered, mean = sorted(rows), sum(rows) / len(rows)
    middle = len(ordered) // 2
    return {"min": ordered[0], "median": (ordered[middle] + ordered[~middle]) / 2, "max": ordered[-1], "mean": mean,
            "imbalance": ordered[-1] / mean - 1 if mean else 0.0, "empty": ordered.count(0)}
