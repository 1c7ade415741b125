"""Runs that are asked to stop: they save, exit with 75, and go on as if they had never stopped."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from checkpoint_runs import checkpoint, computed, damage, log, manifest, preload, ranks_of, rows, saved_steps, state_of, train
from watched_runs import started, steps_logged, wait_for

STEPS = 200
VALIDATED = ["data.validation_interval=40", "data.validation_samples=5", "data.validation_fraction=0.2"]
ARGUMENTS = [f"train.max_steps={STEPS}", "checkpoint.save_interval=0", *VALIDATED]


def text_of(folder):
    with contextlib.suppress(FileNotFoundError):
        return log(folder)
    return ""


def send(pids, sent):
    for pid in pids:
        os.kill(pid, sent)


def assert_stopped(run, folder, why):
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 75, f"exit {run.returncode}\n{output}\n{errors}"
    assert "error:" not in errors, errors
    last = log(folder).splitlines()[-1] if text_of(folder) else output  # one that did not come to its log
    assert f"{why}; start it again to go on" in last, last


@pytest.fixture(scope="module", params=["1x1x1", "1x2x1", "2x1x2"])
def whole(request, tiny, tmp_path_factory):
    """A run that nobody stopped, and its layout."""
    folder = tmp_path_factory.mktemp("whole")
    train(tiny, folder, *ARGUMENTS, layout=request.param)
    return request.param, folder


def test_a_stopped_run_has_the_bits_of_one_that_never_stopped(whole, tiny, tmp_path):
    """It is stopped as often as it can be, each time in another way."""
    layout, uninterrupted = whole
    stops = [("launcher", signal.SIGUSR1), ("first", signal.SIGTERM), ("last", signal.SIGUSR1), ("all", signal.SIGTERM),
             ("one by one", signal.SIGTERM), ("again and again", signal.SIGTERM)]
    done = 0
    for to, sent in stops:
        with started(tiny, tmp_path, *ARGUMENTS, layout=layout) as run:
            wait_for(run, lambda done=done: steps_logged(tmp_path) >= done + 8)
            ranks = ranks_of(run)
            assert ranks, "it was too fast to be stopped"
            if to == "launcher":
                send([run.pid], sent)
            elif to == "one by one":
                for rank in ranks:
                    send([rank], sent)
                    time.sleep(0.002)
            elif to == "again and again":
                send(ranks, sent)
                with contextlib.suppress(ProcessLookupError):
                    for _ in range(20):
                        send(ranks, signal.SIGTERM)
                        send(ranks, signal.SIGUSR1)
                        time.sleep(0.005)
            else:
                send({"first": ranks[:1], "last": ranks[-1:], "all": ranks}[to], sent)
            if to == "again and again":
                assert run.wait(timeout=60) == 75
            else:
                assert_stopped(run, tmp_path, f"{sent.name} was received")
        assert saved_steps(tmp_path)[-1] == rows(tmp_path)[-1]["step"] > done
        assert damage(checkpoint(tmp_path, saved_steps(tmp_path)[-1])) == []
        done = steps_logged(tmp_path)
    train(tiny, tmp_path, *ARGUMENTS, layout=layout)
    assert computed(tmp_path) == computed(uninterrupted)
    assert state_of(tmp_path) == state_of(uninterrupted)


def test_minutes_end_a_run_too(tiny, tmp_path):
    for _ in range(2):
        done = train(tiny, tmp_path, "train.max_steps=1000000", "run.max_minutes=0.03", layout="1x2x1", code=75)
        assert "run.max_minutes are over; start it again to go on" in done.stdout
    first, second = saved_steps(tmp_path)[0], saved_steps(tmp_path)[-1]
    assert first < second == rows(tmp_path)[-1]["step"]


@pytest.mark.parametrize("layout", ["1x1x1", "2x1x1"])
def test_before_the_first_step_nothing_is_trained(layout, tiny, tmp_path):
    with started(tiny, tmp_path, *ARGUMENTS, "log.peak_flops=none", layout=layout) as run:
        wait_for(run, lambda: any("libmpi" in Path(f"/proc/{r}/maps").read_text() for r in ranks_of(run)))
        time.sleep(0.1)
        send(ranks_of(run)[:1], signal.SIGTERM)
        assert_stopped(run, tmp_path, "SIGTERM was received")
    assert saved_steps(tmp_path) == [] and steps_logged(tmp_path) == 0


def test_minutes_that_are_too_few_to_start_still_let_it_get_on(tiny, tmp_path):
    """Else it would be started again for ever."""
    for step in (1, 2):
        train(tiny, tmp_path, "train.max_steps=3", "run.max_minutes=1e-9", code=75)
        assert f"stopped after step {step}: run.max_minutes are over" in log(tmp_path)
        assert saved_steps(tmp_path)[-1] == step
    train(tiny, tmp_path, "train.max_steps=3", "run.max_minutes=1e-9")
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("layout", ["1x1x1", "1x2x1"])
def test_while_a_checkpoint_is_read(layout, tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=3", *VALIDATED, layout=layout)
    slow = preload(tmp_path / "checkpoints", TRACE_READ_MS=100)  # half a minute for all of it
    with started(tiny, tmp_path, *ARGUMENTS, layout=layout, wrapper=slow) as run:
        wait_for(run, lambda: len(ranks_of(run)) == (2 if layout == "1x2x1" else 1))
        time.sleep(1.5)
        before = time.monotonic()
        send(ranks_of(run), signal.SIGTERM)
        assert_stopped(run, tmp_path, "stopped before training: SIGTERM was received")
    assert time.monotonic() - before < 5
    train(tiny, tmp_path, "train.max_steps=5", *VALIDATED, layout=layout)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5]


def test_a_save_that_failed_is_tried_again_before_the_run_stops(tiny, tmp_path):
    """checkpoint.async = false, and the request comes while the save that fails is being written."""
    slow = preload(tmp_path / "checkpoints", TRACE_SYNC_MS=100)
    with started(tiny, tmp_path, "train.max_steps=100000", "checkpoint.save_interval=50", "checkpoint.async=false", layout="1x1x1",
                 wrapper=slow) as run:
        wait_for(run, lambda: any((tmp_path / "checkpoints").glob(".writing_*50.*/shards/*")))
        (partial,) = (tmp_path / "checkpoints").glob(".writing_*50.*")
        send(ranks_of(run), signal.SIGTERM)
        time.sleep(0.05)
        shutil.rmtree(partial)
        run.communicate(timeout=60)
    assert run.returncode == 75
    assert "was not saved" in log(tmp_path) and saved_steps(tmp_path) == [50]


@pytest.mark.parametrize("layout", ["1x1x1", "2x2x1"])
def test_a_validation_is_abandoned_and_made_up_for(layout, tiny, tmp_path):
    long = ["train.max_steps=5", "data.validation_interval=3", "data.validation_samples=4000",
            "data.validation_fraction=0.5", "train.sequence_length=1", "log.tensorboard=true"]
    whole, folder = tmp_path / "whole", tmp_path / "parts"
    train(tiny, whole, *long, layout=layout)
    with started(tiny, folder, *long, layout=layout) as run:
        wait_for(run, lambda: steps_logged(folder) == 2)
        time.sleep(0.2)
        before = time.monotonic()
        send(ranks_of(run)[:1], signal.SIGTERM)
        assert_stopped(run, folder, "SIGTERM was received")
    assert time.monotonic() - before < 4
    assert rows(folder)[-1]["step"] == 3 and "validation_loss" not in rows(folder)[-1]
    assert manifest(checkpoint(folder, 3))["validation_pending"]
    with started(tiny, folder, *long, layout=layout) as run:  # once more, while it is made up for
        wait_for(run, lambda: "goes on from" in text_of(folder).splitlines()[-1] or "layout" in text_of(folder).rpartition("goes on")[2])
        time.sleep(0.2)
        send(ranks_of(run)[-1:], signal.SIGUSR1)
        assert_stopped(run, folder, "SIGUSR1 was received")
    train(tiny, folder, *long, layout=layout)
    assert computed(folder) == computed(whole)
    assert list(rows(folder)[2]) == list(rows(whole)[2])  # in the same order
    assert "validation of step 3: loss" in log(folder)


def test_the_last_step_is_done_or_to_be_validated(tiny, tmp_path):
    """A run that is asked to stop in its last validation is not done before that was taken."""
    long = ["train.max_steps=3", "data.validation_interval=3", "data.validation_samples=4000",
            "data.validation_fraction=0.5", "train.sequence_length=1"]
    with started(tiny, tmp_path, *long, layout="1x1x1") as run:
        wait_for(run, lambda: steps_logged(tmp_path) == 2)
        time.sleep(0.2)
        send(ranks_of(run), signal.SIGTERM)
        assert_stopped(run, tmp_path, "SIGTERM was received")
    train(tiny, tmp_path, *long)
    assert "validation_loss" in rows(tmp_path)[-1] and "nothing is left" in log(tmp_path)


@pytest.mark.parametrize("layout", ["1x1x1", "1x2x1"])
def test_a_step_that_is_being_saved_is_saved_once(layout, tiny, tmp_path):
    slow = preload(tmp_path / "checkpoints", TRACE_SYNC_MS=30)  # about half a second for a whole save
    with started(tiny, tmp_path, "train.max_steps=100000", "checkpoint.save_interval=50", layout=layout,
                 wrapper=slow) as run:
        wait_for(run, lambda: any((tmp_path / "checkpoints").glob(".writing_*50.*")))
        send(ranks_of(run)[:1], signal.SIGTERM)
        assert_stopped(run, tmp_path, "SIGTERM was received")
    last = rows(tmp_path)[-1]["step"]
    assert saved_steps(tmp_path) == sorted({50, last})
    assert log(tmp_path).count(f"step_{last:08}: ") == 1
    assert damage(checkpoint(tmp_path, last)) == []
