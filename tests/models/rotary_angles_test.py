"""Rotary angles against transformers: its own rotary modules of Qwen2 and Llama, for many parameter sets.

transformers computes in float32, so frequencies agree to about 1e-6 and an angle to that times itself.
"""

import itertools
import json
import math
import os
import subprocess

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

POSITIONS = 300


def parameter_sets():
    for theta, dim in itertools.product((10000.0, 1e6, 500000.0), (2, 8, 64, 128)):
        yield dim, 32768, {"rope_type": "default", "rope_theta": theta}
        yield dim, 32768, {"rope_type": "linear", "rope_theta": theta, "factor": 4.0}
        for extra in ({}, {"beta_fast": 16, "beta_slow": 2}, {"attention_factor": 0.8}, {"truncate": False},
                      {"mscale": 0.7, "mscale_all_dim": 1.3}, {"mscale": 0.7}, {"mscale": 0.0, "mscale_all_dim": 1.0},
                      {"factor": 1.0}, {"factor": 0.5}, {"factor": 40.0}, {"original_max_position_embeddings": 64}):
            yield dim, 32768, {"rope_type": "yarn", "rope_theta": theta, "factor": 4.0,
                               "original_max_position_embeddings": 8192, **extra}
        for low, high, factor in ((1.0, 4.0, 8.0), (0.5, 16.0, 32.0), (2.0, 3.0, 1.0)):
            yield dim, 131072, {"rope_type": "llama3", "rope_theta": theta, "factor": factor, "low_freq_factor": low,
                                "high_freq_factor": high, "original_max_position_embeddings": 8192}
    yield 64, 4096, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0}  # original length: the model's
    yield 64, 16384, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": None,
                      "original_max_position_embeddings": 4096}  # factor: 16384 / 4096
    yield 96, 4096, {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 2.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0}


CASES = list(parameter_sets())


@pytest.fixture(scope="module")
def answers():
    requests = [{"head_dim": dim, "max_position_embeddings": longest, "positions": POSITIONS,
                 "rope_parameters": {k: v for k, v in p.items() if v is not None}} for dim, longest, p in CASES]
    program = os.path.join(os.environ["PSCALE_BIN"], "print_rotary_angles")
    done = subprocess.run([program], input=json.dumps(requests), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def name(index):
    dim, _, p = CASES[index]
    return f"{p['rope_type']}-{dim}-{index}"


@pytest.mark.parametrize("index", range(len(CASES)), ids=name)
def test_equals_transformers(answers, index):
    dim, longest, parameters = CASES[index]
    ours = answers[index]
    make_config, module = ((Qwen2Config, Qwen2RotaryEmbedding), (LlamaConfig, LlamaRotaryEmbedding))[index % 2]
    config = make_config(hidden_size=4 * dim, num_attention_heads=4, num_key_value_heads=2, head_dim=dim,
                         max_position_embeddings=longest, rope_parameters=dict(parameters))
    rotary = module(config)
    frequencies, factor = rotary.inv_freq, rotary.attention_scaling
    if parameters["rope_type"] != "default":
        frequencies, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, torch.device("cpu"))
        assert torch.equal(frequencies, rotary.inv_freq)

    mine = torch.tensor(ours["inverse_frequencies"], dtype=torch.float64)
    assert mine.shape == (dim // 2,)
    torch.testing.assert_close(mine, frequencies.double(), rtol=2e-6, atol=0)
    assert ours["attention_factor"] == pytest.approx(factor, rel=1e-14)

    cos, sin = rotary(torch.zeros(1), torch.arange(POSITIONS)[None])
    angle = torch.arange(POSITIONS, dtype=torch.float64)[:, None] * mine
    allowed = ours["attention_factor"] * (4e-6 * angle + 1e-6)
    for which, table in (("cos", cos), ("sin", sin)):
        got = torch.tensor(ours[which], dtype=torch.float64).reshape(POSITIONS, dim // 2)
        assert ((got - table[0, :, : dim // 2].double()).abs() <= allowed).all(), which


def test_tables_are_exact_in_double(answers):
    """The oracle's statement of the plain form: theta^(-2i/D), in float64."""
    index = next(i for i, (dim, _, p) in enumerate(CASES) if dim == 64 and p["rope_type"] == "default")
    theta = CASES[index][2]["rope_theta"]
    frequencies = theta ** (-torch.arange(0, 64, 2, dtype=torch.float64) / 64)
    angle = torch.arange(POSITIONS, dtype=torch.float64)[:, None] * frequencies
    for which, table in (("cos", angle.cos()), ("sin", angle.sin())):
        got = torch.tensor(answers[index][which], dtype=torch.float64).reshape(POSITIONS, 32)
        torch.testing.assert_close(got, table, rtol=0, atol=1e-12)
    assert math.isclose(answers[index]["inverse_frequencies"][0], 1.0)
