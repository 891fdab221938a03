#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: the table of docs/architecture.md as data, checked against every file of src/; and no file includes
itself, directly or through others.
"""
import pathlib
import re
import sys

# A module may include itself and these. `backends/cpu` and the like are modules of their own.
MAY_INCLUDE = {
    "base": [],
    "moe": ["base"],
    "trace": ["base", "moe"],
    "comm": ["base", "comm/mpi", "comm/nccl", "comm/peer"],  # world.cpp makes whichever was asked for
    "comm/mpi": ["base", "comm"],
    "comm/nccl": ["base", "comm"],
    "comm/peer": ["base"],
    "backends": ["base", "moe"],
    "backends/cpu": ["base", "moe", "backends"],
    "backends/cuda": ["base", "moe", "backends"],
    "suite": ["base", "moe", "layer/gates", "trace"],  # the table of gates
    "project": ["base", "moe", "suite"],
    "layer/gates": ["base", "moe", "backends", "layer"],
    "layer": ["base", "moe", "backends", "comm", "layer/gates"],
    "bench": ["base", "moe", "backends", "comm", "layer", "layer/gates", "suite", "trace"],
    "report": ["base", "moe", "layer", "suite", "bench"],
    "cli": ["base", "moe", "backends", "backends/cpu", "backends/cuda", "comm", "layer", "layer/gates", "suite", "project",
            "bench", "report", "trace"],
    "rates": ["base", "backends", "backends/cuda", "comm"],
    ".": ["base", "backends", "backends/cpu", "backends/cuda", "comm", "layer", "cli"],  # main.cpp, kernel_benchmarks.cpp
}
# Libraries that only these modules may see.
ONLY_IN = {
    r"mpi\.h": ["comm/mpi"],
    r"nccl\.h": ["comm/nccl"],
    r"cuda.*|cublas.*": ["backends/cuda", "comm/nccl", "comm/peer"],
    r"nvtx3/.*": ["bench"],
    r"cblas\.h": ["backends/cpu"],
    r"nlohmann/.*": ["suite", "project", "report", "trace"],
    r"cxxopts\.hpp": ["cli"],
}


def module_of(path):
    """The longest module of the table that holds this path."""
    folder = str(pathlib.PurePosixPath(path).parent)
    while folder not in MAY_INCLUDE:
        folder = str(pathlib.PurePosixPath(folder).parent)
    return folder


def complaints(src):
    for file in sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cpp", ".cu", ".cuh"}):
        name = file.relative_to(src).as_posix()
        module = module_of(name)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if not found:
                continue
            quoted, target = found[1] == '"', found[2]
            if quoted and (src / target).exists():
                other = module_of(target)
                if other != module and other not in MAY_INCLUDE[module]:
                    yield f"{name}:{number}: {module} may not include {other} ({target})"
            elif quoted and not target.endswith("build_facts.h"):
                yield f"{name}:{number}: '{target}' is not a path from src/"
            for library, modules in ONLY_IN.items():
                if re.fullmatch(library, target) and module not in modules:
                    yield f"{name}:{number}: {target} belongs in {' and '.join(modules)} only"


def included(src):
    """The files of src/ that each file of src/ includes."""
    graph = {}
    for file in sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cpp", ".cu", ".cuh"}):
        targets = re.findall(r'^\s*#\s*include\s*"([^"]+)"', file.read_text(), re.MULTILINE)
        graph[file.relative_to(src).as_posix()] = [target for target in targets if (src / target).exists()]
    return graph


def circles(graph):
    """One line for each way back that a walk along the includes meets."""
    done, path = set(), []

    def walk(name):
        if name in path:
            yield "a circle of includes: " + " → ".join(path[path.index(name):] + [name])
        if name in done or name in path:
            return
        path.append(name)
        for target in graph[name]:
            yield from walk(target)
        path.pop()
        done.add(name)

    for name in graph:
        yield from walk(name)


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    found = list(complaints(root)) + list(circles(included(root)))
    print("\n".join(found) or "every include is allowed")
    sys.exit(bool(found))
