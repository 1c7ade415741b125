"""What pscale_sweep run and launch do when they are asked to stop, or stopped runs come back, without Slurm."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
from checkpoint_runs import environment, errors
from sweep_runs import BIN, NAMES, command, folder, mine, no_slurm, record, sweep, write  # noqa: F401


def launch(script, before=None):
    """The exit code of a shell script under `pscale_sweep launch`."""
    return subprocess.run([BIN / "pscale_sweep", "launch", "--", "bash", "-c", script], env=environment(), check=False, timeout=60,
                          preexec_fn=before).returncode


def test_a_stop_before_the_run_is_started_starts_none(tmp_path):
    def asked():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        os.kill(os.getpid(), signal.SIGUSR1)  # as one that comes before main

    assert launch(f"touch {tmp_path}/started", asked) == 75
    assert not (tmp_path / "started").exists()


def test_programs_hear_signals_whatever_was_blocked_before():
    assert launch("kill -USR1 $$; exit 3", lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])) == 138


def test_a_program_that_died_of_the_stop_is_run_again():
    assert launch("kill -USR1 $PPID; while :; do :; done") == 75


def test_a_stop_that_was_not_heard_is_sent_again():
    begun = time.monotonic()
    assert launch("trap '' USR1; kill -USR1 $PPID; sleep 1; trap 'exit 75' USR1; for ((k = 0; k < 300; ++k)); do sleep 0.1; done; exit 4") == 75
    assert time.monotonic() - begun > 5


@pytest.fixture
def stand_in(tmp_path):
    """pscale_sweep beside a trainer that stops at once, having saved a step in its lives that SAVES names."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shutil.copy(BIN / "pscale_sweep", programs)
    (programs / "pscale_train").write_text("""#!/bin/bash
for word; do case $word in run.dir=*) folder=${word#run.dir=};; esac; done
echo life >> "$folder/lives"
life=$(wc -l < "$folder/lives")
if [[ " $SAVES " == *" $life "* ]]; then mkdir -p "$folder/checkpoints/step_0000000$life"; fi
exit 75
""")
    (programs / "pscale_train").chmod(0o755)
    return programs / "pscale_sweep"


def lives(stand_in, mine, saves, most=8):
    codes = []
    while len(codes) < most and (not codes or codes[-1] == 75):
        done = subprocess.run([stand_in, "run", mine, "--index", "0"], cwd=mine.parent, env=environment() | {"SAVES": saves},
                              capture_output=True, text=True, check=False)
        codes.append(done.returncode)
    return codes, done.stderr


def test_lives_that_save_no_step_come_to_an_end(mine, stand_in):
    codes, said = lives(stand_in, mine, "")
    assert codes == [75, 75, 75, 75, 1] and "no step was saved in 5 lives" in said
    shown = sweep("status", mine).stdout
    assert re.search(r"failed +time limit\n +error: no step was saved in 5 lives", shown)
    assert lives(stand_in, mine, "", 2)[0] == [75, 75]  # whoever starts it again has all five


def test_lives_that_save_steps_may_be_many(mine, stand_in):
    assert lives(stand_in, mine, "3 6")[0] == [75] * 8


def scontrol(tmp_path, cases):
    """A PATH with a Slurm that knows these jobs."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text('#!/bin/sh\nif [ "$1" = ping ]; then echo "Slurmctld(primary) at n1 is UP"; exit; fi\ncase "$4" in '
                                    + " ".join(f'{job}) echo "JobId={job} JobState={state} ";;' for job, state in cases.items())
                                    + " *) exit 1;; esac\n")
    (tools / "scontrol").chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"


def leave(mine, index, **fields):
    folder(mine, index).mkdir(parents=True, exist_ok=True)
    text = {"state": "ended", "exit_code": 75, "overrides": [], "host": "elsewhere", "started": 1} | fields
    (folder(mine, index) / "sweep.json").write_text(json.dumps(text))


def test_a_stopped_run_that_nobody_queued_again_has_failed(mine, tmp_path):
    path = scontrol(tmp_path, {"7": "FAILED", "8": "CANCELLED", "9": "PENDING"})
    for index, job in enumerate(["7", "8", "9"]):
        leave(mine, index, job=job)
    shown = sweep("status", mine, PATH=path).stdout
    assert "1 waiting, 0 running, 0 done, 2 failed" in shown
    assert "failed    stopped, not queued again" in shown and "failed    cancelled" in shown and "waiting   stopped after saving" in shown
    dry = sweep("run", mine, "--failed", "--dry-run", "--launcher", "none", PATH=path).stdout
    assert NAMES[0] in dry and NAMES[1] in dry and NAMES[2] not in dry
    # A job that Slurm has forgotten is over, but not one of seconds ago, nor where no Slurm answers.
    leave(mine, 0, job="6")
    assert "1 failed" in sweep("status", mine, PATH=path).stdout
    os.utime(folder(mine, 0) / "sweep.json", (1, 1))
    assert "2 failed" in sweep("status", mine, PATH=path).stdout
    assert "0 failed" in sweep("status", mine).stdout


def test_flags_of_sbatch_for_the_runs_that_failed(mine, tmp_path):
    leave(mine, 1, exit_code=1)
    path = scontrol(tmp_path, {})
    for name in ("sbatch", "sinfo"):
        (tmp_path / "tools" / name).write_text("#!/bin/sh\n")
        (tmp_path / "tools" / name).chmod(0o755)
    dry = sweep("run", mine, "--failed", "--dry-run", "--sbatch", "--time=60 --comment='a b'", "--script", __file__, PATH=path).stdout
    assert f"sbatch --array=1 --time=60 '--comment=a b' {__file__}" in dry


def test_the_lock_of_a_machine_that_failed_is_waited_for(mine, tmp_path):
    leave(mine, 0, state="running", job="7")
    lock = (folder(mine, 0) / "sweep.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (problem,) = errors(sweep("run", mine, "--index", 0, code=2))  # somebody else's
    assert "it is running already" in problem
    threading.Timer(3, lock.close).start()
    done = sweep("run", mine, "--index", 0, "--launcher", "none", "--ranks", 1, SLURM_JOB_ID="7", PATH=scontrol(tmp_path, {"7": "RUNNING"}))
    assert "is waited for" in done.stdout and record(folder(mine, 0))["exit_code"] == 0


def test_a_requeued_task_does_not_change_to_another_run(mine):
    leave(mine, 0, job="5_1")
    task = {"SLURM_JOB_ID": "6", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "1"}
    words = ("run", mine, "--index", 1, "--launcher", "none", "--ranks", 1)
    (problem,) = errors(sweep(*words, code=2, SLURM_RESTART_COUNT="1", **task))
    assert NAMES[0] in problem and NAMES[1] in problem and "set the sweep back" in problem
    sweep(*words, **task)  # its first life: an earlier job had the number


def test_a_launcher_that_cannot_start_leaves_its_reason(mine):
    said = sweep("run", mine, "--index", 0, code=1, TMPDIR="/absent").stderr
    left = record(folder(mine, 0))
    assert left["state"] == "ended" and left["exit_code"] == 1 and "temp_directory_path" in left["errors"][0] and left["errors"][0] in said


def test_where_there_are_no_locks_the_record_protects_a_run(mine, tmp_path):
    compiler = shutil.which("cc")
    library = tmp_path / "no_locks.so"
    (tmp_path / "no_locks.c").write_text("#include <errno.h>\nint flock(int f, int k) { errno = ENOLCK; return -1; }\n")
    if not compiler or subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "no_locks.c"], check=False).returncode:
        pytest.skip("no C compiler")
    long = ["train.max_steps=100000"]
    running = subprocess.Popen(command("run", mine, "--index", 0, *long), cwd=mine.parent, env=environment() | {"LD_PRELOAD": str(library)},
                               stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while "1 running" not in (shown := sweep("status", mine, *long, LD_PRELOAD=str(library)).stdout):
            assert time.monotonic() < deadline, shown
        assert "it is running already" in errors(sweep("run", mine, "--index", 0, *long, code=2, LD_PRELOAD=str(library)))[0]
    finally:
        running.terminate()
        assert running.wait(timeout=60) == 75
