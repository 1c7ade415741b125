"""pscale_ckpt convert between Hugging Face folders: every tensor, what is refused, and what it costs."""

import json
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from convert_folders import BIN, GOLDEN, config_of, convert, refused, run, same_bits, tensors_of, write_folder
from oracle import Config, weight_shapes
from safetensors.torch import load_file

MIB = 1 << 20


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


def test_a_full_disk_leaves_nothing(tmp_path):
    def limit():  # stands for the disk: a write beyond it fails
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))

    done = subprocess.run([BIN / "pscale_ckpt", "convert", "--from", GOLDEN / "xattn_p4", "--to", tmp_path / "out"],
                          capture_output=True, text=True, preexec_fn=limit, restore_signals=False, timeout=60)
    assert done.returncode == 2 and "model.safetensors: cannot be written: File too large" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_killed_conversion_leaves_no_model(large, tmp_path):
    folder, _ = large
    command = [BIN / "pscale_ckpt", "convert", "--from", folder, "--to", tmp_path / "out"]
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while program.poll() is None and not list(tmp_path.glob("out.partial/model.safetensors*")):
        time.sleep(0.001)
    program.kill()
    program.wait()
    assert not (tmp_path / "out").exists() and (tmp_path / "out.partial").exists()
    run(folder, tmp_path / "out")
    assert [f.name for f in tmp_path.iterdir()] == ["out"]


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.parametrize("more", [[], ["--dtype", "bfloat16"], ["parscale.parscale_n=4"]],
                         ids=["kept", "rounded", "made"])
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
