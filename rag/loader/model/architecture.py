"""config.json -> the numbers that formulas for memory and speed need.

Names differ between families; each number is looked up under all that are in use. What a config does
not say stays None, and whoever computes with it has to say that the result is rough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["full", "sliding", "linear"]
"""What a layer keeps of earlier tokens: all of them, the last few, or a state of fixed size."""

NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "intermediate": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "kv_heads": ("num_key_value_heads", "n_head_kv", "num_kv_heads", "n_kv_heads"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels"),
    "vocab": ("vocab_size",),
    "max_positions": ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"),
    "window": ("sliding_window", "sliding_window_size", "attention_chunk_size"),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    "experts_per_token": ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k"),
    "shared_experts": ("n_shared_experts", "num_shared_experts"),
    "expert_intermediate": ("moe_intermediate_size", "expert_intermediate_size"),
}

LAYER_TYPES: Mapping[str, Kind] = {
    "sliding_attention": "sliding",
    "chunked_attention": "sliding",
    "linear_attention": "linear",
    "mamba": "linear",
    "mamba2": "linear",
    "conv": "linear",
    "recurrent": "linear",
}
"""transformers' names of layer types; any other one is full attention."""

MARKS: Mapping[str, Kind] = {"M": "linear", "*": "full"}
"""Nemotron-H writes a letter per layer: mamba, attention, and others that keep nothing."""

TIED_BY_DEFAULT = frozenset(
    {"gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "cohere", "cohere2", "gpt2"}
)
PATTERNS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}
"""One layer in so many sees all tokens, the others a window, where config.json itself does not say so."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder; `kinds` has one entry per layer.

    `key_width` and `value_width` are elements that one token leaves in one full-attention layer, over all
    key-value heads; `latent_width` is what it leaves instead where an engine keeps the compressed form of
    multi-head latent attention. `state` is what a linear layer keeps, in elements, whatever the length.
    """

    layers: int | None = None
    hidden: int | None = None
    intermediate: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    vocab: int | None = None
    max_positions: int | None = None
    window: int | None = None
    kinds: tuple[Kind, ...] = ()
    key_width: int | None = None
    value_width: int | None = None
    latent_width: int | None = None
    state: int = 0
    experts: int | None = None
    experts_per_token: int | None = None
    shared_experts: int | None = None
    expert_intermediate: int | None = None
    tied: bool = False

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the numbers that memory depends on and the config does not give."""
        needed = ("layers", "hidden", "heads", "head_dim", "vocab")
        return tuple(name for name in needed if getattr(self, name) is None)

    @property
    def feed_forward(self) -> int | None:
        """Width of a token's feed-forward buffer, in a mixture of experts over all active ones."""
        if self.experts and self.experts_per_token and self.expert_intermediate:
            routed = self.experts_per_token + (self.shared_experts or 0)
            return max(routed * self.expert_intermediate, self.intermediate or 0)
        return self.intermediate

    @property
    def active_share(self) -> float:
        """Part of the experts' weights that one token reads."""
        if not self.experts or not self.experts_per_token:
            return 1.0
        return min(1.0, self.experts_per_token / self.experts)


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Read a model's config; a multimodal one's text part counts."""
    config = _text_part(config)
    found: dict[str, Any] = {name: _number(config, aliases) for name, aliases in NAMES.items()}
    if found["head_dim"] is None and found["hidden"] and found["heads"]:
        found["head_dim"] = found["hidden"] // found["heads"]
    if found["kv_heads"] is None:
        found["kv_heads"] = 1 if config.get("multi_query") else found["heads"]
    if config.get("use_sliding_window") is False:
        found["window"] = None
    found["kinds"] = _kinds(config, found["layers"] or 0, found["window"])
    found |= _widths(config, found)
    found["state"] = _state(config, found)
    found["tied"] = bool(config.get("tie_word_embeddings", config.get("model_type") in TIED_BY_DEFAULT))
    return Shape(**found)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("text_config", "language_config", "llm_config"):
        inner = config.get(name)
        if isinstance(inner, Mapping) and inner:
            return {**config, **inner}
    return config


def _number(config: Mapping[str, Any], aliases: tuple[str, ...]) -> int | None:
    for alias in aliases:
        value = config.get(alias)
        if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
            value = max(value)  # some families give one number per layer
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(value)
    return None


def _kinds(config: Mapping[str, Any], layers: int, window: int | None) -> tuple[Kind, ...]:
    """One kind per layer, from whichever of the ways to say it this family uses."""
    named = config.get("layer_types") or config.get("layers_block_type")
    if isinstance(named, list) and named:
        return tuple(_kind(str(name), window) for name in named)
    if pattern := config.get("hybrid_override_pattern"):
        return tuple(MARKS[mark] for mark in pattern if mark in MARKS)
    full = _every(config, ("full_attention_interval", "attn_layer_period"), "attn_layer_offset")
    if full:
        interval, offset = full
        return _mixed("full", "linear", (i % interval == offset for i in range(layers)))
    if window is None:
        return _mixed("full", "full", [True] * layers)
    pattern = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern")
    pattern = pattern if isinstance(pattern, int) else PATTERNS.get(str(config.get("model_type")))
    if pattern:
        return _mixed("full", "sliding", ((i + 1) % pattern == 0 for i in range(layers)))
    if config.get("use_sliding_window"):  # Qwen2: the first max_window_layers see everything
        first = config.get("max_window_layers") or 0
        return _mixed("full", "sliding", (i < first for i in range(layers)))
    return _mixed("sliding", "sliding", [True] * layers)


def _mixed(chosen: Kind, other: Kind, choices: Iterable[bool]) -> tuple[Kind, ...]:
    return tuple(chosen if choice else other for choice in choices)


def _kind(name: str, window: int | None) -> Kind:
    kind = LAYER_TYPES.get(name, "full")
    return "full" if kind == "sliding" and not window else kind


def _every(config: Mapping[str, Any], periods: tuple[str, ...], offset: str) -> tuple[int, int] | None:
    for name in periods:
        interval = config.get(name)
        if isinstance(interval, int) and interval > 0:
            return interval, int(config.get(offset, interval - 1)) % interval
    return None


def _widths(config: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, int | None]:
    """Elements per token and layer; latent attention expands one latent for all heads."""
    rank = _number(config, ("kv_lora_rank",))
    if rank and found["heads"]:
        rotary = config.get("qk_rope_head_dim") or 0
        plain = config.get("qk_nope_head_dim") or found["head_dim"]
        value = config.get("v_head_dim") or found["head_dim"]
        return {
            "key_width": found["heads"] * (plain + rotary),
            "value_width": found["heads"] * value,
            "latent_width": rank + rotary,
        }
    if found["kv_heads"] and found["head_dim"]:
        width = found["kv_heads"] * found["head_dim"]
        return {"key_width": width, "value_width": width, "latent_width": None}
    return {"key_width": None, "value_width": None, "latent_width": None}


def _state(config: Mapping[str, Any], found: Mapping[str, Any]) -> int:
    """Elements of one linear layer's recurrent state and of the convolution before it.

    Gated delta rule (Qwen3-Next): value heads x key dim x value dim; Mamba 2: heads x head dim x state;
    Mamba 1: inner width x state; short convolutions (LFM2): width x kernel.
    """
    number = lambda *names: _number(config, names) or 0  # noqa: E731
    hidden = found["hidden"] or 0
    if heads := number("linear_num_value_heads"):
        keys, values = number("linear_key_head_dim"), number("linear_value_head_dim")
        convolved = 2 * number("linear_num_key_heads") * keys + heads * values
        return heads * keys * values + convolved * number("linear_conv_kernel_dim")
    size = number("mamba_d_state", "ssm_state_size", "state_size")
    kernel = number("mamba_d_conv", "conv_kernel")
    if heads := number("mamba_n_heads", "mamba_num_heads"):
        inner = heads * number("mamba_d_head", "mamba_head_dim")
        return inner * size + (inner + 2 * number("mamba_n_groups", "n_groups") * size) * kernel
    if size:
        return number("mamba_expand", "expand") * hidden * (size + kernel)
    return number("conv_L_cache") * hidden
