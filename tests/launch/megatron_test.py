"""Token files and megatron-core's IndexedDataset: each reads what the other writes, byte by byte."""

import json
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about what it could use on a GPU
    from megatron.core.datasets.indexed_dataset import DType, IndexedDataset, IndexedDatasetBuilder

PROGRAM = Path(os.environ["PSCALE_BIN"]) / "pscale_data"
TYPES = {np.uint16: 65499, np.int32: 151936}  # and a vocabulary of each


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode()


def build(prefix, documents, dtype):
    """With megatron-core; a document is a list of sequences."""
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=dtype)
    for number, sequences in enumerate(documents):
        tokens = [token for sequence in sequences for token in sequence]
        if number % 2:
            builder.add_document(np.array(tokens), [len(sequence) for sequence in sequences])
        else:
            for sequence in sequences:
                builder.add_item(torch.tensor(sequence))
            builder.end_document()
    builder.finalize(f"{prefix}.idx")


def read(prefix, mmap=True):
    """With megatron-core: the documents, as lists of sequences."""
    data = IndexedDataset(str(prefix), mmap=mmap)
    indices = data.document_indices
    return data, [[list(map(int, data[s])) for s in range(a, b)] for a, b in zip(indices, indices[1:])]


def random_documents(vocabulary):
    generator = np.random.default_rng(1)
    sizes = [[3], [1], [5, 4], [70], [1, 1, 1], [2], [30, 40]] + [[int(n)] for n in generator.integers(1, 80, 40)]
    documents = [[generator.integers(0, vocabulary, n).tolist() for n in lengths] for lengths in sizes]
    documents[0][0][0] = vocabulary - 1
    return documents


def write_meaning(prefix, vocabulary, documents, tokens):
    Path(f"{prefix}.meta.json").write_text(json.dumps({
        "tokenizer": "bytes", "vocab_size": vocabulary, "end_of_document": None, "documents": documents,
        "tokens": tokens}))


@pytest.mark.parametrize("dtype", TYPES)
def test_we_read_what_megatron_writes(dtype, tmp_path):
    documents = random_documents(TYPES[dtype])
    build(tmp_path / "theirs", documents, dtype)
    found = json.loads(run("inspect", tmp_path / "theirs", "--json", "--samples", 1000))
    flat = [[token for sequence in sequences for token in sequence] for sequences in documents]
    assert [sample["ids"] for sample in found["samples"]] == flat
    assert [sample["length"] for sample in found["samples"]] == list(map(len, flat))
    assert found["type"] == np.dtype(dtype).name and found["vocab_size"] == TYPES[dtype]
    assert found["documents"] == len(documents) and found["sequences"] == sum(map(len, documents))
    assert found["tokens"] == sum(map(len, flat)) and found["document_lengths"]["max"] == max(map(len, flat))


@pytest.mark.parametrize("dtype", TYPES)
def test_what_both_write_is_the_same(dtype, tmp_path):
    """merge reads all that megatron-core wrote and writes it again: the same bytes."""
    documents = random_documents(TYPES[dtype])
    assert DType.optimal_dtype(TYPES[dtype]) == dtype
    for name, part in (("a", documents[:20]), ("b", documents[20:]), ("all", documents)):
        build(tmp_path / name, part, dtype)
        write_meaning(tmp_path / name, TYPES[dtype], len(part), sum(len(s) for d in part for s in d))
    run("merge", "--out", tmp_path / "ours", tmp_path / "a", tmp_path / "b")
    for suffix in ("bin", "idx"):
        assert (tmp_path / f"ours.{suffix}").read_bytes() == (tmp_path / f"all.{suffix}").read_bytes()
    for mmap in (True, False):
        data, found = read(tmp_path / "ours", mmap)
        assert found == documents and data.index.dtype == dtype
    # Their way to merge.
    builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype)
    builder.add_index(str(tmp_path / "a"))
    builder.add_index(str(tmp_path / "b"))
    builder.finalize(str(tmp_path / "theirs.idx"))
    assert (tmp_path / "ours.idx").read_bytes() == (tmp_path / "theirs.idx").read_bytes()


def test_megatron_reads_what_prepare_writes(tmp_path):
    texts = ["one", "zwölf", "x" * 3_000_000, "\n"]
    for name, text in zip("abcd", texts):
        (tmp_path / f"{name}.txt").write_text(text)
    run("prepare", "--tokenizer", "bytes", "--out", tmp_path / "ours", tmp_path / "*.txt")
    data, found = read(tmp_path / "ours")
    expected = [[list(text.encode()) + [256]] for text in texts]
    assert found == expected and data.index.dtype == np.uint16
    build(tmp_path / "theirs", expected, np.uint16)
    for suffix in ("bin", "idx"):
        assert (tmp_path / f"ours.{suffix}").read_bytes() == (tmp_path / f"theirs.{suffix}").read_bytes()
