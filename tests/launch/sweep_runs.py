"""Small sweeps for tests: shared by those of sweeps, their report and W&B."""

import json
import os
import subprocess

import pytest
from checkpoint_runs import BIN, environment

SWEEP = """
[sweep]
base = "{base}"
[fixed]
train.max_steps = 6
parscale.enable_cross_attn = false
parscale.parscale_cross_attn_layers = "none"
data.validation_interval = 3
data.validation_samples = 4
data.validation_fraction = 0.2
[grid]
parscale.parscale_n = [1, 2]
optimizer.learning_rate = [1e-3, 3e-3]
[[drop]]
because = "seen <before> & done"
parscale.parscale_n = 1
optimizer.learning_rate = 3e-3
"""
NAMES = ["parscale_n=1,learning_rate=1e-3", "parscale_n=2,learning_rate=1e-3", "parscale_n=2,learning_rate=3e-3"]


def write(folder, base, text=SWEEP):
    path = folder / "mine.toml"
    path.write_text(text.format(base=base))
    return path


def command(name, path, *words):
    return [str(word) for word in [BIN / "pscale_sweep", name, path, *words]]


def sweep(name, path, *words, code=0, **variables):
    """Runs pscale_sweep in the sweep file's folder, so runs are in runs/mine there."""
    done = subprocess.run(command(name, path, *words), env=environment() | variables, capture_output=True, text=True, check=False,
                          timeout=300, cwd=path.parent)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def record(folder):
    return json.loads((folder / "sweep.json").read_text())


# Fixtures of the modules that import them.


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch):
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def mine(tiny, tmp_path):
    return write(tmp_path, tiny)


def folder(mine, index):
    return mine.parent / "runs/mine" / NAMES[index]
