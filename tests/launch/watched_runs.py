"""Runs that are watched, so that something can happen to them at some step."""

import contextlib
import re
import subprocess
import time
from pathlib import Path

from checkpoint_runs import BIN, command, environment, ranks_of


@contextlib.contextmanager
def started(config, folder, *arguments, layout, wrapper=()):
    with subprocess.Popen(command(config, folder, *arguments, layout=layout, wrapper=wrapper), env=environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            with contextlib.suppress(ProcessLookupError):
                run.kill()


def wait_for(run, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and run.poll() is None:
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def steps_logged(folder):
    with contextlib.suppress(FileNotFoundError):
        return (folder / "metrics.jsonl").read_bytes().count(b"\n")
    return 0


def pids_of_ranks(run):
    """rank -> process id, of a run under mpirun."""
    found = {}
    for pid in ranks_of(run):
        with contextlib.suppress(OSError):
            found[int(re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes())[1])] = pid
    return found


def fault(kind, rank, call):
    """A wrapper with tools/inject_fault.c, which knows these kinds."""
    return ["env", f"LD_PRELOAD={BIN / 'inject_fault.so'}", f"FAULT_KIND={kind}", f"FAULT_RANK={rank}", f"FAULT_CALL={call}"]
