"""ParScale language models (arXiv 2505.10475): P replicas of one decoder on the same tokens, blended by a scorer.

The replicas share all weights and part by their learned prefix keys and values. Cross-replica attention lets each
position attend to the same position of all replicas; joint attention (xkv) lets it see all positions of all replicas.

Shapes: B sequences, P replicas, S positions, H hidden, N query heads, K key/value heads, D head size, T prefix tokens.
A replica is a group of heads to attention and to the cache: keys and values are [B, P*K, S, D], so whatever selects,
repeats or crops sequences works on a cache as on any other. The prefix is no part of it.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from .configuration_parscale import ParscaleConfig


def base_frequencies(theta, dim):
    """Angle per position of each pair of features, [dim/2]. In float64 on the CPU: see rotary_frequencies."""
    return theta ** (-torch.arange(0, dim, 2, dtype=torch.float64, device="cpu") / dim)


def rotary_frequencies(config):
    """(frequencies, factor of cos and sin) of config.rope_parameters; a list, which no loader of weights can lose.

    Versions of transformers disagree on yarn's factor; as in transformers 5, a given one counts.
    """
    rope, dim = config.rope_parameters, config.head_dim
    theta, kind, factor = rope["rope_theta"], rope["rope_type"], rope.get("factor")
    length = rope.get("original_max_position_embeddings") or config.max_position_embeddings
    frequencies = base_frequencies(theta, dim)
    if kind == "default":
        return frequencies.tolist(), 1.0
    if kind == "linear":
        return (frequencies / factor).tolist(), 1.0
    if kind == "llama3":
        turns, low, high = length * frequencies / (2 * math.pi), rope["low_freq_factor"], rope["high_freq_factor"]
        keep = ((turns - low) / (high - low)).clamp(0, 1)
        return (frequencies * (keep + (1 - keep) / factor)).tolist(), 1.0
    if kind != "yarn":
        raise ValueError(f"rope_type {kind!r} is not supported; use default, linear, yarn or llama3")

    factor = factor or config.max_position_embeddings / length
    pair = lambda turns: dim * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(theta))  # noqa: E731
    low, high = pair(rope.get("beta_fast") or 32), pair(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    index = torch.arange(dim // 2, dtype=torch.float64, device="cpu")
    keep = 1 - ((index - low) / (high - low or 0.001)).clamp(0, 1)
    temperature = lambda scale: 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0  # noqa: E731
    amplitude = rope.get("attention_factor")
    if amplitude is None:
        above, below = rope.get("mscale"), rope.get("mscale_all_dim")
        amplitude = temperature(above) / temperature(below) if above and below else temperature(1)
    return (frequencies * (keep + (1 - keep) / factor)).tolist(), amplitude


def rotate(x, cos, sin):
    """Rotary embedding by halves, in float32. x [..., D]."""
    a, b = x.float().chunk(2, -1)
    return (torch.cat([a, b], -1) * cos + torch.cat([-b, a], -1) * sin).type_as(x)


def attend(q, k, v, visible=None):
    """Softmax attention with grouped key/value heads. q [..., N, Sq, D]; k, v [..., K, Sk, D]."""
    group = q.shape[-3] // k.shape[-3]
    k, v = k.repeat_interleave(group, -3), v.repeat_interleave(group, -3)
    return F.scaled_dot_product_attention(q, k, v, visible)


class ParscaleRMSNorm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self.eps = config.rms_norm_eps

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).type_as(x)


class ParscaleProjections(nn.Module):
    """The four matrices of an attention."""

    def __init__(self, config, bias):
        super().__init__()
        h, n, k = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        self.q_proj = nn.Linear(h, n * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(h, k * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(h, k * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(n * self.head_dim, h, bias=False)

    def queries_keys_values(self, x):
        """[..., H] -> [..., N, D], [..., K, D], [..., K, D]"""
        return (proj(x).unflatten(-1, (-1, self.head_dim)) for proj in (self.q_proj, self.k_proj, self.v_proj))


class ParscaleAttention(ParscaleProjections):
    """Causal self-attention of each replica over its own prefix and its own positions (xkv: those of every replica)."""

    def __init__(self, config, layer):
        super().__init__(config, bias=config.attention_bias)
        self.layer = layer
        self.joint = config.enable_xkv_attn
        self.prefix = config.parscale_n_tokens > 0
        if self.prefix:
            shape = (config.parscale_n, config.num_key_value_heads, config.parscale_n_tokens, config.head_dim)
            self.prefix_k = nn.Parameter(torch.empty(shape))
            self.prefix_v = nn.Parameter(torch.empty(shape))

    def forward(self, x, cos, sin, visible, cache):
        p = x.shape[1]
        q, k, v = (t.transpose(2, 3).flatten(1, 2) for t in self.queries_keys_values(x))  # [B, P*heads, S, D]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        if self.joint:
            k, v = self.of_all_replicas(k, p), self.of_all_replicas(v, p)
        if self.prefix:
            k, v = self.after_prefix(self.prefix_k, k), self.after_prefix(self.prefix_v, v)
        out = attend(q, k, v, visible)
        return self.o_proj(out.unflatten(1, (p, -1)).transpose(2, 3).flatten(-2))

    @staticmethod
    def of_all_replicas(t, p):
        """[B, P*K, S, D] -> [B, P*K, P*S, D]: every replica gets the positions of all, one replica after another."""
        joined = t.unflatten(1, (p, -1)).transpose(1, 2).flatten(2, 3)
        return joined.repeat(1, p, 1, 1)

    @staticmethod
    def after_prefix(prefix, t):
        return torch.cat([prefix.flatten(0, 1).expand(t.shape[0], -1, -1, -1).type_as(t), t], -2)


class ParscaleCrossReplicaAttention(ParscaleProjections):
    """Each position of each replica attends to the same position of all replicas."""

    def __init__(self, config):
        super().__init__(config, bias=True)
        self.rope, self.layout = config.enable_replica_rope, config.replica_rope_layout
        self.frequencies = base_frequencies(10000.0, config.head_dim).tolist()

    def forward(self, x):
        q, k, v = (t.permute(0, 2, 3, 1, 4) for t in self.queries_keys_values(x))  # [B, S, heads, P, D]
        if self.rope:
            replica = torch.arange(x.shape[1], device=x.device)
            angle = replica[:, None] * x.new_tensor(self.frequencies, dtype=torch.float32)
            angle = torch.cat([angle, angle], -1) if self.layout == "half" else angle.repeat_interleave(2, -1)
            q, k = rotate(q, angle.cos(), angle.sin()), rotate(k, angle.cos(), angle.sin())
        return self.o_proj(attend(q, k, v).permute(0, 3, 1, 2, 4).flatten(-2))


class ParscaleMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class ParscaleLayer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.crosses = config.has_cross_attn(layer)
        if self.crosses:
            self.cross_replica_layernorm = ParscaleRMSNorm(config)
            self.cross_replica_attn = ParscaleCrossReplicaAttention(config)
        self.input_layernorm = ParscaleRMSNorm(config)
        self.self_attn = ParscaleAttention(config, layer)
        self.post_attention_layernorm = ParscaleRMSNorm(config)
        self.mlp = ParscaleMLP(config)

    def forward(self, x, cos, sin, visible, cache):
        """x [B, P, S, H]"""
        if self.crosses:
            x = x + self.cross_replica_attn(self.cross_replica_layernorm(x))
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, visible, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class ParscalePreTrainedModel(PreTrainedModel):
    config_class = ParscaleConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ParscaleLayer"]
    _skip_keys_device_placement = ["past_key_values", "cache"]
    _supports_sdpa = True
    _supports_cache_class = True

    def _init_weights(self, module):
        for name, weight in module.named_parameters(recurse=False):
            if isinstance(module, ParscaleRMSNorm):
                nn.init.ones_(weight)
            elif name == "bias":
                nn.init.zeros_(weight)
            else:
                nn.init.normal_(weight, std=self.config.initializer_range)


class ParscaleModel(ParscalePreTrainedModel):
    """Tokens to blended hidden states, [B, S] -> [B, S, H]."""

    def __init__(self, config):
        super().__init__(config)
        h, p = config.hidden_size, config.parscale_n
        self.embed_tokens = nn.Embedding(config.vocab_size, h)
        self.layers = nn.ModuleList(ParscaleLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = ParscaleRMSNorm(config)
        if p > 1:
            self.aggregate_layer = nn.Sequential(nn.Linear(p * h, h), nn.SiLU(), nn.Linear(h, p))
        self.frequencies, self.amplitude = rotary_frequencies(config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def aggregate(self, x):
        """Weighted sum of the replicas, [B, P, S, H] -> [B, S, H]. The scorer reads h-major, replica-minor features."""
        p, smooth = self.config.parscale_n, self.config.parscale_attn_smooth
        if p == 1:
            return x[:, 0]
        score = self.aggregate_layer(x.permute(0, 2, 3, 1).flatten(-2))
        share = score.softmax(-1, dtype=torch.float32) * (1 - smooth) + smooth / p
        return torch.einsum("bsp,bpsh->bsh", share.type_as(x), x)

    def visible(self, index, document, past, window):
        """[B, 1, S, T + keys] (xkv: keys of each replica in turn): what the queries after `past` see.

        index [B, past + S] counts a sequence's tokens; document [B, past + S] is 0 for padding and parts the others.
        Padding sees itself, so that it stays finite.
        """
        query, key = index[:, past:, None], index[:, None, :]
        seen = (document[:, past:, None] == document[:, None, :]) & (document[:, None, :] > 0) & (key <= query)
        if window is not None:
            seen &= key > query - window
        slot = torch.arange(index.shape[1], device=index.device)
        seen = (seen | (slot[past:, None] == slot)).unsqueeze(1)
        if self.config.enable_xkv_attn:
            seen = seen.repeat(1, 1, 1, self.config.parscale_n)
        return F.pad(seen, (self.config.parscale_n_tokens, 0), value=True)

    @can_return_tuple
    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                use_cache=None, output_hidden_states=None, **kwargs):
        """attention_mask [B, past + S]: 0 for padding, on either side. Without it, and without a cache, a position
        that does not follow the one before begins another document, which sees nothing of the others.

        hidden_states: the replicas before each layer, [B, P, S, H], and the blend that is last_hidden_state.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if not (attention_mask is None or torch.is_tensor(attention_mask) and attention_mask.dim() == 2):
            raise ValueError("attention_mask must be [B, past + S]; static caches bring others and do not work")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if self.training and self.gradient_checkpointing:
            use_cache = False
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0

        (b, s), device = inputs_embeds.shape[:2], inputs_embeds.device
        document = torch.ones(b, past + s, dtype=torch.long, device=device)
        if attention_mask is not None:
            document = (attention_mask != 0).long()
        elif position_ids is not None and past == 0:
            document[:, 1:] += (position_ids.diff() != 1).cumsum(-1)
        index = (document > 0).cumsum(-1) - 1
        if position_ids is None:
            position_ids = index[:, past:].clamp(min=0)
        angle = position_ids[:, None, :, None] * inputs_embeds.new_tensor(self.frequencies, dtype=torch.float32)
        angle = torch.cat([angle, angle], -1)
        cos, sin = angle.cos() * self.amplitude, angle.sin() * self.amplitude
        windows = [self.config.window(layer) for layer in range(len(self.layers))]
        visible = {window: self.visible(index, document, past, window) for window in set(windows)}

        x = inputs_embeds.unsqueeze(1).expand(-1, self.config.parscale_n, -1, -1)
        states = []
        for layer, window in zip(self.layers, windows):
            states.append(x)
            if self.training and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(layer.__call__, x, cos, sin, visible[window], None)
            else:
                x = layer(x, cos, sin, visible[window], past_key_values)
        x = self.aggregate(self.norm(x))
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=past_key_values if use_cache else None,
            hidden_states=(*states, x) if wanted else None,
        )


class ParscaleForCausalLM(ParscalePreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # transformers 4.5x reads the keys alone

    def __init__(self, config):
        super().__init__(config)
        self.model = ParscaleModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    @can_return_tuple
    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                labels=None, use_cache=None, output_hidden_states=None, logits_to_keep=0, **kwargs):
        """labels [B, S] are shifted here, and -100 does not count. logits_to_keep: how many of the last; 0: all."""
        outputs = self.model(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds,
                             use_cache=use_cache, output_hidden_states=output_hidden_states)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values,
                                      hidden_states=outputs.hidden_states)


ParscaleModel.register_for_auto_class("AutoModel")
ParscaleForCausalLM.register_for_auto_class("AutoModelForCausalLM")
