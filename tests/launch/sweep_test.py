"""pscale_sweep list, run and status, without Slurm; tests/slurm has those with it."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from checkpoint_runs import SOURCE, computed, environment, errors, log, saved_steps
from sweep_runs import NAMES, SWEEP, command, folder, mine, no_slurm, record, sweep, write  # noqa: F401


def status(mine, *words):
    """Lines of `status` by run, and the count."""
    lines = sweep("status", mine, *words).stdout.splitlines()
    return [line for line in lines if re.match(r" +\d+  ", line)], lines[-1]


def test_list_numbers_the_runs_and_says_what_is_left_out(mine):
    listed = sweep("list", mine).stdout
    for index, name in enumerate(NAMES):
        assert re.search(rf"^ +{index}  {re.escape(name)}$", listed, re.MULTILINE)
    assert "parscale.parscale_n=2 optimizer.learning_rate=0.003" in listed
    assert "parscale_n=1,learning_rate=3e-3: seen <before> & done" in listed
    assert sweep("list", mine, "--count").stdout == "3\n"
    assert not (mine.parent / "runs").exists()


def test_a_run_is_what_pscale_train_would_do_and_runs_once(mine, tiny):
    first = sweep("run", mine, "--index", 2)
    assert "done after 6 steps" in first.stdout
    assert record(folder(mine, 2)) | {"exit_code": 0, "state": "ended", "reason": ""} == record(folder(mine, 2))
    again = sweep("run", mine, "--index", 2)
    assert "there is nothing to do" in again.stdout and "step" not in again.stdout
    # The printed command, typed, does the same.
    text = sweep("run", mine, "--index", 2, "--dry-run", "sweep.dir=typed").stdout
    subprocess.run(text, shell=True, check=True, capture_output=True, cwd=mine.parent, env=environment())
    assert computed(mine.parent / "typed" / NAMES[2]) == computed(folder(mine, 2))
    lines, count = status(mine)
    assert re.search(r"done +step 6/6$", lines[2]) and lines[0].rstrip().endswith("waiting")
    assert count == "2 waiting, 0 running, 1 done, 0 failed"


def test_ranks_are_started_under_mpirun(mine):
    sweep("run", mine, "--index", 1, "--ranks", 2)
    assert "layout 1x2x1" in log(folder(mine, 1))
    assert record(folder(mine, 1))["command"].startswith("mpirun -np 2 ")


def test_an_index_beyond_the_last_ends_successfully(mine):
    assert "has runs 0 to 2" in sweep("run", mine, "--index", 3).stdout
    assert not (mine.parent / "runs").exists()


def test_a_done_run_of_other_values_is_refused(mine):
    sweep("run", mine, "--index", 0)
    refused = sweep("run", mine, "--index", 0, "train.max_steps=9", code=2)
    (problem,) = errors(refused)
    assert "train.max_steps (now 9, then 6)" in problem and "sweep.dir" in problem
    # What may change when a run goes on may change here, too.
    sweep("run", mine, "--index", 0, "run.threads=1", "log.interval=2", "train.micro_batch=2", "data.validation_interval=1", code=0)


def test_an_edited_base_is_other_values(tiny, tmp_path):
    base = tmp_path / "base.toml"
    base.write_text(tiny.read_text())
    mine = write(tmp_path, base)
    sweep("run", mine, "--index", 0)
    sweep("run", mine, "--index", 2)
    assert "other values" not in sweep("status", mine).stdout
    base.write_text(tiny.read_text().replace("warmup_steps = 3", "warmup_steps = 2"))
    assert "optimizer.warmup_steps (now 2, then 3)" in errors(sweep("run", mine, "--index", 0, code=2))[0]
    shown = sweep("status", mine).stdout
    assert re.search(r"done +step 6/6  other values: optimizer.warmup_steps \(now 2, then 3\)\n", shown)
    # Their numbers are none of this sweep's: there is no best run among them.
    (folder(mine, 2) / "sweep.json").unlink()
    sweep("report", mine)
    page = (tmp_path / "runs/mine/report.html").read_text()
    assert "with other values: optimizer.warmup_steps (now 2, then 3)" in page
    assert re.search(rf'id="best">.*data-run="{re.escape(NAMES[2])}"', page)


def test_a_running_run_is_refused_and_shown_with_its_step(mine):
    long = ["train.max_steps=100000", "checkpoint.save_interval=50"]
    running = subprocess.Popen(command("run", mine, "--index", 0, *long), cwd=mine.parent, env=environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (shown := re.search(r"running +step (\d+)/100000  eta \d\S+", status(mine, *long)[0][0])):
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.1)
        assert int(shown[1]) > 0
        (problem,) = errors(sweep("run", mine, "--index", 0, *long, code=2))
        assert "it is running already" in problem and str(running.pid) in problem
        while not saved_steps(folder(mine, 0)):
            time.sleep(0.05)
    finally:
        running.kill()  # no last word
        running.wait()
    deadline = time.monotonic() + 30
    while "failed" not in (line := status(mine, *long)[0][0]):
        assert time.monotonic() < deadline, line
        time.sleep(0.2)
    assert "killed without a trace" in line
    # Started again it goes on from its checkpoint.
    last = json.loads((folder(mine, 0) / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    steps = last // 50 * 50 + 120
    sweep("run", mine, "--index", 0, f"train.max_steps={steps}", "optimizer.schedule=constant_with_warmup")
    assert "goes on from" in log(folder(mine, 0))


def test_a_run_that_is_asked_to_stop_passes_it_on(mine):
    running = subprocess.Popen(command("run", mine, "--index", 0, "train.max_steps=100000"), cwd=mine.parent, env=environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder(mine, 0) / "metrics.jsonl").exists():
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    code = running.wait(timeout=60)
    assert code == 75 and record(folder(mine, 0))["exit_code"] == code


def test_failures_have_reasons_and_are_run_again(mine, tmp_path):
    sweep("run", mine, "--index", 1)
    done = (folder(mine, 1) / "metrics.jsonl").read_text()
    nowhere = f"data.train={tmp_path / 'nowhere'}"
    failed = sweep("run", mine, "--index", 0, nowhere, code=2)
    assert "nowhere" in errors(failed)[0]
    lines, count = status(mine)
    assert lines[0].rstrip().endswith("config") and count == "1 waiting, 0 running, 1 done, 1 failed"
    assert f"error: command line: data.train: {tmp_path}/nowhere" in sweep("status", mine).stdout
    dry = sweep("run", mine, "--failed", "--dry-run", "--launcher", "none").stdout.splitlines()
    assert len(dry) == 1 and f"run.dir=runs/mine/{NAMES[0]}" in dry[0]
    sweep("run", mine, "--failed", "--launcher", "none")
    assert status(mine)[1] == "1 waiting, 0 running, 2 done, 0 failed"
    assert (folder(mine, 1) / "metrics.jsonl").read_text() == done
    assert "there is nothing to do" in sweep("run", mine, "--failed").stdout


def test_nan_and_memory_are_reasons(mine):
    sweep("run", mine, "--index", 0, "optimizer.learning_rate=1e30", code=2)  # swept: refused
    diverging = mine.parent / "diverging.toml"
    diverging.write_text(mine.read_text().replace("[1e-3, 3e-3]", "[1e30]").replace("train.max_steps = 6", "train.max_steps = 60\ntrain.max_skipped_steps = 0"))
    sweep("run", diverging, "--index", 0, code=2)
    assert "NaN" in sweep("status", diverging).stdout
    limit = f"ulimit -v 800000; exec {' '.join(command('run', mine, '--index', 0, '--launcher', 'none', 'train.micro_batch=64', 'train.global_batch=64', 'train.sequence_length=4096'))}"
    assert subprocess.run(["bash", "-c", limit], cwd=mine.parent, env=environment(), capture_output=True, check=False).returncode != 0
    assert "out of memory" in sweep("status", mine).stdout


def test_runs_of_another_machine_are_judged_by_their_jobs(mine, tmp_path):
    """A stand-in for scontrol answers for Slurm."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text('#!/bin/sh\ncase "$4" in 7) echo "JobId=7 JobState=RUNNING ";; 8) echo "JobId=8 JobState=NODE_FAIL ";; '
                                    '9) echo "JobId=9 JobState=PENDING ";; *) exit 1;; esac\n')
    (tools / "scontrol").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    for index, job in enumerate(["7", "8", "9"]):
        folder(mine, index).mkdir(parents=True)
        (folder(mine, index) / "sweep.json").write_text(json.dumps({"state": "running", "overrides": [], "host": "elsewhere", "job": job, "started": 1}))
    shown = sweep("status", mine, PATH=path).stdout
    assert "1 waiting, 1 running, 0 done, 1 failed" in shown
    assert re.search(r"failed +node\n", shown) and "job 9 is queued again" in shown
    (problem,) = errors(sweep("run", mine, "--index", 0, code=2, PATH=path))
    assert "elsewhere is running it in job 7" in problem
    os.utime(folder(mine, 0) / "sweep.json", (1, 1))  # silent for long
    assert "0 running" in sweep("status", mine, PATH=path).stdout


def test_mistakes_are_named(mine):
    assert "give either --index I or --failed" in errors(sweep("run", mine, code=2))[0]
    assert "there is no such file" in errors(sweep("list", mine.parent / "absent.toml", code=2))[0]
    assert "the commands are" in errors(sweep("lst", mine, code=2))[0]
    for name in ("list", "run", "status", "report", "launch"):
        assert "--help" in sweep(name, mine, "--help").stdout
    broken = write(mine.parent, mine.parent / "nothing.toml", SWEEP)
    assert "sweep.base: cannot read" in errors(sweep("list", broken, code=2))[0]


def test_scripts_show_and_run_a_sweep_without_slurm(mine, tmp_path):
    scripts = tmp_path / "with space"
    scripts.mkdir()
    environment_ = environment() | {"SWEEP": "mine.toml", "LAUNCHER": "none"}
    shown = subprocess.run([SOURCE / "launch/sweep.sh", "--dry-run"], cwd=tmp_path, env=environment_, capture_output=True, text=True, check=True).stdout
    assert "sbatch --array=0-2" in shown and shown.count("pscale_train") == 3
    assert not (tmp_path / "runs").exists()
    subprocess.run([SOURCE / "launch/sweep.sh", "train.max_steps=2"], cwd=tmp_path, env=environment_, capture_output=True, check=True)
    assert status(mine)[1] == "0 waiting, 0 running, 3 done, 0 failed"
    train = subprocess.run([SOURCE / "launch/train.sh", "--dry-run", "configs/basic.toml", "train.max_steps=2"], cwd=scripts,
                           env=environment_ | {"RANKS": "4", "LAUNCHER": "mpirun"}, capture_output=True, text=True, check=True).stdout
    assert "mpirun -np 4 pscale_train configs/basic.toml train.max_steps=2" in train


def test_the_example_of_the_documentation(tmp_path):
    text = re.search(r"```toml\n(.*?)```", (SOURCE / "docs/sweeps.md").read_text(), re.DOTALL)[1]
    example = tmp_path / "example.toml"
    example.write_text(text.replace("../basic.toml", str(SOURCE / "configs/basic.toml")))
    listed = sweep("list", example).stdout
    assert "7 runs in runs/mine" in listed
    assert "plain,parscale_n=4,parscale_cross_attn_layers=1-3: only cross-replica attention has layers" in listed
