"""A copy of a GGUF file in a faster type: the same model and metadata, found again, never half there."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import pytest

from rag import bundled
from rag.errors import ModelLoadFailed
from rag.loader.model.gguf import read_metadata
from rag.loader.process import requantize, requantize_child
from rag.loader.records import Machine, Tensor

GB = 1_000_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "requantized"


@pytest.fixture
def small(tmp_path):
    """A GGUF file with one tensor of every kind that is treated differently."""
    return write_small(tmp_path / "small.gguf")


def write_small(file, alignment=None, **more):
    types = gguf.GGMLQuantizationType
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_string("general.name", "Small")
    writer.add_file_type(3)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "\u00e9"])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0])
    for name, value in more.items():
        writer.add_uint16(name.replace("_", "."), value)
    if alignment:
        writer.add_custom_alignment(alignment)
    for name, shape, kind in (
        ("token_embd.weight", (6, 64), types.Q4_1),
        ("blk.0.attn_q.weight", (5, 64), types.Q4_1),
        ("blk.0.attn_k.weight", (5, 64), types.Q5_1),
        ("blk.0.ffn_up_exps.weight", (2, 3, 64), types.Q4_1),
        ("blk.0.ffn_gate_inp.weight", (2, 64), types.F32),
        ("blk.0.attn_norm.weight", (64,), types.F32),
        ("blk.0.odd.weight", (3, 48), types.F16),
        ("output.weight", (6, 64), types.F16),
    ):
        values = random.standard_normal(shape).astype(np.float32)
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def read(file):
    """Every tensor's type and values."""
    return {
        tensor.name: (tensor.tensor_type.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        for tensor in gguf.GGUFReader(file).tensors
    }


@pytest.mark.parametrize("alignment", [None, 64])
def test_weights_change_their_type_and_hardly_their_values(tmp_path, alignment):
    file = write_small(tmp_path / "small.gguf", alignment)
    before, after = read(file), read(requantize.make(file))
    assert {name: kind for name, (kind, _) in after.items()} == {
        "token_embd.weight": "Q8_0",
        "blk.0.attn_q.weight": "Q8_0",
        "blk.0.attn_k.weight": "Q8_0",
        "blk.0.ffn_up_exps.weight": "Q8_0",
        "blk.0.ffn_gate_inp.weight": "F32",
        "blk.0.attn_norm.weight": "F32",
        "blk.0.odd.weight": "F16",
        "output.weight": "Q8_0",
    }
    for name, (kind, values) in after.items():
        original = before[name][1]
        assert values.shape == original.shape
        step = np.abs(original).max() / 127 if kind == "Q8_0" else 0
        assert np.abs(values - original).max() <= step * 0.51 + 1e-3 * (kind == "Q8_0")


def test_q4_0_leaves_the_embeddings_at_8_bits(small):
    kinds = {name: kind for name, (kind, _) in read(requantize.make(small, "Q4_0")).items()}
    assert kinds["blk.0.attn_q.weight"] == "Q4_0"
    assert kinds["token_embd.weight"] == kinds["output.weight"] == "Q8_0"


def test_long_tensors_are_converted_in_parts_to_the_same_bytes(small, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole.gguf", tmp_path / "parts.gguf"
    requantize_child.rewrite(small, whole, "Q8_0", lambda event: None)
    monkeypatch.setattr(requantize_child, "CHUNK_ELEMENTS", 128)
    requantize_child.rewrite(small, parts, "Q8_0", lambda event: None)
    assert whole.read_bytes() == parts.read_bytes()


def test_metadata_is_kept_but_for_the_file_type(small):
    before, after = read_metadata(small), read_metadata(requantize.make(small))
    assert after.pop("general.file_type") == 7
    assert before.pop("general.file_type") == 3
    assert after == before


def test_the_copy_is_found_again_until_the_original_changes(small, cache):
    assert requantize.cached(small) is None
    copy = requantize.make(small)
    assert requantize.cached(small) == copy == requantize.make(small)
    assert copy.parent == cache and copy.name.startswith("small-") and copy.name.endswith(".Q8_0.gguf")
    assert requantize.cached(small, "Q4_0") is None
    os.utime(small, (1, 1))
    assert requantize.cached(small) is None
    assert requantize.cached(small.with_name("absent.gguf")) is None


def test_progress_is_told_before_each_tensor(small):
    events = []
    requantize.make(small, report=events.append)
    assert [event["tensor"] for event in events][:2] == ["token_embd.weight", "blk.0.attn_q.weight"]
    assert len(events) == 8
    assert events[0]["event"] == "requantizing" and events[0]["done_bytes"] == 0
    assert events[-1]["done_bytes"] < events[-1]["total_bytes"]


def test_a_damaged_file_is_refused_and_leaves_nothing_behind(small, cache):
    small.write_bytes(small.read_bytes()[:-700])
    with pytest.raises(ModelLoadFailed, match=r"small\.gguf cannot be requantized") as caught:
        requantize.make(small)
    assert "as it is" in caught.value.fix
    assert list(cache.glob("*.gguf*")) == list(cache.glob("*.lock"))
    assert requantize.cached(small) is None


@pytest.mark.parametrize("content", [b"", b"no model", b"GGUF" + bytes(40)])
def test_what_is_no_gguf_file_is_refused(tmp_path, content):
    file = tmp_path / "odd.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=r"odd\.gguf cannot be requantized"):
        requantize.make(file)


def test_parts_and_unknown_types_are_refused(small, tmp_path):
    part = tmp_path / "big-00001-of-00003.gguf"
    shutil.copy(small, part)
    with pytest.raises(ModelLoadFailed, match="several parts") as caught:
        requantize.make(part)
    assert "llama-gguf-split --merge" in caught.value.fix
    with pytest.raises(ModelLoadFailed, match="cannot be requantized as Q3_K"):
        requantize.make(small, "Q3_K")
    with pytest.raises(ModelLoadFailed, match="several parts"):
        requantize.make(write_small(tmp_path / "renamed.gguf", split_count=3))


def test_a_full_disk_is_noticed_beforehand(small, tmp_path, monkeypatch):
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(requantize_child.shutil, "disk_usage", lambda place: full)
    with pytest.raises(ModelLoadFailed, match="0 MB are free") as caught:
        requantize_child.rewrite(small, tmp_path / "copy.gguf", "Q8_0", lambda event: None)
    assert "Free some space" in caught.value.fix
    assert not (tmp_path / "copy.gguf").exists()


def machine(**changes):
    facts = {"cpu_features": frozenset({"avx2"}), "memory_available": 8 * GB, "disk_free": 50 * GB}
    return Machine("Linux", "cpu", cores=2, memory_total=16 * GB, **{**facts, **changes})


def tensors(kind="Q4_1", elements=100_000_000, shard="m.gguf"):
    return [
        Tensor("blk.0.ffn_up.weight", kind, (elements // 1000, 1000), elements * 5 // 8, shard),
        Tensor("token_embd.weight", "Q8_0", (20_000, 1000), 21_250_000, shard),
    ]


def test_it_is_worth_it_where_measurement_says_so():
    assert requantize.worth(tensors(), machine()) == "Q8_0"
    assert requantize.worth(tensors("Q5_1"), machine()) == "Q8_0"


@pytest.mark.parametrize(
    ("found", "here"),
    [
        (tensors("Q4_0"), machine()),
        (tensors("Q4_K"), machine()),
        (tensors("F16"), machine()),  # a loss that nobody asked for
        (tensors(elements=5_000_000), machine()),  # most weights are in the embeddings
        (tensors(elements=3_000_000_000), machine()),  # takes minutes
        (tensors(), machine(memory_available=200_000_000)),
        (tensors(), machine(disk_free=200_000_000)),
        (tensors(), machine(cpu_features=frozenset({"neon"}))),  # not measured
        ([*tensors(), *tensors(shard="second.gguf")], machine()),
        ([], machine()),
    ],
)
def test_it_is_not_worth_it_elsewhere(found, here):
    assert requantize.worth(found, here) is None


def test_the_bundled_model_is_one_that_gains():
    file = Path(bundled.path(bundled.SMOLLM2))
    found = [
        Tensor(t.name, t.tensor_type.name, tuple(int(n) for n in reversed(t.shape)), t.n_bytes, file.name)
        for t in gguf.GGUFReader(file).tensors
    ]
    assert requantize.worth(found, machine()) == "Q8_0"
