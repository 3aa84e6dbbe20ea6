"""The quantization table: what is measured of each way, what becomes of those that fail, how it is shown."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rag.errors import EvaluationError, ModelDied, ModelError, ModelLoadFailed, PromptTooLong, UsageError
from rag.evaluation import benchmark_table, timing
from rag.evaluation.benchmark_record import record
from rag.evaluation.perplexity import fixed_text, perplexity
from rag.evaluation.quantizations import Comparison, Row, compare, with_ratios
from rag.evaluation.ways import Options, ways
from rag.loader.base import Sampling, Usage
from rag.loader.process.attempt import Loaded
from rag.loader.process.watch import Sample
from rag.loader.records import Candidate, Plan
from rag.types import Message, ModelInfo
from tests.machines import laptop

ROOT = Path(__file__).resolve().parent.parent


class Paced:
    """A model of a known pace: seconds for each token read and written; every word is a token."""

    def __init__(self, plan: Plan, read_s: float = 2e-5, write_s: float = 1e-3, loss: float = 2.0) -> None:
        self.info = ModelInfo(plan.name, plan.engine, plan.quantization, 1000, notes=("runs on a fake",))
        self.loaded: Loaded | None = Loaded(plan, 1.5, 0, 0)
        self.prompts: list[str] = []
        self.closed = False
        self._pace = read_s, write_s
        self._loss = loss
        self._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> ModelInfo:
        return self.info

    def peak(self) -> Sample:
        return Sample(private=123_000_000)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(3 + len(message.content.replace(".", " .").split()) for message in messages)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: object = None
    ) -> Generator[str, None, Usage]:
        self.prompts.append(messages[-1].content)
        prompt = self.count_tokens(messages)
        time.sleep(prompt * self._pace[0])
        for _ in range(sampling.max_tokens):
            time.sleep(self._pace[1])
            yield "word "
        return Usage(prompt, sampling.max_tokens, "length")

    def token_logprobs(self, text: str) -> list[float]:
        return [-self._loss] * 7

    def close(self) -> None:
        self.closed = True
        self._process.communicate(b"\n")


def candidate(quantization: str = "none", dtype: str | None = "float32", device: str = "cpu") -> Candidate:
    plan = Plan("m", "m", "transformers", quantization, dtype, 2048, 1, device)
    return Candidate(plan, "fits", "it does")


@pytest.fixture
def paced() -> Generator[Paced]:
    model = Paced(candidate().plan)
    yield model
    model.close()


# --- one loaded model -----------------------------------------------------------------------------


def test_a_prompt_has_exactly_as_many_tokens_as_asked_and_none_is_like_another(paced: Paced) -> None:
    prompts = timing.Prompts(paced)
    made = [prompts.exact(tokens) for tokens in (30, 31, 200, 200)]
    assert [tokens for _, tokens in made] == [30, 31, 200, 200]
    assert [paced.count_tokens(messages) for messages, _ in made] == [30, 31, 200, 200]
    first_words = [messages[0].content.split()[0] for messages, _ in made]
    assert len(set(first_words)) == len(made)


def test_a_template_longer_than_the_prompt_is_told_as_it_is(paced: Paced) -> None:
    messages, tokens = timing.Prompts(paced).exact(2)
    assert tokens == paced.count_tokens(messages) > 2


def test_speeds_are_those_of_the_model(paced: Paced) -> None:
    """Sleeping takes longer than asked for, never shorter, so the paces are upper bounds."""
    speeds = timing.measure(paced, 200, 20)
    assert (speeds.prompt_tokens, speeds.answer_tokens) == (200, 20)
    assert speeds.prefill_tokens_per_s and 0 < speeds.prefill_tokens_per_s <= 200 / (200 * 2e-5 + 1e-3)
    assert speeds.tokens_per_s and speeds.first_token_s
    assert speeds.first_token_s >= 1e-3
    assert paced.prompts.count(timing.QUESTION) == 1
    assert len(set(paced.prompts)) == len(paced.prompts)


def test_an_answer_that_ends_at_once_has_no_speed(paced: Paced, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paced.stream
    monkeypatch.setattr(
        paced, "stream", lambda messages, sampling, cancel: whole(messages, replace(sampling, max_tokens=1))
    )
    assert timing.measure(paced, 50, 20).tokens_per_s is None


def test_a_request_that_never_ends_is_given_up(paced: Paced, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(messages: object, sampling: object, cancel: object) -> Generator[str, None, Usage]:
        while not cancel.is_set():  # type: ignore[attr-defined]
            time.sleep(0.01)
        return Usage(0, 0, "cancelled")
        yield

    monkeypatch.setattr(paced, "stream", endless)
    monkeypatch.setattr(timing, "LIMIT_S", 0.05)
    with pytest.raises(EvaluationError, match="took more than"):
        timing.answer_in(paced, [Message("user", "Hello")], 5)


def test_perplexity_is_the_exponentiated_mean_loss(paced: Paced) -> None:
    found = perplexity(paced, "any")
    assert found.value == pytest.approx(math.e**2)
    assert found.tokens == 7


def test_a_model_without_probabilities_has_no_perplexity(
    paced: Paced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "token_logprobs", lambda text: [])
    with pytest.raises(ModelError, match="no probabilities"):
        perplexity(paced, "any")


def test_the_fixed_text_is_darwins() -> None:
    text = fixed_text()
    assert text.startswith("When on board H.M.S. 'Beagle,'")
    assert 600 < len(text.split()) < 1000


# --- all of them ----------------------------------------------------------------------------------


@pytest.fixture
def four_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the planner: three ways that fit, and one that does not."""
    found = [candidate(), candidate("bnb-4bit"), candidate("none", "bfloat16")]
    closed = replace(candidate("awq", "float16", "cuda"), verdict="unavailable", reason="no GPU")
    from rag.evaluation import ways as module
    from rag.loader.survey import Survey

    monkeypatch.setattr(module, "survey", lambda *_: Survey((), laptop(), (*found, closed)))


def test_a_way_that_fails_is_a_row_and_the_rest_go_on(four_ways: None) -> None:
    opened: list[Paced] = []

    def open_way(way: Candidate, tell: object) -> Paced:
        model = Paced(way.plan, loss=2.1 if way.plan.dtype == "bfloat16" else 2.0)
        opened.append(model)
        if way.plan.quantization == "bnb-4bit":
            model.wait_ready = _raise(ModelLoadFailed("bitsandbytes broke", "Mend it."))  # type: ignore[method-assign]
        return model

    options = Options(("m",), prompt_tokens=40, answer_tokens=10)
    found = compare(options, machine=laptop(), open_way=open_way, text="any")
    assert [row.status for row in found.rows] == ["measured", "failed", "measured", "not run"]
    widest, broken, narrow, closed = found.rows
    assert broken.reason == "bitsandbytes broke"
    assert closed.reason == "unavailable: no GPU"
    assert (widest.load_s, widest.peak_bytes, widest.answer) == (1.5, 123_000_000, ("word " * 24).strip())
    assert widest.notes == ("runs on a fake",)
    assert widest.perplexity_ratio == 1.0
    assert narrow.perplexity_ratio == pytest.approx(math.exp(0.1))
    assert all(model.closed for model in opened)
    assert not any(row.kept_back for row in found.rows)
    text = benchmark_table.terminal(found)
    assert "m, transformers bnb-4bit fp32: bitsandbytes broke" in text
    assert "m, transformers awq fp16 on cuda: unavailable: no GPU" in text
    json.dumps(record(found))


def test_a_worker_that_dies_while_it_is_measured_is_a_row(four_ways: None) -> None:
    def open_way(way: Candidate, tell: object) -> Paced:
        model = Paced(way.plan)
        model.count_tokens = _raise(ModelDied("it was killed", ""))  # type: ignore[method-assign]
        return model

    found = compare(Options(("m",)), machine=laptop(), open_way=open_way, text="any")
    assert [row.reason for row in found.rows[:3]] == ["it was killed"] * 3


def test_speeds_stand_where_the_text_is_too_long(four_ways: None) -> None:
    def open_way(way: Candidate, tell: object) -> Paced:
        model = Paced(way.plan)
        model.token_logprobs = _raise(PromptTooLong("the prompt is too long", ""))  # type: ignore[method-assign]
        return model

    options = Options(("m",), prompt_tokens=40, answer_tokens=10)
    row = compare(options, machine=laptop(), open_way=open_way, text="any").rows[0]
    assert row.speeds.prefill_tokens_per_s and row.perplexity is None
    assert row.notes[-1] == "not examined to the end: the prompt is too long"


def _raise(error: Exception):  # type: ignore[no-untyped-def]
    def raising(*_: object) -> None:
        raise error

    return raising


def test_perplexities_of_different_models_are_not_compared() -> None:
    row = Row("m", "w", "measured", quantization="none", dtype="float32", parameters=1000)
    from rag.evaluation.perplexity import Perplexity

    small = replace(row, perplexity=Perplexity(10.0, 7))
    same = replace(small, quantization="awq", parameters=1005, perplexity=Perplexity(11.0, 7))
    large = replace(small, quantization="awq", parameters=2000)
    other = replace(small, quantization="awq", perplexity=Perplexity(11.0, 8))
    ratios = [row.perplexity_ratio for row in with_ratios([same, small, large, other])]
    assert ratios == [1.1, 1.0, None, None]


def test_a_context_too_small_for_the_prompt_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="has no room"):
        compare(Options(prompt_tokens=2000, context_tokens=2048))


def test_what_is_asked_of_a_model_in_vain_is_told(tmp_path: Path) -> None:
    found = ways(Options(("bundled",), quantizations=("awq", "Q4_1")), laptop(), tmp_path)
    assert found[0].asked == "awq" and found[0].error
    assert [
        way.candidate.plan.engine for way in found if way.candidate and way.candidate.verdict == "fits"
    ] == ["llamacpp"]
    [other] = ways(Options(("bundled",), engines=("remote",)), laptop(), tmp_path)
    assert "remote cannot run" in str(other.error)
    with pytest.raises(UsageError, match="no quantization called"):
        ways(Options(("bundled",), quantizations=("nonsense",)), laptop(), tmp_path)


# --- shown ----------------------------------------------------------------------------------------


@pytest.fixture
def comparison() -> Comparison:
    speeds = timing.Speeds(512, 433.21, 64, 71.5, 0.123)
    row = Row("m", "w", "measured", "", "vllm", "awq", "float16", "cuda", 1000, 30.0, 10_000, 10_100_000_000)
    return Comparison(laptop(), Options(), (replace(row, speeds=speeds),), "2026-03-01", "3.11.7")


def test_the_table_shows_every_figure(comparison: Comparison) -> None:
    text = benchmark_table.markdown(comparison, "benchmark.png")
    assert "| vllm awq fp16 on cuda | 30.0 | 0.00 | 10.10 | 433 | 71.5 | 0.12 | - | - |" in text
    assert "![Speed and memory of each way](benchmark.png)" in text
    assert "Date: 2026-03-01" in text


def test_the_plot_is_a_picture(comparison: Comparison, tmp_path: Path) -> None:
    from PIL import Image

    from rag.evaluation.plot import draw

    draw(comparison, tmp_path / "benchmark.png")
    with Image.open(tmp_path / "benchmark.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("L").getcolors(256) or ()) > 10  # bars and letters, not one colour


def test_the_bundled_model_for_real() -> None:
    options = Options(prompt_tokens=64, answer_tokens=12, context_tokens=512)
    text = fixed_text()[:900]
    [row] = [row for row in compare(options, text=text).rows if row.status != "not run"]
    assert (row.status, row.engine, row.quantization, row.kept_back) == ("measured", "llamacpp", "Q4_1", "")
    assert (row.speeds.prompt_tokens, row.speeds.answer_tokens) == (64, 12)
    assert row.speeds.prefill_tokens_per_s and row.speeds.tokens_per_s and row.load_s
    assert row.perplexity and row.perplexity.tokens > 150
    assert 5 < row.perplexity.value < 40
    assert row.predicted_peak_bytes and row.peak_bytes
    assert 0.5 < row.peak_bytes / row.predicted_peak_bytes < 2


def test_one_object_and_three_files_though_nothing_can_be_run(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "bundled", "--engines", "vllm"]
    flags = ["--output", str(tmp_path / "out"), "--json"]
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {row["status"] for row in found["rows"]} == {"not run"}
    assert all(row["reason"] for row in found["rows"])
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text("utf-8")) == found
    names = {"benchmark.json", "benchmark.md", "benchmark.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_help_names_the_other_measurements() -> None:
    script = ROOT / "scripts" / "benchmark.py"
    for words, expected in (
        ([], "engines"),
        (["ingest"], "FOLDER"),
        (["engines"], "ENGINE"),
        (["memory"], "memory"),
    ):
        done = subprocess.run(
            [sys.executable, str(script), *words, "--help"], capture_output=True, text=True, check=True
        )
        assert expected in done.stdout
