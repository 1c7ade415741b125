"""Sweeps and the job scripts under a real Slurm."""

import json
import re

import private_slurm
import pytest
from private_slurm import BIN, SOURCE

SMOKE = SOURCE / "configs/sweeps/smoke.toml"


def job(tmp_path, text, *more):
    """Overrides of the smoke sweep on the tests' text."""
    return [f"sweep.dir={tmp_path / 'runs'}", f"data.train={text}", "model.vocab_size=257", *more]


def submit(slurm, *words, script="sweep_smoke.sh", cwd, flags=(), **variables):
    return slurm.sbatch("--output=%x-%A_%a.out", *flags, SOURCE / "launch" / script, *words, cwd=cwd,
                        PSCALE_BIN=str(BIN), **variables)


def output(tmp_path, task="*"):
    return "\n".join(path.read_text() for path in sorted(tmp_path.glob(f"*_{task}.out")))


def record(folder):
    return json.loads((folder / "sweep.json").read_text())


def status(slurm, *words):
    return slurm.command(BIN / "pscale_sweep", "status", SMOKE, *words)


def test_the_smoke_sweep_as_an_array_to_completion(slurm, tmp_path, text):
    words = job(tmp_path, text)
    ended = slurm.wait(submit(slurm, *words, cwd=tmp_path), seconds=900)
    assert {fields["JobState"] for fields in ended.values()} == {"COMPLETED"}, output(tmp_path)
    assert sorted(ended) == list(range(10))
    runs = sorted((tmp_path / "runs").glob("*/"))
    assert len(runs) == 10
    for run in runs:
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 2000 and last["validation_loss"] > 0
        assert "srun --mpi=pmix --export=ALL --ntasks=2" in record(run)["command"]
        assert re.search(r"layout 1x[12]x1|layout 2x1x1", (run / "log.txt").read_text())
    assert "0 waiting, 0 running, 10 done, 0 failed" in status(slurm, *words)


def test_two_tasks_of_one_array_at_once(slurm, tmp_path, text):
    words = job(tmp_path, text, "train.max_steps=300", "optimizer.warmup_steps=10")
    number = submit(slurm, *words, cwd=tmp_path, flags=["--array=2-3"])
    ended = slurm.wait(number)
    assert {fields["JobState"] for fields in ended.values()} == {"COMPLETED"}, output(tmp_path)
    (a, b) = [record(run) for run in sorted((tmp_path / "runs").glob("*/"))]
    assert a["started"] < b["ended"] and b["started"] < a["ended"]
    assert a["job"] != b["job"]


def test_a_task_beyond_the_last_run_ends_at_once(slurm, tmp_path, text):
    ended = slurm.wait(submit(slurm, *job(tmp_path, text), cwd=tmp_path, flags=["--array=10"]), seconds=60)
    assert ended[10]["JobState"] == "COMPLETED" and ended[10]["ExitCode"] == "0:0"
    assert "there is nothing to do" in output(tmp_path, 10)
    assert not (tmp_path / "runs").exists()


def test_mpirun_inside_the_allocation(slurm, tmp_path, text):
    words = job(tmp_path, text, "train.max_steps=20", "optimizer.warmup_steps=10")
    ended = slurm.wait(submit(slurm, *words, cwd=tmp_path, flags=["--array=4"], LAUNCHER="mpirun"))
    assert ended[4]["JobState"] == "COMPLETED", output(tmp_path)
    (run,) = (tmp_path / "runs").glob("*/")
    assert "mpirun -np 2" in record(run)["command"]
    assert "layout 1x2x1" in (run / "log.txt").read_text()


def test_a_sweep_of_ones_own_and_flags_of_sbatch(slurm, tmp_path, text):
    (tmp_path / "mine.toml").write_text(f'[sweep]\nbase = "{SOURCE}/configs/basic.toml"\n'
                                        '[fixed]\ntrain.max_steps = 4\nparallel.tensor = 1\nmodel.vocab_size = 257\n'
                                        f'data.train = "{text}"\n[grid]\nrun.seed = [1, 2]\n')
    number = submit(slurm, cwd=tmp_path, flags=["--array=1", "--ntasks-per-node=1", "--partition=main"], SWEEP="mine.toml")
    assert slurm.wait(number)[1]["JobState"] == "COMPLETED", output(tmp_path)
    assert (tmp_path / "runs/mine/seed=2/metrics.jsonl").exists()  # relative to where the sweep was named


def test_one_run_with_train_sh(slurm, tmp_path, text):
    number = slurm.sbatch("--output=out", "--ntasks-per-node=2", SOURCE / "launch/train.sh", "configs/basic.toml", f"run.dir={tmp_path / 'run'}",
                          f"data.train={text}", "model.vocab_size=257", "train.max_steps=3", cwd=tmp_path, PSCALE_BIN=str(BIN))
    assert slurm.wait(number)[None]["JobState"] == "COMPLETED", (tmp_path / "out").read_text()
    assert "layout 1x1x2" in (tmp_path / "run/log.txt").read_text()


def test_flags_of_sbatch_decide_the_tasks(tmp_path):
    """Of jobs that wait, on two nodes of which one is down."""
    if why := private_slurm.missing():
        pytest.skip(f"no Slurm for tests: {why}")
    other = "NodeName=other NodeHostname=localhost NodeAddr=127.0.0.1 Port=1 CPUs=16 State=DOWN"
    with private_slurm.PrivateSlurm(cpus=16, more=other) as slurm:
        for flags, tasks in [([], 8), (["--nodes=2", "--ntasks-per-node=8"], 16), (["--nodes=1", "--ntasks-per-node=4"], 4), (["--nodes=2"], 16),
                             (["--ntasks=2"], 2), (["--ntasks=16"], 16)]:
            for script in ("train.sh", "sweep.sh"):
                number = slurm.sbatch("--hold", *flags, SOURCE / "launch" / script, cwd=tmp_path)
                assert slurm.jobs(number)[None]["NumTasks"] == str(tasks), (script, flags)


def test_a_wrong_configuration_is_a_failed_run_with_its_reason(slurm, tmp_path, text):
    words = job(tmp_path, tmp_path / "nowhere")
    ended = slurm.wait(submit(slurm, *words, cwd=tmp_path, flags=["--array=0"]))
    assert ended[0]["JobState"] == "FAILED" and ended[0]["ExitCode"] == "2:0"
    shown = status(slurm, *words)
    assert re.search(r"failed .* config\n +error: .*nowhere", shown), shown
    # Only that run is submitted again, with the same script.
    dry = slurm.command(BIN / "pscale_sweep", "run", SMOKE, "--failed", "--dry-run", "--script", SOURCE / "launch/sweep_smoke.sh", *words)
    assert "--array=0 " in dry and dry.startswith("env SWEEP=")
    before = record(next((tmp_path / "runs").glob("*/")))["job"]
    said = slurm.command(BIN / "pscale_sweep", "run", SMOKE, "--failed", "--script", SOURCE / "launch/sweep_smoke.sh", *words, cwd=tmp_path)
    ended = slurm.wait(int(re.search(r"job (\d+)", said)[1]))
    assert list(ended) == [0] and record(next((tmp_path / "runs").glob("*/")))["job"] != before


def test_a_cancelled_run_says_so_and_stays_away(slurm, tmp_path, text):
    words = job(tmp_path, text, "train.max_steps=1000000")
    cancelled = submit(slurm, *words, cwd=tmp_path, flags=["--array=0", "--ntasks-per-node=1"])
    slurm.until(lambda: re.search(r"running +step", status(slurm, *words)), 60, "no step")
    shown = status(slurm, *words)
    assert re.search(r"running +step \d+/1000000  eta \d", shown), shown
    slurm.command("scancel", cancelled)
    slurm.wait(cancelled)
    slurm.until(lambda: "1 failed" in status(slurm, *words), 30, "not failed")
    assert re.search(r"failed .*cancelled", status(slurm, *words))
    assert "PENDING" not in str(slurm.jobs(cancelled))


@pytest.mark.parametrize("mpi", ["none", "batch"])
def test_tasks_that_mpi_does_not_know_are_refused(slurm, tmp_path, text, mpi):
    run = f"{BIN}/pscale_train {SOURCE}/configs/basic.toml run.dir={tmp_path}/run data.train={text} model.vocab_size=257"
    (tmp_path / "job.sh").write_text(f"#!/bin/bash\n{'srun --mpi=none ' if mpi == 'none' else ''}{SOURCE}/launch/env.sh {run}\n")
    ended = slurm.wait(slurm.sbatch("--ntasks=2", "--output=out", "job.sh", cwd=tmp_path, PSCALE_BIN=str(BIN)), seconds=60)
    assert ended[None]["ExitCode"] == "2:0"
    said = (tmp_path / "out").read_text()
    assert "2 tasks, but MPI sees one rank" in said and "srun --mpi=pmix" in said
    assert not (tmp_path / "run").exists()


def test_dry_run_shows_what_would_be_submitted(slurm, tmp_path):
    shown = slurm.command(SOURCE / "launch/sweep_lr.sh", "--dry-run", cwd=tmp_path, PSCALE_BIN=str(BIN), RANKS="8")
    assert "sbatch --array=0-11" in shown and shown.count("mpirun -np 8") == 12
    assert not list(tmp_path.iterdir())
