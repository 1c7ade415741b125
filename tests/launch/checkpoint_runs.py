"""Tiny training runs, and an independent reader of what they save: shared by the tests of checkpoints."""

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path

import xxhash

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])

# P = 4 with cross-replica attention on one layer; steps of milliseconds, checkpoints of half a megabyte.
TINY = """
[model]
vocab_size = 257
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
tie_word_embeddings = true
[parscale]
parscale_n = 4
parscale_n_tokens = 4
enable_cross_attn = true
parscale_cross_attn_layers = [1]
[train]
max_steps = 12
global_batch = 4
micro_batch = 1
sequence_length = 32
[optimizer]
learning_rate = 3e-3
warmup_steps = 3
[data]
train = "{data}"
validation_interval = 0
[log]
interval = 1
tensorboard = false
peak_flops = 1e12
[checkpoint]
save_interval = 4
save_minutes = 0
keep_last = 0
"""

# What a step computes; the rest of a row is time and memory.
COMPUTED = ("step", "tokens", "loss", "grad_norm", "learning_rate", "validation_loss", "skipped_steps",
            "replica_share_entropy", "replica_cosine")


def prepare(folder):
    """Token files of some of this project's text and a configuration that names them: its path."""
    text = sorted((SOURCE / "tests/data").glob("*.cpp"))
    subprocess.run([BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", folder / "text", *text],
                   check=True, capture_output=True)
    path = folder / "tiny.toml"
    path.write_text(TINY.format(data=folder / "text"))
    return path


def command(config, folder, *arguments, layout="1x1x1", wrapper=()):
    """Of a run in `folder`. layout: data x replica x tensor. wrapper: a command that runs the program of each rank."""
    data, replica, tensor = map(int, layout.split("x"))
    ranks = data * replica * tensor
    start = ["mpirun", "-np", ranks] if ranks > 1 else []
    sizes = [f"parallel.data={data}", f"parallel.replica={replica}", f"parallel.tensor={tensor}"]
    return [str(a) for a in [*start, *wrapper, BIN / "pscale_train", config, f"run.dir={folder}", *sizes, *arguments]]


def preload(folder, **variables):
    """A wrapper with tools/trace_calls.c, which traces calls on paths below `folder` and knows these variables."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    return ["env", f"LD_PRELOAD={BIN / 'trace_calls.so'}", f"TRACE_FOLDER={folder}", *settings]


def train(config, folder, *arguments, layout="1x1x1", wrapper=(), code=0, cwd=None):
    """Runs it to its end, which must have the exit code `code`."""
    done = subprocess.run(command(config, folder, *arguments, layout=layout, wrapper=wrapper), env=environment(),
                          capture_output=True, text=True, check=False, timeout=300, cwd=cwd)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1"}


def ranks_of(run):
    """The process ids of a run's ranks, whether mpirun started them or not."""
    ranks = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # it has ended
            fields = dict(re.findall(r"^(\w+):\t(.*)$", status.read_text(), re.MULTILINE))
            if fields["Name"] == "pscale_train" and str(run.pid) in (fields["Pid"], fields["PPid"]):
                ranks.append(int(fields["Pid"]))
    return sorted(ranks)


def errors(done):
    return [line for line in done.stderr.splitlines() if line.startswith("error:")]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def computed(folder):
    """The rows of a run without time and memory: equal for runs that computed the same bits."""
    return [{key: row[key] for key in row if key in COMPUTED or key.startswith("validation_loss/")} for row in rows(folder)]


def log(folder):
    return (folder / "log.txt").read_text()


def state_of(folder):
    """The hash of weights and moments that a run ends with."""
    return re.findall(r"state ([0-9a-f]+)", log(folder))[-1]


def saved_steps(folder):
    return sorted(int(path.name.removeprefix("step_")) for path in (folder / "checkpoints").glob("step_*"))


def checkpoint(folder, step):
    return folder / f"checkpoints/step_{step:08}"


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


def files_of(path):
    """All files of a checkpoint, the manifest first, relative to its folder."""
    return ["manifest.json", *(file["path"] for file in manifest(path)["files"])]


def damage(path):
    """What of a checkpoint is not as its manifest says; each item names the file. A second implementation of verify."""
    if not (path / "manifest.json").exists():
        return ["manifest.json: missing"]
    text = (path / "manifest.json").read_bytes()
    tail = re.search(rb',\n"xxh3": "([0-9a-f]{16})"}\n\Z', text)
    if not tail or xxhash.xxh3_64_hexdigest(text[:tail.start()]) != tail[1].decode():
        return ["manifest.json: hash"]
    found = []
    for file in json.loads(text)["files"]:
        if not (path / file["path"]).exists():
            found.append(f"{file['path']}: missing")
            continue
        content = (path / file["path"]).read_bytes()
        if len(content) != file["bytes"]:
            found.append(f"{file['path']}: size")
            continue
        at, between = 0, xxhash.xxh3_64()
        for dataset in sorted(file["datasets"], key=lambda d: d["offset"]):
            begin, end = dataset["offset"], dataset["offset"] + dataset["bytes"]
            between.update(content[at:begin])
            at = end
            if xxhash.xxh3_64_hexdigest(content[begin:end]) != dataset["xxh3"]:
                found.append(f"{file['path']}: {dataset['kind']}/{dataset['tensor']}")
        between.update(content[at:])
        if between.hexdigest() != file["structure_xxh3"]:
            found.append(f"{file['path']}: structure")
    return found
