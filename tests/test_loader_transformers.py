"""Every way in which transformers can run a folder here: one question, sane answers, each tensor told."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rag.errors import DoesNotFit, EngineMissing, ModelError, ModelLoadFailed, ModelRefused, PromptTooLong
from rag.loader.base import Sampling
from rag.loader.engines import placing, transformers, weights
from rag.loader.process.supervise import start
from rag.loader.records import Plan
from rag.places import cache_root
from rag.types import Message
from tests.models import smollm2_folder  # noqa: F401  (a fixture)
from tests.tiny_checkpoints import FORMS, folder_of, plain, plain_folder, tensors_of

QUESTION = [Message("user", "What is the capital of France?")]
TEXT = "The sun rises in the east and sets in the west."
CAP = 900_000_000

WAYS = {
    "float32": {},
    "float16": {"dtype": "float16"},
    "bfloat16": {"dtype": "bfloat16"},
    "bnb-4bit": {"quantization": "bnb-4bit"},
    "bnb-8bit": {"quantization": "bnb-8bit"},
    "disk": {"device": "disk", "max_memory_bytes": CAP},
}


def plan_for(folder, **changes):
    return dataclasses.replace(
        Plan(str(folder), "smol", "transformers", "none", "float32", 256, 2), **changes
    )


def silent(event):
    pass


def said(model, tokens=7):
    return "".join(model.stream(QUESTION, Sampling(tokens)))


def perplexity(model):
    logprobs = model.token_logprobs(TEXT)
    assert len(logprobs) == 11
    assert all(math.isfinite(value) and value <= 0 for value in logprobs)
    return math.exp(-sum(logprobs) / len(logprobs))


@pytest.fixture(scope="module")
def float32(smollm2_folder):  # noqa: F811
    model = transformers.load(plan_for(smollm2_folder), silent)
    yield model
    model.close()


@pytest.mark.parametrize("way", WAYS)
def test_each_way_answers_and_tells_every_tensor(way, float32, smollm2_folder):  # noqa: F811
    events = []
    model = transformers.load(plan_for(smollm2_folder, **WAYS[way]), events.append)
    try:
        assert "Paris" in said(model)
        assert perplexity(float32) * 0.97 < perplexity(model) < perplexity(float32) * 1.25
    finally:
        model.close()
    loading, *tensors = events
    total = 269_030_016
    assert loading == {
        "event": "loading",
        "engine": "transformers",
        "name": "smol",
        "total_bytes": total,
    }
    assert len({event["tensor"] for event in tensors}) == len(tensors) == 272
    numbers = [event["shard_number"] for event in tensors]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2, 3, 4, 5, 6}
    done = [event["done_bytes"] for event in tensors]
    assert done == sorted(done)
    assert done[-1] == total
    assert {event["total_bytes"] for event in tensors} == {total}
    first = tensors[0]
    assert (first["shard"], first["shards"]) == ("model-00001-of-00006.safetensors", 6)
    assert first["tensor"] == "model.embed_tokens.weight"
    assert first["resident_bytes"] > 100_000_000


def test_a_worker_runs_a_quantized_model_and_passes_its_events_on(smollm2_folder):  # noqa: F811
    events = []
    plan = plan_for(smollm2_folder, quantization="bnb-4bit", dtype="bfloat16")
    with start(plan, events.append) as model:
        assert "Paris" in said(model)
    tensors = [event for event in events if event["event"] == "tensor"]
    assert len(tensors) == 272
    assert tensors[-1]["done_bytes"] == tensors[-1]["total_bytes"]


def test_a_text_scored_in_parts_has_the_same_probabilities(float32, monkeypatch):
    whole = float32.token_logprobs(TEXT)
    monkeypatch.setattr(transformers, "SCORED_TOKENS", 4)
    assert float32.token_logprobs(TEXT) == pytest.approx(whole, abs=1e-3)


def test_the_probabilities_are_those_of_one_plain_call(float32):
    import torch

    ids = float32._tokenizer(TEXT)["input_ids"]
    with torch.inference_mode():
        chances = float32._model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(chances[place, token]) for place, token in enumerate(ids[1:])]
    assert float32.token_logprobs(TEXT) == pytest.approx(expected, abs=1e-3)


def test_a_text_of_one_token_has_no_probabilities_and_one_too_long_is_refused(float32):
    assert float32.token_logprobs("a") == []
    with pytest.raises(PromptTooLong, match="the model reads 256"):
        float32.token_logprobs("word " * 300)


def test_a_prompt_is_given_up_between_two_layers_and_the_next_one_is_answered(float32):
    cancel, begun = threading.Event(), []
    layers = float32._model.model.layers

    def note(layer, *_):
        begun.append(layer)
        cancel.set()

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    answer = float32.stream(QUESTION, Sampling(5), cancel)
    assert list(answer) == []
    assert begun == [layers[0]]
    for hook in hooks:
        hook.remove()
    assert list(float32.stream(QUESTION, Sampling(5)))


def test_a_prompt_longer_than_a_batch_is_read_in_parts(float32, monkeypatch):
    whole = list(float32.stream(QUESTION, Sampling(5)))
    monkeypatch.setitem(transformers.BATCH_TOKENS, "transformers", 8)
    assert list(float32.stream(QUESTION, Sampling(5))) == whole


def test_numbers_that_are_not_finite_are_an_error(float32):
    import torch

    weight = float32._model.model.norm.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(math.nan)
        try:
            with pytest.raises(ModelError, match="not finite"):
                float32.token_logprobs(TEXT)
            with pytest.raises(ModelError, match="not finite"):
                list(float32.stream(QUESTION, Sampling(2)))
        finally:
            weight.copy_(kept)


# --- weights that are stored quantized ------------------------------------------------------------


@pytest.mark.parametrize("method", ["bnb-4bit", "bnb-8bit"])
def test_weights_that_bitsandbytes_stored_are_read_as_they_are(method, smollm2_folder, tmp_path):  # noqa: F811
    made = transformers.load(plan_for(smollm2_folder, quantization=method), silent)
    made._model.save_pretrained(tmp_path)  # before a first text: some processors repack the weights for it
    made._tokenizer.save_pretrained(tmp_path)
    expected = made.token_logprobs(TEXT)
    made.close()
    events = []
    stored = transformers.load(plan_for(tmp_path, quantization=method, stored=method), events.append)
    assert stored.token_logprobs(TEXT) == pytest.approx(expected, abs=1e-3)
    assert "Paris" in said(stored)
    assert events[-1]["done_bytes"] == events[-1]["total_bytes"] == events[0]["total_bytes"]
    stored.close()


@pytest.mark.parametrize(
    "form", ["awq", "awq-legacy", "gptq", "bnb-4bit", "fp8-block", "ct-pack", "modelopt-fp8"]
)
def test_quantized_weights_are_never_read_as_plain_ones(form, tmp_path):
    folder = FORMS[form].build(tmp_path)
    with pytest.raises(
        ModelRefused, match=f"stored as {FORMS[form].method}, and the plan takes them for unq"
    ):
        transformers.load(plan_for(folder), silent)


@pytest.mark.parametrize("form", ["modelopt-fp8", "modelopt-fp4", "squeezellm", "exl2", "exl3", "mlx"])
def test_methods_that_would_be_read_wrongly_are_refused_even_when_planned(form, tmp_path):
    method = FORMS[form].method
    plan = plan_for(FORMS[form].build(tmp_path), quantization=method, stored=method)
    with pytest.raises(ModelRefused, match=f"would read the {method} weights of smol wrongly"):
        transformers.load(plan, silent)


@pytest.mark.parametrize(
    ("form", "package"),
    [("awq", "gptqmodel"), ("gptq", "optimum and gptqmodel"), ("torchao", "torchao"), ("hqq", "hqq")],
)
def test_an_absent_package_is_named(form, package, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)  # whatever a developer has installed
    method = FORMS[form].method
    plan = plan_for(FORMS[form].build(tmp_path), quantization=method, stored=method)
    with pytest.raises(EngineMissing, match=f"are read with {package}, not installed here") as caught:
        transformers.load(plan, silent)
    assert "pip install" in caught.value.fix


def test_weights_are_not_turned_into_what_they_are_not(tmp_path):
    with pytest.raises(ModelLoadFailed, match="cannot turn unquantized weights into awq"):
        transformers.load(plan_for(plain_folder(tmp_path), quantization="awq"), silent)


@pytest.mark.parametrize("left", ["qweight", "weight_scale", "SCB", "absmax"])
def test_tensors_left_over_from_a_quantization_are_an_error(left):
    found = {"missing_keys": [], "unexpected_keys": [f"model.layers.0.mlp.up_proj.{left}"]}
    with pytest.raises(ModelRefused, match=rf"read as if they were not: .*up_proj\.{left}"):
        weights.refuse_incomplete(plan_for("."), found)


def test_other_tensors_left_over_are_none():
    weights.refuse_incomplete(plan_for("."), {"unexpected_keys": ["model.layers.0.rotary_emb.inv_freq"]})


# --- damage, and what this machine cannot do ------------------------------------------------------


def test_a_lacking_tensor_is_an_error(tmp_path):
    tensors = tensors_of(plain("F16"))
    del tensors["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(ModelRefused, match=r"lacks 1 of its weights, first of them model\.layers\.1\.mlp"):
        transformers.load(plan_for(folder_of(tmp_path, tensors)), silent)


def test_tensors_of_another_shape_are_an_error(tmp_path):
    folder = folder_of(tmp_path, tensors_of(plain("F16")), {"intermediate_size": 96})
    with pytest.raises(ModelLoadFailed, match="transformers cannot load smol"):
        transformers.load(plan_for(folder), silent)


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    folder = plain_folder(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelLoadFailed, match="has no chat template"):
        transformers.load(plan_for(folder), silent)


def test_a_gpu_is_refused_where_torch_has_none(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelLoadFailed, match=r"cannot be loaded on a GPU: torch \d") as caught:
        transformers.load(plan_for(plain_folder(tmp_path), device="cuda"), silent)
    assert "--device" in caught.value.fix


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (1, {"device_map": {"": 1}}),
        (2, {"device_map": "auto", "max_memory": {0: 50, 1: 70}}),
    ],
)
def test_the_gpus_with_most_memory_free_are_taken(gpus, expected, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ([50, 70, 20][index], 80))
    assert placing._on_gpus(plan_for(".", device="cuda", tensor_parallel=gpus)) == expected


def test_an_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ModelLoadFailed, match="cannot be computed in int4"):
        transformers.load(plan_for(plain_folder(tmp_path), dtype="int4"), silent)


CODE = """
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.llama.configuration_llama import LlamaConfig
open({witness!r}, "w").close()
class Mine(LlamaConfig):
    model_type = "mine"
class MineForCausalLM(LlamaForCausalLM):
    config_class = Mine
"""


@pytest.mark.parametrize("trusted", [False, True])
def test_a_model_s_own_code_runs_only_when_it_is_trusted(trusted, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    auto = {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.MineForCausalLM"}
    config = {"model_type": "mine", "architectures": ["MineForCausalLM"], "auto_map": auto}
    folder = folder_of(tmp_path / "model", tensors_of(plain("F16")), config)
    witness = tmp_path / "it ran"
    (folder / "mine.py").write_text(CODE.format(witness=str(witness)))
    plan = plan_for(folder, trust_remote_code=trusted)
    if trusted:
        transformers.load(plan, silent).close()
    else:
        with pytest.raises(ModelLoadFailed, match="transformers cannot load smol"):
            transformers.load(plan, silent)
    assert witness.exists() is trusted


# --- reading from the disk ------------------------------------------------------------------------


def offloads():
    root = cache_root() / "offload"
    return {folder.name for folder in root.iterdir()} if root.exists() else set()


def test_the_offload_folder_goes_with_the_model_and_with_a_failure(smollm2_folder, tmp_path):  # noqa: F811
    before = offloads()
    on_disk = {"device": "disk", "max_memory_bytes": CAP}
    model = transformers.load(plan_for(smollm2_folder, **on_disk), silent)
    (mine,) = offloads() - before
    assert mine.startswith(f"{os.getpid()}-")
    assert not list((cache_root() / "offload" / mine).iterdir())  # the model's own files are read, not copied
    model.close()
    tensors = tensors_of(plain("F16"))
    tensors.popitem()
    with pytest.raises(ModelRefused):
        transformers.load(plan_for(folder_of(tmp_path, tensors), **on_disk), silent)
    assert mine not in offloads()
    assert not any(name.startswith(f"{os.getpid()}-") for name in offloads())


def test_what_a_killed_process_left_is_removed_and_others_keep_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for owner in (ended.pid, os.getppid()):
        (tmp_path / "offload" / f"{owner}-x").mkdir(parents=True)
    placing.remove_left_over()
    made = placing.new_offload_folder()
    assert set((tmp_path / "offload").iterdir()) == {tmp_path / "offload" / f"{os.getppid()}-x", made}


def test_a_cap_too_low_for_a_single_layer_is_refused(smollm2_folder):  # noqa: F811
    plan = plan_for(smollm2_folder, device="disk", max_memory_bytes=300_000_000)
    with pytest.raises(DoesNotFit, match="layer by layer within 300 MB"):
        transformers.load(plan, silent)


@pytest.mark.skipif(sys.platform != "linux", reason="anonymous memory is told apart on Linux only")
def test_reading_from_the_disk_keeps_private_memory_under_the_cap(smollm2_folder):  # noqa: F811
    with start(plan_for(smollm2_folder, **WAYS["disk"])) as model:
        assert "Paris" in said(model)
        status = Path(f"/proc/{model.pid}/status").read_text()
        anonymous = int(status.partition("RssAnon:")[2].split()[0]) * 1024
    assert 200_000_000 < anonymous < CAP
