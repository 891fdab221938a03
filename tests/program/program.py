# SPDX-License-Identifier: Apache-2.0
"""Runs the real program and looks at what it prints, writes and returns.

A file of tests calls main(globals()) at its end; each of its functions is one test, in an empty directory of its own:

    python3 usage.py MOEBENCH [--mpirun MPIRUN] TEST...      all tests of the file without TEST
    UPDATE_GOLDEN=1 python3 plans.py MOEBENCH                write golden/ anew
"""
import argparse
import contextlib
import json
import os
import pathlib
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
PATIENCE_S = 90  # far more than anything takes, even under a sanitizer on a busy machine

# The CPU, whatever else this build has: the machine's other devices are not what is tested.
CASE = {"tokens": 8, "hidden": 8, "ffn": 8, "experts": 4, "backend": "cpu"}

programs = argparse.Namespace(moebench=None, mpirun=None)
running = []


def flags(*switches, **values):
    """flags("plan", top_k=2) is "--top-k 2 --plan"."""
    named = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in values.items()]
    return " ".join(named + [f"--{name}" for name in switches])


def small(**changes):
    """Flags of a run that takes milliseconds."""
    return flags("no-peaks", **{**CASE, "iters": 3, "warmup": 1, **changes})


def long(**changes):
    """Flags of a sweep that nobody waits for: a thousand cases of a quarter of a second each."""
    return flags("no-peaks", "no-stages", **{**CASE, "seed": "1:1000:1", "warmup": 1, "check": "none", "min_time": 0.25,
                                             "max_time": 0.3, "noise": 99, **changes})


class Skip(Exception):
    """This machine cannot run the test; the reason is printed."""


class Result:
    def __init__(self, command, code, out, err):
        self.code, self.out, self.err = code, out, err
        print(f"$ {shlex.join(command)}\n{out}--- stderr\n{err}--- exit code {code}\n", flush=True)

    def errors(self):
        """What moebench itself says is wrong; mpirun adds words of its own."""
        return [line for line in self.err.splitlines()
                if line.startswith("moebench: ") and not line.startswith("moebench: warning: ")]


def start(arguments, ranks=None, variables=None, file_limit=None, wrapper=None):
    """Starts moebench, behind the words of `wrapper`, under mpirun if `ranks` is given, with MOEBENCH_ variables from
    nowhere but `variables`."""
    command = [*(wrapper or []), programs.moebench, *shlex.split(arguments)]
    if ranks:
        if not programs.mpirun:
            raise Skip("no mpirun: moebench was built without MPI")
        command = [programs.mpirun, "-np", str(ranks), *command]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOEBENCH_")}
    environment.update(variables or {})

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    # A group of its own, so that whatever a failed test leaves running can be ended.
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True, preexec_fn=limit_files if file_limit else None)
    running.append(process)
    return process


def finish(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    running.remove(process)
    return Result(process.args, process.returncode, out, err)


def moebench(arguments, **options):
    return finish(start(arguments, **options))


def until(process, condition, what):
    """Waits for `condition()` to be true while `process` runs."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None:
            finish(process)
            raise AssertionError(f"the program ended before {what}")
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.02)


def lines_of(path):
    """The whole lines of a report that is being written, as JSON; none before it exists."""
    try:
        text = pathlib.Path(path).read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


def points_in(path):
    return [line["point"] for line in lines_of(path) if "point" in line]


def ranks_in(path):
    """Process ids by rank."""
    return [rank["pid"] for rank in lines_of(path)[0]["head"]["machine"]["ranks"]]


def report(path):
    """Reads a finished report and holds it against the schema."""
    validate(path)
    return json.loads(pathlib.Path(path).read_text())


def validate(path):
    """False if this Python lacks jsonschema."""
    done = subprocess.run([sys.executable, ROOT / "tests/report/validate.py", path], capture_output=True, text=True)
    assert done.returncode in (0, 77), done.stdout + done.stderr
    return done.returncode == 0


def statuses(document):
    return [point["status"] for point in document["points"]]


def expect(text, *parts):
    for part in parts:
        assert part in text, f"expected {part!r} in:\n{text}"


def expect_refused(result, code, *parts):
    """Nothing on stdout, and one line on stderr with all `parts` in it."""
    assert result.code == code, f"expected exit code {code}"
    assert result.out == "", "expected nothing on stdout"
    assert len(result.errors()) == 1, "expected one line of error"
    expect(result.errors()[0], *parts)


def expect_golden(text, name):
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.exists(), f"there is no {path}; UPDATE_GOLDEN=1 writes it"
    assert text == path.read_text(), f"differs from {path}; if that is meant: UPDATE_GOLDEN=1"


@contextlib.contextmanager
def a_tiny_disk():
    """32 kB at disk/."""
    pathlib.Path("disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "moebench-test", "disk"], capture_output=True, text=True)
    if mounted.returncode != 0:
        raise Skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "disk"], check=True)


@contextlib.contextmanager
def an_empty_directory():
    with tempfile.TemporaryDirectory(prefix="moebench-test-") as directory:
        os.chdir(directory)
        try:
            yield
        finally:
            os.chdir("/")
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            running.clear()


def main(names):
    tests = {name: test for name, test in names.items()
             if getattr(test, "__module__", None) == "__main__" and not name.startswith("_") and callable(test)}
    parser = argparse.ArgumentParser(description="tests of the program")
    parser.add_argument("moebench", type=os.path.abspath)
    parser.add_argument("--mpirun", default="")
    parser.add_argument("tests", nargs="*", metavar="TEST")
    given = parser.parse_intermixed_args()
    programs.moebench, programs.mpirun = given.moebench, given.mpirun
    skipped = 0
    for name in given.tests or tests:
        print(f"=== {name}")
        try:
            with an_empty_directory():
                tests[name]()
        except Skip as reason:
            print(f"SKIPPED: {reason}")
            skipped += 1
    sys.exit(77 if skipped == len(given.tests or tests) else 0)
