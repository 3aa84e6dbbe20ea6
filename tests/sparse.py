"""Large models that take no room on the disk: real headers, and zeros that are stored nowhere."""

import json
import struct
from pathlib import Path

from tests.tiny_checkpoints import write_json, write_tokenizer

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 24,
    "num_key_value_heads": 24,
    "head_dim": 128,
    "vocab_size": 32064,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "bos_token_id": 0,
    "eos_token_id": 2,
}
"""The shape of a model of 3.8 billion parameters: 7.6 GB in float16."""


def sparse_folder(folder: Path, shards: int = 3, **changes: int) -> Path:
    """Write a Llama folder whose weights are all zero; `changes` are config.json's."""
    folder.mkdir(parents=True)
    config = {**CONFIG, **changes}
    write_json(folder / "config.json", config)
    write_tokenizer(folder)
    tensors = list(_shapes(config).items())
    weight_map = {}
    for number in range(shards):
        part = dict(tensors[number * len(tensors) // shards : (number + 1) * len(tensors) // shards])
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        _write(folder / name, part)
        weight_map.update(dict.fromkeys(part, name))
    total = sum(2 * rows * columns for rows, columns in _shapes(config).values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)
    return folder


def _shapes(config):
    hidden, wide, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    inside = config["num_attention_heads"] * config["head_dim"]
    narrow = config["num_key_value_heads"] * config["head_dim"]
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(config["num_hidden_layers"]):
        place = f"model.layers.{layer}"
        shapes |= {
            f"{place}.self_attn.q_proj.weight": (inside, hidden),
            f"{place}.self_attn.k_proj.weight": (narrow, hidden),
            f"{place}.self_attn.v_proj.weight": (narrow, hidden),
            f"{place}.self_attn.o_proj.weight": (hidden, inside),
            f"{place}.mlp.gate_proj.weight": (wide, hidden),
            f"{place}.mlp.up_proj.weight": (wide, hidden),
            f"{place}.mlp.down_proj.weight": (hidden, wide),
            f"{place}.input_layernorm.weight": (1, hidden),
            f"{place}.post_attention_layernorm.weight": (1, hidden),
        }
    return {**shapes, "model.norm.weight": (1, hidden), "lm_head.weight": (vocabulary, hidden)}


def _write(file, shapes):
    header, at = {}, 0
    for name, (rows, columns) in shapes.items():
        shape = [columns] if rows == 1 else [rows, columns]
        end = at + 2 * rows * columns
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + at)
