"""lm-evaluation-harness on an exported byte model: its tasks run, and its perplexity is pscale_eval's."""

import argparse
import json
import os
import subprocess
import sys
import textwrap
import tokenize
from pathlib import Path

import pytest
import torch
from convert_folders import BIN, convert
from transformers import AutoModelForCausalLM, AutoTokenizer

LENGTH = 96  # of a sequence, in training and in both evaluations
TEXT = [Path(module.__file__).read_text() for module in (argparse, tokenize, textwrap)]

CONFIG = f"""
[model]
vocab_size = 257
hidden_size = 64
intermediate_size = 128
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
[parscale]
parscale_n = 2
parscale_n_tokens = 4
enable_cross_attn = true
parscale_cross_attn_layers = [1]
[train]
max_steps = 120
global_batch = 8
micro_batch = 8
sequence_length = {LENGTH}
[optimizer]
learning_rate = 3e-3
warmup_steps = 10
[data]
validation_interval = 0
"""

# What lm-eval is asked: the keys of its task files, and the documents.
ROLLING = [TEXT[0][at:at + length] for at, length in [(100, 30), (2000, 96), (3000, 97), (4000, 500), (5000, 1000)]]
CHOICES = [("import o", ["s\n", "zz\n"]), ("    def __init__(sel", ["f", "q"]),
           ("if not isinstanc", ["e(", "\x7f\x7f"]), ("        retur", ["n self.", "m"]),
           ("class Action(object)", [":\n", "zz"])]
PROMPTS = ["def ", "    return self.", "import", "        if not isinstance(", "class "]
TASKS = {
    "rolling": ({"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
                 "metric_list": [{"metric": "byte_perplexity"}]},
                [{"text": text} for text in ROLLING]),
    "choices": ({"output_type": "multiple_choice", "doc_to_text": "{{text}}", "doc_to_target": 0,
                 "target_delimiter": "", "doc_to_choice": "{{choices}}", "metric_list": [{"metric": "acc"}]},
                [{"text": text, "choices": choices} for text, choices in CHOICES]),
    "generate": ({"output_type": "generate_until", "doc_to_text": "{{text}}", "doc_to_target": "",
                  "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 24},
                  "metric_list": [{"metric": "exact_match"}]},
                 [{"text": text} for text in PROMPTS]),
}


def run(*command, **environment):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600,
                          env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, run/, and its export, hf/."""
    folder = tmp_path_factory.mktemp("model")
    for i, text in enumerate(TEXT):
        (folder / f"{i}.txt").write_text(text)
    run(BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", folder / "text",
        *sorted(folder.glob("*.txt")))
    (folder / "run.toml").write_text(CONFIG)
    run(BIN / "pscale_train", folder / "run.toml", f"run.dir={folder / 'run'}", f"data.train={folder / 'text'}")
    convert(folder / "run/checkpoints/latest", folder / "hf")
    return folder


@pytest.fixture(scope="module")
def judged(trained, tmp_path_factory):
    """What lm-eval says with batches of four: the results and the samples of each task."""
    folder = tmp_path_factory.mktemp("lm_eval")
    (folder / "tasks").mkdir()
    for name, (keys, documents) in TASKS.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(document) + "\n" for document in documents))
        # JSON is YAML.
        (folder / f"tasks/{name}.yaml").write_text(json.dumps(
            {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}},
             "test_split": "test", **keys}))
    run(sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", 4,
        "--model_args", f"pretrained={trained / 'hf'},trust_remote_code=True,dtype=float32,max_length={LENGTH}",
        "--include_path", folder / "tasks", "--tasks", ",".join(TASKS), "--log_samples",
        "--output_path", folder / "out", HF_HOME=str(folder / "home"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    [results] = folder.glob("out/*/results_*.json")
    samples = {}
    for name in TASKS:
        [file] = folder.glob(f"out/*/samples_{name}_*.jsonl")
        samples[name] = sorted(map(json.loads, file.read_text().splitlines()), key=lambda sample: sample["doc_id"])
    return json.loads(results.read_text())["results"], samples


@pytest.fixture(scope="module")
def model(trained):
    return AutoModelForCausalLM.from_pretrained(trained / "hf", trust_remote_code=True, dtype=torch.float32).eval()


def test_the_tokenizer_gives_bytes(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained / "hf")
    for text in (*ROLLING, "ünï çödé 日本 🎉"):
        assert tokenizer(text)["input_ids"] == list(text.encode())
        assert tokenizer.decode(list(text.encode())) == text


def test_perplexity_is_that_of_pscale_eval(trained, judged, tmp_path):
    for i, text in enumerate(ROLLING):
        (tmp_path / f"{i}.txt").write_text(text)
    run(BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", tmp_path / "text",
        *sorted(tmp_path.glob("*.txt")))
    for which in ("run", "hf"):
        printed = run(BIN / "pscale_eval", trained / which, "--data", tmp_path / "text",
                      f"train.sequence_length={LENGTH}")
        ours = json.loads(printed)
        assert ours["tokens"] == sum(len(text.encode()) for text in ROLLING)
        assert ours["perplexity"] == pytest.approx(judged[0]["rolling"]["byte_perplexity,none"], rel=1e-4), which
    assert ours["perplexity"] < 30  # it has learned: 257 is knowing nothing


def test_choices_are_judged_as_one_by_one(model, judged):
    results, samples = judged
    right = 0
    for (text, choices), sample in zip(CHOICES, samples["choices"], strict=True):
        alone = []
        for choice in choices:
            tokens = torch.tensor([list((text + choice).encode())])
            with torch.no_grad():
                log = model(tokens[:, :-1]).logits[0].log_softmax(-1)
            alone.append(log.gather(1, tokens[0, 1:, None])[-len(choice):].sum().item())
        assert [float(value) for [[value, _]] in sample["resps"]] == pytest.approx(alone, abs=1e-3), text
        right += alone[0] == max(alone)
    assert results["choices"]["acc,none"] == right / len(CHOICES) > 0.5


def test_generation_is_greedy_generation_one_by_one(model, judged):
    for prompt, sample in zip(PROMPTS, judged[1]["generate"], strict=True):
        tokens = torch.tensor([list(prompt.encode())])
        alone = model.generate(tokens, max_new_tokens=24, do_sample=False)[0, len(prompt):]
        text = bytes(t for t in alone.tolist() if t < 256).decode(errors="replace")
        assert sample["resps"] == [[text.split("\n")[0]]], prompt
