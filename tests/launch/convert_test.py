"""pscale_ckpt convert between Hugging Face folders: what it writes is read by transformers and safetensors."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers reads it

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])
GOLDEN = SOURCE / "tests/golden"
CASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
sys.path.insert(0, str(SOURCE / "tests/oracle"))

from oracle import Config, forward, random_weights, weight_shapes  # noqa: E402

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def modules_cache(tmp_path_factory):
    """Where transformers copies the code of a folder."""
    patch = pytest.MonkeyPatch()
    patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
    yield
    patch.undo()


def run(source, out, *more, code=0, **environment):
    done = subprocess.run([BIN / "pscale_ckpt", "convert", "--from", source, "--to", out, *map(str, more)],
                          capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def convert(source, out, *more):
    run(source, out, *more)
    return out


def refused(source, out, *more, **environment):
    """The problems; nothing is left behind."""
    text = run(source, out, *more, code=2, **environment)
    assert all(line.startswith("error: ") for line in text.splitlines()), text
    assert not Path(f"{out}.partial").exists()
    return text


def config_of(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def tensors_of(folder):
    index = Path(folder) / "model.safetensors.index.json"
    if not index.exists():
        return load_file(Path(folder) / "model.safetensors")
    found = {}
    for name, file in json.loads(index.read_text())["weight_map"].items():
        found[name] = load_file(Path(folder) / file)[name]
    return found


def same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        assert torch.equal(a[name].view(torch.uint8), b[name].view(torch.uint8)), name


def write_folder(folder, c, weights, **keys):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"hidden_act": "silu", **c.to_dict(), **keys}))
    save_file({name: w.contiguous() for name, w in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    return folder


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


def test_large_models_are_cut_into_files(tmp_path):
    whole = GOLDEN / "xattn_p4"
    out = convert(whole, tmp_path / "parts", "--max-shard-bytes", 30000)
    files = sorted(f.name for f in out.glob("*.safetensors"))
    count = len(files)
    assert count > 3 and files == [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
    index = json.loads((out / "model.safetensors.index.json").read_text())
    held = {name: file for file in files for name in load_file(out / file)}
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors_of(whole).values())
    for file in files:
        tensors = load_file(out / file).values()
        assert len(tensors) == 1 or sum(t.nbytes for t in tensors) <= 30000
    same_bits(tensors_of(out), tensors_of(whole))
    back = convert(out, tmp_path / "back")
    assert (back / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)


def test_a_base_becomes_a_parscale_model(tmp_path):
    keys = ["parscale.parscale_n=4", "parscale.enable_cross_attn=true"]
    out = convert(GOLDEN / "qwen2", tmp_path / "start", *keys)
    base, made, config = tensors_of(GOLDEN / "qwen2"), tensors_of(out), config_of(out)
    assert config["parscale_n"] == 4 and config["parscale_n_tokens"] == 48 and config["attention_bias"] is True
    wanted = Config(**{key: config[key] for key in Config().to_dict()})
    assert {name: tuple(t.shape) for name, t in made.items()} == weight_shapes(wanted)
    same_bits({name: made[name] for name in base}, base)
    normal = []
    for name in made.keys() - base.keys():
        if name.endswith("bias"):
            assert not made[name].any(), name
        elif "layernorm" in name:
            assert (made[name] == 1).all(), name
        else:
            normal.append(made[name].flatten() / config["initializer_range"])
    normal = torch.cat(normal)
    assert abs(normal.mean()) < 4 / len(normal) ** 0.5 and abs(normal.std() - 1) < 4 / (2 * len(normal)) ** 0.5
    assert 3 < normal.abs().max() < 6 and len(normal.unique()) > 0.99 * len(normal)

    same_bits(tensors_of(convert(GOLDEN / "qwen2", tmp_path / "again", *keys)), made)
    other = tensors_of(convert(GOLDEN / "qwen2", tmp_path / "other", *keys, "run.seed=7"))
    prefix = "model.layers.0.self_attn.prefix_k"
    assert not torch.equal(other[prefix], made[prefix])
    AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)

    # A ParScale model keeps its own keys and gets what is added.
    more = convert(GOLDEN / "parscale_p2", tmp_path / "more", "parscale.enable_cross_attn=true",
                   "parscale.parscale_cross_attn_layers=[1]")
    assert config_of(more)["parscale_n_tokens"] == 6
    added = tensors_of(more).keys() - tensors_of(GOLDEN / "parscale_p2").keys()
    assert added and all("layers.1.cross_replica" in name for name in added)


def test_a_llama_base_stays_without_biases(tmp_path):
    out = convert(GOLDEN / "llama", tmp_path / "start", "parscale.parscale_n=2", "parscale.parscale_n_tokens=3")
    assert config_of(out)["attention_bias"] is False and config_of(out)["model_type"] == "parscale"
    assert not any("self_attn" in name and name.endswith("bias") for name in tensors_of(out))
    AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)


def test_bfloat16_is_rounded_as_torch_rounds(tmp_path):
    c = Config(vocab_size=300)
    generator = torch.Generator().manual_seed(2)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in weight_shapes(c).items()}
    bits = torch.randint(-2**31, 2**31, (300, 32), generator=generator).to(torch.int32)  # NaN, infinities, tiny numbers
    bits[0, :4] = torch.tensor([0x3F808000, 0x3F818000, 0x7F7FFFFF, 1])  # ties, overflow
    weights["model.embed_tokens.weight"] = bits.view(torch.float32)
    source = write_folder(tmp_path / "in", c, weights, model_type="qwen2")
    out = convert(source, tmp_path / "out", "--dtype", "bfloat16")
    assert config_of(out)["torch_dtype"] == "bfloat16"
    for name, tensor in tensors_of(out).items():
        wanted = weights[name].to(torch.bfloat16)
        nan = wanted.isnan()
        assert torch.equal(tensor.isnan(), nan), name
        assert torch.equal(tensor[~nan].view(torch.int16), wanted[~nan].view(torch.int16)), name

    wide = tensors_of(convert(out, tmp_path / "wide", "--dtype", "float32"))
    assert all(t.dtype == torch.float32 for t in wide.values())
    same_bits(tensors_of(convert(out, tmp_path / "kept")), tensors_of(out))
    # New weights have the type of those around them.
    made = tensors_of(convert(out, tmp_path / "made", "parscale.parscale_n=2"))
    assert {t.dtype for t in made.values()} == {torch.bfloat16}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_types_are_read(dtype, tmp_path):
    weights = {name: t.to(dtype) for name, t in load_file(GOLDEN / "qwen2/model.safetensors").items()}
    c = Config(**{key: value for key, value in config_of(GOLDEN / "qwen2").items() if key in Config().to_dict()})
    source = write_folder(tmp_path / "in", c, weights, model_type="qwen2")
    for name, tensor in tensors_of(convert(source, tmp_path / "out", "--dtype", "float32")).items():
        assert torch.equal(tensor, weights[name].float()), name


def test_a_folder_is_compared_with_its_configuration(tmp_path):
    weights = load_file(GOLDEN / "xattn_p4/model.safetensors")
    missing, misshapen = "model.layers.1.mlp.up_proj.weight", "model.aggregate_layer.2.weight"
    del weights[missing]
    weights["model.layers.9.mlp.up_proj.weight"] = torch.ones(2)
    weights[misshapen] = torch.ones(4, 31)
    source = write_folder(tmp_path / "in", Config(), weights)
    (source / "config.json").write_bytes((GOLDEN / "xattn_p4/config.json").read_bytes())
    text = refused(source, tmp_path / "out")
    lines = text.splitlines()
    assert len(lines) == 3
    assert missing in lines[0] and "layers.9" in lines[1] and f"{misshapen} [4, 31] instead of [4, 32]" in lines[2]
    assert not (tmp_path / "out").exists()


def test_mistakes_are_named(tmp_path):
    case, out = GOLDEN / "xattn_p4", tmp_path / "out"
    assert "does not exist" in refused(tmp_path / "none", out)
    assert "config.json" in refused(GOLDEN, out)
    assert "is a file" in refused(case / "model.safetensors", out)
    assert "float32 or bfloat16" in refused(case, out, "--dtype", "float16")
    assert "take the key out" in refused(case, out, "model.hidden_size=3")
    assert "did you mean parscale.parscale_n?" in refused(case, out, "parscale.parscale_m=3")
    assert "prefix_k [4, 2, 6, 8] instead of [2, 2, 6, 8]" in refused(case, out, "parscale.parscale_n=2")
    assert "no tokenizer" in refused(case, out, "--tokenizer", tmp_path)
    assert "vocabulary of 128" in refused(case, out, "--tokenizer", "bytes")
    text = refused("some-org/some_model", out, HF_HUB_CACHE=str(tmp_path))
    assert "hf download some-org/some_model" in text
    (out / "x").mkdir(parents=True)
    assert "not an empty folder" in refused(case, out)
    assert list(out.iterdir()) == [out / "x"]
    assert "cannot be made" in refused(case, "/dev/null/out")


def test_hub_ids_and_leftovers(tmp_path):
    cache = tmp_path / "home/hub/models--some-org--some_model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs/main").write_text("abc")
    (cache / "snapshots").mkdir()
    (cache / "snapshots/abc").symlink_to(GOLDEN / "llama")
    (tmp_path / "out").mkdir()  # empty: taken
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/left.txt").write_text("by a conversion that was killed")
    environment = {name: "" for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME")}
    run("some-org/some_model", f"{tmp_path}/out/", HF_HOME=str(tmp_path / "home"), **environment)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["home", "out"]
    assert not (tmp_path / "out/left.txt").exists()
    same_bits(tensors_of(tmp_path / "out"), tensors_of(GOLDEN / "llama"))


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


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.parametrize("more", [[], ["--dtype", "bfloat16"], ["parscale.parscale_n=4"]], ids=["kept", "rounded", "made"])
def test_memory_does_not_grow_with_the_model(more, large, tmp_path):
    folder, largest = large
    # A small process in between: a child's peak includes what it was forked from.
    command = [sys.executable, "-S", "-c", MEASURE, BIN / "pscale_ckpt", "convert", "--from", folder, "--to",
               tmp_path / "out", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    peak = int(done.stdout.split()[-1]) * 1024
    assert peak < 64 * MIB < 1.5 * largest + 64 * MIB, f"{peak / MIB} MiB"
    if not more:
        assert (tmp_path / "out/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder of about 300 MB, and the bytes of its largest tensor."""
    c = Config(vocab_size=60000, hidden_size=512, intermediate_size=2048, num_hidden_layers=10, num_attention_heads=8,
               num_key_value_heads=8, attention_bias=False, tie_word_embeddings=True)
    weights = {name: torch.randn(shape) for name, shape in weight_shapes(c).items()}
    folder = write_folder(tmp_path_factory.mktemp("large") / "in", c, weights, model_type="llama")
    assert (folder / "model.safetensors").stat().st_size > 270 * MIB
    return folder, max(w.nbytes for w in weights.values())
