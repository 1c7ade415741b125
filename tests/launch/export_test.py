"""Trained models of every kind, from the trainer through a checkpoint to transformers: the same numbers there."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])
GOLDEN = SOURCE / "tests/golden"
KINDS = ["qwen2", "llama", "prefix_p1", "parscale_p4", "xattn_p4_layers", "xattn_p4_rope", "xattn_p4_rope_interleaved",
         "xkv_p4"]
LENGTH = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One document of random tokens of the golden cases' vocabulary, without a mark at its end."""
    prefix = tmp_path_factory.mktemp("data") / "tokens"
    tokens = np.random.default_rng(5).integers(0, 128, 2000).astype(np.uint16)
    tokens.tofile(f"{prefix}.bin")
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00" + np.array([1], np.uint64).tobytes() + bytes([8]))
        file.write(np.array([1, 2], np.uint64).tobytes() + np.array([len(tokens)], np.int32).tobytes())
        file.write(np.array([0, 0, 1], np.int64).tobytes())
    return prefix, torch.from_numpy(tokens.astype(np.int64))


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=KINDS)
def exported(request, data, tmp_path_factory):
    """A golden model trained on two ranks for a few steps, saved, and converted: (kind, folder with run/ and hf/)."""
    folder = tmp_path_factory.mktemp(request.param)
    config = folder / "run.toml"
    config.write_text(f"""
[train]
init_from = "{GOLDEN / request.param}"
max_steps = 5
global_batch = 4
sequence_length = {LENGTH}
[optimizer]
learning_rate = 0.01
warmup_steps = 1
[data]
train = "{data[0]}"
validation_interval = 0
[log]
peak_flops = 1e12
""")
    run("mpirun", "-np", 2, BIN / "pscale_train", config, f"run.dir={folder / 'run'}")
    run(BIN / "pscale_ckpt", "convert", "--from", folder / "run/checkpoints/latest", "--to", folder / "hf")
    return request.param, folder


def model_of(folder):
    return AutoModelForCausalLM.from_pretrained(folder / "hf", trust_remote_code=True, dtype=torch.float32).eval()


def test_training_changed_the_weights_and_no_names(exported):
    kind, folder = exported
    before, after = load_file(GOLDEN / kind / "model.safetensors"), load_file(folder / "hf/model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[name].shape == after[name].shape for name in before)
    assert not torch.equal(before["model.norm.weight"], after["model.norm.weight"])


def test_logits_are_ours(exported, tmp_path):
    """The export in transformers against the parity program on the same weights."""
    case = tmp_path / "case"
    case.mkdir()
    kind, folder = exported
    golden = GOLDEN / kind
    for file in ("config.json", "expected.json", "expected.safetensors"):
        shutil.copy(golden / file, case)
    shutil.copy(folder / "hf/model.safetensors", case)
    subprocess.run([BIN / "pscale_parity", case, "--out", tmp_path / "ours"], capture_output=True, timeout=120)
    ours = load_file(tmp_path / "ours")["logits"]
    tokens = load_file(golden / "expected.safetensors")["tokens"].long()
    with torch.no_grad():
        theirs = model_of(folder)(tokens[:, :-1]).logits
    assert (theirs - ours).abs().max() < 1e-4


def test_loss_is_that_of_pscale_eval(exported, data):
    folder = exported[1]
    prefix, tokens = data
    results = []
    for model, ranks, *layout in [("run", 1), ("hf", 2, "parallel.data=2"), ("run", 2, "parallel.tensor=2"),
                                  ("hf", 4, "train.micro_batch=3")]:
        results.append(json.loads(run("mpirun", "-np", ranks, BIN / "pscale_eval", folder / model, "--data", prefix,
                                      "--max-tokens", 480, f"train.sequence_length={LENGTH}", *layout)))
    windows = torch.stack([tokens[i * LENGTH:(i + 1) * LENGTH + 1] for i in range(20)])
    with torch.no_grad():
        logits = model_of(folder)(windows[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    for result in results:
        assert result["tokens"] == 480
        assert result["loss"] == pytest.approx(expected.item(), rel=1e-5), result["parallel"]
    assert len({result["parallel"] for result in results}) == len(results)


def test_greedy_generation_does_not_depend_on_the_cache(exported, data):
    model, prompt = model_of(exported[1]), data[1][None, :9]
    cached, plain = (model.generate(prompt, max_new_tokens=20, do_sample=False, use_cache=cache, eos_token_id=None,
                                    pad_token_id=0) for cache in (True, False))
    assert cached.shape == (1, 29) and torch.equal(cached, plain)
