"""Which of a repository's files each engine gets."""

import pytest

from rag.errors import ModelNotFound, ModelRefused
from rag.loader.hub.needed import files_for

ONE = "model.safetensors config.json"
TWO = "model-00001-of-00002.safetensors model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
TEXT = "chat_template.jinja config.json generation_config.json merges.txt tokenizer.model vocab.txt"
MISTRAL = "consolidated.safetensors params.json"
SPLIT = "a-q4_k_m-00001-of-00002.gguf a-q4_k_m-00002-of-00002.gguf"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (f"{ONE} a.bin a.pt a.ckpt tf.h5 a.msgpack x.onnx README.md .gitattributes .footnote.json", ONE),
        (f"model.safetensors {TEXT} LICENSE.txt requirements.txt", f"model.safetensors {TEXT}"),
        (f"{TWO} config.json {INDEX}", f"{TWO} config.json {INDEX}"),
        (f"{TWO} config.json {INDEX} {MISTRAL} original/params.json original/x.safetensors",
         f"{TWO} config.json {INDEX}"),
        (f"{MISTRAL} tekken.json", f"{MISTRAL} tekken.json"),
        ("gptq_model-4bit-128g.safetensors config.json", "gptq_model-4bit-128g.safetensors config.json"),
        (f"{ONE} modeling_x.py pytorch_model.bin.index.json", ONE),
        (f"{ONE} onnx/config.json additional_chat_templates/tool_use.jinja",
         "model.safetensors additional_chat_templates/tool_use.jinja config.json"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_one_set_of_safetensors_with_what_reads_text(engine, names, chosen):
    assert files_for(names.split(), engine) == chosen.split()


@pytest.mark.parametrize(
    ("wanted", "names", "chosen"),
    [
        (None, "a-Q8_0.gguf a-Q4_K_M.gguf a-Q4_K_S.gguf mmproj-a-f16.gguf", "a-Q4_K_M.gguf"),
        (None, "a-f16.gguf mmproj-a.gguf imatrix.gguf config.json", "a-f16.gguf"),
        ("Q8_0", "a-Q8_0.gguf a-Q4_K_M.gguf", "a-Q8_0.gguf"),
        ("q8_0", "phi-4-Q8_0.gguf phi-4-Q4_K_M.gguf", "phi-4-Q8_0.gguf"),
        ("Q4_K_M", "a.Q4_K_M.gguf a.Q4_K_M_L.gguf", "a.Q4_K_M.gguf"),
        ("Q4_K", "a-Q4_K_M.gguf a-Q4_K.gguf", "a-Q4_K.gguf"),
        ("Q4_K_M", f"{SPLIT} a-q8_0.gguf", SPLIT),
        ("a-q4_k_m-00002-of-00002.gguf", SPLIT, SPLIT),
        ("b/a-Q8_0.gguf", "a-Q8_0.gguf b/a-Q8_0.gguf", "b/a-Q8_0.gguf"),
    ],
)
def test_one_gguf_file_with_all_its_parts(wanted, names, chosen):
    assert files_for(names.split(), "llamacpp", wanted) == chosen.split()


def test_code_comes_along_only_when_trusted():
    names = ["model.safetensors", "config.json", "modeling_x.py"]
    assert "modeling_x.py" in files_for(names, "transformers", trust_remote_code=True)
    assert "modeling_x.py" not in files_for(names, "transformers")


@pytest.mark.parametrize(
    ("names", "engine", "wanted", "error", "message"),
    [
        ("a.bin config.json", "transformers", None, ModelRefused,
         "the repository holds its weights only pickled (a.bin), and reading those runs programs"),
        ("config.json", "vllm", None, ModelNotFound, "the repository holds no weights"),
        ("a-Q8_0.gguf", "vllm", None, ModelNotFound, "the repository holds GGUF files and no safetensors"),
        (ONE, "llamacpp", None, ModelNotFound, "the repository holds no GGUF file, which llama.cpp needs"),
        ("a-Q8_0.gguf", "llamacpp", "Q4_K_M", ModelNotFound, "the repository holds no GGUF file Q4_K_M"),
    ],
)  # fmt: skip
def test_nothing_suitable_is_explained(names, engine, wanted, error, message):
    with pytest.raises(error) as caught:
        files_for(names.split(), engine, wanted)
    assert caught.value.message == message
    assert caught.value.fix
