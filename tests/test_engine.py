"""The stream of an answer, with quick models over a real store."""

import threading

import numpy as np
import pytest

from rag.citations import NOT_IN_DOCUMENTS, UNSUPPORTED_MARK
from rag.engine import Engine
from rag.evidence import EvidenceFinder
from rag.filters import Filters
from rag.loader.base import Usage
from rag.reranking import Reranker
from rag.retrieval import Retriever
from rag.settings import AnswerSettings, RetrievalSettings
from rag.types import Done, ModelInfo, Reading, Sources, Span, Token
from tests.fakes import EchoModel, HashingEmbedder, OverlapReranker
from tests.test_retrieval import build

QUESTION = "How long do cats sleep?"


@pytest.fixture
def make_engine(tmp_path):
    embedder = HashingEmbedder()
    with build(tmp_path, embedder).open() as generation:
        retriever = Retriever(generation, embedder, OverlapReranker(), RetrievalSettings(top_k=2))

        def make(model, reads=1.0, **settings):
            finder = EvidenceFinder(OverlapReranker())
            return Engine(retriever, finder, model, AnswerSettings(**settings), lambda model: reads)

        yield make


def drain(engine, question=QUESTION, cancel=None, filters=None):
    events = list(engine.ask(question, cancel, filters))
    assert isinstance(events[0], Sources) and isinstance(events[-1], Done)
    assert all(isinstance(event, Token) for event in events[1:-1])
    answer = events[-1].answer
    assert "".join(event.text for event in events[1:-1]) == answer.text
    return answer


def test_without_a_model_the_evidence_is_quoted_with_its_place(make_engine):
    answer = drain(make_engine(None))
    assert answer.text.startswith('"Cats sleep sixteen hours a day." [1]')
    citation = answer.citations[0]
    assert citation.hit.chunk.path == "0.txt" and citation.verified
    assert citation.hit.chunk.text[citation.start : citation.end] == citation.quote
    assert answer.model is None and not answer.abstained


def test_a_small_models_own_claims_do_not_get_through(make_engine):
    model = EchoModel(parameters=135_000_000)
    answer = drain(make_engine(model))
    assert answer.text.startswith('"Cats sleep sixteen hours a day." [1]')
    assert "cheese" not in answer.text
    assert answer.timings.prompt_tokens > 0 and answer.timings.answer_tokens > 0


def test_a_large_model_that_reads_badly_only_supports(make_engine):
    answer = drain(make_engine(EchoModel(parameters=7_000_000_000), reads=0.5))
    assert answer.text.startswith('"Cats sleep sixteen hours a day." [1]') and "cheese" not in answer.text
    answer = drain(make_engine(EchoModel(parameters=7_000_000_000), reads=0.5, lead="model"))
    assert "cheese" in answer.text


class UnsureModel(EchoModel):
    """Finds no answer in any passage."""

    def stream(self, messages, sampling, cancel=None):
        yield from ("Not in your", " documents.")
        return Usage(1, 1, "stop")


def test_a_large_model_may_find_no_answer_either(make_engine):
    answer = drain(make_engine(UnsureModel(7_000_000_000)))
    assert answer.abstained and answer.text == NOT_IN_DOCUMENTS and answer.unsupported == ()


def test_a_large_model_speaks_first_and_is_checked(make_engine):
    answer = drain(make_engine(EchoModel(parameters=7_000_000_000)))
    assert answer.text.startswith("Cats sleep sixteen hours a day. [1]")
    assert f"green cheese. {UNSUPPORTED_MARK}" in answer.text
    assert "[9]" not in answer.text
    assert [citation.number for citation in answer.citations] == [1]


class ThinkingModel(EchoModel):
    """Thinks before it says what EchoModel says, or thinks without end."""

    def __init__(self, thought, context_tokens=8192):
        super().__init__(7_000_000_000)
        self.info = ModelInfo("Qwen3-8B", "fake", "none", 7_000_000_000, context_tokens)
        self.thought = thought
        self.allowed = []

    def stream(self, messages, sampling, cancel=None):
        self.allowed.append(sampling.max_tokens)
        yield self.thought
        if "</think>" in self.thought:
            return (yield from super().stream(messages, sampling, cancel))
        return Usage(1, 1, "length")


def test_thoughts_are_neither_shown_nor_counted_as_answer(make_engine):
    model = ThinkingModel("<think>Dogs? No, cats.</think>\n")
    answer = drain(make_engine(model, answer_tokens=100))
    assert answer.text.startswith("Cats sleep sixteen hours a day. [1]") and "Dogs?" not in answer.text
    assert model.allowed == [2148]
    assert answer.context.budget_tokens == 1024


def test_a_model_that_only_thinks_leaves_the_quotes(make_engine):
    answer = drain(make_engine(ThinkingModel("<think>Dogs? No, cats. But then")))
    assert answer.text.startswith('"Cats sleep sixteen hours a day." [1]')


def test_thoughts_take_no_room_that_the_passages_need(make_engine):
    model = ThinkingModel("<think></think>", context_tokens=1300)
    answer = drain(make_engine(model, answer_tokens=100))
    assert model.allowed == [276] and answer.context.budget_tokens == 1024


def test_what_the_documents_do_not_say_is_not_answered(make_engine):
    model = EchoModel()
    answer = drain(make_engine(model), "Who painted the chapel?")
    assert answer.abstained and answer.text == NOT_IN_DOCUMENTS
    assert answer.citations == () and len(answer.hits) == 2
    assert model.prompts == []  # nothing to ask it


def test_cancelling_keeps_what_was_said(make_engine):
    cancel = threading.Event()
    engine = make_engine(EchoModel(parameters=7_000_000_000))
    said = ""
    for event in engine.ask(QUESTION, cancel):
        if isinstance(event, Token):
            said += event.text
            cancel.set()
    assert said and "cheese" not in said
    assert event.answer.text == said


def test_the_prompt_budget_holds(make_engine):
    model = EchoModel(parameters=7_000_000_000)
    engine = make_engine(model, context_tokens=256)
    drain(engine)
    assert model.count_tokens(model.prompts[0]) <= 256


def test_what_was_left_out_and_what_the_model_read_come_with_the_answer(make_engine):
    model = EchoModel(parameters=7_000_000_000)
    answer = drain(make_engine(model, context_tokens=256))
    context = answer.context
    assert context.tokens == model.count_tokens(model.prompts[0]) <= context.budget_tokens == 256
    assert context.used + context.dropped == answer.hits
    assert [each.reason for each in answer.dropped] == ["ranked 3, 2 are shown", "ranked 4, 2 are shown"]
    assert drain(make_engine(None)).context is None


def test_only_documents_that_pass_the_filters_are_quoted(make_engine):
    answer = drain(make_engine(None), filters=Filters(within=("2.txt", "1.txt")))
    assert {hit.chunk.path for hit in answer.hits} == {"1.txt", "2.txt"} and answer.abstained
    assert drain(make_engine(None), filters=Filters(within=("0.txt",))).citations[0].hit.chunk.path == "0.txt"


class Contrary(Reranker):
    """Finds the word "sixteen" in every passage that has it, and is sure."""

    name = "fake/contrary"

    def read(self, question, chunks, least=0):
        return [self._reading(chunk.text.find("sixteen")) for chunk in chunks]

    def score(self, question, texts):
        return np.zeros(len(texts), np.float32)

    def _reading(self, at):
        return Reading(4.0, 4.0, (Span(at, at + 7, 9.0),)) if at >= 0 else Reading(-9.0, -9.0)


@pytest.mark.parametrize(
    ("reply", "disputed"), [("They sleep twelve hours.", True), ("Sixteen hours.", False)]
)
def test_a_reader_that_found_another_answer_says_so(tmp_path, reply, disputed):
    class Sure(EchoModel):
        def stream(self, messages, sampling, cancel=None):
            yield reply
            return Usage(10, 4, "stop")

    embedder = HashingEmbedder()
    with build(tmp_path, embedder).open() as generation:
        retriever = Retriever(generation, embedder, Contrary(), RetrievalSettings(top_k=2))
        model = Sure(parameters=7_000_000_000)
        answer = drain(Engine(retriever, EvidenceFinder(Contrary()), model, AnswerSettings(lead="model")))
    assert answer.text.startswith(reply)
    assert answer.disputed == disputed == ('"Cats sleep sixteen hours a day." [1]' in answer.text)
    assert [citation.exact for citation in answer.citations][-1] == "sixteen"
