"""What a checkpoint looks like from outside, whatever layout wrote it; when one is made, kept and given up."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import time

import h5py
import numpy as np
import pytest
from checkpoint_runs import (checkpoint, command, computed, damage, environment, errors, files_of, log, manifest,
                             preload, ranks_of, rows, saved_steps, state_of, train)

LAYOUTS = ["1x1x1", "2x2x2", "1x2x2", "1x4x1", "2x1x1"]


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    folders = {layout: tmp_path_factory.mktemp("layout") / layout for layout in LAYOUTS}
    for layout, folder in folders.items():
        train(tiny, folder, "train.max_steps=8", "optimizer.learning_rate=3e-4", layout=layout)
    return folders


@pytest.fixture
def saved(runs, tmp_path):
    """A copy of a checkpoint of 8 ranks; its folder is all there is."""
    return shutil.copytree(checkpoint(runs["2x2x2"], 8), tmp_path / "elsewhere/copy")


def tensors(file):
    with h5py.File(file) as opened:
        found = {}
        opened.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_tensors_have_hugging_face_names_and_shapes(runs):
    model = tensors(checkpoint(runs["2x2x2"], 8) / "model.h5")
    attention, cross = "model.layers.0.self_attn.", "model.layers.1.cross_replica_attn."
    expected = {"model.embed_tokens.weight": (257, 32), "model.norm.weight": (32,),
                "model.layers.1.mlp.down_proj.weight": (32, 64), attention + "q_proj.weight": (32, 32),
                attention + "k_proj.bias": (16,), attention + "prefix_k": (4, 2, 4, 8),
                cross + "v_proj.weight": (16, 32), "model.layers.1.cross_replica_layernorm.weight": (32,),
                "model.aggregate_layer.0.weight": (32, 128), "model.aggregate_layer.2.bias": (4,)}
    assert {name: model[name].shape for name in expected} == expected
    assert not any(name.startswith("lm_head") for name in model)  # tied
    assert "model.layers.0.cross_replica_attn.q_proj.weight" not in model
    records = manifest(checkpoint(runs["2x2x2"], 8))["tensors"]
    shapes = {name: record["file_shape"] for name, record in records.items()}
    assert {name: list(value.shape) for name, value in model.items()} == shapes


@pytest.mark.parametrize("layout", LAYOUTS[1:])
@pytest.mark.parametrize("file", ["model.h5", "optimizer.h5"])
def test_every_layout_saves_the_same_tensors(layout, file, runs):
    one, many = (tensors(checkpoint(runs[name], 8) / file) for name in ("1x1x1", layout))
    assert many.keys() == one.keys()
    for name, value in one.items():
        assert many[name].shape == value.shape and many[name].dtype == value.dtype, name
        assert np.isfinite(value).all() and np.isfinite(many[name]).all(), name
        np.testing.assert_allclose(many[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_moments_have_the_shapes_of_their_weights(runs):
    model, optimizer = (tensors(checkpoint(runs["1x2x2"], 8) / file) for file in ("model.h5", "optimizer.h5"))
    assert {name: value.shape for name, value in optimizer.items()} == {
        f"{moment}/{name}": value.shape for name, value in model.items() for moment in ("exp_avg", "exp_avg_sq")}
    assert all((value >= 0).all() for name, value in optimizer.items() if name.startswith("exp_avg_sq/"))


def test_each_element_is_stored_once_and_spread_evenly(runs):
    for layout in LAYOUTS:
        about = manifest(checkpoint(runs[layout], 8))
        shards = [file for file in about["files"] if file["path"].startswith("shards/")]
        stored = [sum(d["bytes"] for d in file["datasets"]) for file in shards]
        elements = sum(int(np.prod(t["shape"])) for t in about["tensors"].values())
        assert sum(stored) == 3 * 4 * elements, layout
        assert max(stored) < 1.1 * sum(stored) / len(stored), (layout, stored)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_manifest_is_right(layout, runs):
    path = checkpoint(runs[layout], 8)
    assert damage(path) == []
    about = manifest(path)
    data, replica, tensor = map(int, layout.split("x"))
    assert about["layout"] == {"data": data, "replica": replica, "tensor": tensor}
    assert (about["step"], about["updates"], about["next_sample"], about["skipped_steps"]) == (8, 8, 32, 0)
    assert about["model"]["hidden_size"] == 32 and about["tokenizer"] == "bytes"
    assert "hdf5" in about["versions"] and "max_steps = 8" in about["config"]
    on_disk = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    assert on_disk == set(files_of(path))
    assert all(about["id"] in name for name in on_disk if name.startswith("shards/"))
    assert len(files_of(path)) == 3 + data * replica * tensor


def test_hdf5_sees_what_the_manifest_says(runs):
    """Datasets of a shard lie where the manifest says, contiguous, and fill the parts it says of the whole tensors."""
    path = checkpoint(runs["2x2x2"], 8)
    about, model = manifest(path), tensors(path / "model.h5")
    for file in about["files"]:
        for d in file["datasets"]:
            with h5py.File(path / file["path"]) as shard:
                dataset = shard[f"{d['kind']}/{d['tensor']}"]
                assert dataset.chunks is None and dataset.id.get_offset() == d["offset"]
                part = dataset[()]
            assert list(part.shape) == d["count"]
            if d["kind"] == "weights":
                whole = model[d["tensor"]].reshape(about["tensors"][d["tensor"]]["shape"])
                slab = tuple(slice(s, s + n) for s, n in zip(d["start"], d["count"], strict=True))
                np.testing.assert_array_equal(whole[slab], part)


def test_a_copy_reads_the_same_from_anywhere(runs, saved, tmp_path, monkeypatch):
    """Also where the working directory has shards of its own: of other names, or of the same."""
    original = {file: tensors(checkpoint(runs["2x2x2"], 8) / file) for file in ("model.h5", "optimizer.h5")}
    shutil.copytree(checkpoint(runs["1x2x2"], 8) / "shards", tmp_path / "cwd/shards")
    (tmp_path / "cwd/shards/rank_00000.h5").write_bytes(b"no HDF5")
    for shard in (saved / "shards").iterdir():
        other = next((checkpoint(runs["2x2x2"], 4) / "shards").glob(shard.name.split(".")[0] + ".*"))
        shutil.copy(other, tmp_path / "cwd/shards" / shard.name)
    views = [(tmp_path / "cwd", saved), (tmp_path, "elsewhere/copy"), (saved, "."), (saved / "shards", "..")]
    for folder, file in views:
        monkeypatch.chdir(folder)
        for name, expected in original.items():
            found = tensors(os.path.join(file, name))
            assert all(np.array_equal(found[key], value) for key, value in expected.items()), (folder, name)


def test_an_absent_shard_is_not_a_number_and_is_refused(tiny, runs, saved, tmp_path, monkeypatch):
    shutil.copytree(checkpoint(runs["1x2x2"], 8) / "shards", tmp_path / "shards")
    gone = sorted((saved / "shards").iterdir())[3]
    gone.unlink()
    monkeypatch.chdir(tmp_path)
    whole, partly = tensors(checkpoint(runs["2x2x2"], 8) / "model.h5"), tensors(saved / "model.h5")
    absent = {name: np.isnan(value) for name, value in partly.items()}
    lost = sum(int(mask.sum()) for mask in absent.values())
    record = next(f for f in manifest(saved)["files"] if f["path"].endswith(gone.name))
    assert lost == sum(d["bytes"] // 4 for d in record["datasets"] if d["kind"] == "weights") > 0
    assert all(np.array_equal(partly[name][~mask], whole[name][~mask]) for name, mask in absent.items())
    for layout in ("1x1x1", "1x2x1"):
        done = train(tiny, tmp_path / "run", "--resume", saved, layout=layout, code=2)
        assert len(errors(done)) == 1 and gone.name in errors(done)[0], done.stderr
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_bfloat16_stores_the_masters_and_frozen_weights_as_they_are(tiny, tmp_path):
    train(tiny, tmp_path / "all", "train.dtype=bfloat16", "train.max_steps=4", layout="1x2x1")
    for name, value in tensors(checkpoint(tmp_path / "all", 4) / "model.h5").items():
        assert value.dtype == np.float32, name
    assert (value.view(np.uint32) & 0xFFFF).any()  # more than bfloat16 holds
    train(tiny, tmp_path / "frozen", "train.dtype=bfloat16", "train.max_steps=4", "train.freeze_pretrained=true",
          f"train.init_from={checkpoint(tmp_path / 'all', 4)}", layout="2x2x1")
    path = checkpoint(tmp_path / "frozen", 4)
    model, moments, about = tensors(path / "model.h5"), tensors(path / "optimizer.h5"), manifest(path)
    trained = {name for name, t in about["tensors"].items() if t["trained"]}
    assert "model.layers.0.self_attn.prefix_k" in trained and "model.norm.weight" not in trained
    assert moments.keys() == {f"{moment}/{name}" for name in trained for moment in ("exp_avg", "exp_avg_sq")}
    for name, value in model.items():
        assert about["tensors"][name]["dtype"] == ("float32" if name in trained else "bfloat16")
        assert np.isfinite(value.astype(np.float32)).all(), name
    assert damage(path) == []
    with h5py.File(path / "model.h5") as file:
        stored = file["model.norm.weight"].id.get_type()
        assert isinstance(stored, h5py.h5t.TypeFloatID)
        assert (stored.get_size(), stored.get_fields(), stored.get_ebias()) == (2, (15, 7, 8, 0, 7), 127)


# When checkpoints are made, and which stay.


@pytest.mark.parametrize("asynchronous", ["true", "false"])
def test_intervals_and_the_last_step(asynchronous, tiny, runs, tmp_path):
    train(tiny, tmp_path, "train.max_steps=11", f"checkpoint.async={asynchronous}", layout="1x2x1")
    assert saved_steps(tmp_path) == [4, 8, 11]
    assert os.readlink(tmp_path / "checkpoints/latest") == "step_00000011"
    assert computed(tmp_path)[0]["loss"] == pytest.approx(computed(runs["1x1x1"])[0]["loss"], rel=1e-6)
    told = re.findall(r"saved .*step_0*(\d+): .* in .* s, training waited [\d.e-]+ s", log(tmp_path))
    assert told == ["4", "8", "11"]


def test_the_last_step_alone(tiny, tmp_path):
    train(tiny, tmp_path, "checkpoint.save_interval=0")
    assert saved_steps(tmp_path) == [12]


@pytest.mark.parametrize("last,every,kept", [
    (1, 0, [11]), (2, 4, [4, 8, 10, 11]), (3, 5, [5, 9, 10, 11]), (0, 0, range(1, 12))])
def test_retention(last, every, kept, tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=11", "checkpoint.save_interval=1", f"checkpoint.keep_last={last}",
          f"checkpoint.keep_every={every}")
    assert saved_steps(tmp_path) == list(kept)
    assert not [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.startswith(".")]
    assert all(damage(checkpoint(tmp_path, step)) == [] for step in kept)


def test_minutes(tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=200", "checkpoint.save_interval=0", "checkpoint.save_minutes=0.005",
          layout="1x2x1")
    times = {row["step"]: row["time"] for row in rows(tmp_path)}
    steps = saved_steps(tmp_path)
    assert len(steps) >= 3 and steps[-1] == 200
    assert all(times[b] - times[a] > 0.2 for a, b in zip(steps, steps[1:-1])), steps


@pytest.mark.parametrize("layout", ["1x1x1", "1x2x1"])
def test_training_goes_on_while_a_slow_disk_is_written(layout, tiny, tmp_path):
    states, overlap = set(), {}
    for asynchronous in ("true", "false"):
        folder = tmp_path / asynchronous
        train(tiny, folder, "train.max_steps=100", "checkpoint.save_interval=60", f"checkpoint.async={asynchronous}",
              layout=layout, wrapper=preload(folder / "checkpoints", TRACE_SYNC_MS=200))
        states.add(state_of(folder))
        assert saved_steps(folder) == [60, 100] and damage(checkpoint(folder, 60)) == []
        before_it_was_saved = log(folder).split("saved ")[0]
        overlap[asynchronous] = int(re.findall(r" step (\d+)/", before_it_was_saved)[-1]) - 60
    assert overlap["true"] > 0 and overlap["false"] == 0, overlap
    assert len(states) == 1


# Saves that fail. A limit on the size of files, set while the run is on, stands for a disk that fills up.

IGNORE_SIGNAL = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]  # so that writes fail with EFBIG


@contextlib.contextmanager
def started(config, folder, *arguments, layout):
    """A run that is in the middle of training."""
    with subprocess.Popen(command(config, folder, *arguments, layout=layout, wrapper=IGNORE_SIGNAL), env=environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        wait_for(" step ", run, folder)
        yield run


def wait_for(text, run, folder):
    deadline = time.monotonic() + 60
    while not ((folder / "log.txt").exists() and text in log(folder)):
        assert run.poll() is None and time.monotonic() < deadline, f"{text} is not in the log"
        time.sleep(0.005)


def limit_file_size(run, size):
    for rank in ranks_of(run):
        resource.prlimit(rank, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("layout", ["1x1x1", "1x2x1"])
def test_one_failed_save_is_an_error_in_the_log_and_the_run_goes_on(layout, tiny, tmp_path):
    whole = tmp_path / "whole"
    train(tiny, whole, "train.max_steps=400", "log.interval=20", "checkpoint.save_interval=0", layout=layout)
    folder = tmp_path / "run"
    with started(tiny, folder, "train.max_steps=400", "log.interval=20", "checkpoint.save_interval=160",
                 layout=layout) as run:
        limit_file_size(run, 100_000)
        wait_for("error:", run, folder)
        limit_file_size(run, resource.RLIM_INFINITY)
        output = run.communicate(timeout=120)[0]
    assert run.returncode == 0, output
    told = [line for line in log(folder).splitlines() if "error:" in line]
    assert told and all("the checkpoint of step 160 was not saved" in line for line in told), told
    assert all(re.search(r"shards/rank_\d+\.\w+\.h5: ", line) for line in told), told
    assert saved_steps(folder) == [320, 400]
    assert all(damage(checkpoint(folder, step)) == [] for step in (320, 400))
    assert not list((folder / "checkpoints").glob(".writing_*"))
    assert state_of(folder) == state_of(whole)


@pytest.mark.parametrize("layout", ["1x1x1", "1x2x1"])
def test_two_failed_saves_in_a_row_end_the_run(layout, tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=4", layout=layout)
    with started(tiny, tmp_path, "train.max_steps=2000", "log.interval=20", "checkpoint.save_interval=100",
                 layout=layout) as run:
        wait_for(" step 20/", run, tmp_path)
        limit_file_size(run, 100_000)
        output = run.communicate(timeout=120)[0]
    assert run.returncode == 2, output
    assert output.count("two checkpoints in a row") == 1, output
    failed = re.findall(r"error: the checkpoint of step (\d+) was not saved", log(tmp_path))
    assert list(dict.fromkeys(failed)) == ["100", "200"], failed
    assert saved_steps(tmp_path) == [4] and damage(checkpoint(tmp_path, 4)) == []
    assert not list((tmp_path / "checkpoints").glob(".writing_*"))
    train(tiny, tmp_path, layout=layout)
    assert "goes on from" in log(tmp_path) and saved_steps(tmp_path) == [4, 8, 12]


def test_a_full_disk_is_seen_before_anything_is_written(tiny, tmp_path):
    train(tiny, tmp_path, "train.max_steps=4")
    disk, first = tmp_path / "checkpoints", tmp_path / "first"
    disk.rename(first)
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        shutil.copytree(first, disk, symlinks=True, dirs_exist_ok=True)
        done = train(tiny, tmp_path, "train.max_steps=100", code=2)
        assert any("a checkpoint needs" in line and "are free" in line for line in errors(done)), done.stderr
        assert log(tmp_path).count("was not saved") == 2
        assert [p.name for p in disk.iterdir() if p.name.startswith(".")] == []
        assert saved_steps(tmp_path) == [4] and damage(checkpoint(tmp_path, 4)) == []
    finally:
        subprocess.run(["umount", disk], check=True)
