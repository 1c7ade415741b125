"""Configuration of ParScale language models: the keys of a Llama or Qwen2 decoder, and those of its replicas."""

from transformers import PretrainedConfig


class ParscaleConfig(PretrainedConfig):
    """One set of keys for transformers 4.5x and 5: the rotary ones are kept as a table `rope_parameters`."""

    model_type = "parscale"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        vocab_size=151936,
        hidden_size=2048,
        intermediate_size=11008,
        num_hidden_layers=36,
        num_attention_heads=16,
        num_key_value_heads=None,
        head_dim=None,
        attention_bias=True,  # on q, k, v of self-attention: Qwen2 has it, Llama has not
        hidden_act="silu",
        rms_norm_eps=1e-6,
        initializer_range=0.02,
        max_position_embeddings=32768,
        rope_theta=10000.0,
        rope_scaling=None,  # {"rope_type": "default" | "linear" | "yarn" | "llama3", ...}
        rope_parameters=None,  # the same with rope_theta inside: what transformers 5 writes
        tie_word_embeddings=False,
        use_cache=True,
        use_sliding_window=False,
        sliding_window=None,
        max_window_layers=0,  # the first layer that slides
        parscale_n=1,
        parscale_n_tokens=0,
        parscale_attn_smooth=0.01,
        enable_cross_attn=False,
        parscale_cross_attn_layers=None,  # None: all
        enable_replica_rope=False,
        replica_rope_layout="half",  # "interleaved": what checkpoints of parscale-xattn were trained with
        enable_xkv_attn=False,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.head_dim = head_dim or hidden_size // num_attention_heads
        self.attention_bias = attention_bias
        self.hidden_act = hidden_act
        self.rms_norm_eps = rms_norm_eps
        self.initializer_range = initializer_range
        self.max_position_embeddings = max_position_embeddings
        self.use_cache = use_cache
        self.use_sliding_window = use_sliding_window
        self.sliding_window = sliding_window
        self.max_window_layers = max_window_layers
        self.parscale_n = parscale_n
        self.parscale_n_tokens = parscale_n_tokens
        self.parscale_attn_smooth = parscale_attn_smooth
        self.enable_cross_attn = enable_cross_attn
        self.parscale_cross_attn_layers = parscale_cross_attn_layers
        self.enable_replica_rope = enable_replica_rope
        self.replica_rope_layout = replica_rope_layout
        self.enable_xkv_attn = enable_xkv_attn

        rope = {"rope_theta": rope_theta, **(rope_scaling or {}), **(rope_parameters or {})}
        rope["rope_type"] = rope.pop("type", None) or rope.get("rope_type", "default")
        self.rope_parameters = rope
        self.rope_theta = rope["rope_theta"]

        kwargs.pop("layer_types", None)
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    @property
    def rope_scaling(self):
        """Where transformers 4.5x looks for `rope_parameters`."""
        return self.rope_parameters

    @property
    def layer_types(self):
        """What caches go by. All positions are kept: windows are cut by the mask, which needs no other cache."""
        return ["full_attention"] * self.num_hidden_layers

    def window(self, layer):
        """Positions that a query of this layer sees, itself included; None: all before it."""
        return self.sliding_window if self.use_sliding_window and layer >= self.max_window_layers else None

    def has_cross_attn(self, layer):
        """Whether the replicas attend to each other before this layer."""
        chosen = self.parscale_cross_attn_layers
        return self.enable_cross_attn and (chosen is None or layer in chosen)


ParscaleConfig.register_for_auto_class()  # save_pretrained copies this file
