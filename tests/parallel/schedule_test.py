"""Every schedule against transformers.get_scheduler: factor(step) is its rate after `step` scheduler steps."""

import json
import os
import subprocess

import pytest
import torch
from transformers import get_scheduler

RATE = 1.0  # a rate of 1 makes the learning rate equal to the factor, digit for digit


def ours(cases):
    program = os.path.join(os.environ["PSCALE_BIN"], "print_schedule")
    done = subprocess.run([program], input=json.dumps(cases), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def theirs(case):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=RATE)
    name, special = case["kind"], {}
    ratio = case.get("min_lr_ratio", 0.0)
    if name == "cosine":
        special["num_cycles"] = case.get("num_cycles", 0.5)
        if ratio:
            name, special["min_lr_rate"] = "cosine_with_min_lr", ratio
    elif name == "linear" and ratio:
        name, special = "polynomial", {"lr_end": ratio * RATE, "power": 1.0}
    elif name == "wsd":
        name = "warmup_stable_decay"
        for key in ("num_cycles", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio"):
            if key in case:
                special[key] = case[key]
        special["num_decay_steps"] = case.get("num_decay_steps", case["max_steps"] // 10)
    elif name == "constant_with_warmup":
        special = {}
    total = None if "num_stable_steps" in case else case["max_steps"]
    scheduler = get_scheduler(name, optimizer, case["warmup_steps"], total, scheduler_specific_kwargs=special)
    rates = []
    for _ in range(case["steps"]):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"] / RATE)
    return rates


def cases():
    lengths = [(0, 10), (1, 10), (3, 8), (7, 40), (10, 10), (12, 10), (20, 200)]
    for warmup, last in lengths:
        base = {"warmup_steps": warmup, "max_steps": last, "steps": last + 5}
        yield {"kind": "constant_with_warmup", **base}
        yield {"kind": "linear", **base}
        yield {"kind": "cosine", **base}
        yield {"kind": "cosine", **base, "num_cycles": 1.5}
        yield {"kind": "cosine", **base, "min_lr_ratio": 0.1}
        if warmup < last:  # transformers' polynomial divides by the steps after the warm-up
            yield {"kind": "linear", **base, "min_lr_ratio": 0.1}
    for kind in ("linear", "cosine", "1-sqrt"):
        for rise in ("linear", "cosine", "1-sqrt"):
            for ratio in (0.0, 0.1):
                shape = {"kind": "wsd", "decay_type": kind, "warmup_type": rise, "min_lr_ratio": ratio}
                yield {**shape, "warmup_steps": 5, "max_steps": 40, "steps": 45}
                yield {**shape, "warmup_steps": 5, "max_steps": 40, "num_decay_steps": 12, "steps": 45}
                yield {**shape, "warmup_steps": 4, "max_steps": 40, "num_decay_steps": 6, "num_stable_steps": 9,
                       "steps": 45, "num_cycles": 1.5}
    yield {"kind": "wsd", "warmup_steps": 0, "max_steps": 10, "num_decay_steps": 10, "steps": 12}
    yield {"kind": "wsd", "warmup_steps": 0, "max_steps": 10, "num_decay_steps": 0, "steps": 12}


CASES = list(cases())


@pytest.fixture(scope="module")
def answers():
    return ours(CASES)


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda i: f"{CASES[i]['kind']}-{i}")
def test_equals_transformers(answers, index):
    assert answers[index] == pytest.approx(theirs(CASES[index]), rel=1e-14, abs=1e-15)


def test_first_step_of_a_warmup_trains():
    """Steps count from 1: where transformers' first update runs at rate 0, ours runs at 1 / warmup."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=RATE)
    get_scheduler("constant_with_warmup", optimizer, 4)
    assert optimizer.param_groups[0]["lr"] == 0
    (factors,) = ours([{"kind": "constant_with_warmup", "warmup_steps": 4, "max_steps": 9, "steps": 5}])
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0]
