"""Runs that a real Slurm stops, preempts, cuts or loses: they go on where they were, to the same numbers."""

import contextlib
import functools
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import private_slurm
import pytest
from private_slurm import BIN, SOURCE

COMPUTED = ("step", "tokens", "loss", "grad_norm", "learning_rate", "validation_loss", "replica_share_entropy", "replica_cosine")
PARTITIONS = """
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=loser Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=60
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
"""
STEPS = 2500
REPLICAS = ("parallel.tensor=1", "parallel.replica=2", "parscale.parscale_n=2", "parscale.parscale_n_tokens=4", "parscale.enable_cross_attn=true",
            "data.validation_interval=250", "data.validation_samples=8", "data.validation_fraction=0.2")
QUICK = {"OMPI_MCA_odls_base_sigkill_timeout": "2"}  # instead of the scripts' 15 s
SLOW_STEPS = 3000  # of eight times the work


def preempting_slurm(**settings):
    """A Slurm of two slots whose jobs of `urgent` take them from those of other partitions."""
    if why := private_slurm.missing():
        pytest.skip(f"no Slurm for tests: {why}")
    return private_slurm.PrivateSlurm(cpus=2, more="PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\nSlurmdTimeout=10",
                                      partitions=PARTITIONS, **settings)


@pytest.fixture(scope="module")
def preempting():
    with preempting_slurm() as running:
        yield running


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The rows of a run that nobody interrupted, by its number of steps."""
    folder = tmp_path_factory.mktemp("whole")

    @functools.cache
    def rows(steps, *more):
        run = folder / f"{steps}_{len(more)}"
        subprocess.run([SOURCE / "launch/env.sh", "mpirun", "-np", "2", BIN / "pscale_train", *words(text, run, steps), *more],
                       check=True, capture_output=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
        return computed(run)

    return rows


def words(text, run, steps):
    return [SOURCE / "configs/basic.toml", f"run.dir={run}", f"data.train={text}", "model.vocab_size=257", "model.hidden_size=32",
            "model.intermediate_size=64", "model.num_hidden_layers=1", "model.num_attention_heads=4",
            "model.num_key_value_heads=2", "train.sequence_length=32", f"train.global_batch={4 if steps == STEPS else 32}",
            "train.micro_batch=2", f"train.max_steps={steps}", "optimizer.warmup_steps=5", "data.validation_interval=0",
            "log.interval=10", "log.tensorboard=false", "log.peak_flops=1e12", "checkpoint.save_interval=700",
            "checkpoint.save_minutes=0", "parallel.tensor=2"]


def submit(slurm, text, tmp_path, steps, launcher, *flags, more=(), **variables):
    return slurm.sbatch("--output=out", "--ntasks-per-node=2", *flags, SOURCE / "launch/train.sh", *words(text, tmp_path / "run", steps), *more,
                        cwd=tmp_path, PSCALE_BIN=str(BIN), LAUNCHER=launcher, **variables)


def computed(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: row.get(key) for key in COMPUTED} for row in rows]


def begun(tmp_path, after=0):
    """Whether the run has made steps."""
    metrics = tmp_path / "run/metrics.jsonl"
    return metrics.exists() and len(metrics.read_text().splitlines()) > after + 3


def said(tmp_path):
    output = tmp_path / "out"
    return output.read_text() if output.exists() else ""


def state(slurm, job):
    return slurm.jobs(job)[None]["JobState"]


def finish(slurm, job, tmp_path, restarts):
    """Starts the job again until it ends."""
    for _ in range(restarts):
        slurm.until(lambda: state(slurm, job) in ("PENDING", "COMPLETED"), 120, f"not requeued\n{said(tmp_path)}")
        if state(slurm, job) == "COMPLETED":
            break
        slurm.start_requeued(job)
        slurm.until(lambda: state(slurm, job) != "PENDING", 60, "not started")
    ended = slurm.wait(job)[None]
    assert ended["JobState"] == "COMPLETED", f"{ended}\n{said(tmp_path)}"
    return int(ended["Restarts"])


@pytest.mark.parametrize("target", ["--batch", "--quiet"], ids=["batch", "steps"])
@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_a_signal_saves_and_requeues(slurm, text, whole, tmp_path, launcher, target):
    job = submit(slurm, text, tmp_path, STEPS, launcher, **QUICK)
    slurm.until(lambda: begun(tmp_path), 60, "no step")
    slurm.command("scancel", "--signal=USR1", target, job)
    assert finish(slurm, job, tmp_path, 1) == 1
    assert re.search(r"goes on from .* after step \d+", (tmp_path / "run/log.txt").read_text())
    assert computed(tmp_path / "run") == whole(STEPS)


def test_replicas_and_validation_go_on_to_the_same_numbers(slurm, text, whole, tmp_path):
    """Two ranks that hold a replica each, stopped while they train or validate."""
    job = submit(slurm, text, tmp_path, STEPS, "srun", more=REPLICAS)
    slurm.until(lambda: begun(tmp_path), 60, "no step")
    slurm.command("scancel", "--signal=USR1", "--batch", job)
    assert finish(slurm, job, tmp_path, 1) == 1
    assert re.search(r"goes on from .* after step \d+", (tmp_path / "run/log.txt").read_text())
    rows = computed(tmp_path / "run")
    assert rows == whole(STEPS, *REPLICAS)
    assert all(0 < row["replica_share_entropy"] and row["replica_cosine"] is not None for row in rows)
    assert sum(row["validation_loss"] is not None for row in rows) == STEPS // 250


def preempted(slurm, text, whole, tmp_path, partition, launcher, steps, **variables):
    job = submit(slurm, text, tmp_path, steps, launcher, f"--partition={partition}", **variables)
    slurm.until(lambda: begun(tmp_path), 60, "no step")
    urgent = slurm.sbatch("--partition=urgent", "--ntasks=2", "--output=/dev/null", "--wrap", "sleep 3", cwd=tmp_path)
    slurm.wait(urgent, seconds=150)
    stopped = re.findall(r"stopped after step (\d+)", (tmp_path / "run/log.txt").read_text())
    assert len(stopped) == 1 and int(stopped[0]) < steps
    assert finish(slurm, job, tmp_path, 1) == 1
    assert f"after step {stopped[0]}" in (tmp_path / "run/log.txt").read_text()
    assert computed(tmp_path / "run") == whole(steps)


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
@pytest.mark.parametrize("partition", ["main", "loser"])
def test_preemption(preempting, text, whole, tmp_path, partition, launcher):
    """Slurm requeues what it preempts in `main` itself; in `loser` it would cancel it, and the script requeues it before."""
    preempted(preempting, text, whole, tmp_path, partition, launcher, STEPS)


def test_preemption_of_the_batch_step(text, whole, tmp_path):
    """mpirun's own children: Slurm tells job steps of a preemption, not the script's processes, so the launcher asks it."""
    with preempting_slurm(node=socket.gethostname()) as running:
        preempted(running, text, whole, tmp_path, "loser", "mpirun", SLOW_STEPS, **QUICK)


def test_a_time_limit_is_met_in_several_lives(slurm, text, whole, tmp_path):
    job = submit(slurm, text, tmp_path, SLOW_STEPS, "srun", "--time=1", "--signal=B:USR1@50")
    slurm.until(lambda: begun(tmp_path), 60, "no step")
    assert finish(slurm, job, tmp_path, 20) >= 1, said(tmp_path)
    assert computed(tmp_path / "run") == whole(SLOW_STEPS)


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_a_user_who_cancels_is_obeyed(slurm, text, tmp_path, launcher):
    job = submit(slurm, text, tmp_path, 1000000, launcher, **QUICK)
    slurm.until(lambda: begun(tmp_path), 60, "no step")
    slurm.command("scancel", job)
    assert slurm.wait(job)[None]["JobState"] == "CANCELLED"
    time.sleep(3)
    assert slurm.jobs(job)[None]["JobState"] == "CANCELLED" and slurm.jobs(job)[None]["Restarts"] == "0"


def processes_of(job):
    """All that a job runs: what has its number in its environment, and the daemons of its steps."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            if f"SLURM_JOB_ID={job}".encode() in variables or f"[{job}.".encode() in (folder / "cmdline").read_bytes():
                yield int(folder.name)


def test_a_node_that_fails(preempting, text, whole, tmp_path):
    """slurmd and all that it started die at once. Slurm misses the node, queues the job again and starts it when the node is back."""
    job = submit(preempting, text, tmp_path, SLOW_STEPS, "srun")
    preempting.until((tmp_path / "run/checkpoints/latest").exists, 120, "no checkpoint")
    preempting.stop("slurmd", kill=True)
    killed = list(processes_of(job))
    for process in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert len(killed) >= 6  # daemons of two steps, script, pscale_sweep, srun, ranks
    preempting.until(lambda: state(preempting, job) == "PENDING", 120, "not requeued")
    assert list(processes_of(job)) == []
    preempting.start_node()
    assert finish(preempting, job, tmp_path, 1) == 1
    assert "goes on from" in (tmp_path / "run/log.txt").read_text()
    assert computed(tmp_path / "run") == whole(SLOW_STEPS)
