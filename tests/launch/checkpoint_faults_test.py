"""Runs that are killed at any instant, and checkpoints that are damaged anywhere."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from checkpoint_runs import (BIN, checkpoint, command, computed, damage, environment, errors, files_of, log, preload,
                             ranks_of, saved_steps, state_of, train)

LEFTOVERS = (".writing_", ".removing_", "latest.partial")


def whole_rows(folder):
    """The rows of a run that may have been killed while it wrote one."""
    with contextlib.suppress(FileNotFoundError):
        lines = (folder / "metrics.jsonl").read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]
    return []


def leftovers(folder):
    found = (folder / "checkpoints").glob("*")
    return [path.name for path in found if path.name.startswith(LEFTOVERS)]


def text_of_log(folder):
    return log(folder) if (folder / "log.txt").exists() else ""


def live_and_die(arguments, folder, chance, pending=None):
    """Starts a run and kills a rank, or all of it, at some instant of its start, its training or its saving; with
    `pending`, what earlier runs left behind, while it writes a checkpoint."""
    begin = time.time()
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 60
        while not (ranks := ranks_of(run)) and time.monotonic() < deadline:
            time.sleep(0.01)
        if pending is not None:
            while (not any(name.startswith(".writing_") and name not in pending for name in leftovers(folder))
                   and time.monotonic() < deadline):
                time.sleep(0.002)
        elif chance.random() < 0.8:
            while not ((made := whole_rows(folder)) and made[-1]["time"] > begin) and time.monotonic() < deadline:
                time.sleep(0.01)
            ranks = ranks_of(run)
        time.sleep(chance.uniform(0, 0.2 if pending is not None else 0.5))
        for process in [*ranks, run.pid] if chance.random() < 0.5 else [chance.choice(ranks)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        run.wait(timeout=60)
        while ranks_of(run) and time.monotonic() < deadline:
            time.sleep(0.01)
    return begin


@pytest.mark.parametrize("layout,kills", [("1x2x1", 30), ("2x1x2", 12), ("1x1x1", 18)])
def test_a_killed_run_loses_at_most_what_was_not_saved(layout, kills, tiny, tmp_path):
    chance = random.Random(f"{layout} {kills}")
    folder = tmp_path / "killed"
    while_saving = 0
    newest = 0
    for trial in range(kills):
        interval = chance.choice([2, 5, 20])
        pending, told = leftovers(folder), len(text_of_log(folder))
        arguments = ["train.max_steps=1000000", f"checkpoint.save_interval={interval}", "checkpoint.keep_last=2"]
        # On a slow disk training goes on meanwhile; else a save is waited for. Every third run dies while it saves.
        saves = trial % 3 == 0
        slow = preload(folder / "checkpoints", TRACE_SYNC_MS=100) if saves or chance.random() < 0.3 else []
        begin = live_and_die(command(tiny, folder, *arguments, layout=layout, wrapper=slow), folder, chance,
                             pending if saves else None)

        steps, new_log = saved_steps(folder), text_of_log(folder)[told:]
        for step in steps:
            assert damage(checkpoint(folder, step)) == [], step
        if steps:
            assert steps[-1] >= newest
            assert damage(folder / "checkpoints/latest") == []
        if "layout" in new_log:  # it came to train: from the newest checkpoint, after it had tidied up
            assert (f"goes on from {checkpoint(folder, newest)} after step {newest}" in new_log) == (newest > 0)
            assert all(f"removed {name}" in new_log and name not in leftovers(folder) for name in pending)
        made = whole_rows(folder)
        if made and made[-1]["time"] > begin:
            lost = made[-1]["step"] - (steps[-1] if steps else 0)
            saving = any(name.startswith(".writing_") for name in leftovers(folder))
            # A save begins every `interval` steps, and waits where the one before it is not through.
            assert lost <= (2 * interval if saving else interval), lost
            while_saving += saving
        newest = steps[-1] if steps else 0
    assert while_saving >= kills / 5 and newest > 0

    last = whole_rows(folder)[-1]["step"] + 10
    train(tiny, folder, f"train.max_steps={last}", layout=layout)
    assert leftovers(folder) == []
    train(tiny, tmp_path / "whole", f"train.max_steps={last}", "checkpoint.save_interval=0", layout=layout)
    assert [row["step"] for row in computed(folder)] == list(range(1, last + 1))
    assert computed(folder) == computed(tmp_path / "whole")
    assert state_of(folder) == state_of(tmp_path / "whole")


# Damage. Every byte of a checkpoint is under some hash, so nothing is harmless to `pscale_ckpt verify`; going on with a
# run reads all but model.h5 and optimizer.h5, which show the shards as whole tensors.


@pytest.fixture(scope="module")
def sound(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "run"
    train(tiny, folder, "train.max_steps=8", layout="1x2x1")
    train(tiny, folder.parent / "on", "--resume", folder, "train.max_steps=10", "checkpoint.save_interval=0")
    return folder


def damaged(content, trial, chance):
    """Truncated in every fourth trial; else a bit is flipped, or a run of bytes is random."""
    at = chance.randrange(len(content))
    if trial % 4 == 0:
        return content[:at]
    length = 1 if trial % 4 < 3 else min(chance.randrange(2, 64), len(content) - at)
    other = bytes([content[at] ^ 1 << chance.randrange(8)]) + chance.randbytes(length - 1)
    return content[:at] + other + content[at + length:]


def verify(path):
    return subprocess.run([BIN / "pscale_ckpt", "verify", path], env=environment(), capture_output=True, text=True,
                          timeout=60, check=False)


def assert_refused(done, name):
    assert done.returncode == 2, (name, done.stdout, done.stderr)
    assert any(name in line for line in errors(done)), (name, done.stderr)


def test_verify_takes_what_is_sound(sound):
    done = verify(checkpoint(sound, 8))
    assert done.returncode == 0, done.stderr
    assert damage(checkpoint(sound, 8)) == []
    assert verify(sound).returncode == 0


@pytest.mark.parametrize("kind,trials", [("manifest.json", 48), ("shards/rank_00000", 48), ("shards/rank_00001", 48),
                                         ("model.h5", 32), ("optimizer.h5", 32)])
def test_damage_is_refused_by_name(kind, trials, tiny, sound, tmp_path):
    (name,) = (file for file in files_of(checkpoint(sound, 8)) if file.startswith(kind))
    chance = random.Random(kind)
    original = (checkpoint(sound, 8) / name).read_bytes()
    variants = [damaged(original, trial, chance) for trial in range(trials)]

    def attempt(trial):
        copy = shutil.copytree(checkpoint(sound, 8), tmp_path / f"copy_{trial}")
        (copy / name).write_bytes(variants[trial])
        assert any(name in problem for problem in damage(copy)), trial
        assert_refused(verify(copy), name)
        arguments = [tiny, tmp_path / f"run_{trial}", "--resume", copy, "train.max_steps=10",
                     "checkpoint.save_interval=0"]
        if kind in ("model.h5", "optimizer.h5") and len(variants[trial]) == len(original):
            if trial < 8:  # not read
                train(*arguments)
                assert state_of(tmp_path / f"run_{trial}") == state_of(sound.parent / "on")
        else:
            assert_refused(train(*arguments, code=2), name)
            assert not (tmp_path / f"run_{trial}").exists()
        shutil.rmtree(copy)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attempt, range(trials)))


def test_a_damaged_link_is_refused(tiny, sound, tmp_path):
    """It is a few bytes, and none of them may lead elsewhere; --resume auto does without it."""
    chance = random.Random("link")
    folder = shutil.copytree(sound, tmp_path / "run", symlinks=True)
    link = folder / "checkpoints/latest"
    target = os.readlink(link).encode()
    for trial in range(20):
        link.unlink()
        text = damaged(target, trial, chance).replace(b"\0", b"0") or b"s"
        os.symlink(text, link)
        assert_refused(train(tiny, tmp_path / "other", "--resume", link, code=2), str(link))
    train(tiny, folder, "train.max_steps=10", "checkpoint.save_interval=0")
    assert os.readlink(link) == "step_00000010"


@pytest.mark.parametrize("layout", ["1x2x1", "2x1x2"])
def test_damage_that_one_rank_meets_is_told_once(layout, tiny, sound, tmp_path):
    """The last tensor of a shard belongs to few ranks; all of them must stop."""
    for shard in [name for name in files_of(checkpoint(sound, 8)) if name.startswith("shards/")]:
        copy = shutil.copytree(checkpoint(sound, 8), tmp_path / shard)
        content = bytearray((copy / shard).read_bytes())
        content[-3000] ^= 16
        (copy / shard).write_bytes(content)
        assert len(damage(copy)) == 1
        done = train(tiny, tmp_path / "run", "--resume", copy, layout=layout, code=2)
        assert len(errors(done)) == 1 and shard in errors(done)[0], done.stderr


def test_files_that_are_exchanged_are_refused(tiny, sound, tmp_path):
    for number, (a, b) in enumerate([(1, 2), (3, 4)]):
        copy = shutil.copytree(checkpoint(sound, 8), tmp_path / f"copy_{number}")
        names = [files_of(copy)[a], files_of(copy)[b]]
        (copy / names[0]).rename(copy / "aside")
        (copy / names[1]).rename(copy / names[0])
        (copy / "aside").rename(copy / names[1])
        for name in names:
            assert_refused(verify(copy), name)
    done = train(tiny, tmp_path / "run", "--resume", tmp_path / "copy_0", code=2)
    assert "shards/rank_0000" in errors(done)[0]
