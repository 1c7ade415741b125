"""What the job scripts do with signals and exit code 75, with a stand-in for the trainer."""

import shutil
import time

import pytest
from private_slurm import BIN, SOURCE

# Waits for the signal and saves; in its second life it is done.
TRAINER = """#!/bin/bash
for word; do case $word in run.dir=*) folder=${word#run.dir=};; esac; done
mkdir -p "$folder"; echo life >> "$folder/lives"
if [ $(wc -l < "$folder/lives") -gt 1 ]; then exit 0; fi
trap 'echo saved >> "$folder/lives"; exit 75' USR1
touch "$folder/ready"
while :; do sleep 0.1; done
"""


@pytest.fixture
def programs(tmp_path):
    """pscale_sweep beside that trainer."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(BIN / "pscale_sweep", folder)
    (folder / "pscale_train").write_text(TRAINER)
    (folder / "pscale_train").chmod(0o755)
    return folder


def begin(slurm, tmp_path, programs, launcher, *flags):
    """A job of one run that waits for a signal: its name for Slurm."""
    number = slurm.sbatch("--output=out", "--array=1", "--ntasks-per-node=1", *flags, SOURCE / "launch/sweep_smoke.sh", "sweep.dir=runs", "data.train=text",
                          "model.vocab_size=257", SWEEP=str(SOURCE / "configs/sweeps/smoke.toml"), LAUNCHER=launcher,
                          PSCALE_BIN=str(programs), cwd=tmp_path)
    ready = tmp_path / "runs/parscale,parscale_n=1,learning_rate=4e-3/ready"
    slurm.until(ready.exists, 60, "the run did not begin")
    return f"{number}_1", ready.parent


def status(slurm, programs, run):
    return slurm.command(programs / "pscale_sweep", "status", SOURCE / "configs/sweeps/smoke.toml", f"sweep.dir={run.parent}",
                         "data.train=text", "model.vocab_size=257")


@pytest.mark.parametrize("launcher", ["srun", "mpirun"])
def test_a_run_that_saved_and_stopped_is_requeued(slurm, tmp_path, programs, launcher):
    job, run = begin(slurm, tmp_path, programs, launcher)
    slurm.command("scancel", "--signal=USR1", "--batch", job)
    slurm.until(lambda: slurm.jobs(job)[1]["JobState"] == "PENDING", 60, "not requeued")
    shown = status(slurm, programs, run)
    assert "to be run again" in shown and "0 failed" in shown
    slurm.start_requeued(job)
    ended = slurm.wait(job)[1]
    assert ended["JobState"] == "COMPLETED" and ended["Restarts"] == "1", f"{(tmp_path / 'out').read_text()}\n{slurm.logs()}"
    assert (run / "lives").read_text().split() == ["life", "saved", "life"]
    assert "goes back to the queue" in (tmp_path / "out").read_text()


def test_a_job_that_its_user_cancelled_stays_away(slurm, tmp_path, programs):
    job, run = begin(slurm, tmp_path, programs, "srun")
    slurm.command("scancel", "--full", job)
    ended = slurm.wait(job)[1]
    assert ended["JobState"] == "CANCELLED"
    time.sleep(3)
    assert slurm.jobs(job)[1]["JobState"] == "CANCELLED" and slurm.jobs(job)[1]["Restarts"] == "0"
    assert (run / "lives").read_text().split().count("life") == 1


def test_a_run_that_its_time_limit_ended_says_so(slurm, tmp_path, programs):
    trainer = (programs / "pscale_train").read_text()
    (programs / "pscale_train").write_text(trainer.replace("trap 'echo saved >> \"$folder/lives\"; exit 75' USR1", "trap '' USR1"))
    job, run = begin(slurm, tmp_path, programs, "srun", "--time=1", "--signal=B:USR1@10")
    ended = slurm.wait(job, seconds=240)[1]
    assert ended["JobState"] == "TIMEOUT"
    slurm.until(lambda: "failed    time limit" in status(slurm, programs, run), 20, "no reason")
    assert (run / "lives").read_text().split() == ["life"]
