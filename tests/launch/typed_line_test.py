"""The two lines a user types, typed: the one that quickstart prints, then the README's, in a fresh shell without root."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])
LINE = "mpirun -np 8 pscale_train configs/xattn.toml"


def user() -> dict:
    """subprocess arguments to run as somebody without privileges; root becomes nobody."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def shell(script: str, cwd: Path) -> subprocess.CompletedProcess:
    """A fresh shell: nothing of the environment but what a login sets."""
    environment = {"HOME": str(cwd), "PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": "dumb"}
    return subprocess.run(["bash", "--noprofile", "--norc", "-c", script], cwd=cwd, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, **user())


@pytest.fixture(scope="module")
def clone():
    """What that user sees of the repository after quickstart: programs, configurations, scripts, prepared text."""
    folder = Path(tempfile.mkdtemp(prefix="pscale_typed_"))
    try:
        (folder / "build").mkdir()
        (folder / "build/bin").mkdir()
        for program in BIN.glob("pscale_*"):
            if "tests" not in program.name:
                shutil.copy(program, folder / "build/bin")
        for part in ("configs", "launch"):
            shutil.copytree(SOURCE / part, folder / part)
        (folder / "datasets").mkdir()
        text = sorted((SOURCE / "tests").rglob("*_test.py"))
        subprocess.run([BIN / "pscale_data", "prepare", "--tokenizer", SOURCE / "configs/tokenizers/python_8k", "--out",
                        folder / "datasets/python_stdlib", *text], check=True, capture_output=True)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        if user():
            shutil.chown(folder, user="nobody", group="nogroup")
        yield folder
    finally:
        shutil.rmtree(folder)


def test_readme_and_quickstart_name_the_line():
    assert re.search(rf"^\s*{re.escape(LINE)}\s*$", (SOURCE / "README.md").read_text(), re.MULTILINE)
    assert LINE in (SOURCE / "launch/quickstart.sh").read_text()


def test_typed_in_a_fresh_shell(clone):
    printed = shell("launch/env.sh", clone)
    assert printed.returncode == 0, printed.stderr
    export = printed.stdout.strip()
    assert export.startswith("export PATH=") and "\n" not in export

    run_dir = clone / "typed_run"
    run = shell(f"{export}\n{LINE} train.max_steps=2 log.interval=1 run.dir={run_dir}", clone)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "error" not in run.stderr.lower() and "warn" not in run.stderr.lower(), run.stderr
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(0 < row["loss"] < 20 for row in rows)


def test_more_ranks_than_cores_is_why_the_line_is_there(clone):
    """env.sh COMMAND is what the tests themselves run under."""
    run = shell("launch/env.sh mpirun -np 8 sh -c 'echo rank'", clone)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("rank") == 8
