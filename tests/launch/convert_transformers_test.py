"""What pscale_ckpt convert writes, loaded by transformers, whatever its version."""

import json
import subprocess
import unicodedata

import pytest
import torch
from convert_folders import BIN, GOLDEN, config_of, convert, run, write_folder
from oracle import Config, forward, random_weights
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

CASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())


def logits_of(folder, tokens, remote):
    options = {"trust_remote_code": True} if remote else {}
    model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    with torch.no_grad():
        return model(tokens.long()).logits


@pytest.mark.parametrize("case", CASES)
def test_a_golden_case_comes_out_as_it_went_in(case, tmp_path):
    before = config_of(GOLDEN / case)
    out = convert(GOLDEN / case, tmp_path / "out")
    # The safetensors library wrote the golden file: the same bytes, header and all.
    assert (out / "model.safetensors").read_bytes() == (GOLDEN / case / "model.safetensors").read_bytes()
    after = config_of(out)
    plain = before["parscale_n"] == 1 and before["parscale_n_tokens"] == 0
    assert after["model_type"] == (before["model_type"] if plain else "parscale")
    for key, value in before.items():
        assert (plain and key not in after) or after[key] == value, key
    assert (out / "modeling_parscale.py").exists() != plain
    assert json.loads((out / "generation_config.json").read_text()) is not None
    # Written again, nothing changes.
    again = convert(out, tmp_path / "again")
    assert sorted(f.name for f in again.iterdir()) == sorted(f.name for f in out.iterdir())
    for file in out.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes(), file.name

    if "documents" in (expected := load_file(GOLDEN / case / "expected.safetensors")):
        return  # packed documents are a matter of training
    logits = logits_of(out, expected["tokens"][:, :-1], remote=not plain)
    assert (logits - expected["logits"]).abs().max() < 1e-4


WINDOWS = {  # what no plain model of transformers says for all its versions goes as parscale
    "qwen2 in all layers": ({"max_window_layers": 0}, "qwen2"),
    "qwen2 in some layers": ({"max_window_layers": 1}, "parscale"),
    "qwen2 in no layer": ({"max_window_layers": 3}, "qwen2"),
    "llama in all layers": ({"max_window_layers": 0, "attention_bias": False}, "parscale"),
    "llama in no layer": ({"max_window_layers": 3, "attention_bias": False}, "llama"),
}


@pytest.mark.parametrize("which", WINDOWS)
def test_sliding_windows(which, tmp_path):
    keys, family = WINDOWS[which]
    c = Config(num_hidden_layers=3, use_sliding_window=True, sliding_window=5, head_dim=12, **keys)
    weights = random_weights(c, 3)
    source = write_folder(tmp_path / "in", c, {n: w.float() for n, w in weights.items()}, model_type="parscale")
    out = convert(source, tmp_path / "out")
    assert config_of(out)["model_type"] == family
    tokens = torch.randint(0, c.vocab_size, (2, 20), generator=torch.Generator().manual_seed(1))
    logits = logits_of(out, tokens, remote=family == "parscale")
    assert (logits - forward(c, weights, tokens)).abs().max() < 1e-4


ROPES = [
    ({"rope_type": "linear", "factor": 4.0}, True),
    ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "beta_fast": 20}, True),
    ({"rope_type": "yarn", "original_max_position_embeddings": 1024}, True),  # factor: the ratio of the lengths
    ({"rope_type": "yarn", "factor": 2.0}, True),  # original length: the model's
    ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 1024}, False),
    ({"rope_type": "yarn", "factor": 2.0, "truncate": False}, False),
    ({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 512}, True),
    ({"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}, True),
]


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("rope, plain", ROPES, ids=[f"{i}-{r['rope_type']}" for i, (r, _) in enumerate(ROPES)])
def test_stretched_rotary_angles(family, rope, plain, tmp_path):
    """Whatever the version of transformers, it gets our angles; where its own model would not, ours is exported."""
    c = Config(head_dim=32, attention_bias=family == "qwen2", rope_theta=5e5)
    source = write_folder(tmp_path / "in", c, {n: w.float() for n, w in random_weights(c, 1).items()},
                          model_type=family, max_position_embeddings=4096, rope_scaling=rope)
    out = convert(source, tmp_path / "out")
    assert config_of(out)["model_type"] == (family if plain else "parscale")
    model = AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)
    if not plain:
        return  # the model file has tests of its own
    rotary = model.model.rotary_emb
    question = {"head_dim": 32, "max_position_embeddings": 4096, "positions": 1,
                "rope_parameters": {"rope_theta": 5e5, **rope}}
    done = subprocess.run([BIN / "print_rotary_angles"], input=json.dumps([question]), capture_output=True, text=True,
                          check=True)
    ours = json.loads(done.stdout)[0]
    torch.testing.assert_close(rotary.inv_freq, torch.tensor(ours["inverse_frequencies"]), rtol=1e-5, atol=0)
    assert rotary.attention_scaling == pytest.approx(ours["attention_factor"], rel=1e-6)


@pytest.mark.parametrize("case", ["qwen2", "llama", "xattn_p4_rope_interleaved", "sliding_window", "parscale_p4"])
def test_what_transformers_saves_is_read(case, tmp_path):
    """Its config.json has other keys in each version, and its files are cut elsewhere."""
    first = convert(GOLDEN / case, tmp_path / "first")
    model = AutoModelForCausalLM.from_pretrained(first, trust_remote_code=True)
    model.save_pretrained(tmp_path / "saved", max_shard_size="40KB")
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) > 1
    again = convert(tmp_path / "saved", tmp_path / "again")
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    ids = {"bos_token_id", "eos_token_id", "pad_token_id"}  # some versions write their own defaults
    before, after = (sorted((k, v) for k, v in config_of(f).items() if k not in ids) for f in (first, again))
    assert before == after


@pytest.mark.parametrize("case", ["qwen2", "llama"])
def test_a_base_made_into_a_parscale_model_loads(case, tmp_path):
    out = convert(GOLDEN / case, tmp_path / "start", "parscale.parscale_n=3", "parscale.parscale_n_tokens=2",
                  "parscale.enable_cross_attn=true", "--max-shard-bytes", 30000)
    model, said = AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True, output_loading_info=True)
    assert not said["missing_keys"] and not said["unexpected_keys"] and not said["mismatched_keys"]
    with torch.no_grad():
        assert model(torch.arange(20)[None]).logits.isfinite().all()


TEXTS = ["hello world", "  leading", "ünï çödé 日本 🎉", "\x00\x01\x7f tab\t", "<|endoftext|> is text", "a" * 5000,
         "e\u0301 is not é", "\u00a0\u2028x", " ", "\r", "Ġ Ċ", " \t  two", "x\u00ad"]


@pytest.mark.parametrize("family", ["parscale", "llama", "qwen2"])
def test_the_byte_tokenizer_is_the_same(family, tmp_path):
    c = Config(vocab_size=320, attention_bias=family != "llama", parscale_n_tokens=2 if family == "parscale" else 0)
    source = write_folder(tmp_path / "in", c, {n: w.float() for n, w in random_weights(c, 1).items()},
                          model_type=family)
    out = tmp_path / "out"
    said = run(source, out, "--tokenizer", "bytes")
    # transformers 5 gives every Qwen2 model a tokenizer that normalizes, whatever its files say.
    assert ("warning: " in said and "NFC" in said) == (family == "qwen2")
    encoded = subprocess.run([BIN / "pscale_data", "encode", "--tokenizer", "bytes"], check=True, capture_output=True,
                             input="\n".join(TEXTS).encode()).stdout.decode().split("\n")
    tokenizer = AutoTokenizer.from_pretrained(out, trust_remote_code=True)
    for text, line in zip(TEXTS, encoded):
        ids = [int(i) for i in line.split()]
        if family == "qwen2" and text != unicodedata.normalize("NFC", text):
            continue
        assert tokenizer(text)["input_ids"] == ids, text
        assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 256 and len(tokenizer) == 257
    assert tokenizer.decode([104, 256, 105], skip_special_tokens=True) == "hi"
    assert set(tokenizer(["a", "bcd"], padding=True)) == {"input_ids", "attention_mask"}
    generation = json.loads((out / "generation_config.json").read_text())
    assert config_of(out)["eos_token_id"] == generation["eos_token_id"] == 256
    # The files go along from then on.
    again = convert(out, tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name


def test_special_tokens_are_kept(tmp_path):
    c = Config(**{key: value for key, value in config_of(GOLDEN / "llama").items() if key in Config().to_dict()})
    source = write_folder(tmp_path / "in", c, load_file(GOLDEN / "llama/model.safetensors"), model_type="llama",
                          bos_token_id=1, eos_token_id=[2, 3], pad_token_id=None)
    first = convert(source, tmp_path / "first")
    assert json.loads((first / "generation_config.json").read_text())["eos_token_id"] == [2, 3]
    assert AutoConfig.from_pretrained(first).bos_token_id == 1
    (source / "generation_config.json").write_text('{"temperature": 0.5}')
    second = convert(source, tmp_path / "second")
    assert (second / "generation_config.json").read_text() == '{"temperature": 0.5}'
    assert config_of(second)["eos_token_id"] == [2, 3]
