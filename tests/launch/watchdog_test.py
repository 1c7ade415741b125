"""A run that stands still tells where and ends; one that is slow or was suspended goes on."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import time

import pytest
from checkpoint_runs import BIN, damage, checkpoint, command, environment, log, preload, ranks_of, rows, saved_steps, train
from watched_runs import pids_of_ranks, started, steps_logged, wait_for

ENDLESS = ["train.max_steps=1000000", "checkpoint.save_interval=5", "checkpoint.keep_last=2"]


def reports(text):
    """What each rank said of its last collective, and its stacks."""
    heads = re.finditer(r"error: no progress for \S+ s \(run.timeout_seconds\) in step \d+: rank (\d+) is (.*)\n", text)
    stacks = re.findall(r"  rank (\d+), (thread .*\n(?:    .*\n)*)", text)
    return {int(m[1]): (m[2], "".join(stack for rank, stack in stacks if rank == m[1])) for m in heads}


@pytest.mark.parametrize("layout,transport,stopped", [("1x2x1", "shared", 1), ("1x1x2", "mpi", 0), ("2x1x2", "auto", 3)])
def test_a_rank_that_hangs(layout, transport, stopped, tiny, tmp_path):
    with started(tiny, tmp_path, *ENDLESS, "run.timeout_seconds=3", f"parallel.transport={transport}",
                 layout=layout) as run:
        wait_for(run, lambda: steps_logged(tmp_path) > 8)
        ranks = pids_of_ranks(run)
        os.kill(ranks[stopped], signal.SIGSTOP)
        begin = time.monotonic()
        output, errors = run.communicate(timeout=60)
    assert run.returncode not in (0, 75) and 3 <= time.monotonic() - begin < 20
    said = reports(errors)
    assert set(said) == set(ranks) - {stopped}, errors
    for last, stacks in said.values():
        assert re.fullmatch(r"(in|after) (all_reduce|all_gather|reduce_scatter) of \d+ \w+ over [a-z+]+ for \w+, collective \d+", last)
        assert re.search(r"pscale::\w+.*  pscale_train\+0x[0-9a-f]+", stacks), errors
    assert any(last.startswith("in ") for last, _ in said.values())
    assert (stopped == 0) == ("error: no progress" not in log(tmp_path))
    assert all(damage(checkpoint(tmp_path, step)) == [] for step in saved_steps(tmp_path))
    train(tiny, tmp_path, f"train.max_steps={rows(tmp_path)[-1]['step'] + 3}", layout=layout)


@pytest.mark.parametrize("transport", ["shared", "mpi"])
def test_a_rank_that_dies(transport, tiny, tmp_path):
    with started(tiny, tmp_path, *ENDLESS, f"parallel.transport={transport}", layout="1x2x1") as run:
        wait_for(run, lambda: steps_logged(tmp_path) > 8)
        os.kill(ranks_of(run)[1], signal.SIGKILL)
        run.communicate(timeout=20)
    assert run.returncode not in (0, 75)


def test_a_rank_that_dies_where_no_launcher_sees_it(tiny, tmp_path):
    """The other one ends by itself, and takes the job with it."""
    survives = tmp_path / "survives.sh"
    survives.write_text('#!/bin/sh\n"$@"\nsleep 60\n')
    survives.chmod(survives.stat().st_mode | stat.S_IXUSR)
    arguments = [*ENDLESS, "run.timeout_seconds=3", "parallel.transport=shared"]
    with subprocess.Popen(command(tiny, tmp_path, *arguments, layout="1x2x1", wrapper=[survives]), env=environment(),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        wait_for(run, lambda: steps_logged(tmp_path) > 8)
        shells = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True, check=True).stdout.split()
        ranks = subprocess.run(["pgrep", "-P", ",".join(shells)], capture_output=True, text=True, check=True).stdout.split()
        os.kill(int(ranks[1]), signal.SIGKILL)
        _, errors = run.communicate(timeout=30)
    assert run.returncode not in (0, 75)
    assert set(reports(errors)) == {0}, errors


@pytest.mark.parametrize("layout", ["2x1x1", "1x2x1"])
def test_a_save_may_take_longer_than_a_step(layout, tiny, tmp_path):
    """On a slow disk; ranks that are through wait for those that are not."""
    slow = preload(tmp_path / "checkpoints", TRACE_SYNC_MS=700)
    train(tiny, tmp_path, "train.max_steps=3", "run.timeout_seconds=2", "checkpoint.save_interval=100", layout=layout, wrapper=slow)
    assert saved_steps(tmp_path) == [3]


def test_it_ends_a_run_whose_standard_error_nobody_reads(tiny, tmp_path):
    """It hangs while it reads its checkpoint, and its last words go into a full pipe."""
    train(tiny, tmp_path, "train.max_steps=3")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    hangs = preload(tmp_path / "checkpoints", TRACE_READ_MS=1000000)
    with subprocess.Popen(command(tiny, tmp_path, *ENDLESS, "run.timeout_seconds=1", wrapper=hangs), env=environment(), stdout=subprocess.DEVNULL, stderr=writing) as run:
        assert run.wait(timeout=100) == -signal.SIGALRM
    os.close(reading)
    os.close(writing)


def test_a_run_that_was_suspended_goes_on(tiny, tmp_path):
    with started(tiny, tmp_path, "train.max_steps=200", "run.timeout_seconds=2", layout="2x1x1") as run:
        wait_for(run, lambda: steps_logged(tmp_path) > 8)
        ranks = ranks_of(run)
        for rank in ranks:
            os.kill(rank, signal.SIGSTOP)
        time.sleep(3)
        for rank in ranks:
            os.kill(rank, signal.SIGCONT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    assert rows(tmp_path)[-1]["step"] == 200


def test_one_rank_that_only_computes_gets_on(tiny, tmp_path):
    """It has no collectives, and its steps are longer than the limit."""
    train(tiny, tmp_path, "train.max_steps=2", "train.global_batch=400", "train.sequence_length=256", "model.max_position_embeddings=256",
          "run.timeout_seconds=0.5")
    assert rows(tmp_path)[-1]["step_seconds"] > 0.5


def test_zero_turns_it_off(tiny, tmp_path):
    with started(tiny, tmp_path, *ENDLESS, "run.timeout_seconds=0", layout="1x2x1") as run:
        wait_for(run, lambda: steps_logged(tmp_path) > 8)
        (rank, _) = ranks_of(run)
        os.kill(rank, signal.SIGSTOP)
        time.sleep(3)
        assert run.poll() is None
        os.kill(rank, signal.SIGCONT)
        run.kill()


def test_it_names_its_program():
    """The stacks have names because the program exports its own."""
    symbols = subprocess.run(["nm", "-DC", BIN / "pscale_train"], capture_output=True, text=True, check=True).stdout
    assert "pscale::Trainer::run()" in symbols
