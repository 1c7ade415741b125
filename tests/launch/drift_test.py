"""A bit of a weight that is flipped on one rank ends the run before it is saved."""

import re

import pytest
from checkpoint_runs import computed, errors, log, saved_steps, train
from watched_runs import fault


BUCKETS = 4  # of gradients and weights in each step, by the axes they are not placed on


@pytest.mark.parametrize("layout,rank,expected", [("2x1x1", 1, r"[\w.]+ differs between rank 0 and rank 1"),
                                                  ("4x1x1", 2, r"[\w.]+ on rank 2 differs from that of ranks 0, 1, 3")])
@pytest.mark.parametrize("interval,found_at", [(1, 6), (5, 10), (1000, 8)])
def test_a_flipped_bit(layout, rank, expected, interval, found_at, tiny, tmp_path):
    """1000: it is found by the check that goes before the save of step 8."""
    done = train(tiny, tmp_path, f"run.check_interval={interval}", "parallel.transport=mpi",
                 f"checkpoint.save_interval={100 if interval == 5 else 4}", layout=layout,
                 wrapper=fault("flip", rank, BUCKETS * found_at), code=1)
    (problem,) = errors(done)
    assert re.search(expected, problem) and f"after step {found_at} " in problem, problem
    assert problem in log(tmp_path)
    assert saved_steps(tmp_path) == ([] if interval == 5 else [4])
    train(tiny, tmp_path, "run.check_interval=1", layout=layout)
    assert saved_steps(tmp_path)[-1] == 12


def test_zero_turns_it_off(tiny, tmp_path):
    for folder, wrapper in ((tmp_path / "sound", ()), (tmp_path / "flipped", fault("flip", 1, BUCKETS * 6))):
        train(tiny, folder, "run.check_interval=0", "checkpoint.save_interval=0", "parallel.transport=mpi", layout="2x1x1", wrapper=wrapper)
    assert computed(tmp_path / "sound") != computed(tmp_path / "flipped")
