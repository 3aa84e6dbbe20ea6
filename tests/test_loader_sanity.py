"""A model that was read wrongly is found out; one that only lost some precision is not."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rag import bundled
from rag.errors import DoesNotFit, ModelError, ModelLoadFailed, ModelRefused
from rag.loader.base import Sampling, Usage
from rag.loader.engines import llamacpp, transformers
from rag.loader.process import sanity
from rag.loader.process.supervise import start
from rag.loader.records import Plan
from rag.types import ModelInfo
from tests.models import smollm2_folder  # noqa: F401  (a fixture)


def silent(event):
    pass


def plan_for(folder, **changes):
    return replace(Plan(str(folder), "smol", "transformers", "none", "float32", 256, 2), **changes)


@pytest.fixture(scope="module")
def loaded(smollm2_folder):  # noqa: F811
    model = transformers.load(plan_for(smollm2_folder), silent)
    yield model
    model.close()


@pytest.fixture
def spoilt(loaded):
    """Changes some of the loaded weights, and puts them back after the test."""
    import torch

    parameters = dict(loaded._model.named_parameters())
    kept = {}

    def spoil(change, part="down_proj"):
        with torch.no_grad():
            for name in parameters:
                if part in name:
                    kept[name] = parameters[name].clone()
                    parameters[name].copy_(change(parameters[name], torch.Generator().manual_seed(len(kept))))
        return loaded

    yield spoil
    with torch.no_grad():
        for name, weight in kept.items():
            parameters[name].copy_(weight)


def shuffled(weight, dice):
    import torch

    return weight[torch.randperm(len(weight), generator=dice)]


def scales_lost(weight, _):
    return (weight / weight.abs().amax(1, keepdim=True) * 127).round()


def unpacked_in_wrong_order(weight, _):
    eights = weight.reshape(len(weight), -1, 8)
    return eights[:, :, [0, 2, 4, 6, 1, 3, 5, 7]].reshape(weight.shape)


def random(weight, dice):
    import torch

    return torch.randn(weight.shape, generator=dice) * 0.02


def not_numbers(weight, _):
    return weight * math.nan


def test_a_sound_model_passes_and_says_hello(loaded, smollm2_folder):  # noqa: F811
    found = sanity.check(loaded, plan_for(smollm2_folder))
    assert 5 < found.perplexity < 15
    assert found.canary.startswith("Hello")
    assert found.seconds > 0


def test_a_gguf_file_passes_too():
    file = bundled.path(bundled.SMOLLM2)
    plan = Plan(str(file), "smol", "llamacpp", "Q4_1", None, 256, 2, stored="gguf")
    model = llamacpp.load(plan, silent)
    assert 5 < sanity.check(model, plan).perplexity < 20
    model.close()


@pytest.mark.parametrize("change", [shuffled, scales_lost, unpacked_in_wrong_order, random, not_numbers])
def test_garbage_is_refused(spoilt, change, smollm2_folder):  # noqa: F811
    model = spoilt(change)
    sign = "not finite" if change is not_numbers else "perplexity of"
    with pytest.raises(ModelRefused, match=rf"smol was loaded and answers nonsense: .*{sign}"):
        sanity.check(model, plan_for(smollm2_folder))


def test_shuffled_embeddings_are_found_out(spoilt, smollm2_folder):  # noqa: F811
    with pytest.raises(ModelRefused, match="over a million"):
        sanity.check(spoilt(shuffled, "embed_tokens"), plan_for(smollm2_folder))


class Speaker:
    """A model with given probabilities and words."""

    info = ModelInfo("speaker", "none", "none", 1, 256)

    def __init__(self, logprobs, pieces):
        self._logprobs, self._pieces = logprobs, pieces

    def token_logprobs(self, text):
        return self._logprobs

    def stream(self, messages, sampling: Sampling, cancel=None):
        yield from self._pieces[: sampling.max_tokens]
        return Usage(9, len(self._pieces), "stop")

    def count_tokens(self, messages):
        return 9

    def close(self):
        pass


def test_one_word_over_and_over_is_nonsense_whatever_the_perplexity():
    with pytest.raises(ModelRefused, match="it repeats 'la'"):
        sanity.check(Speaker([-1.0] * 9, ["la", " la", "la ", " la"]), plan_for("."))


@pytest.mark.parametrize("pieces", [["Hi"], [], ["Hello", " Hello"], ["Ha", "ha", "!", " Ha"]])
def test_short_or_varied_answers_are_none(pieces):
    assert sanity.check(Speaker([-1.0] * 9, pieces), plan_for(".")).canary == "".join(pieces)


@pytest.mark.parametrize("logprobs", [[], [-1e9], [-6.0] * 9])
def test_no_or_hopeless_probabilities_are_nonsense(logprobs):
    with pytest.raises(ModelRefused, match=r"perplexity of (over a million|403)"):
        sanity.check(Speaker(logprobs, ["Hello"]), plan_for("."))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            ModelError("the model computed numbers that are not finite", ""),
            ModelRefused,
            "nonsense: .*finite",
        ),
        (
            AssertionError("N must be divisible by 32"),
            ModelLoadFailed,
            "its first words: AssertionError: N must",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), DoesNotFit, "memory ran out while smol"),
        (MemoryError(), DoesNotFit, "memory ran out while smol"),
    ],
)
def test_an_engine_s_own_error_is_part_of_the_reason(error, kind, words):
    class Broken(Speaker):
        def token_logprobs(self, text):
            raise error

    with pytest.raises(kind, match=words):
        sanity.check(Broken([], []), plan_for("."))


@pytest.mark.parametrize(
    ("changes", "cause", "fix"),
    [
        ({"stored": "awq", "quantization": "awq"}, "stored as awq, and transformers seems", "--engine"),
        ({"dtype": "float16"}, "too large for float16", "--dtype bfloat16"),
        ({"quantization": "bnb-4bit", "dtype": "float16"}, "Reducing it to bnb-4bit", "--quantization none"),
        ({"stored": "gguf", "requantize": "Q4_0"}, "Reducing it to Q4_0", "more bits"),
        ({}, "files are probably damaged", "Download the model again"),
    ],
)
def test_the_likeliest_cause_is_named_with_its_fix(changes, cause, fix):
    with pytest.raises(ModelRefused, match=cause) as caught:
        sanity.check(Speaker([-11.0] * 9, []), plan_for(".", **changes))
    assert fix in caught.value.fix


def without_scales(folder: Path, target: Path) -> Path:
    """The same model with every row of its linear layers as if a scale had been dropped."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    for file in target.glob("*.safetensors"):
        tensors = load_file(file)
        lost = {
            name: scales_lost(weight.float(), None).half() if "proj" in name else weight
            for name, weight in tensors.items()
        }
        file.chmod(0o644)
        save_file(lost, file, {"format": "pt"})
    return target


def test_the_worker_refuses_garbage_before_it_answers(smollm2_folder, tmp_path):  # noqa: F811
    folder = without_scales(smollm2_folder, tmp_path / "lost")
    with start(plan_for(folder)) as model, pytest.raises(ModelRefused, match="answers nonsense"):
        model.wait_ready()


def test_the_gate_can_be_left_out_for_models_that_only_take_memory(smollm2_folder, tmp_path):  # noqa: F811
    folder = without_scales(smollm2_folder, tmp_path / "lost")
    with start(plan_for(folder, sanity=False)) as model:
        assert model.wait_ready().parameters == 134_515_008
