"""Every way to run a model on a machine: verdicts, reasons, order; and what is said of impossible wishes."""

import dataclasses

import pytest

from rag.errors import DoesNotFit, EngineMissing, ModelRefused, NotQuantized, UsageError
from rag.loader.machine.installed import how_to_install
from rag.loader.planning.plan import best, make_plans
from rag.loader.records import Limit, ModelFacts, Quantization, Request, Tensor
from tests.machines import GB, laptop, workstation

QWEN_14B = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
}
PHI_4B = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
SIBLINGS = {"awq": "Qwen/Qwen2.5-14B-Instruct-AWQ", "gguf": "Qwen/Qwen2.5-14B-Instruct-GGUF"}


def unquantized(config, name, dtype="F16"):
    """A model's facts with one tensor for each weight matrix, as its headers would list them."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    kv = hidden // heads * config["num_key_value_heads"]
    shapes = {"self_attn.q_proj": (hidden, hidden), "self_attn.o_proj": (hidden, hidden)}
    shapes |= {"self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden)}
    shapes |= {
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    named = {"model.embed_tokens": (config["vocab_size"], hidden), "lm_head": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        named |= {f"model.layers.{layer}.{part}": shape for part, shape in shapes.items()}
    tensors = tuple(
        Tensor(f"{part}.weight", dtype, shape, 2 * shape[0] * shape[1], "model.safetensors")
        for part, shape in named.items()
    )
    parameters = sum(tensor.elements for tensor in tensors)
    return ModelFacts(
        name,
        name,
        "folder",
        architecture=config["architectures"][0],
        model_type=config["model_type"],
        parameters=parameters,
        dtypes={dtype: parameters},
        context_tokens=config["max_position_embeddings"],
        chat_template=True,
        tokenizer=True,
        tensors=tensors,
        config=config,
    )


def awq(facts):
    """The same model with every linear layer in AWQ's 4 bits."""
    tensors = tuple(
        dataclasses.replace(tensor, dtype="I32", bytes=tensor.bytes // 4)
        if "layers" in tensor.name
        else tensor
        for tensor in facts.tensors
    )
    block = {"quant_method": "awq", "bits": 4, "group_size": 128}
    return dataclasses.replace(
        facts,
        name=facts.name + "-AWQ",
        tensors=tensors,
        quantization=Quantization("awq", "4-bit, group 128", 4, ("qweight",), declared="awq"),
        config={**facts.config, "quantization_config": block},
    )


LARGE = unquantized(QWEN_14B, "Qwen2.5-14B-Instruct")
MIDDLE = unquantized(PHI_4B, "Phi-3-mini-4k-instruct")


def ways(candidates, verdict="fits"):
    """(engine, quantization, dtype, device) of the candidates with a verdict, in their order."""
    plans = [candidate.plan for candidate in candidates if candidate.verdict == verdict]
    return [(plan.engine, plan.quantization, plan.dtype, plan.device) for plan in plans]


def one(candidates, *way):
    found = [
        candidate
        for candidate in candidates
        if (candidate.plan.engine, candidate.plan.quantization, candidate.plan.device) == way
    ]
    assert found, way
    return found[0]


# --- the stories of people who were burnt ---------------------------------------------------------


def test_a_float16_model_that_died_at_67_percent_is_reduced_to_4_bits_beforehand():
    machine = laptop(16 * GB, free=6 * GB)
    candidates = make_plans(MIDDLE, machine, Request())
    assert ways(candidates)[0][:2] == ("transformers", "bnb-4bit")
    float16 = next(c for c in candidates if c.plan.dtype == "float16" and c.plan.device == "cpu")
    assert float16.verdict == "does not fit"
    assert "needs" in float16.reason and "6.0 GB are available" in float16.reason
    assert 7.6 * GB < float16.need.peak + float16.need.reclaimable < 9.5 * GB


def test_awq_weights_are_never_read_as_if_they_were_none():
    with pytest.raises(ModelRefused) as caught:
        make_plans(awq(LARGE), workstation(), Request(quantization="none"))
    assert "carries awq weights (4-bit, group 128)" in caught.value.message
    assert "nonsense" in caught.value.message
    assert "Leave --quantization out" in caught.value.fix


def test_awq_of_a_model_that_has_none_names_the_published_version_and_the_other_way():
    with pytest.raises(NotQuantized) as caught:
        make_plans(LARGE, workstation(), Request(quantization="awq"), SIBLINGS)
    assert "Qwen2.5-14B-Instruct carries no AWQ weights" in caught.value.message
    assert "Use Qwen/Qwen2.5-14B-Instruct-AWQ" in caught.value.fix
    assert "--quantization bnb-4bit" in caught.value.fix


def test_the_kernels_that_decide_about_awq_s_speed_are_told_beforehand():
    on_h100 = best(make_plans(awq(LARGE), workstation(), Request()))[0]
    assert (on_h100.plan.engine, on_h100.plan.quantization) == ("vllm", "awq")
    assert any("Marlin" in note and "by itself" in note for note in on_h100.plan.notes)
    turing = workstation(memory=24 * GB, capability=(7, 5), name="Quadro RTX 6000")
    on_turing = best(make_plans(awq(LARGE), turing, Request()))[0]
    assert any("without the Marlin kernels" in note for note in on_turing.plan.notes)


def test_marlin_is_understood_as_the_awq_that_it_runs():
    plans = make_plans(awq(LARGE), workstation(), Request(quantization="awq_marlin"))
    assert ways(plans)[0][:2] == ("vllm", "awq")
    assert any("no quantization of its own" in note for note in plans[0].plan.notes)


def test_a_bitsandbytes_that_is_missing_is_said_with_the_command():
    machine = laptop()
    transformers = dataclasses.replace(machine.engine("transformers"), packages={"torch": "2.13.0+cpu"})
    machine = dataclasses.replace(machine, engines={**machine.engines, "transformers": transformers})
    way = one(make_plans(MIDDLE, machine, Request()), "transformers", "bnb-4bit", "cpu")
    assert way.verdict == "unavailable"
    assert "bitsandbytes" in way.reason and way.fix == how_to_install("bitsandbytes")
    with pytest.raises(EngineMissing, match="bitsandbytes"):
        best(make_plans(MIDDLE, machine, Request(quantization="bnb-4bit")))


# --- the ladder -----------------------------------------------------------------------------------


def test_a_gpu_that_holds_the_model_comes_before_everything_else():
    order = ways(make_plans(LARGE, workstation(), Request()))
    assert order[:2] == [
        ("vllm", "none", "float16", "cuda"),
        ("transformers", "none", "float16", "cuda"),
    ]
    devices = [way[3] for way in order]
    assert devices == sorted(devices, key=["cuda", "cpu", "disk"].index)


def test_without_a_gpu_each_rung_above_is_shown_with_its_reason():
    candidates = make_plans(LARGE, laptop(64 * GB), Request())
    for engine, quantization in (("vllm", "none"), ("transformers", "bnb-4bit")):
        way = one(candidates, engine, quantization, "cuda")
        assert (way.verdict, way.reason) == ("unavailable", "no NVIDIA GPU was found")


def test_the_disk_is_the_last_way_and_says_what_it_costs():
    candidates = make_plans(MIDDLE, laptop(16 * GB), Request())
    assert ways(candidates)[-1][3] == "disk"
    assert "read from the disk again for every token" in candidates[len(ways(candidates)) - 1].plan.notes[-1]


def test_on_a_processor_the_measured_types_decide():
    """Without 16-bit arithmetic the prompt is read five times faster in float32."""
    floats = [way for way in ways(make_plans(MIDDLE, laptop(64 * GB), Request())) if way[1] == "none"]
    assert floats[0][2] == "float32"


def test_a_slower_way_says_by_how_much():
    candidates = make_plans(MIDDLE, laptop(64 * GB), Request())
    slower = [c for c in candidates if c.verdict == "fits" and "for a typical answer against" in c.reason]
    assert slower and "slower: " in slower[0].reason


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"quantization": "bnb-8bit"}, ("transformers", "bnb-8bit", "float32", "cpu")),
        ({"quantization": "8bit"}, ("transformers", "bnb-8bit", "float32", "cpu")),
        ({"dtype": "fp16", "quantization": "none"}, ("transformers", "none", "float16", "cpu")),
        ({"dtype": "bf16", "quantization": "none"}, ("transformers", "none", "bfloat16", "cpu")),
        ({"device": "disk"}, ("transformers", "none", "bfloat16", "disk")),
    ],
)
def test_a_wish_forces_its_rung(wish, expected):
    request = Request(**wish)
    assert request.forced
    assert ways(make_plans(MIDDLE, laptop(64 * GB), request))[0] == expected


def test_several_gpus_share_what_one_cannot_hold():
    machine = workstation(cards=2, memory=24 * GB, capability=(8, 9), name="NVIDIA GeForce RTX 4090")
    first = best(make_plans(LARGE, machine, Request()))[0]
    assert (first.plan.engine, first.plan.tensor_parallel) == ("vllm", 2)
    alone = workstation(memory=24 * GB, capability=(8, 9), name="NVIDIA GeForce RTX 4090")
    assert one(make_plans(LARGE, alone, Request()), "vllm", "none", "cuda").verdict == "does not fit"


def test_vllm_is_told_to_take_no_more_than_is_free():
    machine = workstation()
    busy = dataclasses.replace(machine.gpus[0], free_bytes=machine.gpus[0].total_bytes // 2)
    plan = best(make_plans(LARGE, dataclasses.replace(machine, gpus=(busy,)), Request()))[0].plan
    assert plan.gpu_memory_utilization == 0.5


# --- memory ---------------------------------------------------------------------------------------


def test_a_cap_counts_like_a_smaller_machine():
    request = Request(max_memory_bytes=2 * GB, quantization="none", device="cpu")
    candidates = make_plans(MIDDLE, laptop(64 * GB), request)
    assert not ways(candidates)
    with pytest.raises(DoesNotFit) as caught:
        best(candidates)
    assert "2.0 GB are allowed by --max-memory" in caught.value.message
    assert "Raise --max-memory" in caught.value.fix


def test_the_bound_that_counts_is_named():
    machine = laptop(64 * GB, limits=(Limit("cgroup /docker/abc", 3 * GB, 2 * GB),))
    way = one(make_plans(MIDDLE, machine, Request()), "transformers", "none", "cpu")
    assert "2.0 GB are left by cgroup /docker/abc" in way.reason


def test_the_context_is_shortened_before_a_way_is_given_up():
    whole = make_plans(
        MIDDLE, laptop(64 * GB), Request(context_tokens=4096, quantization="none", dtype="bf16")
    )
    room = whole[0].need.peak - 600_000_000
    candidates = make_plans(
        MIDDLE, laptop(64 * GB, free=room), Request(context_tokens=4096, quantization="none", dtype="bf16")
    )
    first = candidates[0]
    assert first.verdict == "fits" and first.context_shortened == 4096
    assert 512 <= first.plan.context_tokens < 4096
    assert f"shortened from 4,096 to {first.plan.context_tokens:,} tokens" in first.plan.notes[-1]


def test_a_context_that_is_asked_for_is_not_shortened():
    whole = make_plans(
        MIDDLE, laptop(64 * GB), Request(context_tokens=4096, quantization="none", dtype="bf16")
    )
    room = whole[0].need.peak - 600_000_000
    request = Request(
        context_tokens=4096, context_forced=True, quantization="none", dtype="bf16", device="cpu"
    )
    assert make_plans(MIDDLE, laptop(64 * GB, free=room), request)[0].verdict == "does not fit"


def test_no_more_context_than_the_model_knows():
    request = Request(context_tokens=100_000, context_forced=True)
    plan = make_plans(MIDDLE, workstation(), request)[0].plan
    assert plan.context_tokens == 4096
    assert "knows no more than 4096" in plan.notes[0]


# --- wishes that cannot be granted ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "message", "fix"),
    [
        ("awk", "no quantization called 'awk'", "Did you mean awq?"),
        ("gptq", "carries no GPTQ weights", "--quantization bnb-4bit"),
        ("exl2", "not quantized, and cannot be reduced to exl2", "bnb-4bit"),
        ("q4_k_m", "not quantized, and cannot be reduced to q4_k_m", "bnb-4bit"),
    ],
)
def test_a_quantization_that_cannot_be_had(word, message, fix):
    with pytest.raises((UsageError, NotQuantized)) as caught:
        make_plans(LARGE, laptop(), Request(quantization=word))
    assert message in caught.value.message and fix in caught.value.fix


def test_weights_that_are_quantized_already_are_not_reduced_again():
    with pytest.raises(ModelRefused) as caught:
        make_plans(awq(LARGE), laptop(), Request(quantization="bnb-4bit"))
    assert (
        "carries awq weights" in caught.value.message and "cannot be read as bnb-4bit" in caught.value.message
    )


def test_wishes_that_exclude_each_other():
    with pytest.raises(UsageError) as caught:
        make_plans(LARGE, workstation(), Request(engine="vllm", device="disk"))
    assert "--engine vllm --device disk cannot run" in caught.value.message


def test_a_dtype_that_does_not_exist():
    with pytest.raises(UsageError, match="no dtype called 'int4'"):
        make_plans(LARGE, laptop(), Request(dtype="int4"))


def test_an_old_gpu_cannot_run_awq_and_says_what_it_could():
    pascal = workstation(memory=24 * GB, capability=(6, 1), name="Tesla P40")
    way = one(make_plans(awq(LARGE), pascal, Request()), "vllm", "awq", "cuda")
    assert way.verdict == "unavailable"
    assert "need compute capability 7.5, and Tesla P40 has 6.1" in way.reason
