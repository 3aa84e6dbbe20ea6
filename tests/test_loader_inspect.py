"""What an inspection says of models in every form, contradictory ones and damaged ones."""

import random
from pathlib import Path

import pytest

from rag import bundled
from rag.loader.model import gguf
from rag.loader.model.inspect import inspect_local
from rag.loader.model.model_config import BUILT_IN, context_tokens
from rag.loader.model.storage import storage
from rag.loader.records import METHODS, Tensor
from tests import tiny_checkpoints as tiny
from tests.models import smollm2_folder  # noqa: F401
from tests.tiny_damage import CONTRADICTIONS, DAMAGES, removed


def folder_with(path, **config):
    return tiny.plain_folder(path, **config)


# --- every form -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny.FORMS)
def test_every_form_is_recognised_from_its_tensors(name, tmp_path):
    form = tiny.FORMS[name]
    facts = inspect_local(form.build(tmp_path / "tiny"))
    found = facts.quantization
    assert (found.method, found.bits, found.legacy) == (form.method, form.bits, form.legacy)
    assert any(form.mentions in sentence for sentence in found.evidence)
    assert (facts.problems, facts.contradictions) == ((), ())
    assert facts.parameters == tiny.PARAMETERS  # unpacked, whatever the packing
    assert found.declared == ("none" if form.sides and not form.config else form.method)
    assert facts.architecture == "LlamaForCausalLM" and facts.context_tokens == tiny.CONTEXT
    assert facts.chat_template and facts.tokenizer


def test_the_forms_cover_every_method():
    assert {form.method for form in tiny.FORMS.values()} == {*METHODS} - {"gguf", "other"}


@pytest.mark.parametrize("name", tiny.FORMS)
def test_names_shapes_and_bytes_are_those_that_the_safetensors_library_reads(name, tmp_path):
    from safetensors import safe_open

    facts = inspect_local(tiny.FORMS[name].build(tmp_path))
    with safe_open(tmp_path / facts.shards[0].name, "np") as file:
        slices = {key: file.get_slice(key) for key in [*file.keys()]}
        theirs = {key: (one.get_dtype(), one.get_shape()) for key, one in slices.items()}
    assert {tensor.name: (tensor.dtype, list(tensor.shape)) for tensor in facts.tensors} == theirs
    assert facts.shards[0].tensors == len(theirs) and facts.weight_bytes < facts.shards[0].bytes


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "shards"), [("F32", 1), ("F16", 3), ("BF16", 1)])
def test_the_plain_forms_really_load_and_generate(dtype, shards, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny.plain_folder(tmp_path, dtype, shards)
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": "Grüße"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    tokens = tokenizer(text, return_tensors="pt").input_ids
    assert tokenizer.decode(tokens[0]) == text == "<|im_start|>user\nGrüße<|im_end|>\n<|im_start|>assistant\n"
    assert torch.isfinite(model(tokens).logits).all()
    assert sum(weights.numel() for weights in model.parameters()) == inspect_local(folder).parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "method", "detail"),
    [
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bnb-4bit", "4-bit, nf4"),
        ({"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}, "bnb-4bit", "4-bit, fp4"),
        ({"load_in_8bit": True}, "bnb-8bit", "8-bit"),
    ],
)
def test_what_bitsandbytes_itself_has_saved(settings, method, detail, tmp_path):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = tiny.plain_folder(tmp_path / "plain")
    settings = BitsAndBytesConfig(**settings)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=settings, device_map="cpu")
    model.save_pretrained(tmp_path / "saved")
    tiny.write_tokenizer(tmp_path / "saved")
    facts = inspect_local(tmp_path / "saved")
    assert (facts.quantization.method, facts.quantization.detail) == (method, detail)
    assert (facts.parameters, facts.problems, facts.contradictions) == (tiny.PARAMETERS, (), ())


@pytest.mark.parametrize("main", tiny.GGUF_TYPES)
def test_every_gguf_type_is_measured_as_the_gguf_library_measures_it(main, tmp_path):
    from gguf import GGUFReader

    file = tiny.gguf_file(tmp_path, "tiny.gguf", main, label=99, output=main)
    facts = inspect_local(file)
    theirs = {
        one.name: (one.tensor_type.name, int(one.n_bytes), one.data_offset)
        for one in GGUFReader(file).tensors
    }
    assert {one.name: (one.dtype, one.bytes, one.offset) for one in facts.tensors} == theirs
    assert facts.parameters == tiny.GGUF_PARAMETERS
    assert (facts.quantization.method, facts.quantization.detail) == ("gguf", main)
    assert (facts.problems, facts.contradictions) == ((), ())


def test_all_gguf_tensor_types_have_ggmls_block_sizes():
    from gguf.constants import GGML_QUANT_SIZES, LlamaFileType

    assert {kind.value: (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()} == gguf.TENSOR_TYPES
    theirs = {
        kind.value: kind.name.removeprefix("ALL_").removeprefix("MOSTLY_").removesuffix("_MOE")
        for kind in LlamaFileType
    }
    assert {number: theirs[number] for number in gguf.FILE_TYPES} == gguf.FILE_TYPES


# --- what is contradictory or broken --------------------------------------------------------------


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_every_contradiction_is_told_in_a_sentence(name, tmp_path):
    case = CONTRADICTIONS[name]
    facts = inspect_local(case.build(tmp_path / "tiny"))
    assert facts.contradictions == (case.sentence,)
    assert (facts.quantization.method, facts.quantization.declared) == (case.method, case.declared)
    assert facts.problems == ()


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_is_named_with_its_file_its_figures_and_its_fix(name, tmp_path):
    case = DAMAGES[name]
    facts = inspect_local(case.build(tmp_path / "tiny"))
    told = [(one.kind, one.message, one.fix) for one in facts.problems]
    also = ["index_missing"] if name == "gap-without-index" else []
    assert told[0] == (case.kind, case.message, case.fix)
    assert [kind for kind, *_ in told[1:]] == also


def test_a_damaged_shard_keeps_its_problem_and_the_others_are_still_read(tmp_path):
    facts = inspect_local(DAMAGES["truncated"].build(tmp_path))
    assert [shard.problem is None for shard in facts.shards] == [True, False, True]
    assert facts.parameters == tiny.PARAMETERS  # the header of the cut shard is whole


def test_all_problems_are_told_at_once(tmp_path):
    folder = tiny.plain_folder(tmp_path, shards=3)
    (folder / "model-00001-of-00003.safetensors").write_bytes(b"")
    removed("model-00003-of-00003.safetensors", "tokenizer.json")(folder)
    kinds = [problem.kind for problem in inspect_local(folder).problems]
    assert kinds == ["shard_empty", "shard_missing", "tokenizer_missing"]


@pytest.mark.parametrize("seed", range(40))
def test_a_file_with_altered_bytes_never_raises(seed, tmp_path):
    source = random.Random(seed)
    if seed % 2:
        file = tiny.plain_folder(tmp_path, shards=1) / "model.safetensors"
        target, reach = tmp_path, 1500
    else:
        file = target = tiny.gguf_file(tmp_path)
        reach = 6000
    data = bytearray(file.read_bytes())
    for _ in range(source.choice([1, 3, 20])):
        data[source.randrange(8 if source.random() < 0.9 else 0, reach)] = source.choice(
            [0, 34, 44, 57, 125, 255]
        )
    file.write_bytes(data)
    for problem in inspect_local(target).problems:
        assert problem.kind and problem.message and problem.fix


@pytest.mark.parametrize("value", [None, 7, -1, 1e400, "text", [], [1], {}, {"a": {"b": 1}}, True])
def test_settings_of_the_wrong_type_never_raise(value, tmp_path):
    folder = tiny.folder_of(tmp_path, tiny.tensors_of(tiny.awq()), tiny.AWQ_NEW)
    keys = [
        *(
            "architectures",
            "model_type",
            "max_position_embeddings",
            "rope_scaling",
            "sliding_window",
            "text_config",
        ),
        *(
            "quantization_config",
            "compression_config",
            "quantization",
            "auto_map",
            "torch_dtype",
            "vocab_size",
        ),
    ]
    for key in keys:
        tiny.write_json(folder / "config.json", {**tiny.CONFIG, **tiny.AWQ_NEW, key: value})
        assert inspect_local(folder).quantization.method == "awq"
    for key in (
        "quant_method",
        "bits",
        "group_size",
        "config_groups",
        "producer",
        "weight_block_size",
        "format",
    ):
        for method in ("awq", "fp8", "compressed-tensors"):
            block = {**tiny.quantized(method, bits=4)["quantization_config"], key: value}
            tiny.write_json(folder / "config.json", {**tiny.CONFIG, "quantization_config": block})
            assert inspect_local(folder).quantization.method == "awq"


# --- single facts ---------------------------------------------------------------------------------


def test_the_bundled_model():
    facts = inspect_local(bundled.path(bundled.SMOLLM2))
    assert (facts.kind, facts.name, facts.architecture) == ("gguf", "SmolLM2-135M-Instruct.Q4_1", "llama")
    assert facts.parameters == 134_515_008
    assert (facts.quantization.label, facts.quantization.bits) == ("Q4_1", 4)
    assert facts.quantization.evidence[0] == "mostly Q4_1 (79 %), some Q8_0 (21 %) and F32 (under 1 %)"
    assert facts.context_tokens == 8192 and facts.chat_template and facts.tokenizer
    assert (facts.problems, facts.contradictions, facts.warnings) == ((), (), ())
    assert facts.config == {
        **{"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9},
        **{"num_key_value_heads": 3, "head_dim": 64, "intermediate_size": 1536, "vocab_size": 49152},
        **{"max_position_embeddings": 8192, "rope_theta": 100000.0, "tie_word_embeddings": True},
    }


@pytest.mark.slow
def test_real_weights_converted_to_six_shards(smollm2_folder):  # noqa: F811
    facts = inspect_local(smollm2_folder)
    assert (facts.parameters, dict(facts.dtypes)) == (134_515_008, {"F16": 134_515_008})
    assert [shard.problem for shard in facts.shards] == [None] * 6
    assert (facts.quantization.method, facts.context_tokens) == ("none", 8192)
    assert (facts.problems, facts.contradictions, facts.warnings) == ((), (), ())


def test_any_part_stands_for_the_whole_gguf_model(tmp_path):
    first = tiny.gguf_parts(tmp_path)
    facts = inspect_local(first)
    assert facts.parameters == tiny.GGUF_PARAMETERS and len(facts.shards) == 3
    other = inspect_local(tmp_path / "tiny-00002-of-00003.gguf")
    assert (other.tensors, other.config) == (facts.tensors, facts.config)
    assert (other.problems, other.place) == ((), facts.place)  # llama.cpp wants the first part


def test_a_finer_gguf_label_stands_where_the_tensors_agree(tmp_path):
    facts = inspect_local(tiny.gguf_file(tmp_path, main="Q4_K", label=15))
    assert (facts.quantization.detail, facts.quantization.bits, facts.contradictions) == ("Q4_K_M", 4, ())
    mixed = inspect_local(tiny.gguf_file(tmp_path, main="IQ3_S", label=27))
    assert (mixed.quantization.detail, mixed.contradictions) == ("IQ3_M", ())


def test_a_gguf_label_that_small_models_outgrow_is_corrected(tmp_path):
    facts = inspect_local(tiny.gguf_file(tmp_path, main="Q5_0", label=15, output="Q8_0"))
    assert facts.quantization.label == "Q5_0"
    assert "says Q4_K_M, but its tensors are mostly Q5_0" in facts.contradictions[0]


def test_gguf_settings_are_given_under_config_jsons_names(tmp_path):
    metadata = {
        **tiny.gguf_metadata(architecture="deepseek2"),
        "deepseek2.attention.head_count_kv": [1, 4],
        "deepseek2.attention.kv_lora_rank": 512,
        "deepseek2.rope.dimension_count": 64,
        "deepseek2.expert_count": 8,
        "deepseek2.expert_used_count": 2,
        "deepseek2.attention.sliding_window": 1024,
        "deepseek2.rope.scaling.type": "yarn",
        "deepseek2.rope.scaling.factor": 40.0,
    }
    file = tmp_path / "tiny.gguf"
    file.write_bytes(tiny.gguf_bytes(metadata, tiny.gguf_tensors()))
    config = inspect_local(file).config
    assert (config["num_key_value_heads"], config["num_key_value_heads_per_layer"]) == (4, [1, 4])
    assert (config["kv_lora_rank"], config["qk_rope_head_dim"]) == (512, 64)
    assert (config["num_experts"], config["num_experts_per_tok"], config["sliding_window"]) == (8, 2, 1024)
    assert config["rope_scaling"] == {"rope_type": "yarn", "factor": 40.0}
    assert config["tie_word_embeddings"] is False and config["vocab_size"] == tiny.GGUF_VOCABULARY


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 8192}}, 8192),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}}, 16384),
        ({"max_position_embeddings": 4096, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, 8192),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "original_max_position_embeddings": 8192,
                },
            },
            131072,
        ),
        ({}, None),
    ],
)
def test_context_length(config, tokens):
    assert context_tokens(config) == tokens


def test_a_sliding_window_is_noted_where_it_is_used(tmp_path):
    facts = inspect_local(folder_with(tmp_path, sliding_window=4096))
    assert facts.warnings == ("some or all layers look back only 4,096 tokens (sliding_window)",)
    assert inspect_local(folder_with(tmp_path, sliding_window=4096, use_sliding_window=False)).warnings == ()


def test_a_program_that_transformers_replaces_is_no_problem(tmp_path):
    auto_map = {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}
    facts = inspect_local(folder_with(tmp_path, model_type="phi3", auto_map=auto_map))
    assert facts.warnings == ("modeling_phi3.py is not run: transformers knows phi3 itself",)
    assert (facts.problems, facts.remote_code) == ((), False)
    assert inspect_local(folder_with(tmp_path, model_type="other", auto_map=auto_map)).remote_code


def test_transformers_knows_the_model_types_that_need_no_program():
    import importlib.util

    models = Path(importlib.util.find_spec("transformers").origin).parent / "models"
    assert {name for name in BUILT_IN if not (models / name).is_dir()} == set()


def test_embeddings_that_are_stored_twice_count_once_when_tied(tmp_path):
    tensors = tiny.tensors_of(tiny.plain("F16")) | {"lm_head.weight": tiny.numbers("F16", 320, 64)}
    assert inspect_local(tiny.folder_of(tmp_path / "a", tensors)).parameters == tiny.PARAMETERS
    untied = inspect_local(tiny.folder_of(tmp_path / "b", tensors, {"tie_word_embeddings": False}))
    assert untied.parameters == tiny.PARAMETERS + 320 * 64


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_a_chat_template_may_be_a_file_of_its_own(name, tmp_path):
    folder = tiny.plain_folder(tmp_path)
    tiny.write_tokenizer(folder, template=False)
    (folder / name).write_text("{}")
    assert inspect_local(folder).problems == ()


def test_a_second_copy_of_the_weights_is_not_counted(tmp_path):
    folder = tiny.plain_folder(tmp_path, shards=3)
    tiny.safetensors(folder / "consolidated.safetensors", tiny.tensors_of(tiny.plain("F16")))
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    facts = inspect_local(folder)
    assert (facts.parameters, len(facts.shards), facts.problems) == (tiny.PARAMETERS, 3, ())


def test_a_method_that_is_not_known_keeps_its_name(tmp_path):
    def aqlm(name, out, into):
        return {
            f"{name}.codes": tiny.noise("I16", out, into // 8, 1),
            f"{name}.codebooks": tiny.numbers("F16", 1, 256, 8),
        }

    facts = inspect_local(tiny.folder_of(tmp_path, tiny.tensors_of(aqlm), tiny.quantized("aqlm")))
    assert (facts.quantization.method, facts.quantization.detail) == ("other", "aqlm")
    assert (facts.quantization.declared, facts.contradictions) == ("other", ())


def test_experts_fused_into_one_tensor_show_their_storage():
    stored = storage(
        [
            Tensor("layers.0.experts.gate_up_proj", "F8_E4M3", (4, 64, 64), 16384, "m"),
            Tensor("layers.0.experts.gate_up_proj_scale", "F32", (4, 1, 64), 1024, "m"),
        ]
    )
    assert (stored.family, stored.modules, stored.bits) == ("fp8", 1, 8)


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("fp8-tensor", "8-bit, per tensor"),
        ("fp8-block", "8-bit, blocks of 128 x 128"),
        ("ct-int", "8-bit, int-quantized"),
    ],
)
def test_the_detail_says_what_shares_a_scale(name, detail, tmp_path):
    assert inspect_local(tiny.FORMS[name].build(tmp_path)).quantization.detail == detail


def test_a_row_shorter_than_a_group_is_no_contradiction(tmp_path):
    config = tiny.quantized("gptq", bits=4, group_size=64)
    facts = inspect_local(tiny.folder_of(tmp_path, tiny.tensors_of(tiny.gptq(group=64)), config))
    assert (facts.quantization.detail, facts.contradictions) == ("4-bit, group 64", ())


@pytest.mark.parametrize(
    "architecture", ["InternVLChatModel", "QWenLMHeadModel", "Gemma3ForConditionalGeneration"]
)
def test_an_architecture_with_an_unusual_name_is_left_to_the_engine(architecture, tmp_path):
    assert inspect_local(folder_with(tmp_path, architectures=[architecture])).problems == ()


def test_a_multimodal_model_is_read_through_its_text_config(tmp_path):
    text = {"max_position_embeddings": 8192, "torch_dtype": "float16", "tie_word_embeddings": True}
    tensors = {f"language_{name}": value for name, value in tiny.tensors_of(tiny.plain("F16")).items()}
    folder = tiny.folder_of(tmp_path, tensors)
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
    }
    tiny.write_json(folder / "config.json", config)
    facts = inspect_local(folder)
    assert (facts.context_tokens, facts.parameters, facts.config) == (8192, tiny.PARAMETERS, config)
    assert (facts.problems, facts.contradictions) == ((), ())
