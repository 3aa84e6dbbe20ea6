"""Which engine for which model, and what is said about models that cannot be run."""

import json
import struct
from pathlib import Path

import pytest

from rag import bundled
from rag.errors import ModelLoadFailed, ModelNotFound, UsageError
from rag.loader.choose import choose, parse_bytes
from rag.loader.gguf import control_tokens, read_metadata
from rag.settings import ModelSettings


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_bytes(file_type=15, context=4096):
    """A GGUF header as llama.cpp writes it: three scalars and the two token arrays."""
    tokens = ["<s>", "<|im_end|>", "hello"]
    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.file_type") + struct.pack("<II", 4, file_type),
        text("llama.context_length") + struct.pack("<II", 4, context),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + b"".join(map(text, tokens)),
        text("tokenizer.ggml.token_type") + struct.pack("<IIQ3i", 9, 5, 3, 3, 3, 1),
    ]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


@pytest.fixture
def gguf_file(tmp_path):
    file = tmp_path / "Tiny-Chat.Q4_K_M.gguf"
    file.write_bytes(gguf_bytes())
    return file


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "Tiny-Instruct"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 1024}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_the_default_is_the_bundled_model_through_llamacpp():
    plan = choose(ModelSettings(threads=3, load_seconds=7))
    assert (plan.engine, plan.quantization, plan.context_tokens) == ("llamacpp", "Q4_1", 2048)
    assert Path(plan.model) == bundled.path(bundled.SMOLLM2)
    assert (plan.threads, plan.load_seconds, plan.max_memory_bytes) == (3, 7, None)


def test_what_the_plan_says_of_the_bundled_file_is_what_its_header_says():
    metadata = read_metadata(bundled.path(bundled.SMOLLM2))
    assert metadata["general.file_type"] == 3
    assert metadata["llama.context_length"] == 8192
    assert "<|im_end|>" in control_tokens(metadata)


def test_a_gguf_file_is_read_by_llamacpp_and_named_by_its_header(gguf_file):
    plan = choose(ModelSettings(model=str(gguf_file)), context_tokens=8192)
    assert (plan.engine, plan.name, plan.quantization) == ("llamacpp", "Tiny-Chat.Q4_K_M", "Q4_K_M")
    assert plan.context_tokens == 4096  # the model knows no more


def test_only_control_tokens_are_defused(gguf_file):
    assert control_tokens(read_metadata(gguf_file)) == ["<s>", "<|im_end|>"]


def test_a_folder_is_read_by_transformers(folder):
    plan = choose(ModelSettings(model=str(folder)))
    assert (plan.engine, plan.name, plan.quantization) == ("transformers", "Tiny-Instruct", "none")
    assert (plan.dtype, plan.context_tokens) == ("float32", 1024)


@pytest.mark.parametrize("length", [0, 3, 30, 100, -1])
def test_a_cut_gguf_header_is_a_named_error(tmp_path, length):
    file = tmp_path / "cut.gguf"
    file.write_bytes(gguf_bytes()[:length])
    with pytest.raises(ModelLoadFailed, match="not a readable GGUF"):
        choose(ModelSettings(model=str(file)))


def test_a_length_beyond_the_file_is_a_named_error(tmp_path):
    file = tmp_path / "huge.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 60) + b"x" * 64)
    with pytest.raises(ModelLoadFailed, match="ends within"):
        choose(ModelSettings(model=str(file)))


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadFailed, match="pickled"):
        choose(ModelSettings(model=str(folder)))


def test_a_quantized_folder_is_refused_by_its_method(folder):
    (folder / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "awq"}}))
    with pytest.raises(ModelLoadFailed, match="awq"):
        choose(ModelSettings(model=str(folder)))


@pytest.mark.parametrize("content", ["not json", "[]"])
def test_an_unreadable_config_is_a_named_error(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelLoadFailed, match=r"config\.json"):
        choose(ModelSettings(model=str(folder)))


def test_a_folder_of_gguf_files_gets_the_right_name_suggested(gguf_file):
    with pytest.raises(ModelNotFound) as caught:
        choose(ModelSettings(model=str(gguf_file.parent)))
    assert str(gguf_file) in caught.value.fix


def test_a_name_that_is_nowhere_says_so():
    with pytest.raises(ModelNotFound, match="nobody/nothing"):
        choose(ModelSettings(model="nobody/nothing"))


def test_an_engine_that_cannot_read_the_file_is_refused(gguf_file, folder):
    with pytest.raises(UsageError, match="transformers cannot run"):
        choose(ModelSettings(model=str(gguf_file), engine="transformers"))
    with pytest.raises(UsageError) as caught:
        choose(ModelSettings(model=str(folder), engine="llamacpp"))
    assert "--engine transformers" in caught.value.fix


def test_only_the_quantization_that_is_there_is_accepted(gguf_file):
    for named in ("auto", "none", "q4_k_m"):
        assert choose(ModelSettings(model=str(gguf_file), quantization=named)).quantization == "Q4_K_M"
    with pytest.raises(UsageError, match="quantized as Q4_K_M and cannot be read as awq"):
        choose(ModelSettings(model=str(gguf_file), quantization="awq"))


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("8GB", 8_000_000_000),
        ("8 gib", 8 * 1024**3),
        ("1.5M", 1_500_000),
        ("512KB", 512_000),
        ("123456", 123_456),
    ],
)
def test_amounts_of_memory(text, amount):
    assert parse_bytes(text) == amount
    assert choose(ModelSettings(max_memory=text)).max_memory_bytes == amount


@pytest.mark.parametrize("text", ["", "lots", "8XB", "-1GB", "0", "1e9", "8 G B"])
def test_what_is_no_amount_of_memory(text):
    with pytest.raises(UsageError, match="amount of memory"):
        parse_bytes(text)
