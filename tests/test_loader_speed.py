"""Predicted speeds: what they are made of, and that nothing is predicted from nothing."""

from dataclasses import replace

import pytest

from rag import bundled
from rag.loader.model.architecture import shape_of
from rag.loader.model.inspect import inspect_local
from rag.loader.planning import speed
from rag.loader.records import Gpu, Machine, ModelFacts, Probe, Tensor

AVX2 = Machine(
    "Linux", "a processor without AVX-512", frozenset({"avx2"}), 2, 24 << 30, 20 << 30,
    probe=Probe(13.7e9, {"float32": 1.5e11, "float16": 2.8e10, "bfloat16": 2.2e10}),
)  # fmt: skip
"""Two cores on which SmolLM2's speeds were measured."""


@pytest.fixture(scope="module")
def smollm2() -> ModelFacts:
    return inspect_local(bundled.path(bundled.SMOLLM2))


@pytest.fixture(scope="module")
def smollm2_float16(smollm2: ModelFacts) -> ModelFacts:
    """The same model as a folder of float16 tensors."""
    names = {"token_embd.weight": "model.embed_tokens.weight"}
    tensors = [
        Tensor(
            names.get(t.name, f"model.layers.{t.name}"), "F16", t.shape, 2 * t.elements, "model.safetensors"
        )
        for t in smollm2.tensors
    ]
    return ModelFacts(
        "m", "m", "folder", parameters=134_515_008, tensors=tuple(tensors), config=smollm2.config
    )


@pytest.mark.parametrize(
    ("quantization", "decode", "prefill"), [("Q4_1", 103, 210), ("Q8_0", 102, 377), ("Q4_0", 171, 433)]
)
def test_llamacpp_is_predicted_as_measured(
    smollm2: ModelFacts, quantization: str, decode: float, prefill: float
) -> None:
    found = speed.predict(smollm2, AVX2, "llamacpp", quantization, context_tokens=256)
    assert found.tokens_per_s == pytest.approx(decode, rel=0.3)
    assert found.prefill_tokens_per_s == pytest.approx(prefill, rel=0.3)


@pytest.mark.parametrize(
    ("quantization", "dtype", "decode", "prefill"),
    [
        ("none", "float32", 10.5, 450),
        ("none", "float16", 10, 84),
        ("none", "bfloat16", 11, 65),
        ("bnb-4bit", "float32", 3.7, None),
    ],
)
def test_transformers_is_predicted_as_measured(
    smollm2_float16: ModelFacts, quantization: str, dtype: str, decode: float, prefill: float | None
) -> None:
    found = speed.predict(smollm2_float16, AVX2, "transformers", quantization, dtype, context_tokens=256)
    assert found.tokens_per_s == pytest.approx(decode, rel=0.3)
    if prefill:
        assert found.prefill_tokens_per_s == pytest.approx(prefill, rel=0.3)


def test_only_active_experts_are_read() -> None:
    config = {"num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 1}
    names = ["lm_head.weight", "model.embed_tokens.weight"]
    names += [f"model.layers.0.mlp.experts.{n}.up_proj.weight" for n in range(128)]
    tensors = tuple(Tensor(name, "BF16", (10, 10), 200, "x") for name in names)
    facts = ModelFacts("m", "m", "folder", tensors=tensors, config=config)
    assert speed.read_per_token(facts, shape_of(config), "none", "bfloat16") == 200 + 8 * 200
    assert speed.active_parameters(facts, shape_of(config)) == 100 + 8 * 100


def test_a_tied_embedding_table_is_read_as_the_head() -> None:
    tensors = (Tensor("model.embed_tokens.weight", "BF16", (10, 10), 200, "x"),)
    facts = ModelFacts("m", "m", "folder", tensors=tensors)
    assert speed.read_per_token(facts, shape_of({}), "none", "bfloat16") == 200


def test_nothing_is_predicted_from_nothing(smollm2: ModelFacts) -> None:
    unmeasured = replace(AVX2, probe=None)
    assert speed.predict(smollm2, unmeasured, "llamacpp", "Q4_1").tokens_per_s is None
    unknown = replace(AVX2, gpus=(Gpu(0, "Somebody's GPU", 1 << 34, 1 << 34),))
    assert speed.predict(smollm2, unknown, "llamacpp", "Q4_1", device="cuda").tokens_per_s is None
    assert speed.predict(smollm2, AVX2, "remote") == speed.Speed()


def test_a_gpu_decodes_as_fast_as_its_memory_lets_it() -> None:
    tensors = (Tensor("model.layers.0.mlp.up_proj.weight", "F16", (1000, 14_000_000), 28 * 10**9, "x"),)
    facts = ModelFacts("m", "m", "folder", tensors=tensors, config={"num_hidden_layers": 48})
    machine = replace(AVX2, gpus=(Gpu(0, "NVIDIA H100 80GB HBM3", 80 << 30, 80 << 30),))
    one = speed.predict(facts, machine, "vllm", "none", "float16", "cuda").tokens_per_s
    two = speed.predict(facts, machine, "vllm", "none", "float16", "cuda", gpus=2).tokens_per_s
    assert one == pytest.approx(71.5, rel=0.15)  # vLLM, Qwen2.5-14B
    assert one and two == pytest.approx(2 * one)


def test_a_gpu_is_known_by_a_part_of_its_name() -> None:
    assert speed.gpu_bandwidth("NVIDIA H100 80GB HBM3") == 3.35e12
    assert speed.gpu_bandwidth("NVIDIA H100 PCIe") == 2.0e12
    assert speed.gpu_bandwidth("NVIDIA L40S") == 8.64e11
    assert speed.gpu_bandwidth("NVIDIA L4") == 3.0e11
    assert speed.gpu_bandwidth("Somebody's GPU") is None
