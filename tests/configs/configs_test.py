"""Every shipped configuration, and every run of every sweep, passes --dry-run on the ranks it is meant for: 8, or what
its comment `# ranks: N` says."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])
SWEEPS = sorted((SOURCE / "configs/sweeps").glob("*.toml"))
CONFIGS = sorted(set((SOURCE / "configs").glob("**/*.toml")) - set(SWEEPS))


def ranks_of(config: Path) -> int:
    said = re.search(r"^#\s*ranks:\s*(\d+)", config.read_text(), re.MULTILINE)
    return int(said.group(1)) if said else 8


def test_there_are_configs():
    assert CONFIGS and SWEEPS


def dry_run(ranks, *words):
    run = subprocess.run([BIN / "pscale_train", *words, "--dry-run", "--ranks", str(ranks)], cwd=SOURCE,
                         capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, f"{ranks} ranks:\n{run.stdout}{run.stderr}"
    assert "error:" not in run.stderr
    assert "weights" in run.stdout and "activations" in run.stdout, "the memory table is missing"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.relative_to(SOURCE / "configs").as_posix())
def test_dry_run(config):
    dry_run(ranks_of(config), config.relative_to(SOURCE))


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda c: c.name)
def test_dry_run_of_each_run_of_a_sweep(sweep):
    def asked(*words):
        return subprocess.run([BIN / "pscale_sweep", *words], cwd=SOURCE, check=True, capture_output=True, text=True,
                              timeout=60).stdout

    ranks = ranks_of(sweep)
    count = int(asked("list", sweep, "--count"))
    assert count > 0
    for index in range(count):
        command = shlex.split(asked("run", sweep, "--index", str(index), "--dry-run", "--ranks", str(ranks)))
        program = next(at for at, word in enumerate(command) if word.endswith("pscale_train"))
        assert command[-2:] == ["--resume", "auto"]
        dry_run(ranks, *command[program + 1:-2])


def test_a_layout_that_does_not_fit_names_those_that_would():
    config = next(c for c in CONFIGS if c.name == "xattn.toml")
    run = subprocess.run([BIN / "pscale_train", config, "--dry-run", "--ranks", "8", "parallel.tensor=3"],
                         cwd=SOURCE, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2, run.stdout + run.stderr
    assert re.search(r"\d+x\d+x\d+", run.stderr), run.stderr
