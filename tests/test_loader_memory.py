"""Memory formulas against published figures, and predictions against what a real worker takes."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag import bundled
from rag.evaluation import random_models
from rag.evaluation.memory_check import BUNDLED, Case, measure, predicted
from rag.loader.model.architecture import shape_of
from rag.loader.model.inspect import inspect_local
from rag.loader.planning import memory, sizes
from rag.loader.planning.footprint import GIB, kv_cache_bytes
from rag.loader.records import ModelFacts, Quantization, Tensor
from tests.models import smollm2_folder  # noqa: F401  (a fixture)

QWEN25_14B = {
    "model_type": "qwen2",
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_attention_heads": 40,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "max_window_layers": 70,
    "sliding_window": 131072,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
}
LLAMA31_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "num_hidden_layers": 61,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2048,
}
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "head_dim": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 24,
    "sliding_window": 128,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "num_hidden_layers": 48,
    "full_attention_interval": 4,
    "linear_num_value_heads": 32,
    "linear_num_key_heads": 16,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}
GEMMA3_1B = random_models.CONFIGS["gemma-3-1b"]
MISTRAL_7B = random_models.CONFIGS["mistral-7b/3"] | {"num_hidden_layers": 32}


def qwen25_14b(dtype: str = "BF16") -> ModelFacts:
    """The model's facts with all its tensors: 14,770,033,664 parameters."""
    hidden, wide, keys, vocab = 5120, 13824, 1024, 152064
    layer = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}
    shapes["model.embed_tokens.weight"] = (vocab, hidden)
    for number in range(48):
        at = f"model.layers.{number}."
        shapes |= {f"{at}{name}.weight": shape for name, shape in layer.items()}
        for name, size in (("q", hidden), ("k", keys), ("v", keys)):
            shapes[f"{at}self_attn.{name}_proj.bias"] = (size,)
    return facts_of(shapes, dtype, QWEN25_14B)


def facts_of(shapes: Mapping[str, tuple[int, ...]], dtype: str, config: dict[str, Any]) -> ModelFacts:
    size = {"F32": 4, "F16": 2, "BF16": 2}[dtype]
    tensors = [Tensor(name, dtype, shape, 0, "model.safetensors") for name, shape in shapes.items()]
    tensors = [replace(tensor, bytes=tensor.elements * size) for tensor in tensors]
    return ModelFacts("m", "m", "folder", tensors=tuple(tensors), config=config)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (QWEN25_14B, 196_608),
        (LLAMA31_8B, 131_072),
        (MISTRAL_7B, 131_072),
        (DEEPSEEK_V3, 61 * 128 * (192 + 128) * 2),
    ],
)
def test_a_token_leaves_as_much_in_the_cache_as_published(config: dict[str, Any], expected: int) -> None:
    assert kv_cache_bytes(shape_of(config), 1, 2) == expected


def test_latent_attention_keeps_the_latent_where_the_engine_does() -> None:
    shape = shape_of(DEEPSEEK_V3)
    assert kv_cache_bytes(shape, 1000, 2, latent=True) == 1000 * 61 * (512 + 64) * 2


@pytest.mark.parametrize(
    ("config", "full", "sliding"),
    [
        (GEMMA3_1B, 4, 22),
        (random_models.CONFIGS["gemma-2-2b/6"] | {"num_hidden_layers": 26}, 13, 13),
        (GPT_OSS_20B, 12, 12),
        (MISTRAL_7B, 0, 32),
        (MISTRAL_7B | {"sliding_window": None}, 32, 0),
        (QWEN25_14B, 48, 0),
        ({"text_config": GEMMA3_1B, "model_type": "gemma3"}, 4, 22),
    ],
)
def test_layers_with_a_window_are_told_from_those_that_see_everything(
    config: dict[str, Any], full: int, sliding: int
) -> None:
    kinds = shape_of(config).kinds
    assert (kinds.count("full"), kinds.count("sliding")) == (full, sliding)


def test_a_windows_cache_stops_growing() -> None:
    shape = shape_of(MISTRAL_7B)
    assert kv_cache_bytes(shape, 100_000, 2) == 4096 * 131_072
    assert kv_cache_bytes(shape, 100_000, 2, slack=256) == (4096 + 256) * 131_072


def test_linear_layers_keep_a_state_of_fixed_size() -> None:
    shape = shape_of(QWEN3_NEXT)
    state = 32 * 128 * 128 + (2 * 16 * 128 + 32 * 128) * 4
    assert shape.kinds.count("linear") == 36
    assert kv_cache_bytes(shape, 1000, 2) == 2 * (36 * state + 12 * 1000 * 2 * 2 * 256)


@pytest.mark.parametrize(
    ("config", "linear"),
    [
        ({"hybrid_override_pattern": "M-M*-", "num_hidden_layers": 5}, 2),
        ({"attn_layer_period": 8, "attn_layer_offset": 4, "num_hidden_layers": 32}, 28),
        ({"layer_types": ["mamba", "attention", "conv"], "num_hidden_layers": 3}, 2),
    ],
)
def test_hybrid_models_name_their_linear_layers_in_three_ways(config: dict[str, Any], linear: int) -> None:
    assert shape_of(config).kinds.count("linear") == linear


def test_a_mixture_of_experts_uses_a_share_of_them() -> None:
    shape = shape_of(DEEPSEEK_V3)
    assert shape.active_share == 8 / 256
    assert shape.feed_forward == 9 * 2048


def test_what_a_config_does_not_say_makes_the_estimate_rough() -> None:
    need = memory.estimate(facts_of({"a.weight": (8, 8)}, "F32", {}), "transformers")
    assert "layers" in need.rough
    assert memory.estimate(qwen25_14b(), "transformers").rough == ""


def test_qwen25_14b_takes_what_others_measured() -> None:
    facts = qwen25_14b("F16")
    assert sum(tensor.elements for tensor in facts.tensors) == 14_770_033_664
    need = memory.estimate(facts, "vllm", dtype="float16", device="cuda")
    assert need.weights == pytest.approx(27.6 * GIB, rel=0.01)  # vLLM on an H100: 27.6 GiB
    halved = memory.estimate(facts, "vllm", dtype="float16", device="cuda", gpus=2)
    assert halved.weights == pytest.approx(need.weights / 2, abs=1)


def test_nf4_is_what_bitsandbytes_makes() -> None:
    import torch
    from bitsandbytes import functional

    packed, state = functional.quantize_4bit(
        torch.randn(1024, 4096), blocksize=64, quant_type="nf4", compress_statistics=True
    )
    kept = packed.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
    tensor = Tensor("model.layers.0.mlp.up_proj.weight", "F32", (1024, 4096), 1024 * 4096 * 4, "x")
    facts = ModelFacts("m", "m", "folder", tensors=(tensor,))
    assert sizes.loaded_bytes(tensor, facts, "bnb-4bit", "float32") == kept


def test_bitsandbytes_leaves_embeddings_head_norms_and_experts_alone() -> None:
    names = ["model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.experts.3.up_proj.weight"]
    names += ["model.layers.0.mlp.gate.weight", "model.layers.0.self_attn.q_proj.weight"]
    linear = [name for name in names if sizes.is_linear(Tensor(name, "BF16", (8, 8), 128, "x"))]
    assert linear == ["model.layers.0.self_attn.q_proj.weight"]


@pytest.mark.skipif(sys.platform == "win32", reason="transformers reads instead of mapping there")
def test_weights_that_stay_as_stored_are_mapped() -> None:
    as_stored = memory.estimate(qwen25_14b("BF16"), "transformers", dtype="bfloat16")
    assert as_stored.weights == 0
    assert as_stored.reclaimable == 2 * 14_770_033_664
    converted = memory.estimate(qwen25_14b("F16"), "transformers", dtype="bfloat16")
    assert converted.weights == 2 * 14_770_033_664
    assert converted.reclaimable == 0


def test_merging_experts_needs_a_layers_group_twice_while_loading() -> None:
    shapes = {
        f"model.layers.0.mlp.experts.{number}.{name}_proj.weight": (768, 2048)
        for number in range(128)
        for name in ("gate", "up", "down")
    }
    need = memory.estimate(facts_of(shapes, "BF16", {}), "transformers", dtype="bfloat16")
    assert need.weights == 128 * 3 * 768 * 2048 * 2
    assert need.loading_peak == need.weights + need.runtime + 128 * 2 * 768 * 2048 * 2


def test_llamacpp_copies_the_types_that_it_repacks_and_maps_the_others() -> None:
    def need(kind: str, size: int) -> Any:
        tensor = Tensor("blk.0.ffn_up.weight", kind, (256, 256), size, "m.gguf")
        stored = Quantization("gguf", kind)
        facts = ModelFacts("m", "m", "gguf", quantization=stored, tensors=(tensor,))
        return memory.estimate(facts, "llamacpp", kind)

    repacked, mapped = need("Q4_K", 36_864), need("Q4_1", 40_960)
    assert (repacked.weights, repacked.reclaimable) == (36_864, 0)
    assert (mapped.weights, mapped.reclaimable) == (0, 40_960)


def test_a_gpu_holds_a_gguf_model_as_it_is_stored() -> None:
    facts = inspect_local(bundled.path(bundled.SMOLLM2))
    need = memory.estimate(facts, "llamacpp", "Q4_1", device="cuda")
    assert (need.weights, need.reclaimable) == (facts.weight_bytes, 0)
    assert need.host > 0


def test_a_requantized_file_has_the_new_types_size() -> None:
    facts = inspect_local(bundled.path(bundled.SMOLLM2))
    assert sizes.weight_bytes(facts, "Q4_1", None) == facts.weight_bytes
    matrices = sum(tensor.elements for tensor in facts.tensors if len(tensor.shape) == 2)
    vectors = sum(tensor.bytes for tensor in facts.tensors if len(tensor.shape) == 1)
    assert sizes.weight_bytes(facts, "Q8_0", None) == matrices * 34 // 32 + vectors


def test_the_longest_context_is_the_last_that_fits() -> None:
    facts = qwen25_14b()
    way: dict[str, Any] = {"engine": "vllm", "dtype": "bfloat16", "device": "cuda"}
    room = memory.estimate(facts, context_tokens=5000, **way).peak
    longest = memory.largest_context(facts, room, 32_768, **way)
    assert longest == 4864
    assert memory.estimate(facts, context_tokens=longest, **way).peak <= room
    assert memory.estimate(facts, context_tokens=longest + 256, **way).peak > room
    assert memory.largest_context(facts, room, 1000, **way) == 1000
    assert memory.largest_context(facts, 1 << 30, 32_768, **way) is None


def test_offloading_keeps_what_fits_and_refuses_less_than_two_layers() -> None:
    facts = qwen25_14b("F16")
    way: dict[str, Any] = {"engine": "transformers", "dtype": "float32", "context_tokens": 1024}
    kept = memory.offload_budget(facts, 20 * GIB, **way)
    assert kept is not None
    need = memory.estimate(facts, device="disk", resident_bytes=kept, **way)
    assert need.must_have <= 20 * GIB
    table = 4 * 152_064 * 5120  # room for the largest module is left free, and whole layers stay
    assert kept - 2 * table < need.weights <= kept
    assert memory.offload_budget(facts, 1 * GIB, **way) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells anonymous from mapped memory")
@pytest.mark.parametrize("way", ["transformers", "llamacpp", "repacked"])
def test_predicted_memory_is_what_a_worker_takes(
    way: str,
    tmp_path: Path,
    smollm2_folder: Path,  # noqa: F811
) -> None:
    case, place = _small_case(way, tmp_path, smollm2_folder)
    plan, need = predicted(case, inspect_local(place))
    assert need.peak == pytest.approx(measure(plan).peak, rel=0.2)


def _small_case(way: str, tmp_path: Path, folder: Path) -> tuple[Case, Path]:
    if way == "transformers":
        return Case(BUNDLED, "transformers", "float16", dtype="float32", context_tokens=256), folder
    if way == "llamacpp":
        case = Case(BUNDLED, "llamacpp", "Q4_1", "Q4_1", context_tokens=512)
        return case, bundled.path(bundled.SMOLLM2)
    config = random_models.CONFIGS["llama-3.2-1b/8"] | {"num_hidden_layers": 2, "vocab_size": 49152}
    file = random_models.write_gguf(tmp_path / "random.gguf", config, "Q4_K")
    return Case("llama", "llamacpp", "Q4_K", "Q4_K", context_tokens=256), file
