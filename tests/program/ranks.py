# SPDX-License-Identifier: Apache-2.0
"""Under mpirun: one program, however many ranks, also when one of them dies or hangs."""
import os
import pathlib
import re
import signal
import time

from program import (CASE, Skip, a_tiny_disk, expect, finish, flags, long, main, moebench, points_in, programs, ranks_in, report, small, start, statuses,
                     until)


def ranks_run_and_verify():
    for ranks in (1, 2, 4):
        verified = moebench(f"verify {flags(**CASE)} --comm mpi --pass step", ranks=ranks)
        assert verified.code == 0 and verified.errors() == []
        every_row = moebench(f"verify {flags(**CASE)} --comm mpi --pass step --check quick", ranks=ranks)
        assert every_row.code == 0 and every_row.errors() == []
        expect(every_row.out, "y_rows", "dw2_rows", "second")
        measured = moebench(f"run {small()} --comm mpi --pass step --json {ranks}.json", ranks=ranks)
        assert measured.code == 0 and measured.errors() == []
        held = report(f"{ranks}.json")
        (point,) = held["points"]
        assert point["status"] == "ok" and point["case"]["ranks"] == ranks and len(point["ranks"]["median_us"]) == ranks
        assert len(held["machine"]["ranks"]) == ranks
        assert measured.out.count("time: median") == 1, "more than one rank prints"


def one_rank_alone_has_the_rows_that_it_has_among_the_others():
    for routing in ("zipf:1", "rotate:0.5"):
        words = f"run {small(experts=8, steps=8)} --routing {routing} --force --json"
        whole = moebench(f"{words} all.json --comm mpi", ranks=2)
        assert whole.code == 0, whole.err
        (all_ranks,) = report("all.json")["points"]
        for rank in (0, 1):
            alone = moebench(f"{words} one.json --ranks 2 --as-rank {rank}")
            assert alone.code == 0, alone.err
            expect(alone.out, "not checked: one rank alone")
            (point,) = report("one.json")["points"]
            assert point["ranks"]["rows"] == all_ranks["ranks"]["rows"][rank:rank + 1], (routing, rank)
            assert point["check"]["mode"] == "none" and point["id"] != all_ranks["id"]
            assert {stage["stage"] for stage in point["stages"]} == {stage["stage"] for stage in all_ranks["stages"]}


def one_rank_alone_is_refused_where_it_cannot_be():
    for words, *parts in (
            ("--ranks 4 --as-rank 4", "--as-rank 4 of 4 ranks", "below --ranks"),
            ("--ranks 4 --as-rank 1 --pass step", "no other ranks to sum gradients with"),
            ("--ranks 2 --as-rank 1 --exchange direct", "stores rows at other ranks")):
        refused = moebench(f"run {small()} {words}")
        assert refused.code == 2 and len(refused.errors()) == 1, refused.err
        expect(refused.errors()[0], *parts)
    verified = moebench(f"verify {flags(**CASE)} --ranks 2 --as-rank 1")
    assert verified.code != 0
    expect(verified.out, "cannot be verified")


def where_each_rank_is_stands_at_the_start():
    measured = moebench(f"run {small()} --json a.json", ranks=2)
    assert measured.code == 0
    held = report("a.json")["machine"]
    assert re.match(r"(Open MPI|MPICH) \d+\.\d+", held["mpi"]["library"]), held["mpi"]
    lines = measured.err.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("rank  host"))
    for rank, line in zip(held["ranks"], lines[begin + 2:]):
        for word in ("host", "pid", "device", "cores"):
            assert str(rank[word]) in line, (word, line)
    assert "rank  host" not in moebench(f"run {small()}").err, "one rank needs no list"
    expect(moebench("info", ranks=2).out, held["mpi"]["library"])


def under_a_quiet_mpirun_an_error_of_usage_is_one_line():
    refused = moebench("run --tokns 3", ranks=2, wrapper=["--quiet"])
    assert refused.code == 2
    assert refused.err.splitlines() == ["moebench: unknown flag '--tokns'; did you mean '--tokens'? ('moebench help run' lists all)"]


def ranks_that_share_hardware_threads_are_warned():
    ranks = 2 * len(os.sched_getaffinity(0))
    measured = moebench(f"run {small()} --json a.json", ranks=ranks)
    expect(measured.err, f"{ranks} ranks share {ranks // 2} hardware thread")
    (point,) = report("a.json")["points"]
    told = point["ranks"]
    assert [len(told[key]) for key in ("rows", "tokens", "p50_us")] == [ranks] * 3
    assert sum(told["tokens"]) == CASE["tokens"] * ranks and sum(told["rows"]) == sum(told["tokens"]) * point["case"]["top-k"]
    assert told["slowest"] is None or told["slowest"] in range(ranks)


def a_repeat_keeps_the_options_of_mpirun():
    measured = moebench(f"run {small()} --json a.json", ranks=2, wrapper=["--oversubscribe", "-x", "LANG=C"])
    assert measured.code == 0
    name = pathlib.Path(programs.mpirun).name
    assert report("a.json")["run"]["repro"] == f"{name} -np 2 --oversubscribe -x LANG moebench run {small()} --json a.repeat.json"
    behind_a_shell = moebench(f"run {small()} --json b.json", ranks=2, wrapper=["sh", "-c", '"$0" "$@"; exit $?'])
    assert behind_a_shell.code == 0
    expect(report("b.json")["run"]["repro"], "mpirun -np 2 moebench run", "# other options of the launcher are not known")


def a_sweep_over_ranks_skips_what_is_not_there():
    measured = moebench(f"run {small(ranks='1,2,4')} --json a.json", ranks=2)
    assert measured.code == 6
    assert statuses(report("a.json")) == ["ok", "ok", "skipped"]
    expect(measured.out, "needs 4 ranks, but 2 run")


def ranks_without_a_launcher_are_started():
    if not programs.mpirun:
        raise Skip("no mpirun: moebench was built without MPI")
    measured = moebench(f"run {small(ranks='1,2', exchange='fused,per-expert')} --json a.json")
    assert measured.code == 0 and measured.errors() == []
    assert measured.out.count("time: median") == 1, "more than one rank prints"
    held = report("a.json")
    assert len(held["machine"]["ranks"]) == 2 and held["machine"]["mpi"]["launcher"] == "mpirun"
    assert [point["case"].get("exchange") for point in held["points"]] == [None, "fused", "per-expert"]
    assert [point["axes"].get("exchange") for point in held["points"]] == [None, "fused", "per-expert"]
    assert re.search(r"^ *1 +– ", measured.out, re.MULTILINE), "one rank has no exchange"
    expect(moebench(f"run {flags(**CASE)} --ranks 2 --plan").out, "  needs ")
    refused = moebench(f"run {small(ranks='1,2', dtype='bf16')}")
    expect(_only_error(refused, 2)[0], "not bf16")
    assert moebench(f"run {small(ranks=2)} --comm self").code == 6, "--comm self starts no ranks"
    expect(_only_error(moebench(f"run {small(ranks=3)}"), 2)[0], "experts 4 cannot be dealt evenly to ep 3")


def nccl_is_refused_where_it_cannot_be():
    built_in = "  nccl" in moebench("list comms").out
    code, part = (2, "--comm nccl moves rows between GPUs") if built_in else (3, "built without NCCL")
    for ranks in (1, 2):
        expect(_only_error(moebench(f"run {small(ranks=ranks)} --comm nccl"), code)[0], part)


def one_rank_is_not_two():
    expect(" ".join(_only_error(moebench(f"run {small()} --comm self", ranks=2), 3)), "mpirun started 2 ranks", "--comm self")


def _only_error(ended, code):
    assert ended.code == code and ended.out == "", f"expected exit code {code} and nothing on stdout"
    assert len(ended.errors()) == 1, "expected one line of error"
    return ended.errors()


def what_the_user_got_wrong_is_said_once():
    for wrong, part in (("--experst 4", "--experts"), ("--top-k 9 --experts 8", "top_k 9 exceeds experts 8"),
                        ("--engine lop", "unknown engine 'lop'")):
        expect(_only_error(moebench(f"run {wrong}", ranks=3), 2)[0], part)


def _other_on_rank_1(words):
    return ["sh", "-c", f'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then {words}; fi; exec "$0" "$@"']


def ranks_that_were_not_started_alike_are_refused():
    case = small(ranks=2)
    for words, part in (('set -- "$@" --seed 9', "--seed is '9' on rank 1 and not given on rank 0"),
                        ('set -- "$@" --interleave', "--interleave is 'on' on rank 1 and not given on rank 0"),
                        ('set -- run --tokens 8', "--backend is not given on rank 1 and 'cpu' on rank 0"),
                        ('set -- "$@" --itres 4', "rank 1: unknown flag '--itres'; did you mean '--iters'?"),
                        ("export MOEBENCH_SEED=9", "MOEBENCH_SEED is '9' on rank 1 and not given on rank 0")):
        began = time.monotonic()
        refused = moebench(f"run {case}", ranks=2, wrapper=_other_on_rank_1(words))
        expect(_only_error(refused, 2)[0], part)
        assert time.monotonic() - began < 60, "it waited for a time-out"


def what_only_the_first_rank_looks_at_may_differ():
    measured = moebench(f"run {small(ranks=2)} --json a.json", ranks=2,
                        wrapper=_other_on_rank_1('set -- "$@" --quiet; export MOEBENCH_CSV=b.csv MOEBENCH_NONSENSE=1'))
    assert measured.code == 0 and statuses(report("a.json")) == ["ok"]


def a_first_rank_that_starts_late_says_what_is_wrong():
    late = ["sh", "-c", 'test "$OMPI_COMM_WORLD_RANK" = 0 && sleep 1.5; exec "$0" "$@"']
    expect(_only_error(moebench("run --experst 4", ranks=3, wrapper=late), 2)[0], "--experts")


def a_report_that_cannot_be_written_is_said_once():
    expect(_only_error(moebench(f"run {small()} --json none/a.json", ranks=2), 3)[0], "there is no directory none")
    pathlib.Path("a.json").write_text("{}")
    expect(_only_error(moebench(f"run {small()} --json a.json", ranks=2), 2)[0], "a.json already exists")


def a_plan_is_printed_once():
    planned = moebench(f"run {small(engine='loop,naive-mask')} --plan", ranks=2)
    assert planned.code == 0 and planned.out.count("subject=layer") == 2
    expect(planned.out, " ranks=2 ")


def a_disk_that_fills_up_ends_all_ranks():
    with a_tiny_disk():
        stopped = moebench(f"run {small(seed='1:50:1')} --json disk/a.json", ranks=2)
        assert stopped.code == 3 and len(stopped.errors()) == 1
        expect(stopped.errors()[0], "cannot write disk/a.json.part: No space left on device", "--resume")
        held = points_in("disk/a.json.part")
        assert len(held) >= 2 and all(point["status"] == "ok" for point in held)
    expect(stopped.out, "time: median")


def _struck(ranks, victim, number):
    """A long sweep, one rank of which gets a signal in the midst of its third case or later."""
    process = start(f"run {long(experts=2 * ranks)} --timeout 3 --json a.json", ranks=ranks)
    until(process, lambda: len(points_in("a.json.part")) >= 2, "two points")
    time.sleep(0.1)
    os.kill(ranks_in("a.json.part")[victim], number)
    return finish(process)


def _finished_points():
    """Of the report, or of what is left of it: a first rank that is lost inside MPI cannot fold it."""
    points = report("a.json")["points"] if pathlib.Path("a.json").exists() else points_in("a.json.part")
    return [point for point in points if point["status"] == "ok"]


def a_rank_that_hangs_is_named():
    ended = _struck(3, 1, signal.SIGSTOP)
    assert ended.code == 124
    assert len(_finished_points()) >= 2
    # Rank 1 is woken to be ended, and may complain as well.
    waits = [line for line in ended.errors() if re.match(r"moebench: (.*: )?rank [02] waited 3 s ", line)]
    assert waits
    for line in waits:
        assert re.search(r" (from|to|with) rank (\d, )*1\b", line) or line.endswith(" for the other ranks"), line
    if pathlib.Path("a.json").exists():
        held = report("a.json")
        assert held["run"]["exit_code"] == 124 and statuses(held)[-1] == "timed_out"


def a_first_rank_that_hangs_is_named():
    ended = _struck(2, 0, signal.SIGSTOP)
    assert ended.code == 124
    assert re.search(r"^moebench: (.*: )?rank 1 waited 3 s .*(rank 0|the other ranks)$", ended.err, re.MULTILINE)
    assert len(_finished_points()) >= 2


def _died(ended, number):
    """The same words on stderr and in the report, which names the rank that died and no other."""
    assert f"moebench: rank 1 died (signal {number})" in ended.errors(), ended.errors()
    assert not any("interrupted" in line for line in ended.errors())
    held = report("a.json")
    assert held["run"]["exit_code"] == 8 and not held["run"]["interrupted"]
    states = statuses(held)
    assert states[-1] == "failed" and set(states[:-1]) == {"ok"} and len(states) >= 3
    assert held["points"][-1]["reason"] == f"rank 1 died (signal {number})"


def a_rank_that_dies_ends_the_others():
    ended = _struck(3, 1, signal.SIGKILL)
    assert ended.code == 128 + signal.SIGKILL
    expect(ended.err, "rank 1", "signal 9")
    _died(ended, 9)


def a_rank_that_crashes_says_of_what():
    ended = _struck(3, 1, signal.SIGSEGV)
    _died(ended, 11)


def _start_here(name):
    """A long sweep over ranks that moebench starts itself."""
    if not programs.mpirun:
        raise Skip("no mpirun: moebench was built without MPI")
    return start(f"run {long(ranks=2)} --timeout 5 --json {name}")


def _until_two_points(process, name):
    until(process, lambda: len(points_in(f"{name}.part")) >= 2, "two points")


def a_rank_that_was_started_here_and_dies_is_exit_code_8():
    process = _start_here("a.json")
    _until_two_points(process, "a.json")
    time.sleep(0.1)  # inside a case
    os.kill(ranks_in("a.json.part")[1], signal.SIGKILL)
    ended = finish(process)
    assert ended.code == 8
    _died(ended, 9)


def an_interrupt_of_ranks_that_were_started_here_is_exit_code_130():
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    # Side by side: Open MPI takes seconds to end a job.
    processes = [_start_here(f"{number.name}.json") for number in signals]
    for number, process in zip(signals, processes):
        _until_two_points(process, f"{number.name}.json")
        process.send_signal(number)
    for number, process in zip(signals, processes):
        assert finish(process).code == 130, number
        held = report(f"{number.name}.json")
        assert held["run"]["exit_code"] == 130 and held["run"]["interrupted"] and statuses(held)[-1] == "interrupted"


def a_rank_that_was_stopped_does_not_accuse_others():
    process = start(f"run {long(experts=4)} --timeout 3 --json a.json", ranks=2)
    until(process, lambda: len(points_in("a.json.part")) >= 2, "two points")
    stopped = ranks_in("a.json.part")[1]
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(2)
    os.kill(stopped, signal.SIGCONT)  # in time: nothing is wrong
    seen = len(points_in("a.json.part"))
    until(process, lambda: len(points_in("a.json.part")) >= seen + 2, "two more points")
    os.kill(stopped, signal.SIGSTOP)
    ended = finish(process)  # mpirun wakes it up again to end it
    assert ended.code == 124
    assert not re.search(r"rank 1 waited", ended.err), ended.err
    assert re.search(r"^moebench: (\w+ \w+: )?rank 0 waited 3 s .*(rank 1|the other ranks)$", ended.err, re.MULTILINE)


def ctrl_c_of_mpirun_keeps_what_was_measured():
    process = start(f"run {long()} --json a.json", ranks=2)
    until(process, lambda: len(points_in("a.json.part")) >= 2, "two points")
    process.send_signal(signal.SIGINT)
    assert finish(process).code != 0
    held = len(_finished_points())
    assert held >= 2
    resumed = moebench(f"run {long()} --max-points {held + 1} --json a.json --resume", ranks=2)
    assert resumed.code == 0 and resumed.err.count("  already measured\n") == held
    assert statuses(report("a.json")) == ["ok"] * (held + 1)


main(globals())
