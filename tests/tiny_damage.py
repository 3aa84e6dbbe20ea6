"""Tiny models that are wrong: every contradiction and every kind of damage, with what must be said of it.

A builder takes a folder and returns what a user would name: the folder, or the GGUF file in it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests import tiny_checkpoints as tiny
from tests.tiny_checkpoints import CONFIG, folder_of, plain, plain_folder, quantized, tensors_of, write_json

Build = Callable[[Path], Path]
INDEX = "model.safetensors.index.json"
SHARD_2 = "model-00002-of-00003.safetensors"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 4976698672\n"
AGAIN = "Download {} again, and compare its size with the one that the model's page shows."
Q_PROJ = "model.layers.0.self_attn.q_proj"


# --- contradictions -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contradiction:
    """A model that loads wrongly if its words are believed: what it really is, and what must be said."""

    build: Build
    method: str
    sentence: str
    declared: str = "none"


def form(linear: tiny.Linear, config: dict, sides: dict | None = None) -> Build:
    return lambda folder: folder_of(folder, tensors_of(linear), config, sides)


def named(name: str, linear: tiny.Linear, config: dict | None = None) -> Build:
    return lambda folder: folder_of(folder / name, tensors_of(linear), config)


def wrong_total(folder: Path) -> Path:
    plain_folder(folder, shards=3)
    index = json.loads((folder / INDEX).read_text())
    index["metadata"]["total_size"] *= 2
    write_json(folder / INDEX, index)
    return folder


AWQ_SHAPE = f"{Q_PROJ}: qweight I32 [64, 8], qzeros I32 [2, 8], scales F16 [2, 64]"
GPTQ_SHAPE = f"{Q_PROJ}: qweight I32 [8, 64], g_idx I32 [64], qzeros I32 [2, 8], scales F16 [2, 64]"
MIXED = quantized(
    "compressed-tensors", **{**tiny.CT_PACKED, "config_groups": tiny._groups("int", 4, 128, "group")}
)

CONTRADICTIONS = {
    "awq-but-gptq": Contradiction(
        form(tiny.gptq(), tiny.AWQ_NEW),
        "gptq",
        f"config.json says the weights are quantized with AWQ, but they have GPTQ's shape ({GPTQ_SHAPE})",
        "awq",
    ),
    "gptq-but-awq": Contradiction(
        form(tiny.awq(), tiny.GPTQ_NEW),
        "awq",
        f"config.json says the weights are quantized with GPTQ, but they have AWQ's shape ({AWQ_SHAPE})",
        "gptq",
    ),
    "awq-but-plain": Contradiction(
        form(plain("F16"), tiny.AWQ_NEW),
        "none",
        "config.json says the weights are quantized with AWQ, but they are plain F16 tensors: nothing in "
        "them is "
        "packed",
        "awq",
    ),
    "bnb-but-plain": Contradiction(
        form(plain("F16"), quantized("bitsandbytes", **tiny.BNB_4BIT)),
        "none",
        "config.json says the weights are quantized with bitsandbytes 4-bit, but they are plain F16 tensors: "
        "nothing in them is packed",
        "bnb-4bit",
    ),
    "silent-awq": Contradiction(
        form(tiny.awq(), {}),
        "awq",
        f"config.json says nothing of a quantization, but 14 modules have AWQ's shape ({AWQ_SHAPE})",
    ),
    "silent-bnb": Contradiction(
        form(tiny.bnb_8bit, {}),
        "bnb-8bit",
        "config.json says nothing of a quantization, but 14 modules have bitsandbytes 8-bit's shape "
        f"({Q_PROJ}: weight I8 [64, 64], SCB F32 [64], weight_format U8 [])",
    ),
    "side-file-method": Contradiction(
        form(tiny.gptq(), tiny.GPTQ_NEW, {"quant_config.json": tiny.AWQ_SIDE}),
        "gptq",
        "config.json says GPTQ, but quant_config.json says AWQ",
        "gptq",
    ),
    "side-file-group": Contradiction(
        form(tiny.gptq(), tiny.GPTQ_NEW, {"quantize_config.json": {**tiny.GPTQ_SIDE, "group_size": 128}}),
        "gptq",
        "config.json says a group size of 32, but quantize_config.json says 128",
        "gptq",
    ),
    "side-file-bits": Contradiction(
        form(tiny.gptq(), tiny.GPTQ_NEW, {"quantize_config.json": {**tiny.GPTQ_SIDE, "bits": 8}}),
        "gptq",
        "config.json says 4 bits, but quantize_config.json says 8",
        "gptq",
    ),
    "stale-side-file": Contradiction(
        form(plain("F16"), {}, {"quantize_config.json": tiny.GPTQ_SIDE}),
        "none",
        "quantize_config.json says the weights are quantized with GPTQ, but they are plain F16 tensors: "
        "nothing in "
        "them is packed",
    ),
    "bits": Contradiction(
        form(tiny.gptq(8), tiny.GPTQ_NEW),
        "gptq",
        "config.json says 4 bits, but the tensors hold 8 "
        f"({Q_PROJ}: qweight I32 [16, 64], g_idx I32 [64], qzeros I32 [2, 16], scales F16 [2, 64])",
        "gptq",
    ),
    "group": Contradiction(
        form(tiny.awq(), quantized("awq", bits=4, group_size=128)),
        "awq",
        f"config.json says a group size of 128, but the scales are for groups of 32 ({AWQ_SHAPE})",
        "awq",
    ),
    "packed-group": Contradiction(
        form(tiny.packed(), MIXED),
        "compressed-tensors",
        "config.json says 4 bits in groups of 128, but the tensors hold 128 bits for each scale, not 512 "
        f"({Q_PROJ}: weight_packed I32 [64, 8], weight_scale BF16 [64, 2], weight_shape I64 [2])",
        "compressed-tensors",
    ),
    "mlx-bits": Contradiction(
        form(tiny.mlx(8), {"quantization": {"group_size": 32, "bits": 4}}),
        "mlx",
        "config.json says 4 bits in groups of 32, but the tensors hold 256 bits for each scale, not 128 "
        f"({Q_PROJ}: weight U32 [64, 16], biases F16 [64, 2], scales F16 [64, 2])",
        "mlx",
    ),
    "name-awq-but-plain": Contradiction(
        named("Tiny-Instruct-AWQ", plain("F16")),
        "none",
        "the name Tiny-Instruct-AWQ speaks of AWQ, but the weights are not quantized",
    ),
    "name-awq-but-gptq": Contradiction(
        named("Tiny-Instruct-AWQ", tiny.gptq(), tiny.GPTQ_NEW),
        "gptq",
        "the name Tiny-Instruct-AWQ speaks of AWQ, but the weights are quantized with GPTQ",
        "gptq",
    ),
    "dtype": Contradiction(
        form(plain("F16"), {"torch_dtype": "bfloat16"}),
        "none",
        "config.json says the weights are bfloat16, but most are F16",
    ),
    "two-sets-of-weights": Contradiction(
        lambda folder: plain_folder(plain_folder(folder, shards=3)),
        "none",
        f"model.safetensors is there, and so is {INDEX}, which names other files: transformers reads the "
        "one, vLLM the others",
    ),
    "total-size": Contradiction(
        wrong_total, "none", f"{INDEX} declares 378,112 bytes of weights, but the files hold 189,056"
    ),
    "gguf-name": Contradiction(
        lambda folder: tiny.gguf_file(folder, "tiny.Q8_0.gguf"),
        "gguf",
        "the name tiny.Q8_0 speaks of Q8_0, but the weights are Q4_K_M",
        "gguf",
    ),
    "gguf-label": Contradiction(
        lambda folder: tiny.gguf_file(folder, "tiny.Q8_0.gguf", "Q4_0", label=7, output="Q4_0"),
        "gguf",
        "the file's label (general.file_type) says Q8_0, but its tensors are mostly Q4_0 (over 99 %), "
        "some F32 (under 1 %)",
        "gguf",
    ),
}


# --- damage ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """Something that is missing or broken: the problem's kind, its message and its fix, word for word."""

    build: Build
    kind: str
    message: str
    fix: str


def sharded(change: Callable[[Path], object]) -> Build:
    """Three shards with their index, of which something is changed."""

    def build(folder: Path) -> Path:
        change(plain_folder(folder, shards=3))
        return folder

    return build


def single(change: Callable[[Path], object]) -> Build:
    """One model.safetensors, of which something is changed."""

    def build(folder: Path) -> Path:
        change(plain_folder(folder))
        return folder

    return build


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def content(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def config(**changes: object) -> Build:
    return single(lambda folder: write_json(folder / "config.json", {**CONFIG, **changes}))


def removed(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def header(**entries: object) -> Build:
    """A model.safetensors with this header and 64 bytes of weights."""
    head = json.dumps(entries).encode()
    return single(content("model.safetensors", struct.pack("<Q", len(head)) + head + b"\0" * 64))


def renamed(folder: Path) -> None:
    for number in (1, 2, 3):
        (folder / f"model-{number:05}-of-00003.safetensors").rename(folder / f"part{number}.safetensors")


def index_says(**changes: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"].update(changes)
        write_json(folder / INDEX, index)

    return change


def own_tokenizer(folder: Path) -> None:
    write_json(folder / "config.json", {**CONFIG, "model_type": "tinychat"})
    programs = {"auto_map": {"AutoTokenizer": ["tokenization_tiny.T", None]}}
    write_json(folder / "tokenizer_config.json", {"chat_template": tiny.TEMPLATE, **programs})


def pickles(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for number in (1, 2):
        (folder / f"pytorch_model-{number:05}-of-00002.bin").write_bytes(b"PK\x03\x04" + bytes(100))


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    write_json(
        folder / "adapter_config.json",
        {"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3.1-8B"},
    )
    tiny.safetensors(folder / "adapter_model.safetensors", {"lora_A.weight": tiny.numbers("F32", 8, 64)})
    return folder


def diffusers(folder: Path) -> Path:
    (folder / "unet").mkdir(parents=True)
    write_json(
        folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30"}
    )
    write_json(folder / "unet" / "config.json", {})
    return folder


def without_config(folder: Path) -> Path:
    plain_folder(folder)
    (folder / "config.json").unlink()
    return folder


def gguf(change: Callable[[bytes], bytes]) -> Build:
    def build(folder: Path) -> Path:
        file = tiny.gguf_file(folder)
        file.write_bytes(change(file.read_bytes()))
        return file

    return build


def gguf_with(metadata: dict, tensors: dict | None = None, order: str = "<") -> Build:
    def build(folder: Path) -> Path:
        folder.mkdir(parents=True)
        file = folder / "tiny.gguf"
        file.write_bytes(
            tiny.gguf_bytes(metadata, tiny.gguf_tensors() if tensors is None else tensors, order)
        )
        return file

    return build


def _nested(depth: int) -> bytes:
    """A header whose one value is a list of lists of lists."""
    lists = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * depth
    return b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + lists + bytes(64)


def part_missing(folder: Path) -> Path:
    first = tiny.gguf_parts(folder)
    (folder / "tiny-00002-of-00003.gguf").unlink()
    return first


NO_TEMPLATE = "this is probably a base model, which continues text and does not answer"
CLEAN = tiny.gguf_metadata()
MAIN_FILE = "Name the GGUF file of the language model itself."
NO_TOKENIZER = {key: value for key, value in CLEAN.items() if not key.startswith("tokenizer.ggml")}
W = "w: F16 [4, 8]"

DAMAGES = {
    "shard-missing": Damage(
        sharded(removed(SHARD_2)),
        "shard_missing",
        f"{SHARD_2} is not there: {INDEX} says that 7 of 20 tensors are in there",
        "Download it into the same folder.",
    ),
    "shards-missing": Damage(
        sharded(removed("model-00001-of-00003.safetensors", SHARD_2)),
        "shard_missing",
        f"2 weight files (model-00001-of-00003.safetensors, {SHARD_2}) are not there: {INDEX} says that "
        "13 of 20 "
        "tensors are in there",
        "Download them into the same folder.",
    ),
    "shard-half-downloaded": Damage(
        sharded(lambda folder: (folder / SHARD_2).rename(folder / f"{SHARD_2}.part")),
        "shard_missing",
        f"{SHARD_2} is not there: {INDEX} says that 7 of 20 tensors are in there; {SHARD_2}.part looks "
        "like a "
        "download that did not end",
        "Download it into the same folder.",
    ),
    "gap-without-index": Damage(
        sharded(removed(SHARD_2, INDEX)),
        "shard_missing",
        f"{SHARD_2} is not there: the others are numbered up to 3",
        "Download it into the same folder.",
    ),
    "index-missing": Damage(
        sharded(removed(INDEX)),
        "index_missing",
        f"{INDEX} is not there, which says in which of the 3 weight files each tensor lies",
        f"Download {INDEX} into the same folder.",
    ),
    "truncated": Damage(
        sharded(cut(SHARD_2, 50_000)),
        "shard_truncated",
        f"{SHARD_2} is cut short: it has 50,000 bytes of 50,160, so 160 bytes are missing",
        AGAIN.format(SHARD_2),
    ),
    "truncated-in-header": Damage(
        sharded(cut(SHARD_2, 300)),
        "shard_truncated",
        f"{SHARD_2} ends within its header: it has 300 bytes of at least 752",
        AGAIN.format(SHARD_2),
    ),
    "truncated-to-nothing": Damage(
        sharded(cut(SHARD_2, 5)),
        "shard_truncated",
        f"{SHARD_2} has only 5 bytes, fewer than any header",
        AGAIN.format(SHARD_2),
    ),
    "empty": Damage(
        sharded(cut(SHARD_2, 0)), "shard_empty", f"{SHARD_2} is empty: it has 0 bytes", AGAIN.format(SHARD_2)
    ),
    "lfs-weights": Damage(
        sharded(content(SHARD_2, LFS)),
        "lfs_pointer",
        f"{SHARD_2} is a git-LFS pointer, not the file of 4.98 GB itself: the folder was cloned without "
        "git-lfs",
        "Install git-lfs, then run `git lfs pull` in the folder; or download the model again.",
    ),
    "lfs-tokenizer": Damage(
        single(content("tokenizer.json", LFS)),
        "lfs_pointer",
        "tokenizer.json is a git-LFS pointer, not the file of 4.98 GB itself: the folder was cloned "
        "without git-lfs",
        "Install git-lfs, then run `git lfs pull` in the folder; or download the model again.",
    ),
    "random-bytes": Damage(
        single(content("model.safetensors", b"\x93random bytes that are no header" * 9)),
        "header_damaged",
        "model.safetensors is no safetensors file: its first bytes give no possible length of a header",
        AGAIN.format("model.safetensors"),
    ),
    "web-page": Damage(
        single(content("model.safetensors", b"<!DOCTYPE html><html>Sign in to continue</html>")),
        "header_damaged",
        "model.safetensors is no safetensors file: it is a web page, not weights",
        AGAIN.format("model.safetensors"),
    ),
    "renamed-pickle": Damage(
        single(content("model.safetensors", b"PK\x03\x04" + bytes(200))),
        "header_damaged",
        "model.safetensors is no safetensors file: it is a pickle under another name",
        AGAIN.format("model.safetensors"),
    ),
    "header-not-json": Damage(
        single(content("model.safetensors", struct.pack("<Q", 9) + b'{"w": [1}' + bytes(64))),
        "header_damaged",
        "model.safetensors has a damaged header: it is not valid JSON",
        AGAIN.format("model.safetensors"),
    ),
    "shape-against-bytes": Damage(
        header(w={"dtype": "F16", "shape": [4, 9], "data_offsets": [0, 64]}),
        "header_damaged",
        "model.safetensors has a damaged header: w is F16 [4, 9], which takes 72 bytes, and the header "
        "gives it 64",
        AGAIN.format("model.safetensors"),
    ),
    "gap-in-header": Damage(
        header(
            a={"dtype": "F16", "shape": [8], "data_offsets": [0, 16]},
            b={"dtype": "F16", "shape": [16], "data_offsets": [32, 64]},
        ),
        "header_damaged",
        "model.safetensors has a damaged header: b does not begin where a ends",
        AGAIN.format("model.safetensors"),
    ),
    "unknown-dtype": Damage(
        header(w={"dtype": "F13", "shape": [4, 8], "data_offsets": [0, 64]}),
        "header_damaged",
        "model.safetensors has a damaged header: w is of the unknown type 'F13'",
        AGAIN.format("model.safetensors"),
    ),
    "bytes-to-spare": Damage(
        header(w={"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]}),
        "header_damaged",
        "model.safetensors has 32 bytes more than its header describes (137 instead of 105)",
        AGAIN.format("model.safetensors"),
    ),
    "index-names-others": Damage(
        sharded(renamed),
        "index_unknown_file",
        f"{INDEX} names model-00001-of-00003.safetensors, which is not there; it does not name "
        "part1.safetensors, "
        "which is",
        f"Give the files the names in {INDEX}, or download all of them again from the same place.",
    ),
    "index-leaves-folder": Damage(
        sharded(index_says(**{"model.norm.weight": "../../secret.safetensors"})),
        "index_unknown_file",
        f"{INDEX} names ../../secret.safetensors, which lies outside the model's folder",
        f"Do not use this folder. {AGAIN.format(INDEX)}",
    ),
    "tensor-missing": Damage(
        sharded(index_says(**{"model.layers.2.mlp.up_proj.weight": SHARD_2, "model.layers.3.w": SHARD_2})),
        "tensor_missing",
        f"{INDEX} says that model.layers.2.mlp.up_proj.weight and 1 more are in {SHARD_2}, which does "
        "not hold them",
        f"{INDEX} and {SHARD_2} are from different versions of the model: download both again.",
    ),
    "index-not-json": Damage(
        sharded(cut(INDEX, 100)),
        "index_damaged",
        f"{INDEX} cannot be used: it is not valid JSON (line 6, column 32)",
        AGAIN.format(INDEX),
    ),
    "index-without-map": Damage(
        sharded(content(INDEX, b'{"metadata": {}}')),
        "index_damaged",
        f"{INDEX} cannot be used: it has no weight_map from tensors to files",
        AGAIN.format(INDEX),
    ),
    "pickle-only": Damage(
        single(pickles),
        "pickle_only",
        "the weights are pickles only (pytorch_model-00001-of-00002.bin and 1 more), which can run "
        "programs and are "
        "not read",
        "Download the model's .safetensors files, or another copy of the model that has them.",
    ),
    "no-weights": Damage(
        single(removed("model.safetensors")),
        "shard_missing",
        "there is no file with weights (.safetensors)",
        "Download the model's .safetensors files into the same folder.",
    ),
    "remote-code": Damage(
        config(
            model_type="tinychat",
            auto_map={"AutoConfig": "configuration_tiny.C", "AutoModelForCausalLM": "modeling_tiny.M"},
        ),
        "remote_code",
        "config.json wants programs of the model's own to be run (configuration_tiny.py, modeling_tiny.py)",
        "Read them; if you trust them, set model.trust_remote_code = true. Else choose another model.",
    ),
    "remote-tokenizer": Damage(
        single(own_tokenizer),
        "remote_code",
        "tokenizer_config.json wants programs of the model's own to be run (tokenization_tiny.py)",
        "Read them; if you trust them, set model.trust_remote_code = true. Else choose another model.",
    ),
    "config-not-json": Damage(
        single(content("config.json", b'{"model_type": "llama", ')),
        "config_damaged",
        "config.json cannot be used: it is not valid JSON (line 1, column 25)",
        AGAIN.format("config.json"),
    ),
    "config-empty": Damage(
        single(content("config.json", b"")),
        "config_damaged",
        "config.json cannot be used: it is empty",
        AGAIN.format("config.json"),
    ),
    "config-is-a-list": Damage(
        single(content("config.json", b"[]")),
        "config_damaged",
        "config.json cannot be used: it is no JSON object",
        AGAIN.format("config.json"),
    ),
    "config-missing": Damage(
        without_config,
        "config_missing",
        "config.json is not there, without which the weights cannot be read",
        "Download config.json into the same folder.",
    ),
    "tokenizer-missing": Damage(
        single(removed("tokenizer.json")),
        "tokenizer_missing",
        "there is no tokenizer (tokenizer.json or tokenizer.model), so text cannot be turned into tokens",
        "Download tokenizer.json and tokenizer_config.json into the same folder.",
    ),
    "tokenizer-empty": Damage(
        single(cut("tokenizer.json", 0)),
        "tokenizer_missing",
        "tokenizer.json is empty: it has 0 bytes",
        AGAIN.format("tokenizer.json"),
    ),
    "no-chat-template": Damage(
        single(lambda folder: tiny.write_tokenizer(folder, template=False)),
        "no_chat_template",
        f"there is no chat template (tokenizer_config.json or chat_template.jinja): {NO_TEMPLATE}",
        "Choose the model's Instruct or Chat variant; or add its chat_template.jinja to the folder.",
    ),
    "adapter-only": Damage(
        adapter,
        "adapter_only",
        "this is a LoRA adapter (adapter_config.json), without the weights of meta-llama/Llama-3.1-8B "
        "that it changes",
        "Use meta-llama/Llama-3.1-8B, or a version of it into which the adapter is merged.",
    ),
    "diffusers": Damage(
        diffusers,
        "diffusers",
        "this is a pipeline for images (diffusers: model_index.json), which writes no text",
        "Choose a chat model.",
    ),
    "encoder": Damage(
        config(architectures=["BertModel"], model_type="bert"),
        "not_a_text_generator",
        "this is a model for embeddings or classification (BertModel): it cannot write text",
        "Choose a chat model.",
    ),
    "classifier": Damage(
        config(architectures=["LlamaForSequenceClassification"]),
        "not_a_text_generator",
        "config.json names the architecture LlamaForSequenceClassification, which does not generate text",
        "Choose a chat model.",
    ),
    "reward-model": Damage(
        config(architectures=["Qwen2ForRewardModel"], model_type="qwen2"),
        "not_a_text_generator",
        "config.json names the architecture Qwen2ForRewardModel, which does not generate text",
        "Choose a chat model.",
    ),
    "gguf-nested-too-deep": Damage(
        gguf(lambda data: _nested(2000)),
        "header_damaged",
        "tiny.Q4_K_M.gguf is no readable GGUF file: its header makes no sense (lists within lists)",
        AGAIN.format("tiny.Q4_K_M.gguf"),
    ),
    "translator": Damage(
        config(architectures=["T5ForConditionalGeneration"], model_type="t5", is_encoder_decoder=True),
        "not_a_text_generator",
        "this model translates or transcribes (T5ForConditionalGeneration, encoder and decoder): it does "
        "not converse",
        "Choose a chat model.",
    ),
    "embedding-folder": Damage(
        single(content("modules.json", b"[]")),
        "not_a_text_generator",
        "this is a model for embeddings or classification (LlamaForCausalLM): it cannot write text",
        "Choose a chat model.",
    ),
    "gguf-truncated": Damage(
        gguf(lambda data: data[:700_000]),
        "shard_truncated",
        "tiny.Q4_K_M.gguf is cut short: it has 700,000 bytes of 788,992, so 89.0 kB are missing",
        AGAIN.format("tiny.Q4_K_M.gguf"),
    ),
    "gguf-truncated-in-header": Damage(
        gguf(lambda data: data[:900]),
        "shard_truncated",
        "tiny.Q4_K_M.gguf is cut short: it ends within its header, after 900 bytes",
        AGAIN.format("tiny.Q4_K_M.gguf"),
    ),
    "gguf-empty": Damage(
        gguf(lambda data: b""),
        "shard_empty",
        "tiny.Q4_K_M.gguf is empty: it has 0 bytes",
        AGAIN.format("tiny.Q4_K_M.gguf"),
    ),
    "gguf-lfs": Damage(
        gguf(lambda data: LFS),
        "lfs_pointer",
        "tiny.Q4_K_M.gguf is a git-LFS pointer, not the file of 4.98 GB itself: the folder was cloned "
        "without git-lfs",
        "Install git-lfs, then run `git lfs pull` in the folder; or download the model again.",
    ),
    "gguf-web-page": Damage(
        gguf(lambda data: b"<!DOCTYPE html><html>Sign in to continue</html>"),
        "header_damaged",
        "tiny.Q4_K_M.gguf is no readable GGUF file: it does not begin with GGUF",
        AGAIN.format("tiny.Q4_K_M.gguf"),
    ),
    "gguf-old-version": Damage(
        gguf(lambda data: data[:4] + struct.pack("<I", 1) + data[8:]),
        "header_damaged",
        "tiny.Q4_K_M.gguf is no readable GGUF file: version 1 is not supported",
        AGAIN.format("tiny.Q4_K_M.gguf"),
    ),
    "gguf-big-endian": Damage(
        gguf_with(CLEAN, order=">"),
        "big_endian",
        "tiny.gguf cannot be read: it is written for big-endian machines",
        "Choose the model's usual (little-endian) GGUF file.",
    ),
    "gguf-unknown-type": Damage(
        gguf_with(CLEAN, {"token_embd.weight": (77, (256, 320))}),
        "unknown_tensor_type",
        "tiny.gguf cannot be read: token_embd.weight is of the unknown tensor type 77",
        "It needs a program of its own, or is damaged: choose another quantization of the model.",
    ),
    "gguf-mmproj": Damage(
        gguf_with({"general.architecture": "clip", "general.type": "mmproj"}),
        "not_a_text_generator",
        "tiny.gguf is the image or sound encoder that goes with a model (mmproj), not the model",
        MAIN_FILE,
    ),
    "gguf-vocabulary-only": Damage(
        gguf_with(CLEAN, {}), "vocabulary_only", "tiny.gguf holds a vocabulary and no weights", MAIN_FILE
    ),
    "gguf-embedding": Damage(
        gguf_with({**tiny.gguf_metadata(architecture="nomic-bert"), "nomic-bert.pooling_type": 1}),
        "not_a_text_generator",
        "tiny.gguf is a model for embeddings or ranking (nomic-bert): it cannot write text",
        "Choose a chat model.",
    ),
    "gguf-adapter": Damage(
        gguf_with({"general.architecture": "llama", "general.type": "adapter"}),
        "adapter_only",
        "tiny.gguf is a LoRA adapter: the model that it changes is not in it",
        MAIN_FILE,
    ),
    "gguf-no-template": Damage(
        gguf_with(tiny.gguf_metadata(template=False)),
        "no_chat_template",
        f"tiny.gguf holds no chat template: {NO_TEMPLATE}",
        "Choose the model's Instruct or Chat variant.",
    ),
    "gguf-no-tokenizer": Damage(
        gguf_with(NO_TOKENIZER),
        "tokenizer_missing",
        "tiny.gguf holds no tokenizer, so text cannot be turned into tokens",
        "Choose another GGUF file of the model.",
    ),
    "gguf-part-missing": Damage(
        part_missing,
        "shard_missing",
        "tiny-00002-of-00003.gguf is not there: the model has 3 parts",
        "Download tiny-00002-of-00003.gguf into the same folder.",
    ),
}
