"""Whole runs of pscale_train on real text: what every layout must agree on, and what a run folder holds."""

import json
import math
import os
import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])

# P = 4 with cross-replica attention on one layer, head counts that tensor = 2 divides; seconds a run.
SMALL = """
[model]
vocab_size = 257
hidden_size = 48
intermediate_size = 96
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
tie_word_embeddings = true
[parscale]
parscale_n = 8
parscale_n_tokens = 4
enable_cross_attn = true
parscale_cross_attn_layers = [1]
[train]
max_steps = 20
global_batch = 8
micro_batch = 1
sequence_length = 37
[optimizer]
learning_rate = 3e-3
warmup_steps = 5
[data]
train = "{data}"
validation_interval = 10
validation_samples = 3
validation_fraction = 0.1
[log]
interval = 1
"""


def run(*arguments, ranks=1, threads=1, check=True):
    command = ["mpirun", "-np", str(ranks), BIN / "pscale_train", *arguments] if ranks > 1 else [BIN / "pscale_train", *arguments]
    done = subprocess.run([str(a) for a in command], env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                          capture_output=True, text=True, timeout=600)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def state_of(folder):
    return re.search(r"state ([0-9a-f]+)", (folder / "log.txt").read_text()).group(1)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    text = sorted((SOURCE / "core").rglob("*.h")) + sorted((SOURCE / "core").rglob("*.cpp"))  # what seldom changes
    subprocess.run([BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", folder / "text", *text],
                   check=True, capture_output=True)
    path = folder / "small.toml"
    path.write_text(SMALL.format(data=folder / "text"))
    return path


LAYOUTS = {"1x1x1": (1, 1, 1), "2x2x2": (2, 2, 2), "1x4x1": (1, 4, 1), "8x1x1": (8, 1, 1)}


@pytest.fixture(scope="module")
def runs(config, tmp_path_factory):
    folders = {}
    for name, (data, replica, tensor) in LAYOUTS.items():
        folders[name] = tmp_path_factory.mktemp("layout") / name
        run(config, f"run.dir={folders[name]}", f"parallel.data={data}", f"parallel.replica={replica}",
            f"parallel.tensor={tensor}", ranks=data * replica * tensor)
    return folders


def test_layouts_give_the_same_losses(runs):
    single = rows(runs["1x1x1"])
    assert [r["step"] for r in single] == list(range(1, 21))
    assert single[-1]["loss"] < single[0]["loss"] - 1
    for name, folder in runs.items():
        for a, b in zip(single, rows(folder), strict=True):
            assert b["loss"] == pytest.approx(a["loss"], rel=1e-5), (name, a["step"])
            assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3), (name, a["step"])
            if "validation_loss" in a:
                assert b["validation_loss"] == pytest.approx(a["validation_loss"], rel=1e-5), name
            assert b["replica_share_entropy"] == pytest.approx(a["replica_share_entropy"], rel=1e-2), name
            assert b["replica_cosine"] == pytest.approx(a["replica_cosine"], abs=1e-2), name


@pytest.mark.parametrize("name", ["1x1x1", "2x2x2"])
def test_same_layout_gives_the_same_bits(name, runs, config, tmp_path):
    data, replica, tensor = LAYOUTS[name]
    again = tmp_path / "again"
    run(config, f"run.dir={again}", f"parallel.data={data}", f"parallel.replica={replica}", f"parallel.tensor={tensor}",
        ranks=data * replica * tensor)
    for key in ("loss", "grad_norm", "learning_rate"):
        assert [r[key] for r in rows(again)] == [r[key] for r in rows(runs[name])]
    assert state_of(again) == state_of(runs[name])


def test_accumulation_changes_nothing(runs, config, tmp_path):
    folder = tmp_path / "micro"
    run(config, f"run.dir={folder}", "train.micro_batch=4")
    for a, b in zip(rows(runs["1x1x1"]), rows(folder), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)


@pytest.mark.parametrize("what", ["attention", "block"])
def test_recomputation_changes_no_bits_and_saves_memory(what, runs, config, tmp_path):
    folder = tmp_path / what
    run(config, f"run.dir={folder}", f"train.recompute={what}")
    assert [r["loss"] for r in rows(folder)] == [r["loss"] for r in rows(runs["1x1x1"])]
    assert state_of(folder) == state_of(runs["1x1x1"])
    assert rows(folder)[-1]["memory_peak_bytes"] < rows(runs["1x1x1"])[-1]["memory_peak_bytes"]


def test_the_run_folder_is_complete(runs):
    folder = runs["2x2x2"]
    row = rows(folder)[-1]
    for key in ("step", "time", "tokens", "loss", "grad_norm", "learning_rate", "step_seconds", "tokens_per_second",
                "model_flops_per_second", "mfu", "memory_peak_bytes", "validation_loss", "replica_share_entropy",
                "replica_cosine"):
        assert key in row, key
    assert row["tokens"] == 20 * 8 * 37
    assert 0 < row["replica_share_entropy"] <= math.log(8) + 1e-6
    assert 0 < row["mfu"] < 1
    assert (folder / "config.toml").exists()
    assert list(folder.glob("events.out.tfevents.*"))


def test_the_resolved_config_runs_the_same(runs, tmp_path):
    folder = tmp_path / "again"
    run(runs["1x1x1"] / "config.toml", f"run.dir={folder}", "train.max_steps=3")
    assert [r["loss"] for r in rows(folder)] == [r["loss"] for r in rows(runs["1x1x1"])[:3]]


@pytest.mark.parametrize("name", ["1x1x1", "2x2x2", "1x4x1"])
def test_the_plan_is_within_15_percent_of_the_measured_peak(name, runs, config):
    data, replica, tensor = LAYOUTS[name]
    done = run(config, "--dry-run", f"--ranks={data * replica * tensor}", f"parallel.data={data}",
               f"parallel.replica={replica}", f"parallel.tensor={tensor}")
    planned = int(re.search(r"memory_peak_bytes (\d+)", done.stdout).group(1))
    measured = rows(runs[name])[-1]["memory_peak_bytes"]
    assert planned == pytest.approx(measured, rel=0.15)


def test_values_that_are_not_finite_skip_updates_and_end_the_run(config, tmp_path):
    done = run(config, f"run.dir={tmp_path / 'nan'}", "optimizer.learning_rate=1e38", "optimizer.warmup_steps=0",
               ranks=2, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    log = (tmp_path / "nan/log.txt").read_text()
    skipped = re.findall(r"step (\d+): .*update skipped, samples (\d+) to (\d+)", log)
    assert len(skipped) == 4  # train.max_skipped_steps = 3 in a row are allowed
    step, first, last = map(int, skipped[0])
    assert (first, last) == ((step - 1) * 8, step * 8 - 1)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "train.max_skipped_steps" in errors[0], done.stderr


def test_bad_degrees_are_all_named_at_once(config):
    done = run(config, "--dry-run", "--ranks=6", "parallel.replica=3", "parallel.tensor=5", check=False)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert any("parallel.replica" in e for e in errors) and any("parallel.tensor" in e for e in errors), done.stderr


def test_an_error_is_printed_once_under_mpirun(config):
    done = run(config, "model.hiden_size=32", ranks=4, check=False)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "hidden_size" in errors[0], done.stderr


def test_bfloat16_learns_too(config, tmp_path):
    folder = tmp_path / "bfloat16"
    run(config, f"run.dir={folder}", "train.dtype=bfloat16", "train.max_steps=10", ranks=2)
    losses = [r["loss"] for r in rows(folder)]
    assert losses[-1] < losses[0] - 0.5


def test_the_main_example_learns(config, tmp_path):
    """configs/xattn.toml as shipped, 8 ranks, on this repository's own text: far below the 5.55 nats of knowing nothing."""
    done = run(SOURCE / "configs/xattn.toml", f"run.dir={tmp_path / 'xattn'}", f"data.train={config.parent / 'text'}",
               "train.max_steps=40", "data.validation_interval=40", "data.validation_fraction=0.1", ranks=8)
    losses = [r["loss"] for r in rows(tmp_path / "xattn")]
    assert losses[0] > 5
    assert losses[-1] < 3.3, losses
    assert rows(tmp_path / "xattn")[-1]["validation_loss"] < 3.6
    assert "step 40/40" in done.stdout


def test_replica_ranks_share_the_activations():
    """The replica axis is there for this: four replica ranks hold at most 0.30 of the activations of one."""
    peaks = {}
    for replica in (1, 4):
        done = run(SOURCE / "configs/bench/small.toml", "--dry-run", f"--ranks={replica}", f"parallel.replica={replica}")
        peaks[replica] = float(re.search(r"^ +activations +\S+ +(\S+)", done.stdout, re.MULTILINE).group(1))
    assert peaks[4] <= 0.30 * peaks[1], peaks


def test_weights_that_are_not_there_are_refused_before_anything_is_written(config, tmp_path):
    done = run(config, f"run.dir={tmp_path / 'start'}", "train.init_from=models/x", check=False)
    assert done.returncode == 2 and "train.init_from" in done.stderr
    assert not (tmp_path / "start").exists()


def test_an_earlier_run_is_set_aside(config, tmp_path):
    folder = tmp_path / "twice"
    for _ in range(2):
        run(config, f"run.dir={folder}", "train.max_steps=2", "--resume=none")
    assert [r["step"] for r in rows(folder)] == [1, 2]
    assert [r["loss"] for r in rows(folder / "previous_1")] == [r["loss"] for r in rows(folder)]
    assert "previous_1" in (folder / "log.txt").read_text()


def test_a_folder_that_cannot_be_written_is_named(config, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(config, f"run.dir={tmp_path / 'file/run'}", check=False)
    assert done.returncode == 2 and "run.dir" in done.stderr, done.stderr


def test_an_error_on_one_rank_ends_the_job(config, tmp_path):
    """A damaged token lies in one sample, so one data rank meets it while the other waits in a collective."""
    (tmp_path / "text.txt").write_text("all ranks but one are fine. " * 120)
    subprocess.run([BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", tmp_path / "text", tmp_path / "text.txt"],
                   check=True, capture_output=True)
    tokens = bytearray((tmp_path / "text.bin").read_bytes())
    tokens[2000:2002] = b"\xff\xff"
    (tmp_path / "text.bin").write_bytes(tokens)
    done = run(config, f"data.train={tmp_path / 'text'}", "data.validation_interval=0", f"run.dir={tmp_path / 'run'}",
               ranks=2, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(errors) == 1, done.stdout + done.stderr
    assert "text.bin" in errors[0] and "65535" in errors[0], errors
