"""A hundred random faults. Each ends the run with an error that says what happened, or the run gets over it; none hangs, and
none loses a checkpoint that was finished."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from checkpoint_runs import TINY, checkpoint, command, damage, environment, log, ranks_of, rows, saved_steps, train
from watched_runs import fault

LAYOUTS = ["2x1x1", "1x2x1", "1x1x2"]
PATIENCE = 60  # seconds, on a machine that is busy
BEFORE = 4     # steps of the run that every trial goes on with
LAST = 14
KINDS = {"kill": 32, "stop": 14, "full disk": 18, "data": 18, "nan": 18}


@pytest.fixture(scope="module")
def before(tiny, tmp_path_factory):
    """A run of a few steps with a checkpoint."""
    folder = tmp_path_factory.mktemp("before") / "run"
    train(tiny, folder, f"train.max_steps={BEFORE}")
    return folder


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The losses of the run when nothing happens to it."""
    folder = tmp_path_factory.mktemp("whole")
    train(tiny, folder, f"train.max_steps={LAST}")
    return [row["loss"] for row in rows(folder)]


class Trial:
    """A copy of the run, to which something happens."""

    def __init__(self, number, before, tiny, folder, whole):
        self.chance = random.Random(number)
        self.folder = folder / "run"
        self.tiny, self.whole = tiny, whole
        self.layout = self.chance.choice(LAYOUTS)
        shutil.copytree(before, self.folder, symlinks=True, dirs_exist_ok=True)

    def start(self, *arguments, config=None, wrapper=(), layout=None):
        return subprocess.Popen(command(config or self.tiny, self.folder, *arguments, layout=layout or self.layout, wrapper=wrapper),
                                env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, run):
        """Its exit code and what it printed; a run that hangs fails the trial."""
        try:
            output, self.printed = run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
        self.printed += output
        return run.returncode

    def wait_for_step(self, run, step):
        deadline = time.monotonic() + PATIENCE
        while rows(self.folder)[-1]["step"] < step and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def check(self):
        """What was finished is there and sound, and the run goes on from it as if nothing had happened."""
        steps = saved_steps(self.folder)
        assert steps and steps[-1] >= BEFORE
        for step in steps:
            assert damage(checkpoint(self.folder, step)) == [], step
        told = log(self.folder).rfind("\n") + 1  # a line that a full disk tore is taken out
        train(self.tiny, self.folder, f"train.max_steps={max(LAST, steps[-1] + 1)}")
        assert f"after step {steps[-1]}" in log(self.folder)[told:]
        assert [row["step"] for row in rows(self.folder)] == list(range(1, max(LAST, steps[-1] + 1) + 1))
        losses = {row["step"]: row["loss"] for row in rows(self.folder)}
        if self.whole:
            assert [losses[step] for step in range(1, LAST + 1)] == pytest.approx(self.whole, rel=1e-3)

    def endless(self):
        return ["train.max_steps=100000", f"checkpoint.save_interval={self.chance.choice([2, 3, 7])}", "checkpoint.keep_last=2"]


def kill(trial):
    run = trial.start(*trial.endless())
    if trial.chance.random() < 0.8:
        trial.wait_for_step(run, BEFORE + trial.chance.randrange(1, 12))
    else:
        while not ranks_of(run) and run.poll() is None:
            time.sleep(0.01)
    time.sleep(trial.chance.uniform(0, 0.2))
    os.kill(trial.chance.choice(ranks_of(run)), signal.SIGKILL)
    assert trial.end(run) not in (0, 75)
    # Before MPI has started, mpirun words it in another way.
    assert re.search(r"signal 9|Killed|non-zero status|exited|finaliz", trial.printed), trial.printed


def stop(trial):
    run = trial.start(*trial.endless(), "run.timeout_seconds=2")
    trial.wait_for_step(run, BEFORE + trial.chance.randrange(1, 12))
    os.kill(trial.chance.choice(ranks_of(run)), signal.SIGSTOP)
    assert trial.end(run) not in (0, 75)
    assert "error: no progress for 2 s (run.timeout_seconds)" in trial.printed, trial.printed


def full_disk(trial):
    """A file grows until the disk is full, before or while the run saves."""
    filler = trial.folder / "filler"

    def fill(left):
        statistics = os.statvfs(trial.folder)
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            file.write(bytes(max(0, statistics.f_bavail * statistics.f_frsize - left)))

    if trial.chance.random() < 0.5:
        fill(trial.chance.randrange(20 << 20))  # a save wants 16 MiB to spare
        run = trial.start(f"train.max_steps={LAST + 8}", "checkpoint.save_interval=2", "checkpoint.keep_last=2")
        may_be_enough = True
    else:
        run = trial.start(*trial.endless())
        trial.wait_for_step(run, BEFORE + trial.chance.randrange(1, 12))
        time.sleep(trial.chance.uniform(0, 0.1))
        fill(0)
        may_be_enough = False
    code = trial.end(run)
    assert code in ((0, 1, 2) if may_be_enough else (1, 2)), trial.printed
    if code:
        assert re.search(r"error: .*(No space left|are free|disk full)", trial.printed), trial.printed
    filler.unlink()


def unreadable_data(trial):
    """The tokens are gone or other ones at the start, or cut while the run reads them."""
    data = trial.folder.parent / "data"
    data.mkdir()
    for file in (trial.tiny.parent / name for name in ("text.bin", "text.idx", "text.meta.json")):
        shutil.copy(file, data)
    config = trial.folder.parent / "data.toml"
    config.write_text(TINY.format(data=data / "text"))
    tokens = data / "text.bin"
    what = trial.chance.choice(["gone", "folder", "short", "other", "index", "cut"])
    if what in ("gone", "folder"):
        tokens.unlink()
    if what == "folder":
        tokens.mkdir()
    if what == "short":
        os.truncate(tokens, trial.chance.randrange(tokens.stat().st_size))
    if what == "other":
        tokens.write_bytes(bytes(tokens.stat().st_size))
    if what == "index":
        (data / "text.idx").write_bytes(trial.chance.randbytes(1000))
    run = trial.start(*trial.endless(), config=config)
    if what == "cut":
        trial.wait_for_step(run, BEFORE + 3)
        os.truncate(tokens, 0)
    assert trial.end(run) == 2, trial.printed
    assert re.search(r"error: .*(text\.(bin|idx)|data\.train|token files)", trial.printed), trial.printed


def not_a_number(trial):
    """In what one rank sends; the update is skipped by all."""
    trial.layout = trial.chance.choice(["2x1x1", "4x1x1"])
    rank = trial.chance.randrange(int(trial.layout[0]))
    wrapper = fault("nan", rank, trial.chance.randrange(1, 4 * (LAST - BEFORE) + 1))
    run = trial.start(f"train.max_steps={LAST}", "parallel.transport=mpi", "checkpoint.save_interval=3", wrapper=wrapper)
    assert trial.end(run) == 0, trial.printed
    assert log(trial.folder).count("update skipped, samples") == 1 and rows(trial.folder)[-1]["skipped_steps"] == 1
    assert "gradient norm nan" in log(trial.folder)
    trial.whole = None  # it has one update less


DEEDS = {"kill": kill, "stop": stop, "full disk": full_disk, "data": unreadable_data, "nan": not_a_number}


def run_trials(kind, before, tiny, tmp_path, whole):
    def attempt(number):
        place = tmp_path / str(number)
        place.mkdir(exist_ok=True)
        trial = Trial(f"{kind} {number}", before, tiny, place, whole)
        DEEDS[kind](trial)
        trial.check()

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(attempt, number) for number in range(KINDS[kind])]
        for number, future in enumerate(futures):
            try:
                future.result()
            except BaseException as error:
                raise AssertionError(f"{kind} {number}") from error


def test_there_are_a_hundred():
    assert sum(KINDS.values()) == 100


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "full disk"])
def test_faults(kind, before, tiny, tmp_path, whole):
    run_trials(kind, before, tiny, tmp_path, whole)


def test_full_disks(before, tiny, tmp_path, whole):
    """Each in a small file system of its own."""
    mounted = []

    def mount(place):
        place.mkdir(parents=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=28m", "none", place], capture_output=True, check=False).returncode:
            pytest.skip("a small file system cannot be mounted here")
        mounted.append(place)

    try:
        for number in range(KINDS["full disk"]):
            mount(tmp_path / str(number) / "run")
        run_trials("full disk", before, tiny, tmp_path, whole)
    finally:
        for place in mounted:
            subprocess.run(["umount", "--lazy", place], check=True)
