"""Every golden case under every layout that fits it, with recomputation, accumulation, bfloat16 and float64."""

import shutil

import pytest
import torch
from layouts import GOLDEN, fits, parity
from safetensors.torch import load_file, save_file

CASES = sorted(p.parent for p in GOLDEN.glob("*/config.json"))
LAYOUTS = [(d, r, t) for d in (1, 2) for r in (1, 2, 4) for t in (1, 2) if d * r * t <= 8]


def test_the_cases_are_here():
    assert len(CASES) == 15


@pytest.mark.parametrize("data,replica,tensor", LAYOUTS)
def test_layout(data, replica, tensor):
    cases = [c for c in CASES if fits(c, data, replica, tensor)]
    assert len(cases) >= 8
    parity(cases, data, replica, tensor)


@pytest.mark.parametrize("what", ["attention", "block"])
@pytest.mark.parametrize("data,replica,tensor", [(1, 1, 1), (2, 2, 2)])
def test_recomputation(what, data, replica, tensor):
    parity([c for c in CASES if fits(c, data, replica, tensor)], data, replica, tensor, f"--recompute={what}")


@pytest.mark.parametrize("data,replica,tensor,accumulate", [(1, 1, 1, 4), (2, 2, 1, 2)])
def test_accumulation(data, replica, tensor, accumulate):
    # Packed cases have a different number of counted targets in each micro-batch.
    parity([c for c in CASES if fits(c, data, replica, tensor)], data, replica, tensor, f"--accumulate={accumulate}")


@pytest.mark.parametrize("data,replica,tensor", [(1, 1, 1), (1, 2, 2)])
def test_bfloat16(data, replica, tensor):
    parity([c for c in CASES if fits(c, data, replica, tensor)], data, replica, tensor, "--dtype=bfloat16")


def test_float64():
    parity(CASES, 1, 1, 1, "--dtype=float64")


def test_avx2():
    parity(CASES, 1, 1, 1, "--isa=avx2")


def test_the_numbers_judged_from_outside(tmp_path):
    """The tolerances of docs/numerics.md, held against --out rather than against the program's own verdict."""
    for case in (c for c in CASES if fits(c, 2, 2, 2)):
        out = tmp_path / "out.safetensors"
        parity([case], 2, 2, 2, f"--out={out}")
        got, want = load_file(out), load_file(case / "expected.safetensors")
        for name in set(want) - {"tokens", "batches", "documents", "batch_documents"}:
            assert got[name].shape == want[name].shape, name
        assert (got["logits"] - want["logits"]).abs().max() <= 1e-4
        grads = {n: t for n, t in want.items() if n.startswith("grad.")}
        norm = torch.sqrt(sum(g.double().pow(2).sum() for g in grads.values()))
        for name, g in grads.items():
            allowed = 1e-4 * max(g.abs().max().item(), 1e-6 * norm.item())
            assert (got[name] - g).abs().max() <= allowed, (case.name, name)
        assert got["losses"].shape == got["grad_norms"].shape == (8,)


def test_a_wrong_number_is_noticed(tmp_path):
    case = tmp_path / "case"
    shutil.copytree(GOLDEN / "parscale_p2", case)
    tensors = load_file(case / "expected.safetensors")
    for name in ("logits", "grad.model.norm.weight", "trained.model.norm.weight"):
        damaged = {n: t.clone() for n, t in tensors.items()}
        damaged[name].view(-1)[0] += 0.01
        save_file(damaged, case / "expected.safetensors")
        done = parity([case], check=False)
        assert done.returncode == 1 and done.stdout.count("FAILED") == 1, (name, done.stdout)


def test_mistakes_are_named(tmp_path):
    done = parity([GOLDEN / "qwen2"], 1, 2, 1, check=False)
    assert done.returncode == 2 and "parallel.replica" in done.stderr, done.stderr
    done = parity([tmp_path], check=False)
    assert done.returncode == 2 and "expected.json" in done.stderr, done.stderr
    case = tmp_path / "short"
    shutil.copytree(GOLDEN / "qwen2", case)
    weights = (case / "model.safetensors").read_bytes()
    (case / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    done = parity([case], check=False)
    assert done.returncode == 2 and "model.safetensors" in done.stderr, done.stderr
