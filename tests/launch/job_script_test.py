"""launch/*.sh inside a job, with stand-ins for Slurm's commands and the programs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(os.environ["PSCALE_SOURCE"])
LAUNCH = SOURCE / "launch"

# `list --count` says COUNT; a run notes its words, does what DURING says and ends with CODE.
PROGRAM = """#!/bin/bash
if [ "$1" = list ]; then eval "${LISTING:-}"; echo "${COUNT:-1}"; exit 0; fi
echo "$*" >> "$NOTES/runs"
eval "${DURING:-}"
exit "${CODE:-0}"
"""
SCONTROL = """#!/bin/bash
echo "$*" >> "$NOTES/scontrol"
if [ -n "${SILENT:-}" ]; then exit 1; fi
if [ "$1" = requeue ]; then exit 0; fi
if [ "$1" = show ]; then printf 'JobId=7\\n   Command=%s\\n   WorkDir=/\\n' "${COMMAND:-x}"; exit 0; fi
echo "JobId=7 JobName=x JobState=${STATE:-RUNNING} Reason=None BatchFlag=${BATCH:-1} Command=${COMMAND:-x} WorkDir=/"
"""


@pytest.fixture
def job(tmp_path):
    """Runs a script as job 7 does: its exit code, its output, the runs it began, and what it asked Slurm."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("pscale_sweep", PROGRAM), ("scontrol", SCONTROL), ("sleep", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "x.toml").write_text("")

    def run(script, *words, **variables):
        notes = tmp_path / "notes"
        shutil.rmtree(notes, ignore_errors=True)
        notes.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SWEEP"))}
        environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "PSCALE_BIN": str(programs), "NOTES": str(notes), "SLURM_JOB_ID": "7"}
        done = subprocess.run(["bash", "-c", 'export TOP=$$; exec bash "$@"', "-", script, *words], cwd=tmp_path, env=environment | variables,
                              capture_output=True, text=True, check=False, timeout=60)
        told = [(notes / name).read_text().splitlines() if (notes / name).exists() else [] for name in ("runs", "scontrol")]
        return done.returncode, done.stdout + done.stderr, *told

    return run


@pytest.mark.parametrize(("variables", "said"), [
    ({}, "job 7 goes back to the queue"),
    ({"BATCH": "2"}, "job 7 goes back to the queue"),  # Slurm counts the starts after a node failure
    ({"BATCH": "0"}, "job 7 has no script"),
    ({"STATE": "CANCELLED"}, "job 7 is CANCELLED already"),
    ({"STATE": "PENDING"}, "job 7 is PENDING already"),
])
def test_what_is_requeued(job, variables, said):
    code, output, _, asked = job(LAUNCH / "train.sh", "x.toml", CODE="75", **variables)
    assert code == 75 and said in output
    assert ("requeue 7" in asked) == ("goes back" in said)


def test_a_slurm_that_does_not_answer_is_asked_again(job):
    code, output, _, asked = job(LAUNCH / "train.sh", "x.toml", CODE="75", SILENT="1")
    assert code == 75 and "Slurm says nothing of job 7" in output
    assert len(asked) == 5 and "requeue 7" not in asked


@pytest.mark.parametrize("code", [0, 1, 2])
def test_other_ends_are_not_requeued(job, code):
    ended, output, runs, asked = job(LAUNCH / "train.sh", "x.toml", CODE=str(code), DURING="trap : USR1; kill -USR1 $TOP")
    assert (ended, output, len(runs), asked) == (code, "", 1, [])


def test_a_stop_before_the_first_run_starts_none(job):
    code, _, runs, asked = job(LAUNCH / "sweep.sh", SWEEP="x.toml", COUNT="2", LISTING="kill -USR1 $TOP")
    assert code == 75 and runs == [] and asked[-1] == "requeue 7"


def test_a_stop_between_two_runs_starts_no_other(job):
    code, _, runs, asked = job(LAUNCH / "sweep.sh", SWEEP="x.toml", COUNT="3", DURING="trap : USR1; kill -TERM $TOP")
    assert code == 75 and len(runs) == 1 and asked[-1] == "requeue 7"


def test_a_program_that_dies_of_the_stop_while_it_starts_is_run_again(job):
    code, _, _, asked = job(LAUNCH / "train.sh", "x.toml", DURING="kill -USR1 $TOP; while :; do :; done")
    assert code == 75 and asked[-1] == "requeue 7"


def test_runs_that_have_no_task_are_named(job):
    task = {"SWEEP": "x.toml", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_MAX": "11", "COUNT": "24"}
    said = job(LAUNCH / "sweep.sh", "a.b=c d", SLURM_ARRAY_TASK_ID="11", **task)[1]
    assert "runs 12 to 23 of x.toml are in no task of this array" in said and "sbatch --array=0-23" in said and "a.b=c\\ d" in said
    assert job(LAUNCH / "sweep.sh", SLURM_ARRAY_TASK_ID="10", **task)[1] == ""
    assert job(LAUNCH / "sweep.sh", SLURM_ARRAY_TASK_ID="11", **task | {"COUNT": "12"})[1] == ""


def test_what_the_user_sets_is_last(job):
    (words,) = job(LAUNCH / "sweep.sh", "run.device=cpu", SWEEP="x.toml", SLURM_GPUS_ON_NODE="2")[2]
    assert words.endswith("run.device=cuda run.device=cpu")
    (words,) = job(LAUNCH / "sweep.sh", SWEEP="x.toml", SLURM_GPUS="2")[2]  # of salloc
    assert words.endswith("run.device=cuda")


def test_a_folder_with_spaces(job, tmp_path):
    tree = tmp_path / "my tree"
    tree.mkdir()
    shutil.copytree(LAUNCH, tree / "launch")
    # sbatch runs a copy.
    copy = tmp_path / "slurm_script"
    shutil.copy(LAUNCH / "sweep_lr.sh", copy)
    code, output, runs, _ = job(copy, SWEEP="x.toml", COMMAND=f"{tree}/launch/sweep_lr.sh a=b", SLURM_ARRAY_TASK_ID="0")
    assert (code, output, len(runs)) == (0, "", 1)
    shown = job(tree / "launch/sweep_lr.sh", "--dry-run", "x=[0, 1]", SWEEP="x.toml")[1]
    assert f"sbatch --array=0-0 {str(tree).replace(' ', chr(92) + ' ')}/launch/sweep_lr.sh x=\\[0\\,\\ 1\\]" in shown


def test_a_script_without_its_folder_says_so(job, tmp_path):
    shutil.copy(LAUNCH / "train.sh", tmp_path / "slurm_script")
    code, output, runs, _ = job(tmp_path / "slurm_script", "x.toml")
    assert code != 0 and "job.sh" in output and "job_train" not in output and runs == []
