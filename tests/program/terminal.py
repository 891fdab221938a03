# SPDX-License-Identifier: Apache-2.0
"""What a person sees in a terminal: a pseudo-terminal of a given width, and what is left on its screen."""
import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import time

from program import CASE, PATIENCE_S, Skip, expect, flags, long, main, programs, running, small


class _Screen:
    """The lines of a terminal that knows carriage return, line feed and 'erase to the end of the line'. `wrapped` counts
    lines that did not fit."""

    def __init__(self, columns):
        self.columns, self.lines, self.at, self.wrapped, self.live = columns, [""], 0, 0, []
        self.rest = ""

    def feed(self, text):
        text = self.rest + text
        for match in re.finditer(r"\x1b\[K|\x1b\[?$|\r|\n|[^\x1b\r\n]", text):
            sign = match[0]
            self.rest = sign if sign in ("\x1b", "\x1b[") else ""
            if self.rest:
                return
            if sign == "\r":
                self.at = 0
            elif sign == "\n":
                self.lines.append("")
                self.at = 0
            elif sign == "\x1b[K":
                if self.lines[-1].strip():
                    self.live.append(self.lines[-1])
                self.lines[-1] = self.lines[-1][:self.at]
            else:
                if self.at == self.columns:
                    self.wrapped += 1
                    self.lines.append("")
                    self.at = 0
                line = self.lines[-1]
                self.lines[-1] = line[:self.at] + sign + line[self.at + 1:]
                self.at += 1

    def text(self):
        return "\n".join(line.rstrip() for line in self.lines)


class _Terminal:
    """moebench in a terminal."""

    def __init__(self, arguments, columns=80, ranks=None):
        self.screen = _Screen(columns)
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MOEBENCH_")}
        command = [programs.moebench, *shlex.split(arguments)]
        if ranks:
            command = [programs.mpirun, "-np", str(ranks), *command]
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env={**environment, "TERM": "xterm"},
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        running.append(self.process)
        os.close(slave)
        self.pending = b""

    def read(self, wait_s):
        """False at the end."""
        if not select.select([self.master], [], [], wait_s)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the last process of the terminal has gone
            return False
        self.pending += data
        text = self.pending.decode(errors="ignore")
        if len(text.encode()) != len(self.pending):  # a character that is not whole yet
            text = self.pending[:-3].decode(errors="ignore")
        self.pending = self.pending[len(text.encode()):]
        self.screen.feed(text)
        return bool(data)

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}:\n{self.screen.text()}"
            assert self.read(0.2), f"the program ended before {what}:\n{self.screen.text()}"

    def press_ctrl_c(self):
        os.write(self.master, b"\x03")

    def finish(self):
        while self.read(PATIENCE_S):
            pass
        self.code = self.process.wait(timeout=PATIENCE_S)
        running.remove(self.process)
        os.close(self.master)
        print(f"$ {shlex.join(self.process.args)}\n{self.screen.text()}\n--- live\n" + "\n".join(self.screen.live) +
              f"\n--- exit code {self.code}\n", flush=True)
        return self


def _shown(arguments, columns=80):
    return _Terminal(arguments, columns).finish()


def the_table_never_begins_on_the_progress_line():
    for arguments in (f"run {small(engine='loop,naive-mask', iters=20)}", f"run {small()}", f"verify {flags(**CASE)}"):
        shown = _shown(arguments)
        assert shown.code == 0
        lines = shown.screen.lines
        first = next(i for i, line in enumerate(lines) if "subject=" in line or line.startswith(("engine", "result")))
        assert lines[first].startswith(("subject=", "engine", "result", "check")), lines[first]
        assert not any("[1/" in line and "subject=" in line for line in lines)
        assert arguments.startswith("verify") or not any(re.match(r"\[\d+/\d+\]", line) for line in lines), "a progress line was left"


def each_line_of_an_interleaved_sweep_has_its_own_label_and_number():
    terminal = _Terminal(f"run {flags('no-peaks', 'no-stages', 'interleave', **{**CASE, 'tokens': '8,512', 'engine': 'loop,naive-mask', 'check': 'none', 'min_time': 0.3, 'max_time': 0.6, 'noise': 0.01})}")
    shown = terminal.finish()
    assert shown.code == 0
    numbered = {}
    for line in shown.screen.live:
        if found := re.match(r"\[(\d)/4\] (layer .*?)  ", line):
            numbered.setdefault(found[1], set()).add(found[2])
    assert sorted(numbered) == ["1", "2", "3", "4"], numbered
    assert all(len(labels) == 1 for labels in numbered.values()), numbered
    assert len(set.union(*numbered.values())) == 4, numbered
    # The small case takes a fraction of the large one's time: a figure under the other's label would show.
    def figures(label):
        units = {"µs": 1, "ms": 1000, "s": 1e6}
        found = [re.search(r"  ([0-9.]+) (µs|ms|s) ±", line) for line in shown.screen.live if f"] {label}  " in line]
        return [float(match[1]) * units[match[2]] for match in found if match]
    few, many = figures("layer tokens=8 engine=loop"), figures("layer tokens=512 engine=loop")
    assert few and many and min(many) > 2 * min(few), (few, many)


def the_phases_are_named():
    shown = _shown(f"run {flags(**{**CASE, 'engine': 'loop,naive-mask', 'iters': 6})}")
    live = "\n".join(shown.screen.live)
    expect(live, "[1/2] layer engine=loop  checking …", "[1/2] layer engine=loop  measuring peaks …", "warming up …", "timing stages …")
    assert "naive-mask  measuring peaks" not in live, "peaks are measured once"


def a_trace_shows_what_it_does():
    shown = _shown(f"run {flags(**CASE)} --trace t.json")
    assert shown.code == 0
    expect("\n".join(shown.screen.live), "checking …", "warming up …", "tracing …")
    assert shown.screen.lines[0].startswith("layer: 3 iterations in t.json"), shown.screen.lines[0]


def ctrl_c_is_acknowledged_at_once():
    # A minute of checking, inside which the signal is not looked for.
    terminal = _Terminal("run --tokens 2048 --hidden 1024 --ffn 4096 --experts 2 --backend cpu --no-peaks --check full --json a.json")
    terminal.until(lambda: "checking" in terminal.screen.text(), "the check")
    time.sleep(0.3)
    terminal.press_ctrl_c()
    pressed = time.monotonic()
    terminal.until(lambda: "interrupting …" in terminal.screen.text(), "an acknowledgement")
    assert time.monotonic() - pressed < 2 and terminal.process.poll() is None
    terminal.press_ctrl_c()
    assert terminal.finish().code == 130


def _interrupted(arguments, shown):
    """Presses Ctrl-C once `shown` stands on the live line; what the terminal shows at the end."""
    terminal = _Terminal(arguments)
    terminal.until(lambda: any(shown in line for line in terminal.screen.live), shown)
    terminal.press_ctrl_c()
    ended = terminal.finish()
    assert ended.code == 130
    return ended


def an_interrupted_case_begins_no_other_phase():
    shown = _interrupted(f"run {flags(**{**CASE, 'tokens': 512, 'hidden': 256, 'ffn': 512})}", "measuring peaks")
    assert not any("checking" in line or "warming up" in line for line in shown.screen.live), shown.screen.live


def an_interrupted_sweep_leaves_a_clean_screen():
    shown = _interrupted(f"run {long()} --json a.json", "[3/1000]")
    lines = shown.screen.lines
    assert [line for line in lines if line.startswith("interrupting …")], lines
    assert any(line.startswith("subject=") for line in lines) and any(line == "moebench: interrupted by SIGINT" for line in lines)
    assert not any("interrupted: interrupted" in line for line in lines)


def it_is_right_in_narrow_terminals():
    for columns in (100, 80, 40, 20):
        # As wide as a word can get: the longest label and all columns of figures.
        shown = _shown(f"run --peaks peaks.json {flags(**{**CASE, 'engine': 'loop,naive-mask', 'experts': '4,8', 'routing': 'balanced,hot:0.5', 'iters': 6})}", columns)
        assert shown.code == 0
        live = shown.screen.live
        assert all(len(line) < columns for line in live), [line for line in live if len(line) >= columns]
        assert all(line.startswith("[") for line in live if line.strip()), live
        figures = [line for line in live if " ±" in line]
        assert columns == 20 or all(re.search(r"(µs|ms) ±\s*[0-9.?]+", line) for line in figures) and figures, figures
        if columns >= 40:
            assert all(re.search(r"\d/8\] lay", line) for line in live), live
            assert shown.screen.wrapped == 0, shown.screen.text()
        if columns <= 80:
            expect(" ".join(shown.screen.text().split()), "too narrow for: ")
    one = _shown(f"run {small(iters=6)}", 40)
    assert one.code == 0 and one.screen.wrapped == 0, one.screen.text()


def texts_fit_the_terminal():
    for arguments in ("help", "help run", "help axes", "help links", "list", "info", "run --backend cpu --plan --suite paper-experts"):
        for columns in (80, 40):
            shown = _shown(arguments, columns)
            assert shown.code == 0 and shown.screen.wrapped == 0, f"{arguments} in {columns}:\n{shown.screen.text()}"



def it_is_right_under_tmux():
    if not shutil.which("tmux"):
        raise Skip("no tmux here (apt-get install tmux)")
    name = f"moebench-test-{os.getpid()}"
    def tmux(*words):
        return subprocess.run(["tmux", "-L", name, *words], capture_output=True, text=True, timeout=PATIENCE_S)
    command = f"{shlex.quote(programs.moebench)} run {small(engine='loop,naive-mask', iters=20)}; echo code $?; exec sleep 60"
    assert tmux("new-session", "-d", "-x", "70", "-y", "40", command).returncode == 0
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "code" not in (seen := tmux("capture-pane", "-p").stdout):
            assert time.monotonic() < deadline, seen
            time.sleep(0.2)
        print(seen)
        assert any(line.startswith("subject=layer") for line in seen.splitlines()[:8]), seen  # below warnings of the build and the load, at most
        expect(seen, "code 0")
        assert "[" not in seen, "a progress line was left on the screen"
    finally:
        tmux("kill-server")


main(globals())
