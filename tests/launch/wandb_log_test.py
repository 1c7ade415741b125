"""launch/wandb_log.py against the files that W&B writes offline."""

import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest
from checkpoint_runs import SOURCE, rows, train

if not importlib.util.find_spec("wandb"):
    pytest.skip("wandb is not installed (tests/requirements.txt)", allow_module_level=True)

LOG = [sys.executable, str(SOURCE / "launch/wandb_log.py")]
ENVIRONMENT = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_PROJECT": "tests"}


def records(path):
    """The records of a .wandb file: LevelDB's log format behind a header of 7 bytes, each a protobuf."""
    from wandb.proto import wandb_internal_pb2 as protobuf

    data, at, part = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        part += data[at + 7:at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            record = protobuf.Record()
            record.ParseFromString(part)
            yield record
            part = b""


def logged(folder):
    """(ids of the W&B runs in the order they were begun, their rows)."""
    ids, found, config = [], [], {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda p: p.stat().st_mtime_ns):
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                assert record.run.project == "tests" and record.run.display_name == folder.name
                ids.append(record.run.run_id)
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                found.append({(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item})
    return ids, found, config


def log(*arguments):
    subprocess.run([*LOG, *map(str, arguments)], env=ENVIRONMENT, check=True, capture_output=True, timeout=120)


def without_own(found):
    return [{k: v for k, v in row.items() if not k.startswith("_")} for row in found]


@pytest.fixture
def run(tiny, tmp_path):
    train(tiny, tmp_path / "run", "train.max_steps=8", "checkpoint.save_interval=4")
    return tmp_path / "run"


def test_every_row_is_logged_with_the_configuration(run):
    log("--once", run)
    ids, found, config = logged(run)
    assert without_own(found) == [{k: v for k, v in row.items() if v is not None} for row in rows(run)]
    assert config["train.max_steps"] == 8 and config["parscale.parscale_cross_attn_layers"] == [1]
    assert ids == [json.loads((run / "wandb.json").read_text())["id"]]


def test_a_requeued_job_goes_on_in_the_same_run(tiny, run):
    log("--once", run)
    train(tiny, run, "train.max_steps=12")
    log("--once", run)
    ids, found, _ = logged(run)
    assert len(ids) == 2 and len(set(ids)) == 1
    assert [row["step"] for row in found] == list(range(1, 13))


def test_rows_that_a_resumed_run_computes_again_are_logged_once(tiny, run):
    log("--once", run)
    saved = rows(run)
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(text[:4]) + '{"step": 5, "lo')
    log("--once", run)  # cut back, and torn
    (run / "metrics.jsonl").write_text("".join(text))
    log("--once", run)
    assert [row["step"] for row in logged(run)[1]] == [row["step"] for row in saved]


def test_a_run_that_starts_afresh_is_another_run(tiny, run):
    log("--once", run)
    train(tiny, run, "train.max_steps=2", "--resume", "none")
    log("--once", run)
    ids, found, _ = logged(run)
    assert len(set(ids)) == 2
    assert [row["step"] for row in found] == [*range(1, 9), 1, 2]


def test_a_run_that_had_saved_nothing_is_begun_again_in_the_same_run(tiny, tmp_path):
    run = tmp_path / "run"
    words = ("train.max_steps=8", "checkpoint.save_interval=0")
    train(tiny, run, *words)
    shutil.rmtree(run / "checkpoints")  # as if the node failed before
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(text[:3]))
    log("--once", run)
    train(tiny, run, *words)
    assert (run / "previous_1/metrics.jsonl").exists()
    log("--once", run)
    ids, found, _ = logged(run)
    assert len(ids) == 2 and len(set(ids)) == 1
    assert [row["step"] for row in found] == list(range(1, 9))
    # One that had saved steps, or has another configuration now, is another run.
    shutil.rmtree(run / "checkpoints")
    train(tiny, run, "train.max_steps=9", "checkpoint.save_interval=0")
    log("--once", run)
    assert len(set(logged(run)[0])) == 2


def test_a_validation_that_was_made_up_is_logged(run):
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(text[:4]))
    log("--once", run)
    row = json.loads(text[3]) | {"validation_loss": 2.5}
    (run / "metrics.jsonl").write_text("".join([*text[:3], json.dumps(row) + "\n", *text[4:6]]))
    log("--once", run)
    log("--once", run)
    found = without_own(logged(run)[1])
    assert [row["step"] for row in found] == [1, 2, 3, 4, 4, 5, 6]
    assert found[4] == {"step": 4, "validation_loss": 2.5}


def test_it_follows_runs_to_their_end(tiny, run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    following = subprocess.Popen([*LOG, "--interval", "0.2", run, other], env=ENVIRONMENT)
    try:
        time.sleep(1)
        train(tiny, other, "train.max_steps=5")
        assert following.wait(timeout=60) == 0
    finally:
        following.kill()
    assert [row["step"] for row in logged(other)[1]] == [1, 2, 3, 4, 5]
    assert len(logged(run)[1]) == 8


def test_a_signal_ends_it_with_everything_logged(run):
    (run / "config.toml").write_text((run / "config.toml").read_text().replace("max_steps = 8", "max_steps = 80"))
    following = subprocess.Popen([*LOG, "--interval", "0.2", run], env=ENVIRONMENT)
    while not list(run.glob("wandb/offline-run-*")):
        time.sleep(0.1)
    following.send_signal(signal.SIGTERM)
    assert following.wait(timeout=60) == 0
    assert len(logged(run)[1]) == 8


def test_a_folder_that_is_not_there_is_named(tmp_path):
    done = subprocess.run([*LOG, tmp_path / "absent"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"error: no such folder: {tmp_path / 'absent'}" in done.stderr
