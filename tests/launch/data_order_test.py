"""Blended, packed runs: every layout and every resume sees the same samples, and the metrics tell the sources apart."""

import shutil
import subprocess

import numpy as np
import pytest
from checkpoint_runs import BIN, SOURCE, TINY, command, computed, environment, errors, rows, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DATA = """
train = [
  {{path = "{folder}/code", weight = 0.7}},
  {{path = "{folder}/lines", weight = 0.3}},
]
pack = "document"
validation_interval = 6
validation_samples = 5
validation_fraction = 0.05
"""


def prepare(prefix, files):
    subprocess.run([BIN / "pscale_data", "prepare", "--tokenizer", "bytes", "--out", prefix, *files], check=True,
                   capture_output=True)


def copy(prefix, to):
    for end in ("bin", "idx", "meta.json"):
        shutil.copyfile(f"{prefix}.{end}", f"{to}.{end}")


def losses(folder):
    return [row["loss"] for row in rows(folder)]


def cache(folder):
    return {file: file.stat().st_mtime_ns for file in folder.glob("*.cache/*.index")}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blend")
    prepare(folder / "code", sorted((SOURCE / "core/base").glob("*.cpp")))
    # Documents shorter than a sequence, so that packing has borders to keep.
    for i in range(300):
        (folder / f"line{i}.txt").write_text(f"{i} squared is {i * i}")
    prepare(folder / "lines", sorted(folder.glob("line*.txt")))
    path = folder / "tiny.toml"
    path.write_text(TINY.replace('train = "{data}"\nvalidation_interval = 0', DATA).format(folder=folder))
    return path


@pytest.fixture(scope="module")
def single(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single") / "run"
    train(config, folder, "log.tensorboard=true")
    return folder


@pytest.mark.parametrize("layout", ["4x1x1", "2x2x1", "1x2x2"])
def test_every_layout_sees_the_same_samples(config, single, layout, tmp_path):
    train(config, tmp_path, layout=layout)
    for a, b in zip(rows(single), rows(tmp_path), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5), a["step"]
        for key in ("validation_loss", "validation_loss/code", "validation_loss/lines"):
            assert (key in a) == (key in b) == (a["step"] in (6, 12))
            if key in a:
                assert b[key] == pytest.approx(a[key], rel=1e-5)


@pytest.mark.parametrize("step", [1, 5, 11])
def test_resuming_is_exact_at_any_step(config, single, step, tmp_path):
    train(config, tmp_path, f"checkpoint.save_interval={step}")
    for folder in (tmp_path / "checkpoints").glob("step_*"):
        if int(folder.name.removeprefix("step_")) != step:
            shutil.rmtree(folder)
    before = cache(config.parent)
    done = train(config, tmp_path)
    assert f"after step {step}" in done.stdout + done.stderr
    assert computed(tmp_path) == computed(single)
    assert cache(config.parent) == before


def test_resuming_under_another_layout(config, single, tmp_path):
    shutil.copytree(single, tmp_path / "run", symlinks=True)
    shutil.rmtree(tmp_path / "run/checkpoints/step_00000012")
    done = train(config, tmp_path / "run", layout="2x2x1")
    assert "after step 8" in done.stdout + done.stderr
    for a, b in zip(computed(single), computed(tmp_path / "run"), strict=True):
        assert b == (a if a["step"] <= 8 else pytest.approx(a, rel=1e-4))


def test_validation_losses_of_each_source(single):
    row = rows(single)[-1]
    code, lines = row["validation_loss/code"], row["validation_loss/lines"]
    assert code != lines
    assert row["validation_loss"] == pytest.approx(0.7 * code + 0.3 * lines)
    events = EventAccumulator(str(single))
    events.Reload()
    assert events.Scalars("validation/loss/code")[-1].value == pytest.approx(code)


def test_files_of_their_own_for_validation(config, tmp_path):
    folder = config.parent
    short = ("train.max_steps=2", "data.validation_interval=2")
    train(config, tmp_path / "run", *short, f'data.validation=["{folder}/lines", "{folder}/code"]')
    assert {"validation_loss/lines", "validation_loss/code"} <= rows(tmp_path / "run")[-1].keys()
    train(config, tmp_path / "one", *short, f"data.validation={folder}/lines")
    assert "validation_loss" in rows(tmp_path / "one")[-1]
    assert not [key for key in rows(tmp_path / "one")[-1] if key.startswith("validation_loss/")]


def test_the_resolved_configuration_reads_back(single, tmp_path):
    train(single / "config.toml", tmp_path)
    assert computed(tmp_path) == computed(single)
    lines = [[line for line in (run / "config.toml").read_text().splitlines() if line.startswith("train = ")]
             for run in (single, tmp_path)]
    assert lines[0] == lines[1]


def test_packing_changes_what_is_trained(config, single, tmp_path):
    train(config, tmp_path, "data.pack=stream", "train.max_steps=2")
    assert abs(losses(tmp_path)[0] - losses(single)[0]) > 1e-5


def test_the_mixture_may_not_change(config, single, tmp_path):
    folder = config.parent
    sources = 'data.train=[{{path="{}",weight={}}},{{path="{}",weight={}}}]'
    for change, problem in [
            (sources.format(folder / "code", 0.6, folder / "lines", 0.4), "weights 0.6, 0.4, was 2 sources with weights 0.7, 0.3"),
            (f'data.train=["{folder}/code","{folder}/lines"]', "data.train is 2 sources mixed by size"),
            (f"data.train={folder}/code", "data.train is one source"),
            (sources.format(folder / "lines", 0.7, folder / "code", 0.3), "the token files of data.train[0] are not those"),
            ("data.pack=stream", 'data.pack is "stream", was "document"'),
            ("data.validation_interval=0", "data.validation_fraction is 0.0, was 0.05")]:
        done = train(config, tmp_path / "run", "--resume", single, "train.max_steps=13", change, code=2)
        assert problem in done.stderr, done.stderr
    # Files that have moved are the same files.
    for name in ("code", "lines"):
        copy(folder / name, tmp_path / name)
    train(config, tmp_path / "run", "--resume", single, "train.max_steps=13",
          sources.format(tmp_path / "code", 0.7, tmp_path / "lines", 0.3))
    assert [row["step"] for row in rows(tmp_path / "run")] == [13]


def test_ranks_of_a_node_share_one_index(config, single, tmp_path):
    folder = config.parent
    for file in folder.glob("*.cache/*.index"):
        file.unlink()
    train(config, tmp_path / "cold", layout="4x1x1")
    made = cache(folder)
    assert sorted(file.parent.name for file in made) == ["code.cache", "lines.cache"]
    assert not list(folder.glob("*.cache/*.partial"))
    train(config, tmp_path / "warm", layout="4x1x1")
    assert cache(folder) == made
    for file in made:
        file.write_bytes(file.read_bytes()[:-3])
    train(config, tmp_path / "damaged", layout="4x1x1")
    assert cache(folder).keys() == made.keys()
    assert computed(tmp_path / "cold") == computed(tmp_path / "warm") == computed(tmp_path / "damaged")


def test_data_in_a_folder_that_may_only_be_read(config, single, tmp_path):
    for name in ("code", "lines"):
        copy(config.parent / name, tmp_path / name)
        (tmp_path / f"{name}.cache").touch()  # the superuser may write anywhere, but not below a file
    train(config, tmp_path / "run",
          f'data.train=[{{path="{tmp_path}/code",weight=0.7}},{{path="{tmp_path}/lines",weight=0.3}}]')
    assert computed(tmp_path / "run") == computed(single)


def test_problems_name_every_source(config, tmp_path):
    small = tmp_path / "small.txt"
    small.write_text("too small")
    prepare(tmp_path / "small", [small])
    sources = f'data.train=["{tmp_path}/none","{tmp_path}/small"]'
    done = train(config, tmp_path / "run", sources, "data.validation_interval=0", code=2)
    assert f"error: command line: data.train: {tmp_path}/none.idx and .bin: no such files" in done.stderr
    assert f"error: command line: data.train: {tmp_path}/small: training has 1 of 1 documents" in done.stderr
    done = train(config, tmp_path / "run", "data.validation=[]", code=2)
    assert errors(done) == ["error: command line: data.validation names no token files; give their prefix, or leave the key out"]
    # A plan needs no files.
    train(config, tmp_path / "run", "--dry-run", sources)


def test_sources_of_two_tokenizers_do_not_mix(config, tmp_path):
    copy(config.parent / "lines", tmp_path / "lines")
    meta = tmp_path / "lines.meta.json"
    meta.write_text(meta.read_text().replace('"bytes"', '"0123"'))
    done = train(config, tmp_path / "run", f'data.train=["{config.parent}/code","{tmp_path}/lines"]', code=2)
    assert errors(done) == [
        f"error: command line: data.train: {tmp_path}/lines: its tokens were made with the tokenizer 0123, those of {config.parent}/code with bytes; "
        "prepare both with the same one"]


def test_ranks_with_other_files_stop(config, tmp_path):
    prepare(tmp_path / "text", sorted((SOURCE / "data").glob("*/*.cpp")))
    program = command(config, tmp_path / "run")
    mixed = ["mpirun", *[word for prefix in (config.parent / "code", tmp_path / "text")
                         for word in ("-np", "1", *program, "parallel.data=2", f"data.train={prefix}", ":")][:-1]]
    done = subprocess.run(mixed, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "error: data.train: rank 1 has opened other token files than rank 0" in done.stderr, done.stderr


def write_megatron(prefix, lengths, tokens):
    """A pair of token files as Megatron writes them: documents of two sequences each, no .meta.json."""
    tokens.astype("<u2").tofile(f"{prefix}.bin")
    halves = np.stack([lengths // 2, lengths - lengths // 2], axis=1).ravel()
    begins = np.concatenate([[0], np.cumsum(halves)[:-1]]) * 2
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\0\0" + np.uint64(1).tobytes() + b"\x08" + np.uint64([len(halves), len(lengths) + 1]).tobytes())
        file.write(halves.astype("<i4").tobytes() + begins.astype("<i8").tobytes())
        file.write(np.arange(0, len(halves) + 1, 2, dtype="<i8").tobytes())


def test_a_large_file_of_another_program(config, tmp_path):
    """Tens of megabytes, and nothing that says their vocabulary: read for it once; training does not wait for data."""
    random = np.random.default_rng(1)
    lengths = random.integers(100, 1000, 30000)
    write_megatron(tmp_path / "large", lengths, random.integers(0, 250, lengths.sum()))
    arguments = ["train.max_steps=12", "model.num_hidden_layers=4", "train.sequence_length=256", f"data.train={tmp_path}/large"]
    train(config, tmp_path / "run", *arguments, layout="2x1x1")
    made = cache(tmp_path)
    assert sorted(file.name.split("-")[0] for file in made) == ["order", "vocabulary"]
    train(config, tmp_path / "again", *arguments, layout="2x1x1")
    assert cache(tmp_path) == made
    assert losses(tmp_path / "again") == losses(tmp_path / "run")
    # The middle of the steps, as other programs may have the machine for some of them.
    assert np.median([row["data_wait_seconds"] / row["step_seconds"] for row in rows(tmp_path / "again")]) < 0.02
    # Too small a vocabulary is found before the first step.
    done = train(config, tmp_path / "bad", *arguments, "model.vocab_size=200", code=2)
    assert errors(done) == [f"error: command line: data.train: {tmp_path}/large: its tokens need a vocabulary of 250, but model.vocab_size = 200"]
