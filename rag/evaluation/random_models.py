"""Checkpoints in the shapes of published models, with random weights: real memory, meaningless words.

Some have fewer layers than the original, so that a file stays below a few gigabytes; embeddings and the
widths of a layer, which decide how memory divides up, are the published ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

QWEN2 = {"model_type": "qwen2", "rope_theta": 1e6, "rms_norm_eps": 1e-6, "max_position_embeddings": 32768}
QWEN3 = {"model_type": "qwen3", "rope_theta": 1e6, "rms_norm_eps": 1e-6, "max_position_embeddings": 40960}
LLAMA = {"model_type": "llama", "rope_theta": 5e5, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192}
PHI3 = {"model_type": "phi3", "rope_theta": 1e4, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096}
PHI3 |= {"pad_token_id": 0}
GEMMA3 = {"model_type": "gemma3_text", "sliding_window": 512, "max_position_embeddings": 32768}

PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def _sizes(
    hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int, **more: Any
) -> dict[str, Any]:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    sizes = dict(zip(names, (hidden, intermediate, layers, heads)))
    return {**sizes, "num_key_value_heads": kv_heads, "vocab_size": vocab, **more}


CONFIGS: dict[str, dict[str, Any]] = {
    "qwen2.5-0.5b": QWEN2 | _sizes(896, 4864, 24, 14, 2, 151936, tie_word_embeddings=True),
    "qwen3-0.6b": QWEN3 | _sizes(1024, 3072, 28, 16, 8, 151936, head_dim=128, tie_word_embeddings=True),
    "llama-3.2-1b/8": LLAMA | _sizes(2048, 8192, 8, 32, 8, 128256, head_dim=64, tie_word_embeddings=True),
    "llama-3.2-3b/4": LLAMA | _sizes(3072, 8192, 4, 24, 8, 128256, head_dim=128, tie_word_embeddings=True),
    "tinyllama-1.1b": LLAMA | _sizes(2048, 5632, 22, 32, 4, 32000, tie_word_embeddings=False),
    "phi-3-mini/6": PHI3
    | _sizes(3072, 8192, 6, 32, 32, 32064, sliding_window=2047, tie_word_embeddings=False),
    "phi-4-mini/6": PHI3
    | _sizes(3072, 8192, 6, 24, 8, 200064, partial_rotary_factor=0.75, tie_word_embeddings=True),
    "gemma-2-2b/6": {"model_type": "gemma2", "sliding_window": 4096, "max_position_embeddings": 8192}
    | _sizes(2304, 9216, 6, 8, 4, 256000, head_dim=256),
    "gemma-3-270m": GEMMA3 | _sizes(640, 2048, 18, 4, 1, 262144, head_dim=256),
    "gemma-3-1b": GEMMA3 | _sizes(1152, 6912, 26, 4, 1, 262144, head_dim=256),
    "mistral-7b/3": {"model_type": "mistral", "sliding_window": 4096, "max_position_embeddings": 32768}
    | _sizes(4096, 14336, 3, 32, 8, 32000, tie_word_embeddings=False),
    "qwen3-30b-a3b/1": {**QWEN3, "model_type": "qwen3_moe", "num_experts": 128, "num_experts_per_tok": 8}
    | _sizes(
        2048, 6144, 1, 32, 4, 151936, head_dim=128, moe_intermediate_size=768, tie_word_embeddings=False
    ),
}
"""Published sizes by name; "/n" says that only n layers of it were taken."""


def write_folder(folder: Path, config: dict[str, Any], dtype: str = "bfloat16", shard: str = "400MB") -> None:
    """Write a model folder as transformers itself would, with the bundled model's tokenizer.

    Where the model's vocabulary is smaller than the tokenizer's, prompts have to keep to common words.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from rag import bundled

    settings = AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings, dtype=getattr(torch, dtype))
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    for parameter in model.parameters():
        _fill(parameter.data)
    model.tie_weights()
    model.save_pretrained(folder, max_shard_size=shard)
    file = bundled.path(bundled.SMOLLM2)
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    tokenizer.chat_template = PLAIN_TEMPLATE
    tokenizer.save_pretrained(folder)


def _fill(tensor: Any) -> None:
    """Small random numbers, one block of them repeated: drawing each would take minutes."""
    import torch

    flat = tensor.view(-1)
    block = torch.randn(min(flat.numel(), 1 << 20)).mul_(0.02).to(tensor.dtype)
    for start in range(0, flat.numel(), block.numel()):
        part = flat[start : start + block.numel()]
        part.copy_(block[: part.numel()])


GGUF_BLOCKS = {"F16": (1, 2), "Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_K": (256, 144)}
"""GGUF type -> weights of a block, bytes of a block, as in ggml's block structures."""
GGUF_SCALES = {"Q8_0": (0,), "Q4_0": (0,), "Q4_K": (0, 2)}
"""Where a block has float16 scales: random bits there would be infinite now and then."""


def write_gguf(file: Path, config: dict[str, Any], kind: str) -> Path:
    """Write a GGUF file of a dense model, all matrices in one type, with the bundled model's tokenizer."""
    import gguf
    import numpy as np

    family = config["model_type"].removesuffix("_text")
    writer = gguf.GGUFWriter(file, family)
    heads, head_dim = config["num_attention_heads"], head_size(config)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    if window := config.get("sliding_window"):
        writer.add_sliding_window(window)
    _copy_tokenizer(writer, config["vocab_size"])
    rng = np.random.default_rng(0)
    for name, shape in gguf_tensors(family, config):
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32))
        else:
            data = _random_rows(rng, kind, *shape)
            writer.add_tensor(name, data, raw_dtype=getattr(gguf.GGMLQuantizationType, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def head_size(config: dict[str, Any]) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def gguf_tensors(family: str, config: dict[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes as llama.cpp's loader expects them of a llama, qwen2, qwen3 or gemma3 model."""
    hidden, wide, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    queries = config["num_attention_heads"] * head_size(config)
    keys = config["num_key_value_heads"] * head_size(config)
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (vocab, hidden)),
        ("output_norm.weight", (hidden,)),
    ]
    if not config.get("tie_word_embeddings", family == "gemma3"):
        tensors.append(("output.weight", (vocab, hidden)))
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (hidden,),
        "attn_q.weight": (queries, hidden),
        "attn_k.weight": (keys, hidden),
        "attn_v.weight": (keys, hidden),
        "attn_output.weight": (hidden, queries),
        "ffn_norm.weight": (hidden,),
        "ffn_gate.weight": (wide, hidden),
        "ffn_up.weight": (wide, hidden),
        "ffn_down.weight": (hidden, wide),
    }
    if family == "qwen2":
        layer |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
    if family in ("qwen3", "gemma3"):
        layer |= {"attn_q_norm.weight": (head_size(config),), "attn_k_norm.weight": (head_size(config),)}
    if family == "gemma3":
        layer |= {"post_attention_norm.weight": (hidden,), "post_ffw_norm.weight": (hidden,)}
    layers = range(config["num_hidden_layers"])
    return tensors + [(f"blk.{n}.{name}", shape) for n in layers for name, shape in layer.items()]


def _random_rows(rng: Any, kind: str, rows: int, columns: int) -> Any:
    """A matrix in a GGUF type as bytes: one row of random blocks, repeated."""
    import numpy as np

    if kind == "F16":
        return np.tile((rng.standard_normal(columns) * 0.02).astype(np.float16), (rows, 1))
    weights, size = GGUF_BLOCKS[kind]
    blocks = rng.integers(0, 256, (columns // weights, size), dtype=np.uint8)
    for start in GGUF_SCALES[kind]:
        blocks[:, start : start + 2] = np.frombuffer(np.float16(0.001).tobytes(), np.uint8)
    return np.tile(blocks.reshape(-1), (rows, 1))


def _copy_tokenizer(writer: Any, vocab: int) -> None:
    """Copy the bundled model's tokenizer, cut or filled up to a vocabulary's size."""
    import gguf

    from rag import bundled

    fields = gguf.GGUFReader(bundled.path(bundled.SMOLLM2)).fields
    known = {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}
    tokens = known["tokenizer.ggml.tokens"][:vocab]
    merges = _mergeable(known["tokenizer.ggml.merges"], set(tokens))
    more = _longer(tokens, vocab - len(tokens))
    kinds = known["tokenizer.ggml.token_type"][:vocab] + [gguf.TokenType.NORMAL] * (vocab - len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(known.get("tokenizer.ggml.pre", "smollm"))
    writer.add_token_list(tokens + [left + right for left, right in more])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges + [f"{left} {right}" for left, right in more])
    writer.add_bos_token_id(known["tokenizer.ggml.bos_token_id"])
    writer.add_eos_token_id(known["tokenizer.ggml.eos_token_id"])
    writer.add_chat_template(known["tokenizer.chat_template"])


def _mergeable(merges: list[str], tokens: set[str]) -> list[str]:
    return [merge for merge in merges if merge.replace(" ", "", 1) in tokens]


def _longer(tokens: list[str], count: int) -> list[tuple[str, str]]:
    """Pairs of tokens that make `count` new ones: a large vocabulary has as many merges as tokens."""
    known = set(tokens)
    common = [token for token in tokens[1000:] if "<" not in token]
    found: list[tuple[str, str]] = []
    for step in range(1, len(common)):
        for left, right in zip(common, common[step:]):
            if len(found) == count:
                return found
            if left + right not in known:
                known.add(left + right)
                found.append((left, right))
    return found
