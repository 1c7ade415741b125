"""A private Slurm with four slots, for the tests of this folder."""

import subprocess

import private_slurm
import pytest
from private_slurm import BIN, SOURCE


@pytest.fixture(scope="session")
def slurm():
    if why := private_slurm.missing():
        pytest.skip(f"no Slurm for tests: {why}")
    with private_slurm.PrivateSlurm(cpus=4) as running:
        yield running


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """Token files of some of this project's text."""
    prefix = tmp_path_factory.mktemp("text") / "text"
    files = sorted((SOURCE / "tests/data").glob("*.cpp"))
    subprocess.run([BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", prefix, *files], check=True, capture_output=True)
    return prefix
