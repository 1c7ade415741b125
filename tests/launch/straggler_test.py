"""A rank that is slower than the others is named in metrics.jsonl, with the axis that waits for it."""

import os
import signal
import time

import pytest
from checkpoint_runs import rows, train
from watched_runs import pids_of_ranks, started, steps_logged, wait_for


@pytest.mark.parametrize("layout,axis", [("2x1x1", "data"), ("1x2x1", "replica")])
def test_a_slow_rank_is_named(layout, axis, tiny, tmp_path):
    """One rank is suspended most of the time."""
    arguments = ["train.max_steps=1000000", "log.interval=20", "train.sequence_length=128", "run.timeout_seconds=0"]
    with started(tiny, tmp_path, *arguments, layout=layout) as run:
        wait_for(run, lambda: steps_logged(tmp_path) >= 2)
        ranks = pids_of_ranks(run)
        begun = steps_logged(tmp_path)
        deadline = time.monotonic() + 60
        while steps_logged(tmp_path) < begun + 4 and time.monotonic() < deadline:
            os.kill(ranks[1], signal.SIGSTOP)
            time.sleep(0.03)
            os.kill(ranks[1], signal.SIGCONT)
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGUSR1)
        run.communicate(timeout=60)
    slow = rows(tmp_path)[begun + 1:begun + 4]
    assert [row["slowest_rank"] for row in slow].count(1) >= 2
    assert all(row["compute_seconds_median"] <= row["compute_seconds_slowest"] <= row["step_seconds"] for row in slow)
    assert [row["waited_axes"] for row in slow].count(axis) >= 2
    assert all(row["waited_axes_seconds"] > 0 for row in slow)


def test_one_rank_waits_for_nobody(tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=2")
    assert not {"slowest_rank", "waited_axes", "compute_seconds_median"} & set(rows(tmp_path)[-1])
