#!/usr/bin/env python3
"""Holds `pscale_data prepare` against encode_batch of the `tokenizers` package, in alternating rounds on one machine.

    build/venv/bin/python launch/bench/compare_tokenizers.py tokenizer.json [--threads 1 2] [--out FILE.md]

Text: the sources of Python's standard library that are UTF-8. Ours is the whole program, from start to token files on
the disk; theirs is encode_batch alone, with the texts already in memory. Both have the same number of threads. All ids
are compared. Needs tokenizers and numpy (tests/requirements.txt).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
THEIRS = """
import json, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
texts = [open(path, encoding="utf-8", newline="").read() for path in json.load(sys.stdin)]
start = time.perf_counter()
encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
print(json.dumps(time.perf_counter() - start))
if len(sys.argv) > 2:
    import numpy
    numpy.concatenate([numpy.asarray(e.ids, numpy.int32) for e in encoded]).tofile(sys.argv[2])
"""


def sources():
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        if path.relative_to(root).parts[0] in ("site-packages", "dist-packages") or not content:
            continue
        try:
            content.decode()
        except UnicodeDecodeError:
            continue
        found.append((str(path), len(content)))
    return found


def run(command, threads, text=None):
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run([str(c) for c in command], env=environment, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("tokenizer", help="a tokenizer.json")
    a.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--bin", default=str(ROOT / "build/bin"))
    a.add_argument("--out", help="write the table to this file, too")
    a = a.parse_args()

    files = sources()
    paths, size = [path for path, _ in files], sum(count for _, count in files)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        prefix, ids = f"{folder}/tokens", f"{folder}/ids.bin"
        prepare = [f"{a.bin}/pscale_data", "prepare", "--tokenizer", a.tokenizer, "--append-eod", "off", "--out", prefix,
                   *paths]
        theirs = [sys.executable, "-c", THEIRS, a.tokenizer]
        listing = json.dumps(paths)
        run(prepare, max(a.threads))
        run([*theirs, ids], max(a.threads), listing)
        ours = np.fromfile(f"{prefix}.bin", np.uint16 if os.path.getsize(f"{prefix}.bin") * 2 == os.path.getsize(ids)
                           else np.int32)
        if not np.array_equal(ours, np.fromfile(ids, np.int32)):
            sys.exit("error: the ids differ")
        for threads in a.threads:
            speeds = []
            for _ in range(a.rounds):
                start = time.perf_counter()
                run(prepare, threads)
                mine = size / (time.perf_counter() - start)
                speeds.append((mine, size / float(run(theirs, threads, listing))))
            mine, other = (statistics.median(side) for side in zip(*speeds))
            ratio = statistics.median(m / o for m, o in speeds)
            rows.append(f"| {threads} | {mine / 1e6:.1f} | {other / 1e6:.2f} | {ratio:.1f} |")
    table = "\n".join([f"{len(files)} files, {size / 1e6:.1f} MB, {len(ours)} tokens, the same ids", "",
                       "| threads | pscale_data prepare, MB/s | tokenizers encode_batch, MB/s | ratio |",
                       "|---|---|---|---|", *rows])
    print(table)
    if a.out:
        Path(a.out).write_text(table + "\n")


if __name__ == "__main__":
    main()
