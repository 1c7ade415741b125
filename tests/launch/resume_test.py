"""Going on with a run: the same bits in the same layout, the same losses in any other, and nothing else by mistake."""

import os
import shutil
import subprocess

import pytest
from checkpoint_runs import (BIN, checkpoint, computed, damage, errors, log, manifest, rows, saved_steps, state_of,
                             train)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EVERY_STEP = ["checkpoint.save_interval=1", "data.validation_interval=5", "data.validation_samples=3",
              "data.validation_fraction=0.1"]
CASES = {
    "one rank": ("1x1x1", []),
    "accumulation": ("1x1x1", ["train.global_batch=6", "train.micro_batch=2"]),
    "2x2x2": ("2x2x2", []),
    "bfloat16": ("2x1x1", ["train.dtype=bfloat16", "train.micro_batch=2"]),
    "recomputed": ("1x2x1", ["train.recompute=block", "optimizer.schedule=cosine"]),
}


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_wherever_it_stopped(case, tiny, tmp_path):
    layout, arguments = CASES[case]
    whole = tmp_path / "whole"
    train(tiny, whole, *EVERY_STEP, *arguments, layout=layout)
    assert saved_steps(whole) == list(range(1, 13))
    for step in (1, 5, 7, 11):
        folder = tmp_path / str(step)
        train(tiny, folder, *EVERY_STEP, *arguments, "--resume", checkpoint(whole, step), layout=layout)
        assert computed(folder) == computed(whole)[step:]
        assert state_of(folder) == state_of(whole)
        assert [manifest(checkpoint(folder, s))["next_sample"] for s in saved_steps(folder)] == [
            manifest(checkpoint(whole, s))["next_sample"] for s in range(step + 1, 13)]


@pytest.mark.parametrize("layout", ["1x1x1", "2x1x1"])
def test_skipped_updates_are_remembered(layout, tiny, tmp_path):
    """A huge rate makes every loss after the first update not finite; how many in a row were skipped ends the run."""
    arguments = ["optimizer.learning_rate=1e38", "optimizer.warmup_steps=0", "checkpoint.save_interval=1"]
    whole, folder = tmp_path / "whole", tmp_path / "parts"
    train(tiny, whole, *arguments, "train.max_skipped_steps=6", layout=layout, code=2)
    assert [row.get("skipped_steps", 0) for row in rows(whole)] == [0, 1, 2, 3, 4, 5, 6]
    about = manifest(checkpoint(whole, 5))
    assert (about["step"], about["updates"], about["skipped_steps"], about["skipped_in_a_row"]) == (5, 1, 4, 4)
    done = train(tiny, folder, *arguments, "train.max_skipped_steps=6", "--resume", checkpoint(whole, 5), layout=layout,
                 code=2)
    assert "step 8: 7 updates in a row" in errors(done)[0]
    assert computed(folder) == computed(whole)[5:]


def test_any_layout_goes_on_from_any_other(tiny, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "chain"
    train(tiny, whole, "train.max_steps=16", "checkpoint.save_interval=0")
    for stop, layout in [(4, "1x1x1"), (8, "2x2x2"), (12, "1x4x1"), (16, "1x1x2")]:
        train(tiny, folder, f"train.max_steps={stop}", layout=layout)
        about = manifest(checkpoint(folder, stop))
        assert (about["step"], about["updates"], about["next_sample"]) == (stop, stop, 4 * stop)
        assert damage(checkpoint(folder, stop)) == []
    for a, b in zip(computed(whole), computed(folder), strict=True):
        assert (b["step"], b["tokens"], b["learning_rate"]) == (a["step"], a["tokens"], a["learning_rate"])
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5), a["step"]
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3), a["step"]
    assert log(folder).count("goes on from") == 3


def test_a_run_that_is_done_stays_as_it_is(tiny, tmp_path):
    train(tiny, tmp_path)
    before = content(tmp_path / "checkpoints"), computed(tmp_path)
    train(tiny, tmp_path, layout="2x2x2")
    assert "nothing is left to train" in log(tmp_path)
    assert (content(tmp_path / "checkpoints"), computed(tmp_path)) == before


@pytest.mark.parametrize("layout", ["1x1x1", "1x2x1"])
def test_rows_beyond_the_checkpoint_are_dropped(layout, tiny, tmp_path):
    """A run whose last checkpoints are lost repeats their steps; metrics and TensorBoard show none of them twice."""
    train(tiny, tmp_path, "log.tensorboard=true", layout=layout)
    before = computed(tmp_path)
    for step in (8, 12):
        shutil.rmtree(checkpoint(tmp_path, step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "lo')  # as a kill leaves it
    train(tiny, tmp_path, "log.tensorboard=true", "train.max_steps=14", layout=layout)
    assert computed(tmp_path)[:12] == before
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 15))
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}, purge_orphaned_data=True)
    events.Reload()
    assert "train/loss" in events.Tags()["scalars"]
    for tag in events.Tags()["scalars"]:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)) and steps[-1] == 14, tag
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 15))


def test_none_sets_the_earlier_run_aside(tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=4")
    first = (tmp_path / "metrics.jsonl").read_text()
    train(tiny, tmp_path, "run.seed=7", "train.max_steps=3", "--resume", "none")
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3]
    assert saved_steps(tmp_path) == [3]
    assert (tmp_path / "previous_1/metrics.jsonl").read_text() == first
    assert damage(tmp_path / "previous_1/checkpoints/step_00000004") == []
    assert "previous_1" in log(tmp_path)


def test_an_earlier_checkpoint_sets_the_later_ones_aside(tiny, tmp_path):
    train(tiny, tmp_path)
    before, state = computed(tmp_path), state_of(tmp_path)
    train(tiny, tmp_path, "--resume", checkpoint(tmp_path, 4), "train.max_steps=6")
    assert saved_steps(tmp_path) == [4, 6]
    assert computed(tmp_path) == before[:6]
    assert saved_steps(tmp_path / "previous_1") == [8, 12]
    assert damage(checkpoint(tmp_path / "previous_1", 12)) == []
    assert os.readlink(tmp_path / "checkpoints/latest") == "step_00000006"
    train(tiny, tmp_path)
    assert computed(tmp_path) == before and state_of(tmp_path) == state


def test_a_path_may_be_a_run_its_folder_or_its_link(tiny, tmp_path):
    train(tiny, tmp_path / "a")
    for number, path in enumerate(["a", "a/checkpoints", "a/checkpoints/latest", "a/checkpoints/step_00000012/"]):
        train(tiny, tmp_path / str(number), "--resume", path, "train.max_steps=13", cwd=tmp_path)
        assert [row["step"] for row in rows(tmp_path / str(number))] == [13]
        assert "step_00000012 after step 12" in log(tmp_path / str(number))


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done") / "run"
    train(tiny, folder)
    return folder


@pytest.mark.parametrize("layout", ["1x1x1", "2x1x1"])
@pytest.mark.parametrize("path", ["nowhere", "step_00000099", "empty"])
def test_a_path_to_nothing_is_an_error(path, layout, tiny, done, tmp_path):
    (tmp_path / "empty").mkdir()
    given = checkpoint(done, 99) if path.startswith("step") else tmp_path / path
    found = train(tiny, tmp_path / "run", "--resume", given, layout=layout, code=2)
    assert len(errors(found)) == 1 and str(given) in errors(found)[0], found.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("resume", ["auto", "PATH"])
@pytest.mark.parametrize("layout", ["1x1x1", "1x2x1"])
def test_another_configuration_is_refused_by_key(layout, resume, tiny, done, tmp_path):
    before = content(done)
    folder = done if resume == "auto" else tmp_path / "run"
    found = train(tiny, folder, "--resume", "auto" if resume == "auto" else checkpoint(done, 12), "train.max_steps=16",
                  "optimizer.learning_rate=1e-3", "train.sequence_length=16", "run.seed=1",
                  "model.intermediate_size=96", "parscale.parscale_cross_attn_layers=[0,1]", "train.dtype=bfloat16",
                  layout=layout, code=2)
    for key in ("optimizer.learning_rate", "train.sequence_length", "run.seed", "model.intermediate_size",
                "parscale.parscale_cross_attn_layers", "train.dtype"):
        assert sum(key in line for line in errors(found)) == 1, (key, found.stderr)
    assert not any("max_steps" in line for line in errors(found)), found.stderr
    assert content(done) == before and not (tmp_path / "run").exists()


def test_other_token_files_are_refused_and_moved_ones_are_not(tiny, done, tmp_path):
    text = tmp_path / "other.txt"
    text.write_text("Something else to read. " * 200)
    subprocess.run([BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", tmp_path / "other", text],
                   check=True, capture_output=True)
    found = train(tiny, done, f"data.train={tmp_path / 'other'}", "train.max_steps=16", code=2)
    assert "data.train" in errors(found)[0] and "token files" in errors(found)[0]
    for file in tiny.parent.glob("text.[bim]*"):
        shutil.copy(file, tmp_path / file.name)
    train(tiny, tmp_path / "run", "--resume", done, f"data.train={tmp_path / 'text'}", "train.max_steps=13")
    assert [row["step"] for row in rows(tmp_path / "run")] == [13]


def test_what_does_not_change_the_mathematics_may_change(tiny, done, tmp_path):
    shutil.copytree(done, tmp_path / "moved", symlinks=True)
    train(tiny, tmp_path / "moved", "train.max_steps=14", "train.micro_batch=2", "log.interval=2",
          "checkpoint.save_interval=1", "train.recompute=attention", "run.threads=1", layout="2x2x1")
    assert saved_steps(tmp_path / "moved") == [4, 8, 12, 13, 14]
    assert [row["step"] for row in rows(tmp_path / "moved")] == [*range(1, 13), 14]


def test_text_that_is_held_out_may_not_change(tiny, done, tmp_path):
    """Validation that takes its text from the training files leaves other samples to train on."""
    for change in (["data.validation_interval=4"], ["data.validation_interval=4", "data.validation_fraction=0.3"]):
        found = train(tiny, tmp_path / "run", "--resume", done, "train.max_steps=16", *change, code=2)
        assert "data.validation" in errors(found)[0], found.stderr
    train(tiny, tmp_path / "run", "--resume", done, "train.max_steps=13", "data.validation_interval=1",
          f"data.validation={tiny.parent / 'text'}")
    assert "validation_loss" in rows(tmp_path / "run")[0]


def test_the_newest_sound_checkpoint_is_used_and_the_log_says_so(tiny, done, tmp_path):
    shutil.copytree(done, tmp_path / "run", symlinks=True)
    (shard,) = (checkpoint(tmp_path / "run", 12) / "shards").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1])
    (checkpoint(tmp_path / "run", 8) / "manifest.json").unlink()
    train(tiny, tmp_path / "run", layout="1x2x1")
    assert f"step_00000012 is not sound and was passed over: {shard}: damaged" in log(tmp_path / "run")
    assert "step_00000008 is not sound" in log(tmp_path / "run")
    for a, b in zip(computed(done), computed(tmp_path / "run"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
    assert damage(checkpoint(tmp_path / "run", 12)) == []
    assert os.readlink(tmp_path / "run/checkpoints/latest") == "step_00000012"


def test_a_run_without_a_sound_checkpoint_is_not_started_afresh(tiny, done, tmp_path):
    shutil.copytree(done, tmp_path / "run", symlinks=True)
    for step in (4, 8, 12):
        (checkpoint(tmp_path / "run", step) / "manifest.json").write_text("{}")
    before = content(tmp_path / "run")
    found = train(tiny, tmp_path / "run", code=2)
    assert "--resume none" in errors(found)[-1] and len(errors(found)) == 4
    assert content(tmp_path / "run") == before


def test_shards_of_two_checkpoints_do_not_mix(tiny, done, tmp_path):
    shutil.copytree(done, tmp_path / "run", symlinks=True)
    (ours,), (theirs,) = ((checkpoint(tmp_path / "run", step) / "shards").iterdir() for step in (12, 8))
    shutil.copy(theirs, ours)
    found = train(tiny, tmp_path / "again", "--resume", checkpoint(tmp_path / "run", 12), code=2)
    assert len(errors(found)) == 1 and ours.name in errors(found)[0], found.stderr
