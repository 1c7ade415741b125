#!/usr/bin/env python3
"""Trains a byte-level BPE tokenizer with the `tokenizers` package, after Qwen2's recipe: NFC, its regular expression,
<|endoftext|> as the end of a document (id 0).

    python configs/tokenizers/train.py --vocab-size 8192 --out FOLDER TEXT...     # files, or folders and --suffix .py
"""

import argparse
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

END = "<|endoftext|>"
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")


def texts(inputs, suffix):
    """Of the files and of those below the folders, by path; without installed packages and what is not UTF-8."""
    for given in map(Path, inputs):
        below = sorted(p for p in given.rglob("*" + suffix) if p.is_file()) if given.is_dir() else [given]
        for path in below:
            if any(part.endswith("-packages") for part in path.relative_to(given).parts):
                continue
            try:
                yield path.read_bytes().decode()
            except UnicodeDecodeError:
                continue


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("inputs", nargs="+", metavar="TEXT")
    a.add_argument("--vocab-size", type=int, required=True)
    a.add_argument("--suffix", default="", help="take only files with this ending from folders")
    a.add_argument("--out", type=Path, required=True, help="the folder for tokenizer.json and tokenizer_config.json")
    a = a.parse_args()

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts(a.inputs, a.suffix), trainers.BpeTrainer(
        vocab_size=a.vocab_size, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if tokenizer.get_vocab_size() != a.vocab_size:
        raise SystemExit(f"error: the text yields only {tokenizer.get_vocab_size()} tokens; lower --vocab-size")
    a.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(a.out / "tokenizer.json"), pretty=False)
    (a.out / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": END, "pad_token": END,
        "unk_token": None, "add_prefix_space": False, "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 1000000000}, indent=2) + "\n")


if __name__ == "__main__":
    main()
