#!/usr/bin/env python3
"""Holds `pscale_bench step` against the PyTorch program beside this file, in alternating runs on one machine.

    build/venv/bin/python launch/bench/compare_torch.py [--rounds 3] [--bin build/bin] [--out FILE.md]

Shape: small.json, batch 2, sequence 512, float32, two threads in all. Needs torch (tests/requirements.txt). Every round
runs each program once; a ratio is taken round by round, so that a machine whose speed drifts does not decide, and its
median is what counts. Two ranks have one thread each, and half of the work each where the batch is split.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}


def last_json(command, threads):
    env = os.environ | MPI | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1])


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--steps", type=int, default=6)
    a.add_argument("--bin", default=str(ROOT / "build/bin"))
    a.add_argument("--python", default=sys.executable, help="the Python that has torch")
    a.add_argument("--skip-torch", action="store_true", help="only the layouts of pscale")
    a.add_argument("--out", help="write the table to this file, too")
    a = a.parse_args()

    bench = [f"{a.bin}/pscale_bench", "step", str(ROOT / "configs/bench/small.toml"), f"--steps={a.steps}"]
    torch = [a.python, str(HERE / "torch_parscale.py"), str(HERE / "small.json"), "--batch", "2", "--seq", "512",
             "--steps", str(a.steps)]
    two = ["mpirun", "-np", "2", *bench]
    programs = {
        "pscale, one process, 2 threads": (bench, 2),
        "pscale, 2 ranks, replica 2": ([*two, "parallel.replica=2", "parallel.data=1"], 1),
        "pscale, 2 ranks, data 2": ([*two, "parallel.replica=1", "parallel.data=2", "train.micro_batch=1"], 1),
    }
    if not a.skip_torch:
        programs["PyTorch --compile"] = ([*torch, "--compile"], 2)
        programs["PyTorch eager"] = (torch, 2)

    results = {name: [] for name in programs}
    for number in range(a.rounds):
        for name, (command, threads) in programs.items():
            result = last_json(command, threads)
            results[name].append(result)
            print(f"round {number + 1}: {name}: {result['tokens_per_second']:.1f} tokens/s, "
                  f"{result['peak_memory_mib']} MiB", flush=True)

    def ratio(name, other, key):
        return statistics.median(x[key] / y[key] for x, y in zip(results[name], results[other]))

    one = "pscale, one process, 2 threads"
    lines = [f"{datetime.date.today()}, {processor()}, {os.cpu_count()} cores, {a.rounds} rounds of {a.steps} steps.", "",
             "| program | tokens/s | model GFLOP/s | peak memory of a process (MiB) | tokens/s over one pscale process |",
             "| --- | --- | --- | --- | --- |"]
    for name, rows in results.items():
        mid = lambda key: statistics.median(r[key] for r in rows)  # noqa: E731, B023
        lines.append(f"| {name} | {mid('tokens_per_second'):.1f} | {mid('model_gflops'):.1f} | "
                     f"{mid('peak_memory_mib'):.0f} | {ratio(name, one, 'tokens_per_second'):.2f} |")
    if not a.skip_torch:
        lines += ["", f"Against `--compile`: {ratio(one, 'PyTorch --compile', 'tokens_per_second'):.2f} times its tokens/s "
                      f"at {ratio(one, 'PyTorch --compile', 'peak_memory_mib'):.2f} of its peak memory."]
    text = "\n".join(lines)
    print(text)
    if a.out:
        Path(a.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
