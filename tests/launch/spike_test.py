"""The rule for loss spikes, against a second implementation; and across checkpoints and layouts."""

import math
import re

import pytest
from checkpoint_runs import checkpoint, computed, errors, log, manifest, rows, saved_steps, state_of, train

WINDOW, Z = 6, 1.0
RULE = ["train.max_steps=40", "checkpoint.save_interval=1", f"train.spike_z_score={Z}", f"train.spike_window={WINDOW}",
        "train.max_skipped_steps=10"]


def spikes(losses):
    """The steps, from 1, that the rule skips."""
    window, found = [], []
    for step, loss in enumerate(losses, 1):
        if len(window) == WINDOW:
            mean = math.fsum(window) / WINDOW
            deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in window) / WINDOW)
            if (loss - mean) / deviation > Z:
                found.append(step)
                continue
        window = [*window[-WINDOW + 1:], loss]
    return found


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(tiny, folder, *RULE)
    return folder


def test_it_skips_what_the_rule_says(whole):
    expected = spikes([row["loss"] for row in rows(whole)])
    said = re.findall(r"step (\d+): loss \S+ is a spike .*update skipped, samples (\d+) to (\d+)", log(whole))
    assert [tuple(map(int, s)) for s in said] == [(step, 4 * step - 4, 4 * step - 1) for step in expected]
    assert 1 <= len(expected) < 20
    assert rows(whole)[-1]["skipped_steps"] == len(expected)
    about = manifest(checkpoint(whole, 40))
    assert about["updates"] == 40 - len(expected) and len(about["recent_losses"]) == WINDOW


def test_every_layout_skips_the_same(whole, tiny, tmp_path):
    train(tiny, tmp_path, *RULE, layout="2x1x2")
    for a, b in zip(computed(whole), computed(tmp_path), strict=True):
        assert b.get("skipped_steps") == a.get("skipped_steps")
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)


def test_the_window_goes_on(whole, tiny, tmp_path):
    first = spikes([row["loss"] for row in rows(whole)])[0]
    for step in (3, first - 1, first, 39):
        folder = tmp_path / str(step)
        train(tiny, folder, *RULE, "--resume", checkpoint(whole, step))
        assert computed(folder) == computed(whole)[step:]
        assert state_of(folder) == state_of(whole)


def test_too_many_in_a_row_end_the_run(tiny, tmp_path):
    """A window that hardly moves calls every loss a spike."""
    done = train(tiny, tmp_path, "train.max_steps=400", "train.spike_z_score=0.001", "train.spike_window=3",
                 "train.max_skipped_steps=2", code=2)
    assert re.search(r"3 updates in a row .*train.spike_z_score", errors(done)[0]), errors(done)


def test_the_rule_may_be_turned_on_later(tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=10", "checkpoint.save_interval=5")
    assert "recent_losses" not in manifest(checkpoint(tmp_path, 10))
    train(tiny, tmp_path, "train.max_steps=14", "train.spike_z_score=50")
    assert saved_steps(tmp_path)[-1] == 14 and len(manifest(checkpoint(tmp_path, 14))["recent_losses"]) == 4
