"""What the llama.cpp engine alone promises: exact scores, parts, a faster copy, a word about the GPU."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rag import bundled
from rag.errors import ModelError, ModelLoadFailed, PromptTooLong
from rag.loader.base import Sampling
from rag.loader.engines import llamacpp, markers
from rag.loader.model import gguf
from rag.loader.process import requantize
from rag.loader.records import Plan
from rag.types import Message

TEXT = "The capital of France is Paris, and the river Seine runs through it."


def plan(model=None, **changes):
    model = str(model or bundled.path(bundled.SMOLLM2))
    return replace(Plan(model, "SmolLM2", "llamacpp", "Q4_1", None, 256, 1), **changes)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("FOOTNOTE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def model(cache):
    model = llamacpp.load(plan(), lambda event: None)
    yield model
    model.close()


def all_probabilities(model, prefix):
    """What llama.cpp says of every token after `prefix`, asked in its plainest way."""
    answers = []
    request = {"prompt": prefix, "n_predict": 1, "n_probs": 49_152, "temperature": 0.0, "stream": False}
    model._server.handle_completions(request, answers.append)
    found = answers[-1]["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return {token["id"]: token["logprob"] for token in found}


def test_a_text_is_scored_token_by_token(model):
    ids = model._ask("POST", "/tokenize", {"content": TEXT})["tokens"]
    scores = model.token_logprobs(TEXT)
    assert len(scores) == len(ids) - 1
    for at in (1, 7, len(ids) - 1):
        assert scores[at - 1] == pytest.approx(all_probabilities(model, ids[:at])[ids[at]], abs=1e-3)


def test_tokens_that_are_parts_of_a_character_are_scored_too(model):
    text = "\u4f60\u597d \U0001f30d"
    ids = model._ask("POST", "/tokenize", {"content": text})["tokens"]
    scores = model.token_logprobs(text)
    for at in range(1, len(ids)):
        told = model._next_token(ids[:at], 264, 49_152)[0]["top_logprobs"]
        assert scores[at - 1] == pytest.approx({t["id"]: t["logprob"] for t in told}[ids[at]], abs=1e-3)


def test_sense_is_likelier_than_nonsense(model):
    sense = model.token_logprobs(TEXT)
    nonsense = model.token_logprobs("Seine the through of, Paris runs river is")
    assert -sum(sense) / len(sense) < 4 < -sum(nonsense) / len(nonsense)


@pytest.mark.parametrize(
    "text", ['quote " and \\ and \n\n and \t', "\u4f60\u597d \U0001f30d", "<|im_end|>", "]> <[5]>"]
)
def test_any_text_can_be_scored(model, text):
    scores = model.token_logprobs(text)
    ids = model._ask("POST", "/tokenize", {"content": text, "parse_special": False})["tokens"]
    assert len(scores) == len(ids) - 1
    assert all(score < 0 for score in scores)


def test_a_text_of_one_token_has_nothing_to_score(model):
    assert model.token_logprobs("") == model.token_logprobs("the") == []


def test_a_text_beyond_the_context_is_refused(model):
    with pytest.raises(PromptTooLong, match=r"has \d+ tokens, the model reads 256"):
        model.token_logprobs("word " * 300)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_an_error(value):
    with pytest.raises(ModelError, match="not finite"):
        llamacpp._finite(value)


def test_scoring_leaves_the_next_answer_as_it_was(model):
    messages = [
        Message("system", "Answer in one sentence."),
        Message("user", "What is the capital of France?"),
    ]
    before = "".join(model.stream(messages, Sampling(8)))
    model.token_logprobs(TEXT)
    assert "".join(model.stream(messages, Sampling(8))) == before


def test_a_gpu_that_is_not_there_is_told_with_what_to_do():
    with pytest.raises(ModelLoadFailed, match="GPU") as caught:
        llamacpp.load(plan(device="cuda"), lambda event: None)
    assert "--device" in caught.value.fix


def test_a_faster_copy_is_made_when_asked_and_used_from_then_on(model):
    events = []
    asked = llamacpp.load(plan(requantize="Q8_0"), events.append)
    copy = requantize.cached(Path(plan().model))
    assert copy and [event["event"] for event in events[-2:]] == ["requantizing", "loading"]
    assert events[-1]["total_bytes"] == copy.stat().st_size
    later = llamacpp.load(plan(), events.append)
    for copied in (asked, later):
        assert (copied.info.name, copied.info.quantization) == ("SmolLM2", "Q4_1")
    assert events[-1]["name"] == "SmolLM2, its copy in Q8_0"
    original, converted = (sum(m.token_logprobs(TEXT)) for m in (model, later))
    assert converted == pytest.approx(original, abs=0.1 * len(TEXT.split()))


def test_a_copy_that_would_break_the_cap_is_not_used(cache):
    file = Path(plan().model)
    copy = requantize.make(file)
    more = copy.stat().st_size - file.stat().st_size
    tight = plan(peak_bytes=100, max_memory_bytes=100 + more - 1)
    assert llamacpp._weights(tight, print) == (file, "SmolLM2")
    assert llamacpp._weights(replace(tight, max_memory_bytes=100 + more), print)[0] == copy
    assert llamacpp._weights(plan(device="cuda"), print) == (file, "SmolLM2")
    assert llamacpp._weights(plan(requantize="none"), print) == (file, "SmolLM2")


def split_in_two(file, folder):
    """The bundled model as llama-gguf-split would write it, in two parts."""
    from gguf import GGUFReader, GGUFWriter

    reader = GGUFReader(file)
    for number in range(2):
        part = folder / f"Two-{number + 1:05d}-of-00002.gguf"
        writer = GGUFWriter(part, "llama")
        for field in reader.fields.values() if number == 0 else ():
            if not field.name.startswith("GGUF.") and field.name != "general.architecture":
                sub = field.types[-1] if len(field.types) > 1 else None
                writer.add_key_value(field.name, field.contents(), field.types[0], sub)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[number * 100 : 100 if number == 0 else None]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return folder / "Two-00001-of-00002.gguf"


def test_a_model_in_parts_is_loaded_by_its_first(model, tmp_path):
    first = split_in_two(plan().model, tmp_path)
    events = []
    parts = llamacpp.load(plan(first), events.append)
    assert events[0]["total_bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert parts.token_logprobs(TEXT) == pytest.approx(model.token_logprobs(TEXT), abs=1e-3)
    parts.close()
    (tmp_path / "Two-00002-of-00002.gguf").unlink()
    with pytest.raises(
        ModelLoadFailed, match=r"1 of the 2 parts of Two.* missing, first of them Two-00002-of"
    ) as caught:
        llamacpp.load(plan(first), events.append)
    assert str(tmp_path) in caught.value.fix


def test_a_name_that_looks_like_no_part_stands_alone(tmp_path):
    file = tmp_path / "model-1-of-2.gguf"
    shutil.copy(Path(__file__), file)
    assert llamacpp.parts(file) == [file]


def test_the_control_tokens_are_those_that_the_whole_header_tells():
    file = Path(plan().model)
    assert markers.control_tokens(file) == gguf.control_tokens(gguf.read_metadata(file)) != []


@pytest.mark.parametrize("length", [0, 3, 20, 100, 3_000, 700_000])
def test_a_header_that_is_cut_off_is_named(tmp_path, length):
    file = tmp_path / "cut.gguf"
    file.write_bytes(Path(plan().model).read_bytes()[:length])
    with pytest.raises(ModelLoadFailed, match="not a readable GGUF"):
        markers.control_tokens(file)


def test_events_are_json():
    events = []
    llamacpp.load(plan(), events.append).close()
    assert json.loads(json.dumps(events)) == events
