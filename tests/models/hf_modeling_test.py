"""The Python model that an exported folder carries, loaded by transformers, against the golden cases."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache

SOURCE = Path(os.environ["PSCALE_SOURCE"])
GOLDEN = SOURCE / "tests/golden"
CASES = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
AUTO_MAP = {
    "AutoConfig": "configuration_parscale.ParscaleConfig",
    "AutoModel": "modeling_parscale.ParscaleModel",
    "AutoModelForCausalLM": "modeling_parscale.ParscaleForCausalLM",
}
DTYPE = "torch_dtype" if transformers.__version__.startswith("4.") else "dtype"


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Makes a case into a folder as the exporter writes it, with some keys of config.json replaced."""

    def make(case, **keys):
        folder = tmp_path_factory.mktemp(case)
        config = json.loads((GOLDEN / case / "config.json").read_text())
        config |= {"model_type": "parscale", "architectures": ["ParscaleForCausalLM"], "auto_map": AUTO_MAP, **keys}
        (folder / "config.json").write_text(json.dumps(config))
        shutil.copy(GOLDEN / case / "model.safetensors", folder)
        for name in ("configuration_parscale.py", "modeling_parscale.py"):
            shutil.copy(SOURCE / "models/hf" / name, folder)
        return folder

    return make


def load(folder, kind=AutoModelForCausalLM, **options):
    return kind.from_pretrained(folder, trust_remote_code=True, **options).eval()


@pytest.fixture(scope="module", params=CASES)
def case(request, export):
    """(model, expected tensors, expected numbers)"""
    golden = GOLDEN / request.param
    expected = load_file(golden / "expected.safetensors")
    return load(export(request.param)), expected, json.loads((golden / "expected.json").read_text())


def positions_of(documents):
    """0, 1, ... from the start of each document. documents [B, S]"""
    positions = torch.zeros_like(documents, dtype=torch.long)
    for s in range(1, documents.shape[1]):
        positions[:, s] = torch.where(documents[:, s] == documents[:, s - 1], positions[:, s - 1] + 1, 0)
    return positions


def generate(model, tokens, **options):
    """The 12 tokens that follow. No token ends a sequence, so all have one length."""
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, **options}
    with torch.no_grad():
        return model.generate(tokens, **options)[:, tokens.shape[1]:]


def padded(prompts, side, filler):
    """(tokens, attention_mask) of prompts of several lengths."""
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.full((len(prompts), longest), filler)
    mask = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        where = slice(longest - len(prompt), None) if side == "left" else slice(len(prompt))
        tokens[row, where], mask[row, where] = prompt, 1
    return tokens, mask


@pytest.fixture
def prompts(case):
    tokens = case[1]["tokens"].long()
    return [tokens[0, :17], tokens[1, :11], tokens[2, :3], tokens[3, :1]]


def test_logits_and_loss(case):
    model, expected, numbers = case
    tokens, labels, positions = expected["tokens"].long(), expected["tokens"].long(), None
    if "documents" in expected:
        positions = positions_of(expected["documents"])
        labels = labels.masked_fill(positions == 0, -100)
    out = model(tokens, position_ids=positions, labels=labels, output_hidden_states=True)
    torch.testing.assert_close(out.logits[:, :-1], expected["logits"], rtol=1e-4, atol=1e-4)
    assert out.loss.item() == pytest.approx(numbers["loss"], rel=1e-5)
    assert len(out.hidden_states) == model.config.num_hidden_layers + 1


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients(case, checkpointing):
    model, expected, _ = case
    if "documents" in expected:
        pytest.skip("labels of packed documents are tested above")
    if checkpointing:
        model.gradient_checkpointing_enable()
    tokens = expected["tokens"].long()
    model.train()
    model(tokens, labels=tokens).loss.backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[f"grad.{name}"], rtol=1e-3, atol=1e-4)
    model.zero_grad()
    model.gradient_checkpointing_disable()
    model.eval()


def test_cache_in_pieces(case):
    """A prompt read in pieces gives the logits of the prompt read at once."""
    model, expected, _ = case
    tokens = expected["tokens"].long()
    whole = model(tokens).logits
    for cache in (None, DynamicCache()):
        parts = []
        for piece in tokens.split([9, 1, 10, 5], 1):
            out = model(piece, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            parts.append(out.logits)
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-4)
        assert cache.get_seq_length() == tokens.shape[1]


def test_greedy_and_beams(case, prompts):
    model = case[0]
    tokens, mask = padded(prompts, "left", 5)
    for options in ({}, {"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 3}):
        cached = generate(model, tokens, attention_mask=mask, use_cache=True, **options)
        plain = generate(model, tokens, attention_mask=mask, use_cache=False, **options)
        assert torch.equal(cached, plain)


def test_left_padding(case, prompts):
    model = case[0]
    tokens, mask = padded(prompts, "left", 7)
    together = generate(model, tokens, attention_mask=mask)
    for row, prompt in enumerate(prompts):
        assert torch.equal(together[row:row + 1], generate(model, prompt[None]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(case, prompts, side):
    model = case[0]
    for filler in (0, 127):
        tokens, mask = padded(prompts, side, filler)
        out = model(tokens, attention_mask=mask).logits
        assert out.isfinite().all()
        for row, prompt in enumerate(prompts):
            torch.testing.assert_close(out[row][mask[row] == 1], model(prompt[None]).logits[0], rtol=1e-4, atol=1e-4)


def test_continues_right_padded_prompts(case, prompts):
    """Padding between a prompt and what follows does not count as distance."""
    model = case[0]
    tokens, mask = padded(prompts, "right", 9)
    more = case[1]["tokens"][:, :8].long()
    cache = model(tokens, attention_mask=mask, use_cache=True).past_key_values
    out = model(more, attention_mask=torch.cat([mask, torch.ones_like(more)], 1), past_key_values=cache).logits
    for row, prompt in enumerate(prompts):
        single = model(torch.cat([prompt, more[row]])[None]).logits[0, len(prompt):]
        torch.testing.assert_close(out[row], single, rtol=1e-4, atol=1e-4)


def test_prompt_lookup(case, prompts):
    """Guesses that are taken back: the cache is cropped."""
    model = case[0]
    prompt = prompts[0].repeat(2)[None]
    guessed = generate(model, prompt, prompt_lookup_num_tokens=3, eos_token_id=1000)
    assert torch.equal(guessed, generate(model, prompt))


def test_sampling(case, prompts):
    model = case[0]
    samples = []
    for use in (True, False):
        torch.manual_seed(1)
        samples.append(generate(model, prompts[0][None], do_sample=True, num_return_sequences=4, use_cache=use))
    assert samples[0].shape == (4, 12) and len(samples[0].unique(dim=0)) > 1
    assert torch.equal(*samples)


def test_kept_logits_embeddings_and_tuples(case):
    model, expected, _ = case
    tokens = expected["tokens"].long()
    whole = model(tokens).logits
    embeddings = model.get_input_embeddings()(tokens)
    torch.testing.assert_close(model(inputs_embeds=embeddings, logits_to_keep=3).logits, whole[:, -3:])
    torch.testing.assert_close(model(tokens, logits_to_keep=torch.tensor([0, 5])).logits, whole[:, [0, 5]])
    torch.testing.assert_close(model(tokens, return_dict=False)[0], whole)


def test_save_and_load(case, tmp_path):
    model, expected, _ = case
    model.save_pretrained(tmp_path)
    tokens = expected["tokens"].long()
    again = load(tmp_path)
    assert torch.equal(again(tokens).logits, model(tokens).logits)
    tied = again.lm_head.weight.data_ptr() == again.model.embed_tokens.weight.data_ptr()
    assert tied == model.config.tie_word_embeddings
    saved = {key: t for path in tmp_path.glob("*.safetensors") for key, t in load_file(path).items()}
    assert set(saved) == {name[5:] for name in expected if name.startswith("grad.")}
    blended = load(tmp_path, AutoModel)(tokens).last_hidden_state
    torch.testing.assert_close(blended @ model.lm_head.weight.T, model(tokens).logits, rtol=1e-4, atol=1e-4)


def test_bfloat16(export):
    for name in ("xattn_p4_rope", "xkv_p4", "sliding_window"):
        model = load(export(name), **{DTYPE: torch.bfloat16})
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
        expected = load_file(GOLDEN / name / "expected.safetensors")
        logits = model(expected["tokens"][:, :-1].long()).logits
        assert logits.dtype == torch.bfloat16
        near = torch.nn.functional.cosine_similarity(logits.float().flatten(), expected["logits"].flatten(), 0)
        assert near > 0.99


def test_new_weights(export):
    folder = export("xattn_p4", initializer_range=0.5)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=True),
                                             trust_remote_code=True)
    for name, weight in model.named_parameters():
        if name.endswith("norm.weight"):
            assert (weight == 1).all()
        elif name.endswith("bias"):
            assert (weight == 0).all()
        else:
            assert weight.std().item() == pytest.approx(0.5, rel=0.2), name


def test_adds_replicas_to_a_pretrained_model(export):
    """Weights that the folder lacks are new, those it has are kept."""
    model = load(export("qwen2", parscale_n=4, parscale_n_tokens=6))
    stored = load_file(GOLDEN / "qwen2/model.safetensors")
    weights = dict(model.named_parameters())
    assert all(torch.equal(weights[name], weight) for name, weight in stored.items())
    added = model.model.layers[0].self_attn.prefix_k
    assert added.std().item() == pytest.approx(0.02, rel=0.2)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
ROPES = [
    {"rope_type": "linear", "factor": 4.0},
    YARN,
    {**YARN, "beta_fast": 2, "beta_slow": 0.1},
    {**YARN, "beta_fast": 3, "truncate": False, "attention_factor": 0.8},
    {**YARN, "mscale": 0.7, "mscale_all_dim": 1.3},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 64},
]
if DTYPE == "dtype":  # versions before 5 take yarn's factor from the lengths, so only the others agree there
    ROPES.append({**YARN, "factor": 2.0})


@pytest.mark.parametrize("index", range(len(ROPES)))
@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_rope_scaling_equals_transformers(export, tmp_path, family, index):
    """Plain models with stretched angles: against transformers' own class of that family."""
    keys = {"rope_scaling": ROPES[index], "max_position_embeddings": 64}
    model = load(export(family, **keys))
    plain = export(family, **keys, model_type=family, auto_map={}, architectures=[f"{family.capitalize()}ForCausalLM"])
    tokens = load_file(GOLDEN / family / "expected.safetensors")["batches"][0].long().reshape(1, -1)[:, :64]
    logits = model(tokens).logits
    torch.testing.assert_close(logits, AutoModelForCausalLM.from_pretrained(plain)(tokens).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits, load(export(family))(tokens).logits, rtol=1e-2, atol=1e-2)
    model.save_pretrained(tmp_path)
    assert torch.equal(load(tmp_path)(tokens).logits, logits)
