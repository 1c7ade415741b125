"""What the tests of pscale_ckpt convert share: running it, and model folders of Hugging Face."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])
GOLDEN = SOURCE / "tests/golden"
sys.path.insert(0, str(SOURCE / "tests/oracle"))


def run(source, out, *more, code=0, **environment):
    done = subprocess.run([BIN / "pscale_ckpt", "convert", "--from", source, "--to", out, *map(str, more)],
                          capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def convert(source, out, *more):
    run(source, out, *more)
    return out


def refused(source, out, *more, **environment):
    """The problems; nothing is left behind."""
    text = run(source, out, *more, code=2, **environment)
    assert all(line.startswith("error: ") for line in text.splitlines()), text
    assert not Path(f"{out}.partial").exists()
    return text


def config_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def tensors_of(folder):
    index = Path(folder) / "model.safetensors.index.json"
    if not index.exists():
        return load_file(Path(folder) / "model.safetensors")
    found = {}
    for name, file in json.loads(index.read_text())["weight_map"].items():
        found[name] = load_file(Path(folder) / file)[name]
    return found


def same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        assert torch.equal(a[name].view(torch.uint8), b[name].view(torch.uint8)), name


def write_folder(folder, c, weights, **keys):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"hidden_act": "silu", **c.to_dict(), **keys}))
    save_file({name: w.contiguous() for name, w in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    return folder
