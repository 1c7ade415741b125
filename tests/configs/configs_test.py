"""Every shipped configuration passes --dry-run on the ranks it is meant for: 8, or what its comment `# ranks: N` says."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])
CONFIGS = sorted((SOURCE / "configs").glob("**/*.toml"))


def ranks_of(config: Path) -> int:
    said = re.search(r"^#\s*ranks:\s*(\d+)", config.read_text(), re.MULTILINE)
    return int(said.group(1)) if said else 8


def test_there_are_configs():
    assert CONFIGS


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.relative_to(SOURCE / "configs").as_posix())
def test_dry_run(config):
    ranks = ranks_of(config)
    run = subprocess.run([BIN / "pscale_train", config.relative_to(SOURCE), "--dry-run", "--ranks", str(ranks)],
                         cwd=SOURCE, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, f"{ranks} ranks:\n{run.stdout}{run.stderr}"
    assert "error:" not in run.stderr
    assert "weights" in run.stdout and "activations" in run.stdout, "the memory table is missing"


def test_a_layout_that_does_not_fit_names_those_that_would():
    config = next(c for c in CONFIGS if c.name == "xattn.toml")
    run = subprocess.run([BIN / "pscale_train", config, "--dry-run", "--ranks", "8", "parallel.tensor=3"],
                         cwd=SOURCE, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2, run.stdout + run.stderr
    assert re.search(r"\d+x\d+x\d+", run.stderr), run.stderr
