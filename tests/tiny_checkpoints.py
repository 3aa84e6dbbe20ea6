"""Tiny generated models, one for every way to store weights and to get them wrong.

Each builder takes a folder and returns it. Shapes, names and settings are those that the format's own tools
write; the numbers are pseudo-random, always the same. The plain forms really load and generate.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, prod
from pathlib import Path

HIDDEN, MIDDLE, LAYERS, HEADS, KV_HEADS, VOCABULARY, CONTEXT = 64, 128, 2, 4, 2, 320, 256
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LINEARS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN // HEADS * KV_HEADS, HIDDEN),
    "self_attn.v_proj": (HIDDEN // HEADS * KV_HEADS, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (MIDDLE, HIDDEN),
    "mlp.up_proj": (MIDDLE, HIDDEN),
    "mlp.down_proj": (HIDDEN, MIDDLE),
}
"""Outputs and inputs of a layer's linear modules."""
PARAMETERS = VOCABULARY * HIDDEN + HIDDEN + LAYERS * (2 * HIDDEN + sum(map(prod, LINEARS.values())))
"""Of every form of this model: its embeddings are tied."""
MODULES = LAYERS * len(LINEARS)

Stored = tuple[str, tuple[int, ...], bytes]
"""dtype, shape, bytes"""
Linear = Callable[[str, int, int], dict[str, Stored]]
"""A module's name, outputs and inputs -> its tensors."""

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": MIDDLE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HIDDEN // HEADS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 2,
}


# --- tensors --------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _values(dtype: str) -> bytes:
    """A pool of small numbers, each tensor's are cut from it."""
    source = random.Random(7)
    values = [source.uniform(-0.06, 0.06) for _ in range(8191)]
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{ {'F32': 'f', 'F16': 'e', 'F64': 'd'}[dtype] }", *values)


@lru_cache(maxsize=1)
def _noise() -> bytes:
    return random.Random(11).randbytes(1 << 16)


def _cut(pool: bytes, length: int, seed: int = 0) -> bytes:
    start = seed * 64 % len(pool)
    repeated = (pool[start:] + pool[:start]) * (length // len(pool) + 1)
    return repeated[:length]


def numbers(dtype: str, *shape: int) -> Stored:
    """A tensor of small floating-point numbers."""
    width = {"F64": 8, "F32": 4}.get(dtype, 2)
    return dtype, shape, _cut(_values(dtype), prod(shape) * width, seed=sum(shape))


def ones(dtype: str, *shape: int) -> Stored:
    one = {"F32": struct.pack("<f", 1), "F16": struct.pack("<e", 1), "BF16": b"\x80\x3f"}[dtype]
    return dtype, shape, one * prod(shape)


def noise(dtype: str, *shape: int) -> Stored:
    """A tensor of packed integers or 8-bit numbers, whatever they stand for."""
    width = {"I64": 8, "I32": 4, "U32": 4, "I16": 2}.get(dtype, 1)
    return dtype, shape, _cut(_noise(), prod(shape) * width, seed=sum(shape))


def exactly(dtype: str, layout: str, *values: float) -> Stored:
    return dtype, (len(values),), struct.pack("<" + layout, *values)


def safetensors(file: Path, tensors: Mapping[str, Stored], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file as the library would."""
    header: dict[str, object] = {"__metadata__": dict(metadata or {"format": "pt"})}
    at = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    file.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(data for *_, data in tensors.values()))
    return file


# --- a module in each format ----------------------------------------------------------------------


def plain(dtype: str) -> Linear:
    return lambda name, out, into: {f"{name}.weight": numbers(dtype, out, into)}


def awq(bits: int = 4, group: int = 32) -> Linear:
    def linear(name: str, out: int, into: int) -> dict[str, Stored]:
        return {
            f"{name}.qweight": noise("I32", into, out * bits // 32),
            f"{name}.qzeros": noise("I32", into // group, out * bits // 32),
            f"{name}.scales": numbers("F16", into // group, out),
        }

    return linear


def gptq(bits: int = 4, group: int = 32, g_idx: bool = True) -> Linear:
    def linear(name: str, out: int, into: int) -> dict[str, Stored]:
        order = {f"{name}.g_idx": exactly("I32", f"{into}i", *(n // group for n in range(into)))}
        return {
            f"{name}.qweight": noise("I32", into * bits // 32, out),
            f"{name}.qzeros": noise("I32", into // group, out * bits // 32),
            f"{name}.scales": numbers("F16", into // group, out),
            **(order if g_idx else {}),
        }

    return linear


def bnb_4bit(name: str, out: int, into: int) -> dict[str, Stored]:
    state = json.dumps(
        {"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [out, into]}
    ).encode()
    return {
        f"{name}.weight": noise("U8", out * into // 2, 1),
        f"{name}.weight.absmax": numbers("F32", out * into // 64),
        f"{name}.weight.quant_map": numbers("F32", 16),
        f"{name}.weight.quant_state.bitsandbytes__nf4": ("U8", (len(state),), state),
    }


def bnb_8bit(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}.weight": noise("I8", out, into),
        f"{name}.SCB": numbers("F32", out),
        f"{name}.weight_format": ("U8", (), b"\0"),
    }


def scaled(dtype: str, **scales: Stored) -> Linear:
    """8-bit weights with scales of fixed shapes."""

    def linear(name: str, out: int, into: int) -> dict[str, Stored]:
        return {
            f"{name}.weight": noise(dtype, out, into),
            **{f"{name}.{key}": value for key, value in scales.items()},
        }

    return linear


def fp8_blocks(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}.weight": noise("F8_E4M3", out, into),
        f"{name}.weight_scale_inv": numbers("F32", ceil(out / 128), ceil(into / 128)),
    }


def per_row(dtype: str) -> Linear:
    return lambda name, out, into: {
        f"{name}.weight": noise(dtype, out, into),
        f"{name}.weight_scale": numbers("BF16", out, 1),
    }


def packed(bits: int = 4, group: int = 32) -> Linear:
    return lambda name, out, into: {
        f"{name}.weight_packed": noise("I32", out, into * bits // 32),
        f"{name}.weight_scale": numbers("BF16", out, into // group),
        f"{name}.weight_shape": exactly("I64", "2q", out, into),
    }


def nvfp4(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}.weight": noise("U8", out, into // 2),
        f"{name}.weight_scale": noise("F8_E4M3", out, into // 16),
        f"{name}.weight_scale_2": numbers("F32"),
        f"{name}.input_scale": numbers("F32"),
    }


def mxfp4(name: str, out: int, into: int) -> dict[str, Stored]:
    """gpt-oss keeps all experts of a kind in one tensor; the attention stays as it was."""
    if ".mlp." not in name:
        return plain("BF16")(name, out, into)
    name = name.replace(".mlp.", ".mlp.experts.")
    return {
        f"{name}_blocks": noise("U8", 1, out, into // 32, 16),
        f"{name}_scales": noise("U8", 1, out, into // 32),
    }


def torchao(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}._weight_qdata": noise("I8", out, into),
        f"{name}._weight_scale": numbers("BF16", out, 1),
        f"{name}._weight_zero_point": noise("I8", out, 1),
    }


def hqq(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}.W_q": noise("U8", out * into // 64 // 2, 64),
        f"{name}.scale": numbers("F16", out * into // 64, 1),
        f"{name}.zero": numbers("F16", out * into // 64, 1),
    }


def squeezellm(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}.qweight": noise("I32", into // 8, out),
        f"{name}.lookup_table": numbers("F16", out, 16),
    }


def exl2(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}.q_weight": noise("I32", into * 4 // 32, out),
        f"{name}.q_scale": noise("I32", into // 32, out // 8),
        f"{name}.q_scale_max": numbers("F16", into // 32),
        f"{name}.q_groups": noise("I16", into // 16),
        f"{name}.q_invperm": noise("I32", into),
    }


def exl3(name: str, out: int, into: int) -> dict[str, Stored]:
    return {
        f"{name}.trellis": noise("I16", into // 16, out // 16, 16 * 4),
        f"{name}.suh": numbers("F16", into),
        f"{name}.svh": numbers("F16", out),
    }


def mlx(bits: int = 4, group: int = 32) -> Linear:
    return lambda name, out, into: {
        f"{name}.weight": noise("U32", out, into * bits // 32),
        f"{name}.scales": numbers("F16", out, into // group),
        f"{name}.biases": numbers("F16", out, into // group),
    }


# --- folders --------------------------------------------------------------------------------------


def tensors_of(linear: Linear, dtype: str = "F16") -> dict[str, Stored]:
    """The whole model; what is not a linear module is plain."""
    found = {"model.embed_tokens.weight": numbers(dtype, VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        for name, (out, into) in LINEARS.items():
            found.update(linear(f"{at}.{name}", out, into))
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"{at}.{norm}.weight"] = ones(dtype, HIDDEN)
    found["model.norm.weight"] = ones(dtype, HIDDEN)
    return found


def write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_tokenizer(folder: Path, template: bool = True) -> None:
    """A byte-level BPE tokenizer of 320 tokens that reads any text."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    merges = [("Ġ", letter) for letter in letters] + [(a, b) for a in "aeioun" for b in "nrstld"][:35]
    tokens = [*SPECIAL, *_byte_letters(), *(a + b for a, b in merges)]
    added = [{"id": n, "content": token, "special": True} for n, token in enumerate(SPECIAL)]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "added_tokens": [{**one, **flags} for one in added],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
            "model": {
                "type": "BPE",
                "vocab": {token: n for n, token in enumerate(tokens)},
                "merges": [f"{a} {b}" for a, b in merges],
            },
        },
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "model_max_length": CONTEXT,
    }
    write_json(
        folder / "tokenizer_config.json", {**settings, **({"chat_template": TEMPLATE} if template else {})}
    )


def _byte_letters() -> list[str]:
    """The printable letter of each byte, as GPT-2's tokenizer has them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
    return [letters[byte] for byte in range(256)]


def folder_of(
    folder: Path,
    tensors: Mapping[str, Stored],
    config: Mapping[str, object] | None = None,
    sides: Mapping[str, object] | None = None,
    shards: int = 1,
    file: str = "model",
) -> Path:
    """Write a whole model folder; with several shards also their index."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {**CONFIG, **(config or {})})
    for name, content in (sides or {}).items():
        write_json(folder / name, content)
    write_tokenizer(folder)
    if shards == 1:
        safetensors(folder / f"{file}.safetensors", tensors)
        return folder
    names = list(tensors)
    weight_map = {}
    for number in range(shards):
        part = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        shard = f"{file}-{number + 1:05}-of-{shards:05}.safetensors"
        safetensors(folder / shard, {name: tensors[name] for name in part})
        weight_map.update(dict.fromkeys(part, shard))
    total = sum(len(data) for *_, data in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / f"{file}.safetensors.index.json", index)
    return folder


def plain_folder(folder: Path, dtype: str = "F16", shards: int = 1, **config: object) -> Path:
    """An unquantized model that really loads."""
    word = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype]
    return folder_of(folder, tensors_of(plain(dtype), dtype), {"torch_dtype": word, **config}, shards=shards)


# --- GGUF -----------------------------------------------------------------------------------------

GGUF_TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ2_XXS": (16, 256, 66),
    "IQ3_S": (21, 256, 110), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136), "BF16": (30, 1, 2),
    "TQ1_0": (34, 256, 54), "MXFP4": (39, 32, 17),
}  # fmt: skip
GGUF_HIDDEN, GGUF_MIDDLE, GGUF_VOCABULARY = 256, 512, 320
GGUF_PARAMETERS = (
    2 * GGUF_VOCABULARY * GGUF_HIDDEN
    + GGUF_HIDDEN
    + LAYERS * (2 * GGUF_HIDDEN + 2 * GGUF_HIDDEN**2 + 2 * GGUF_HIDDEN * 128 + 3 * GGUF_HIDDEN * GGUF_MIDDLE)
)
Value = str | int | float | bool | list[str] | list[int]


def _gguf_text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _gguf_value(value: Value) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _gguf_text(value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_gguf_text(str(one)) for one in value)
    return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *map(int, value))


def gguf_metadata(label: int = 15, architecture: str = "llama", template: bool = True) -> dict[str, Value]:
    tokens = [*SPECIAL, *(f"t{n}" for n in range(GGUF_VOCABULARY - len(SPECIAL)))]
    found: dict[str, Value] = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.file_type": label,
        f"{architecture}.block_count": LAYERS,
        f"{architecture}.context_length": 4096,
        f"{architecture}.embedding_length": GGUF_HIDDEN,
        f"{architecture}.feed_forward_length": GGUF_MIDDLE,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
        f"{architecture}.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (GGUF_VOCABULARY - len(SPECIAL)),
    }
    return {**found, **({"tokenizer.chat_template": TEMPLATE} if template else {})}


def gguf_tensors(main: str = "Q4_K", output: str = "Q6_K") -> dict[str, tuple[str, tuple[int, ...]]]:
    """Tensors by name: their type, and their shape with the innermost length first as GGUF has it."""
    found = {
        "token_embd.weight": (main, (GGUF_HIDDEN, GGUF_VOCABULARY)),
        "output_norm.weight": ("F32", (GGUF_HIDDEN,)),
    }
    found["output.weight"] = (output, (GGUF_HIDDEN, GGUF_VOCABULARY))
    shapes = {
        **{"attn_q": (GGUF_HIDDEN, GGUF_HIDDEN), "attn_k": (GGUF_HIDDEN, 128), "attn_v": (GGUF_HIDDEN, 128)},
        **{"attn_output": (GGUF_HIDDEN, GGUF_HIDDEN), "ffn_gate": (GGUF_HIDDEN, GGUF_MIDDLE)},
        **{"ffn_up": (GGUF_HIDDEN, GGUF_MIDDLE), "ffn_down": (GGUF_MIDDLE, GGUF_HIDDEN)},
    }
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            found[f"blk.{layer}.{name}.weight"] = (main, shape)
        for name in ("attn_norm", "ffn_norm"):
            found[f"blk.{layer}.{name}.weight"] = ("F32", (GGUF_HIDDEN,))
    return found


def gguf_bytes(
    metadata: Mapping[str, Value], tensors: Mapping[str, tuple[str | int, tuple[int, ...]]], order: str = "<"
) -> bytes:
    """A whole GGUF file; a tensor type may be a number that nobody knows."""
    head = b"GGUF" + struct.pack(order + "IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_gguf_text(key) + _gguf_value(value) for key, value in metadata.items())
    body = b""
    for name, (kind, shape) in tensors.items():
        number, block, size = GGUF_TYPES[kind] if isinstance(kind, str) else (kind, 1, 1)
        head += _gguf_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, len(body))
        data = _cut(_noise(), prod(shape) // block * size, seed=sum(shape))
        body += data + b"\0" * (-len(data) % 32)
    return head + b"\0" * (-len(head) % 32) + body


def gguf_file(
    folder: Path, name: str = "tiny.Q4_K_M.gguf", main: str = "Q4_K", label: int = 15, output: str = "Q6_K"
) -> Path:
    """Write a GGUF file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(gguf_bytes(gguf_metadata(label), gguf_tensors(main, output)))
    return file


def gguf_parts(folder: Path, parts: int = 3) -> Path:
    """A model in several files, as llama-gguf-split writes it; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = gguf_tensors()
    names = list(tensors)
    for number in range(parts):
        part = names[number * len(names) // parts : (number + 1) * len(names) // parts]
        split: dict[str, Value] = {
            "split.no": number,
            "split.count": parts,
            "split.tensors.count": len(names),
        }
        metadata = {**(gguf_metadata() if number == 0 else {}), **split}
        file = folder / f"tiny-{number + 1:05}-of-{parts:05}.gguf"
        file.write_bytes(gguf_bytes(metadata, {name: tensors[name] for name in part}))
    return folder / f"tiny-00001-of-{parts:05}.gguf"


# --- the table of forms ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A way to store the model, and what an inspection must find: method, bits, an old form or not."""

    method: str
    linear: Linear
    config: Mapping[str, object] = field(default_factory=dict)
    sides: Mapping[str, object] = field(default_factory=dict)
    bits: float | None = None
    legacy: bool = False
    file: str = "model"
    dtype: str = "F16"
    mentions: str = ""

    def build(self, folder: Path) -> Path:
        return folder_of(folder, tensors_of(self.linear, self.dtype), self.config, self.sides, file=self.file)


def quantized(method: str, **more: object) -> dict[str, object]:
    return {"quantization_config": {"quant_method": method, **more}}


def _groups(kind: str, bits: int, group: int | None, strategy: str) -> dict[str, object]:
    weights = {"num_bits": bits, "type": kind, "symmetric": True, "strategy": strategy, "group_size": group}
    return {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}


CT_PACKED = {
    "format": "pack-quantized",
    "config_groups": _groups("int", 4, 32, "group"),
    "ignore": ["lm_head"],
}
CT_FLOAT = {
    "format": "float-quantized",
    "config_groups": _groups("float", 8, None, "channel"),
    "ignore": ["lm_head"],
}
CT_INT = {
    "format": "int-quantized",
    "config_groups": _groups("int", 8, None, "channel"),
    "ignore": ["lm_head"],
}
AWQ_SIDE = {"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}
GPTQ_SIDE = {"bits": 4, "group_size": 32, "desc_act": False, "sym": True, "damp_percent": 0.01}
MODELOPT_FP8 = {"producer": {"name": "modelopt", "version": "0.29.0"}, "quantization": {"quant_algo": "FP8"}}
MODELOPT_FP4 = {
    "producer": {"name": "modelopt", "version": "0.29.0"},
    "quantization": {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]},
}
BNB_4BIT = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "float16"}
AWQ_NEW = quantized("awq", bits=4, group_size=32, zero_point=True, version="gemm")
GPTQ_NEW = quantized("gptq", bits=4, group_size=32, desc_act=False, sym=True, checkpoint_format="gptq")
STATIC = {"weight_scale": numbers("F32"), "input_scale": numbers("F32")}

FORMS: dict[str, Form] = {
    "none-f32": Form("none", plain("F32"), {"torch_dtype": "float32"}, dtype="F32", mentions="F32"),
    "none-f16": Form("none", plain("F16"), {"torch_dtype": "float16"}, mentions="F16"),
    "none-bf16": Form("none", plain("BF16"), {"dtype": "bfloat16"}, dtype="BF16", mentions="BF16"),
    "awq": Form("awq", awq(), AWQ_NEW, bits=4, mentions="qweight I32 [64, 8]"),
    "awq-8bit": Form(
        "awq", awq(8), quantized("awq", bits=8, group_size=32), bits=8, mentions="qweight I32 [64, 16]"
    ),
    "awq-legacy": Form(
        "awq", awq(), {}, {"quant_config.json": AWQ_SIDE}, 4, True, mentions="quant_config.json"
    ),
    "gptq": Form("gptq", gptq(), GPTQ_NEW, bits=4, mentions="g_idx I32 [64]"),
    "gptq-2bit": Form("gptq", gptq(2), quantized("gptq", bits=2, group_size=32), bits=2, mentions="[4, 64]"),
    "gptq-8bit": Form("gptq", gptq(8), quantized("gptq", bits=8, group_size=32), bits=8, mentions="[16, 64]"),
    "gptq-legacy": Form(
        "gptq",
        gptq(),
        {},
        {"quantize_config.json": GPTQ_SIDE},
        4,
        True,
        "gptq_model-4bit-32g",
        mentions="quantize_config.json",
    ),
    "bnb-4bit": Form(
        "bnb-4bit", bnb_4bit, quantized("bitsandbytes", **BNB_4BIT), bits=4, mentions="weight.absmax"
    ),
    "bnb-4bit-legacy": Form("bnb-4bit", bnb_4bit, {"quantization_config": BNB_4BIT}, bits=4, legacy=True),
    "bnb-8bit": Form(
        "bnb-8bit", bnb_8bit, quantized("bitsandbytes", load_in_8bit=True), bits=8, mentions="SCB"
    ),
    "bnb-8bit-legacy": Form(
        "bnb-8bit", bnb_8bit, {"quantization_config": {"load_in_8bit": True}}, bits=8, legacy=True
    ),
    "fp8-tensor": Form(
        "fp8", scaled("F8_E4M3", **STATIC), quantized("fp8", activation_scheme="static"), bits=8
    ),
    "fp8-block": Form(
        "fp8", fp8_blocks, quantized("fp8", weight_block_size=[128, 128]), bits=8, mentions="weight_scale_inv"
    ),
    "ct-pack": Form(
        "compressed-tensors",
        packed(),
        quantized("compressed-tensors", **CT_PACKED),
        bits=4,
        mentions="weight_packed",
    ),
    "ct-float": Form(
        "compressed-tensors", per_row("F8_E4M3"), quantized("compressed-tensors", **CT_FLOAT), bits=8
    ),
    "ct-int": Form("compressed-tensors", per_row("I8"), quantized("compressed-tensors", **CT_INT), bits=8),
    "ct-legacy": Form("compressed-tensors", packed(), {"compression_config": CT_PACKED}, bits=4, legacy=True),
    "modelopt-fp8": Form(
        "modelopt",
        scaled("F8_E4M3", **STATIC),
        {},
        {"hf_quant_config.json": MODELOPT_FP8},
        8,
        True,
        mentions="modelopt",
    ),
    "modelopt-fp4": Form(
        "modelopt",
        nvfp4,
        quantized("modelopt", quant_algo="NVFP4"),
        {"hf_quant_config.json": MODELOPT_FP4},
        4,
        mentions="weight_scale_2",
    ),
    "mxfp4": Form("mxfp4", mxfp4, quantized("mxfp4"), bits=4, dtype="BF16", mentions="blocks U8"),
    "torchao": Form(
        "torchao", torchao, quantized("torchao", quant_type={"default": {}}), bits=8, mentions="weight_qdata"
    ),
    "auto-round": Form(
        "auto-round",
        gptq(g_idx=False),
        quantized("auto-round", bits=4, group_size=32, packing_format="auto_round:auto_gptq"),
        bits=4,
    ),
    "auto-round-legacy": Form(
        "auto-round",
        gptq(g_idx=False),
        quantized("intel/auto-round", bits=4, group_size=32),
        bits=4,
        legacy=True,
    ),
    "quark": Form(
        "quark", scaled("F8_E4M3", **STATIC), quantized("quark", export={"pack_method": "reorder"}), bits=8
    ),
    "hqq": Form(
        "hqq",
        hqq,
        quantized("hqq", quant_config={"weight_quant_params": {"nbits": 4, "group_size": 64}}),
        bits=4,
    ),
    "squeezellm": Form(
        "squeezellm", squeezellm, quantized("squeezellm", wbits=4), bits=4, mentions="lookup_table"
    ),
    "squeezellm-legacy": Form("squeezellm", squeezellm, {}, {"quant_config.json": {"wbits": 4}}, 4, True),
    "exl2": Form("exl2", exl2, quantized("exl2", bits=4.0), bits=4, file="output", mentions="q_weight"),
    "exl3": Form("exl3", exl3, quantized("exl3", bits=4.0), bits=4, mentions="trellis"),
    "mlx": Form("mlx", mlx(), {"quantization": {"group_size": 32, "bits": 4}}, bits=4, mentions="biases"),
}
