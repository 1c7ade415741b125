"""Starting a run from a model that exists: train.init_from."""

import json
import subprocess

import pytest
from checkpoint_runs import BIN, computed, environment, errors, train


@pytest.fixture(scope="module")
def base(tiny, tmp_path_factory):
    """A run/ of a few steps, and its export, hf/."""
    folder = tmp_path_factory.mktemp("base")
    train(tiny, folder / "run", "train.max_steps=4")
    subprocess.run([BIN / "pscale_ckpt", "convert", "--from", folder / "run", "--to", folder / "hf"], check=True,
                   capture_output=True, env=environment())
    return folder


def test_a_checkpoint_and_its_export_are_the_same_start(tiny, base, tmp_path):
    for kind, layout in [("run", "1x1x1"), ("hf", "1x1x1"), ("hf", "2x2x2")]:
        train(tiny, tmp_path / (kind + layout), f"train.init_from={base / kind}", "train.max_steps=3", layout=layout)
    assert computed(tmp_path / "run1x1x1") == computed(tmp_path / "hf1x1x1")
    for a, b in zip(computed(tmp_path / "hf1x1x1"), computed(tmp_path / "hf2x2x2"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
    train(tiny, tmp_path / "new", "train.max_steps=1")
    assert computed(tmp_path / "run1x1x1")[0]["loss"] < computed(tmp_path / "new")[0]["loss"] - 0.1


def test_frozen_weights_stay_and_take_no_moments(tiny, base, tmp_path):
    train(tiny, tmp_path / "run", f"train.init_from={base / 'hf'}", "train.freeze_pretrained=true", "train.max_steps=4")
    manifest = json.loads((tmp_path / "run/checkpoints/latest/manifest.json").read_text())
    before = json.loads((base / "run/checkpoints/latest/manifest.json").read_text())
    datasets = {(d["kind"], d["tensor"]): d["xxh3"] for f in manifest["files"] for d in f["datasets"]}
    original = {(d["kind"], d["tensor"]): d["xxh3"] for f in before["files"] for d in f["datasets"]}
    frozen = [name for name, tensor in manifest["tensors"].items() if not tensor["trained"]]
    assert 0 < len(frozen) < len(manifest["tensors"])
    for name in frozen:
        assert datasets["weights", name] == original["weights", name]
        assert ("exp_avg", name) not in datasets
    assert any(datasets["weights", n] != original["weights", n] for n in manifest["tensors"] if n not in frozen)


def test_tokens_of_another_tokenizer_are_refused(tiny, base, tmp_path):
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", base / "hf", other], check=True)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    symbols = tokenizer["model"]["vocab"]
    symbols["a"], symbols["b"] = symbols["b"], symbols["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    (problem,) = errors(train(tiny, tmp_path / "run", f"train.init_from={other}", code=2))
    assert "tokenizer" in problem and str(tiny.parent / "text") in problem and "train.init_from" in problem
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_is_refused_by_name(tiny, base, tmp_path):
    other_width = train(tiny, tmp_path / "run", f"train.init_from={base / 'hf'}", "model.hidden_size=64", code=2)
    assert "model.hidden_size = 64" in errors(other_width)[0] and "has 32" in errors(other_width)[0]
    fewer = train(tiny, tmp_path / "run", f"train.init_from={base / 'hf'}", "parscale.parscale_n=2", code=2)
    assert any("prefix_k" in line for line in errors(fewer))
    absent = train(tiny, tmp_path / "run", "train.init_from=somebody/something", code=2)
    assert "hf download somebody/something" in errors(absent)[0]
    assert not (tmp_path / "run").exists()
