"""The order in which a save writes, syncs and renames, from a trace of its calls; and a kill at each of them."""

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from checkpoint_runs import (checkpoint, command, computed, damage, environment, files_of, log, manifest,
                             preload, rows, saved_steps, state_of, train)

MODIFIES = ("open", "open64", "write", "pwrite", "pwrite64", "ftruncate", "ftruncate64")


class Call(NamedTuple):
    begin: int
    end: int
    name: str
    path: str
    other: str
    result: int


def read_trace(folder):
    lines = [line.split("\t") for file in folder.glob("calls.*") for line in file.read_text().splitlines()]
    return sorted(Call(int(begin), int(end), *names, int(result)) for begin, end, *names, result in lines)


@pytest.fixture(scope="module", params=["1x1x1", "1x2x1", "1x2x1 slow"])
def traced(request, tiny, tmp_path_factory):
    """A run that saved four times, and removed the first two checkpoints at the fourth; and its calls."""
    layout, *slow = request.param.split()
    folder = tmp_path_factory.mktemp("traced")
    wrapper = preload(folder / "run", TRACE_LOG=folder / "calls", TRACE_SYNC_MS=100 if slow else 0)
    train(tiny, folder / "run", "train.max_steps=12", layout=layout, wrapper=wrapper)
    train(tiny, folder / "run", "train.max_steps=16", "checkpoint.keep_last=2", layout=layout, wrapper=wrapper)
    return folder / "run", read_trace(folder)


class Save:
    """The calls of one save, by the paths that they had while it was written."""

    def __init__(self, traced, step):
        run, self.calls = traced
        self.parent = run / "checkpoints"
        self.final = checkpoint(run, step)
        self.writing = self.parent / f".writing_{self.final.name}.{manifest(self.final)['id']}"
        self.committed = self.first(self.writing, "rename", other=self.final)

    def calls_of(self, path, *names):
        return [call for call in self.calls if call.path == str(path) and call.name in names]

    def first(self, path, name, other="-", after=None):
        """The first such call that begins after another's end."""
        found = [c for c in self.calls_of(path, name) if c.other == str(other) and (not after or after.end <= c.begin)]
        assert found and found[0].result == 0, (name, path, other)
        return found[0]

    def synced_between(self, path, after, before):
        assert self.first(path, "fsync", after=after).end <= before.begin, f"{path} was not synced"


@pytest.fixture(scope="module", params=[12, 16])
def save(request, traced):
    return Save(traced, request.param)


def test_no_file_is_written_after_its_sync(save):
    names = [name for name in files_of(save.final) if name != "manifest.json"]
    for path in [*(save.writing / name for name in names), save.writing / "manifest.json.partial"]:
        changes, syncs = save.calls_of(path, *MODIFIES), save.calls_of(path, "fsync", "fdatasync")
        assert changes[0].name.startswith("open") and len(changes) > 1, path
        assert syncs and changes[-1].end <= syncs[-1].begin, path
    late = [c for c in save.calls if c.path.startswith(str(save.final)) and c.name in MODIFIES]
    assert not late  # under its final name a checkpoint is never written to


def test_the_trace_sees_every_write(save):
    """Those of HDF5 too: what was written is at least as much as there is."""
    for name, file in zip(files_of(save.final)[1:], manifest(save.final)["files"], strict=True):
        writes = save.calls_of(save.writing / name, "write", "pwrite", "pwrite64")
        assert sum(call.result for call in writes) >= sum(d["bytes"] for d in file["datasets"])
        assert writes


def test_the_manifest_comes_after_all_it_tells_of(save):
    partial = save.writing / "manifest.json.partial"
    made = save.calls_of(partial, "open", "open64")[0]
    for name in files_of(save.final)[1:]:
        path = save.writing / name
        opened = save.calls_of(path, "open", "open64")[0]
        assert save.calls_of(path, "fsync")[-1].end <= made.begin, name
        save.synced_between(path.parent, opened, made if name.startswith("shards/") else save.committed)
    renamed = save.first(partial, "rename", other=save.writing / "manifest.json")
    save.synced_between(partial, save.calls_of(partial, "write")[-1], renamed)
    save.synced_between(save.writing, renamed, save.committed)


def test_latest_comes_after_the_name(save):
    partial, latest = save.parent / "latest.partial", save.parent / "latest"
    link = save.first(partial, "symlink", other=save.final.name, after=save.committed)
    save.synced_between(save.parent, save.committed, link)
    renamed = save.first(partial, "rename", other=latest, after=link)
    removals = [c for c in save.calls if "/.removing_" in c.other and c.begin > save.committed.begin]
    save.synced_between(save.parent, renamed, *removals[:1] or [Call(renamed.end * 2, 0, "", "", "", 0)])
    assert save.final.name != "step_00000016" or len(removals) == 2


def test_removal_hides_a_checkpoint_before_it_touches_it(traced):
    run, calls = traced
    assert saved_steps(run) == [12, 16]
    parent = str(run / "checkpoints")
    hidden = [c for c in calls if c.name == "rename" and "/.removing_" in c.other]
    assert [os.path.basename(c.path) for c in hidden] == ["step_00000008", "step_00000004"]
    removals = [c for c in calls if c.name in ("unlink", "unlinkat", "remove", "rmdir") and c.result == 0]
    assert not [c for c in removals if "/step_" in c.path]
    for rename in hidden:
        inside = [c for c in removals if c.path.startswith(rename.other)]
        synced = [c for c in calls if c.name == "fsync" and c.path == parent and c.begin >= rename.end]
        assert inside and synced[0].end <= inside[0].begin


def test_the_folder_of_checkpoints_is_on_the_disk_before_the_first_is_told_of(traced):
    run, calls = traced
    (made,) = (c for c in calls if c.name == "mkdir" and c.path == str(run / "checkpoints") and c.result == 0)
    first = next(c for c in calls if c.name == "rename" and c.other == str(run / "checkpoints/latest"))
    syncs = [c for c in calls if c.name == "fsync" and c.path == str(run)]
    assert [c for c in syncs if made.end <= c.begin and c.end <= first.begin], "the run's folder was not synced"


# A kill at every call of a save, and of a resume from an earlier checkpoint.


@pytest.fixture(scope="module")
def before(tiny, tmp_path_factory):
    """A run of four steps with two checkpoints."""
    folder = tmp_path_factory.mktemp("before") / "run"
    train(tiny, folder, "train.max_steps=4", "checkpoint.save_interval=2", "checkpoint.keep_last=2")
    return folder


def leftovers(run):
    return [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith((".", "latest.partial"))]


def kill_at_each_call(before, folder, config, arguments, check):
    """Lets copies of a run go on and kills each at another call; check(copy, its number, the calls of the whole)."""
    whole = shutil.copytree(before, folder / "whole", symlinks=True)

    def go_on(run, **variables):
        wrapped = command(config, run, *[argument.format(run=run) for argument in arguments],
                          wrapper=preload(run / "checkpoints", **variables))
        return subprocess.run(wrapped, env=environment(), capture_output=True, check=False, timeout=60).returncode

    assert go_on(whole, TRACE_LOG=folder / "calls") == 0
    calls = read_trace(folder)
    repeated = ("write", "pwrite", "pwrite64", "close")
    instants = [i for i, call in enumerate(calls) if call.name not in repeated or i % 40 == 0]

    def attempt(instant):
        run = shutil.copytree(before, folder / str(instant), symlinks=True)
        assert go_on(run, TRACE_KILL=instant + 1) == -signal.SIGKILL
        check(run, instant, calls)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, instants))
    return whole, instants


def test_a_kill_at_any_call_of_a_save_loses_nothing(tiny, before, tmp_path):
    arguments = ["train.max_steps=6", "checkpoint.save_interval=6", "checkpoint.keep_last=2"]
    states = set()

    def check(run, instant, calls):
        committed = [c.other.endswith("/step_00000006") for c in calls[:instant]]
        assert saved_steps(run)[-2:] == ([4, 6] if any(committed) else [2, 4]), (instant, calls[instant])
        for path in [*(run / "checkpoints").glob("step_*"), run / "checkpoints/latest"]:
            assert damage(path) == [], (instant, calls[instant])
        left = leftovers(run)
        train(tiny, run, "train.max_steps=7")
        assert f"after step {6 if any(committed) else 4}" in log(run)
        assert all(f"removed {name}" in log(run) for name in left) and leftovers(run) == []
        assert [row["step"] for row in rows(run)] == list(range(1, 8))
        states.add(state_of(run))

    whole, instants = kill_at_each_call(before, tmp_path, tiny, arguments, check)
    assert saved_steps(whole) == [4, 6] and len(instants) > 30
    assert len(states) == 1


def test_a_kill_at_any_call_of_a_resume_from_an_earlier_checkpoint_loses_nothing(tiny, before, tmp_path):
    arguments = ["--resume", "{run}/checkpoints/step_00000002", "train.max_steps=3", "checkpoint.keep_last=0"]

    def check(run, instant, calls):
        newest = max(saved_steps(run))
        assert newest >= 2 and damage(run / "checkpoints/latest") == [], (instant, calls[instant])
        aside = run / "previous_1/checkpoints/step_00000004"
        assert damage(checkpoint(run, 4) if newest == 4 else aside) == [], (instant, calls[instant])
        train(tiny, run, "train.max_steps=5", "checkpoint.keep_last=0")
        assert computed(run)[:4] == computed(before) and leftovers(run) == []

    whole, _ = kill_at_each_call(before, tmp_path, tiny, arguments, check)
    assert saved_steps(whole) == [2, 3] and saved_steps(whole / "previous_1") == [4]
