"""A rank that is slower than the others is named in metrics.jsonl, with the axis that waits for it."""

import os
import signal
import time

import pytest
from checkpoint_runs import rows, train
from watched_runs import pids_of_ranks, started, steps_logged, wait_for


@pytest.mark.parametrize("layout,slowed,axis", [("2x1x1", [1], "data"), ("1x2x1", [1], "replica"), ("2x1x2", [2, 3], "data"),
                                                ("1x2x2", [2, 3], "replica")])
def test_a_slow_rank_is_named(layout, slowed, axis, tiny, tmp_path):
    """One rank, or all of one place on an axis, is suspended most of the time."""
    arguments = ["train.max_steps=1000000", "log.interval=20", "train.sequence_length=128", "run.timeout_seconds=0"]
    with started(tiny, tmp_path, *arguments, layout=layout) as run:
        wait_for(run, lambda: steps_logged(tmp_path) >= 2)
        ranks = pids_of_ranks(run)
        begun = steps_logged(tmp_path)
        deadline = time.monotonic() + 60
        while steps_logged(tmp_path) < begun + 4 and time.monotonic() < deadline:
            for sent, seconds in ((signal.SIGSTOP, 0.03), (signal.SIGCONT, 0)):
                for rank in slowed:
                    os.kill(ranks[rank], sent)
                time.sleep(seconds)
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGUSR1)
        run.communicate(timeout=60)
    slow = rows(tmp_path)[begun + 1:begun + 4]
    assert sum(row["slowest_rank"] in slowed for row in slow) >= 2
    assert all(row["rank_seconds_median"] <= row["rank_seconds_slowest"] <= row["step_seconds"] for row in slow)
    assert sum(axis in row["waited_axes"] for row in slow) >= 2, [row["waited_axes"] for row in slow]
    assert all(row["waited_axes_seconds"] > 0 for row in slow)


def test_one_rank_waits_for_nobody(tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=2")
    assert not {"slowest_rank", "waited_axes", "rank_seconds_median"} & set(rows(tmp_path)[-1])
