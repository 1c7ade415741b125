"""The events file of a run folder, read by the tensorboard package and held against metrics.jsonl."""

import json
import math
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

TOOL = os.path.join(os.environ["PSCALE_BIN"], "write_run_log")


def write(folder, first, last):
    done = subprocess.run([TOOL, str(folder), str(first), str(last)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def rows_of(folder):
    with open(folder / "metrics.jsonl") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, write(folder, 1, 50)


def test_scalars_equal_metrics(run):
    folder, tags = run
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == list(range(1, 51))
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    used = {tags[key] for row in rows for key, value in row.items() if key in tags and value is not None}
    assert set(events.Tags()["scalars"]) == used
    assert {"train/loss", "validation/loss", "replicas/cosine"} <= used and "speed/mfu" not in used
    for key, tag in tags.items():
        known = [row for row in rows if row.get(key) is not None]
        got = events.Scalars(tag) if known else []
        assert [e.step for e in got] == [row["step"] for row in known], tag
        assert [e.wall_time for e in got] == [row["time"] for row in known], tag
        assert [e.value for e in got] == [float(np.float32(row[key])) for row in known], tag


def test_numbers_of_metrics_round_trip(run):
    folder, _ = run
    for row in rows_of(folder):
        step = float(row["step"])
        assert row["loss"] == 5.5 / math.sqrt(step) + 0.1
        assert row["learning_rate"] == 3e-4 * step / 7
        assert row["replica_cosine"] == -1e-300 * step
        assert row["time"] == 1.7e9 + step / 3
        assert row["memory_peak_bytes"] == 2**33 + row["step"]
        assert row["grad_norm"] == (None if step == 3 else 1 / step)
        assert row["mfu"] is None
        assert ("validation_loss" in row) == (row["step"] % 4 == 0)


def test_first_record_is_the_file_version(run):
    folder, _ = run
    (path,) = folder.glob("events.out.tfevents.*")
    records = list(EventFileLoader(str(path)).Load())
    assert records[0].file_version == "brain.Event:2"
    assert len(records) == 51


def test_damage_is_noticed(run, tmp_path):
    """The checksums are real: a flipped bit in a record ends what the reader accepts."""
    folder, _ = run
    (path,) = folder.glob("events.out.tfevents.*")
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    damaged = tmp_path / path.name
    damaged.write_bytes(data)
    assert len(list(EventFileLoader(str(damaged)).Load())) == 50


def test_a_later_run_appends(tmp_path):
    write(tmp_path, 1, 3)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step":4,"ti')  # as a crash leaves it
    write(tmp_path, 4, 6)
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "log.txt").read_text().count("made-up run") == 2


CONSOLE = os.path.join(os.environ["PSCALE_BIN"], "print_console")


def through_terminal(command, **variables):
    """What `command` prints when a pseudo-terminal is its standard output."""
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_", "MPI_"))}
    with subprocess.Popen(command, stdout=theirs, env={**environment, "TERM": "xterm", **variables}) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 1000)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            text += part
    os.close(ours)
    assert process.returncode == 0
    return text.decode().strip()


def test_console_is_rewritten_only_where_a_person_watches():
    assert through_terminal([CONSOLE]) == "rewrites"
    assert through_terminal([CONSOLE], TERM="dumb") == "plain"
    assert subprocess.run([CONSOLE], capture_output=True, text=True, check=True).stdout.strip() == "plain"


def test_a_launcher_that_writes_to_a_file_gets_plain_lines(tmp_path):
    """mpirun hands its ranks a pseudo-terminal whatever its own output is."""
    script = "import sys; sys.path.insert(0, sys.argv[2]); import tensorboard_test as t\n" \
             "print(t.through_terminal([sys.argv[1]], PMIX_RANK='0'), flush=True)"
    command = [sys.executable, "-c", script, CONSOLE, os.path.dirname(os.path.abspath(__file__))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "plain"
    assert through_terminal(command) == "rewrites"
