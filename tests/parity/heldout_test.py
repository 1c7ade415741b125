"""Cases of other shapes than the golden ones, made by the oracle when the test runs."""

import json
import os
import sys
from pathlib import Path

import pytest
from layouts import parity

sys.path.insert(0, str(Path(os.environ["PSCALE_SOURCE"]) / "tests/oracle"))
from make_fixtures import write  # noqa: E402
from oracle import Config, Schedule  # noqa: E402

XATTN = dict(parscale_n=4, parscale_n_tokens=3, enable_cross_attn=True)
SHORT = Schedule(steps=4)

# name: (config, schedule, batch, length, packed, layouts as data x replica x tensor)
CASES = {
    "odd_vocabulary": (Config(vocab_size=131, **XATTN), SHORT, 4, 23, False, ["1x1x2", "2x2x2", "1x1x4", "1x4x2"]),
    "odd_vocabulary_untied_llama": (Config(vocab_size=67, attention_bias=False), SHORT, 2, 17, False, ["1x1x2", "1x1x4", "2x1x2"]),
    "smallest_vocabulary": (Config(vocab_size=5, parscale_n=2, parscale_n_tokens=2), SHORT, 2, 9, False, ["1x1x4", "1x2x4"]),
    "one_kv_head": (Config(num_key_value_heads=1, **XATTN), SHORT, 4, 19, False, ["1x1x2", "1x1x4", "2x2x2", "1x2x4"]),
    "kv_below_tensor": (Config(num_attention_heads=8, num_key_value_heads=2, head_dim=6, enable_replica_rope=True, **XATTN),
                        SHORT, 2, 21, False, ["1x1x4", "1x2x4", "1x1x8"]),
    "kv_equals_heads": (Config(num_key_value_heads=4, **XATTN), SHORT, 2, 26, False, ["1x1x4", "1x2x2"]),
    "eight_replicas": (Config(parscale_n=8, parscale_n_tokens=1, enable_cross_attn=True, enable_replica_rope=True,
                              replica_rope_layout="interleaved", tie_word_embeddings=True),
                       SHORT, 3, 13, False, ["1x8x1", "1x4x2", "1x2x2"]),
    "three_replicas": (Config(parscale_n=3, parscale_n_tokens=5, parscale_attn_smooth=0.2, enable_cross_attn=True,
                              parscale_cross_attn_layers=[1]), SHORT, 3, 11, False, ["1x3x1", "1x3x2", "3x1x1"]),
    "joint_window": (Config(parscale_n=4, parscale_n_tokens=5, enable_xkv_attn=True, use_sliding_window=True,
                            sliding_window=5, max_window_layers=1, num_hidden_layers=3),
                     SHORT, 2, 29, False, ["1x2x2", "1x4x1", "2x4x1"]),
    "joint_long": (Config(parscale_n=2, parscale_n_tokens=3, enable_xkv_attn=True), SHORT, 1, 150, False, ["1x2x1", "1x1x2"]),
    "packed_window": (Config(parscale_n=2, parscale_n_tokens=4, use_sliding_window=True, sliding_window=4, **{"enable_cross_attn": True}),
                      SHORT, 4, 31, True, ["2x2x2", "1x2x1", "4x1x1"]),
    "packed_joint_one_head": (Config(parscale_n=2, enable_xkv_attn=True, num_key_value_heads=1), SHORT, 2, 15, True, ["1x2x4", "2x2x1"]),
    "no_prefix_rotary": (Config(parscale_n=4, enable_cross_attn=True, enable_replica_rope=True, attention_bias=False), SHORT, 2, 10,
                         False, ["1x2x2"]),
    "frozen": (Config(tie_word_embeddings=True, **XATTN), Schedule(steps=4, freeze_pretrained=True), 2, 20, False, ["1x2x2", "2x1x1"]),
    "long": (Config(parscale_n=2, parscale_n_tokens=40, head_dim=20, num_key_value_heads=1), SHORT, 1, 300, False, ["1x2x1"]),
}
# Without a prefix all replicas are the same; the oracle does not mind, the program wants to be told.
ALLOWED = {"no_prefix_rotary", "packed_joint_one_head"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heldout")
    for number, (name, (config, schedule, batch, length, packed, _)) in enumerate(CASES.items()):
        write(folder / name, config, schedule, batch=batch, length=length, seed=100 + number, packed=packed)
        if name in ALLOWED:
            path = folder / name / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"allow_identical_replicas": True}))
    return folder


def layouts():
    by_layout = {"1x1x1": list(CASES)}
    for name, case in CASES.items():
        for layout in case[-1]:
            by_layout.setdefault(layout, []).append(name)
    return by_layout


@pytest.mark.parametrize("layout,names", layouts().items(), ids=lambda x: x if isinstance(x, str) else "")
def test_layout(layout, names, cases):
    parity([cases / name for name in names], *map(int, layout.split("x")))


def test_recomputation(cases):
    parity([cases / name for name in CASES if "1x2x1" in CASES[name][-1] or "1x2x2" in CASES[name][-1]], 1, 1, 1, "--recompute=block")
