"""From text to an exported model with a BPE tokenizer: the ids keep their meaning on the whole way."""

import json
import shutil
import subprocess
import sys

import pytest
from checkpoint_runs import BIN, SOURCE, TINY, train
from tokenizers import Tokenizer
from transformers import AutoTokenizer

PYTHON_8K = SOURCE / "configs/tokenizers/python_8k"
TEXTS = ["def f(x):\n    return x + 1\n", "caf\u00e9 \u4f60\u597d \U0001f600", "a<|endoftext|>b", "    \t\r\n\n"]


def run(*command, code=0):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def prepare(folder, tokenizer):
    folder.mkdir(exist_ok=True)
    run(BIN / "pscale_data", "prepare", "--tokenizer", tokenizer, "--out", folder / "text",
        *sorted((SOURCE / "tests/launch").glob("*.py")))
    config = folder / "run.toml"
    config.write_text(TINY.replace("vocab_size = 257", "vocab_size = 8192").format(data=folder / "text"))
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run on text prepared with python_8k; what was prepared is gone again."""
    folder = tmp_path_factory.mktemp("carried")
    train(prepare(folder, PYTHON_8K), folder / "run", "train.max_steps=2", layout="2x1x1")
    for path in folder.glob("text*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder / "run"


def ids(tokenizer, texts):
    out = subprocess.run([BIN / "pscale_data", "encode", "--json", "--tokenizer", tokenizer], check=True,
                         capture_output=True, input="".join(json.dumps(t) + "\n" for t in texts).encode()).stdout
    return [[int(i) for i in line.split()] for line in out.decode().splitlines()]


def test_a_checkpoint_has_the_tokenizer_under_its_hashes(trained):
    latest = trained / "checkpoints/latest"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (latest / "tokenizer" / name).read_bytes() == (PYTHON_8K / name).read_bytes()
    run(BIN / "pscale_ckpt", "verify", latest)
    copy = trained.parent / "damaged"
    shutil.copytree(latest, copy, symlinks=False)
    file = copy / "tokenizer/tokenizer.json"
    file.write_bytes(file.read_bytes().replace(b"return", b"retunr", 1))
    assert "tokenizer/tokenizer.json: damaged" in run(BIN / "pscale_ckpt", "verify", copy, code=2)


def test_an_export_has_it_and_transformers_agrees(trained, tmp_path):
    said = run(BIN / "pscale_ckpt", "convert", "--from", trained, "--to", tmp_path / "hf")
    assert "note" not in said and "warning" not in said
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    assert [tokenizer(text)["input_ids"] for text in TEXTS] == ids(PYTHON_8K, TEXTS)
    config = json.loads((tmp_path / "hf/config.json").read_text())
    assert config["eos_token_id"] == tokenizer.eos_token_id == 0
    assert ids(tmp_path / "hf", TEXTS) == ids(PYTHON_8K, TEXTS)


def test_a_model_starts_only_from_text_of_its_own_words(trained, tmp_path):
    run(BIN / "pscale_ckpt", "convert", "--from", trained, "--to", tmp_path / "hf")
    start = f"train.init_from={tmp_path / 'hf'}"
    # Written anew by another program: other bytes, the same words.
    again = tmp_path / "again"
    shutil.copytree(PYTHON_8K, again)
    content = json.loads((again / "tokenizer.json").read_text())
    (again / "tokenizer.json").write_text(json.dumps(content, indent=1))
    train(prepare(tmp_path / "same", again), tmp_path / "run", "train.max_steps=1", start, layout="2x1x1")

    vocabulary = content["model"]["vocab"]
    last, before = [token for token, number in vocabulary.items() if number in (8190, 8191)]
    vocabulary[last], vocabulary[before] = vocabulary[before], vocabulary[last]
    (again / "tokenizer.json").write_text(json.dumps(content))
    other = prepare(tmp_path / "other", again)
    done = subprocess.run([BIN / "pscale_train", other, f"run.dir={tmp_path / 'other/run'}", start], capture_output=True,
                          text=True)
    assert done.returncode == 2
    assert "train.init_from" in done.stderr and "prepare the text with the model's" in done.stderr


def test_a_run_without_the_files_says_so(tmp_path):
    config = prepare(tmp_path / "text", PYTHON_8K)
    shutil.rmtree(tmp_path / "text/text.tokenizer")
    train(config, tmp_path / "run", "train.max_steps=1")
    assert "checkpoints of this run will not hold them" in (tmp_path / "run/log.txt").read_text()
    said = run(BIN / "pscale_ckpt", "convert", "--from", tmp_path / "run", "--to", tmp_path / "hf")
    assert "note: the model's tokenizer is not known; --tokenizer FOLDER adds its files" in said


def test_the_shipped_vocabulary():
    reference = Tokenizer.from_file(str(PYTHON_8K / "tokenizer.json"))
    assert reference.get_vocab_size() == 8192 and reference.token_to_id("<|endoftext|>") == 0
    sources = [path.read_text() for path in sorted((SOURCE / "tests/launch").glob("*.py"))] + TEXTS
    assert ids(PYTHON_8K, sources) == [e.ids for e in reference.encode_batch(sources)]
    text = "".join(sources)
    assert len(text.encode()) / len(reference.encode(text).ids) > 2.5  # bytes a token


def test_the_command_that_made_it_makes_such_files(tmp_path):
    """Not the same bytes: those depend on the version of the sources."""

    run(sys.executable, SOURCE / "configs/tokenizers/train.py", "--vocab-size", 600, "--suffix", ".py", "--out",
        tmp_path / "made", SOURCE / "tests")
    shipped, made = (json.loads((folder / "tokenizer.json").read_text()) for folder in (PYTHON_8K, tmp_path / "made"))
    assert len(made["model"]["vocab"]) == 600
    for key in ("normalizer", "pre_tokenizer", "decoder", "post_processor", "added_tokens"):
        assert made[key] == shipped[key], key
    assert (tmp_path / "made/tokenizer_config.json").read_text() == (PYTHON_8K / "tokenizer_config.json").read_text()
    run(sys.executable, SOURCE / "configs/tokenizers/train.py", "--vocab-size", 10**6, "--suffix", ".sh", "--out",
        tmp_path / "none", SOURCE / "tests", code=1)
    assert not (tmp_path / "none").exists()
