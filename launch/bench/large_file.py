#!/usr/bin/env python3
"""Start-up time and data wait of training on a token file of 1 GB, with and without the index beside it.

    launch/bench/large_file.py --folder DIR [--ranks 2] [--config configs/bench/small.toml] [section.key=value ...]

Makes DIR/large.bin and .idx: documents of random lengths (log-normal, median 400 tokens) of random tokens. Each run is a
run of its own; its start-up is the time from the start of mpirun until the first batch is there. "cold" pages: the files leave
the page cache first. Prints a Markdown table; the files are removed at the end. Needs numpy.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
VOCABULARY = 8192


def make(prefix, size):
    """Token files of `size` bytes as Megatron writes them."""
    random = np.random.default_rng(1)
    lengths = np.maximum(1, random.lognormal(6, 1, size // 1000)).astype(np.int32)
    lengths = lengths[: np.searchsorted(np.cumsum(lengths, dtype=np.int64), size // 2)]
    tokens = int(lengths.sum(dtype=np.int64))
    with open(f"{prefix}.bin", "wb") as file:
        for at in range(0, tokens, 1 << 24):
            random.integers(0, VOCABULARY, min(1 << 24, tokens - at), dtype=np.uint16).tofile(file)
    ends = np.cumsum(lengths, dtype=np.int64)
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\0\0" + np.uint64(1).tobytes() + b"\x08" + np.uint64([len(lengths), len(lengths) + 1]).tobytes())
        file.write(lengths.tobytes() + ((ends - lengths) * 2).tobytes() + np.arange(len(lengths) + 1).tobytes())
    return len(lengths), tokens


def leave_page_cache(folder):
    for path in folder.glob("large*"):
        for part in [path, *path.glob("*")]:
            if part.is_file():
                file = os.open(part, os.O_RDONLY)
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)


def run(options, prefix, steps):
    """Start-up in seconds, the median step and the share of the steps that waited for data."""
    folder = options.folder / "run"
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.time()
    subprocess.run([str(word) for word in [
        ROOT / "launch/env.sh", "mpirun", "-np", options.ranks, options.bin / "pscale_train", options.config, f"run.dir={folder}",
        f"data.train={prefix}", f"train.max_steps={steps}", "data.validation_interval=0",
        "log.interval=1", "log.peak_flops=1e12", "checkpoint.save_interval=0", *options.settings]],
        check=True, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    step = statistics.median(row["step_seconds"] for row in rows)
    wait = sum(row["data_wait_seconds"] for row in rows[1:]) / sum(row["step_seconds"] for row in rows[1:])
    first = rows[0]
    return first["time"] - first["step_seconds"] + first["data_wait_seconds"] - begin, step, wait


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="at least 2: the first one is not counted")
    parser.add_argument("--bytes", type=int, default=10**9)
    parser.add_argument("--config", type=Path, default=ROOT / "configs/bench/small.toml")
    parser.add_argument("--bin", type=Path, default=ROOT / "build/bin")
    parser.add_argument("settings", nargs="*", metavar="section.key=value")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps must be at least 2")

    options.folder.mkdir(parents=True, exist_ok=True)
    prefix = options.folder / "large"
    documents, tokens = make(prefix, options.bytes)
    meta = json.dumps({"tokenizer": "random", "vocab_size": VOCABULARY, "end_of_document": None, "documents": documents,
                       "tokens": tokens})
    print(f"{documents} documents, {tokens} tokens, {Path(f'{prefix}.bin').stat().st_size / 1e9:.3g} GB\n")
    print("| .meta.json | index | pages | start-up (s) | step (s) | data wait |")
    print("| --- | --- | --- | --- | --- | --- |")
    for described in ("yes", "no"):
        Path(f"{prefix}.meta.json").unlink(missing_ok=True)
        if described == "yes":
            Path(f"{prefix}.meta.json").write_text(meta)
        for index, pages in (("cold", "cold"), ("warm", "cold"), ("warm", "warm")):
            if index == "cold":
                shutil.rmtree(f"{prefix}.cache", ignore_errors=True)
            if pages == "cold":
                leave_page_cache(options.folder)
            start, step, wait = run(options, prefix, options.steps)
            print(f"| {described} | {index} | {pages} | {start:.2f} | {step:.3f} | {100 * wait:.3f} % |", flush=True)
    shutil.rmtree(options.folder / "run")
    shutil.rmtree(f"{prefix}.cache", ignore_errors=True)
    for path in options.folder.glob("large.*"):
        path.unlink()


if __name__ == "__main__":
    main()
