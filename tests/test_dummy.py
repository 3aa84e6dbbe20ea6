"""Models without weights: what they have of the published ones, and what is asked of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag.errors import EvaluationError, UsageError
from rag.evaluation import dummy
from rag.evaluation.ways import Options, ways
from tests.machines import laptop, workstation


def test_dummies_have_the_settings_of_published_forms_and_a_whole_vocabulary(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    facts = dummy.write_dummies("qwen2.5-14b", tmp_path)
    methods = [found.quantization.method for found in facts]
    assert methods == ["none", "awq", "gptq", "compressed-tensors"]
    assert [round(found.weight_bytes / 2**30, 1) for found in facts][:2] == [27.5, 9.3]
    config = json.loads((tmp_path / "qwen2.5-14b-awq" / "config.json").read_text("utf-8"))
    assert config["quantization_config"]["quant_method"] == "awq"
    assert (config["vocab_size"], config["eos_token_id"]) == (152064, None)
    tokenizer = AutoTokenizer.from_pretrained(facts[0].place, local_files_only=True)
    assert (len(tokenizer), tokenizer.eos_token) == (152064, None)
    ids = tokenizer("Zebra, ünder")["input_ids"]
    assert len(ids) == len("Zebra, ünder".encode())
    assert tokenizer.decode(ids) == "Zebra, ünder"
    assert tokenizer.decode([152063]) == "<152063>"


def test_a_gpu_runs_every_form_of_an_architecture_without_weights(tmp_path: Path) -> None:
    options = Options(("qwen2.5-14b",), engines=("vllm",), dummy=True)
    found = [way.candidate for way in ways(options, workstation(), tmp_path) if way.candidate]
    plans = {each.plan.quantization: each.plan for each in found if each.plan.device == "cuda"}
    assert set(plans) == {"none", "awq", "gptq", "compressed-tensors", "fp8"}
    assert {plan.load_format for plan in plans.values()} == {"dummy"}
    assert not any(plan.sanity for plan in plans.values())
    assert all(plan.least_memory for plan in plans.values())
    assert all(plan.repo is None and Path(plan.model).is_dir() for plan in plans.values())


def test_a_folder_gives_its_architecture(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 300,
        "max_position_embeddings": 512,
    }
    (given / "config.json").write_text(json.dumps(config), "utf-8")
    [facts] = dummy.write_dummies(str(given), tmp_path / "made", ["none"])
    layers = 2 * (4 * 64 * 64 + 3 * 64 * 128)
    assert facts.parameters == layers + 2 * 300 * 64
    (given / "config.json").write_text(json.dumps({**config, "quantization_config": {}}), "utf-8")
    with pytest.raises(EvaluationError, match="quantized form already"):
        dummy.write_dummies(str(given), tmp_path / "again", ["none"])


def test_without_weights_only_vllm_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="llamacpp cannot run"):
        ways(Options(("qwen2.5-14b",), engines=("llamacpp",), dummy=True), laptop(), tmp_path)
