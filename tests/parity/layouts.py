"""Which layouts fit a model, and running golden cases under them."""

import json
import os
import subprocess
from pathlib import Path

BIN = Path(os.environ["PSCALE_BIN"])
SOURCE = Path(os.environ["PSCALE_SOURCE"])
GOLDEN = SOURCE / "tests/golden"


def fits(case: Path, data: int, replica: int, tensor: int) -> bool:
    c = json.loads((case / "config.json").read_text())
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    expected = json.loads((case / "shape.json").read_text())["sequences"] if (case / "shape.json").exists() else 4
    return (c["parscale_n"] % replica == 0 and heads % tensor == 0 and (kv % tensor == 0 or tensor % kv == 0)
            and c["intermediate_size"] % tensor == 0 and expected % data == 0)


def parity(cases, data=1, replica=1, tensor=1, *options, check=True):
    """One start of MPI for several cases: starting costs more than computing."""
    ranks = data * replica * tensor
    launcher = ["mpirun", "-np", str(ranks)] if ranks > 1 else []
    command = [*launcher, BIN / "pscale_parity", *cases, f"--data={data}", f"--replica={replica}", f"--tensor={tensor}", *options]
    done = subprocess.run([str(word) for word in command], env=os.environ | {"OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=600)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("  ok  ") == 5 * len(list(cases)), done.stdout
    return done
