"""The same documents and questions with a model in each engine: the same quotes, checks and refusals."""

import re
from contextlib import closing, contextmanager

import pytest

from rag.citations import NOT_IN_DOCUMENTS, UNSUPPORTED_MARK
from rag.engine import Engine
from rag.evidence import EvidenceFinder
from rag.loader.load import open_model
from rag.reading import BundledReader
from rag.retrieval import Retriever
from rag.settings import AnswerSettings, RetrievalSettings, load_settings
from rag.types import Done
from tests.fakes import HashingEmbedder
from tests.models import smollm2_folder  # noqa: F401  (a fixture)
from tests.openai_server import OpenAIServer
from tests.test_retrieval import build

TEXTS = [
    "The ferry to the island takes 25 minutes. Adults pay 8 euros, and children pay 3 euros.",
    "The library opens at nine. It closes at eight in the evening.",
    "Jonas Brandt repaired the organ of the church in 1987. It has twelve stops.",
]
QUESTION, QUOTE = (
    "Who repaired the organ of the church?",
    "Jonas Brandt repaired the organ of the church in 1987.",
)


@pytest.fixture(params=["llamacpp", "transformers", "remote"])  # and vLLM, where it runs already
def model(request, smollm2_folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    with _named(request.param, smollm2_folder) as name:
        flags = {"model.model": name, "model.context": 1024}
        with closing(open_model(load_settings(flags).model)) as opened:
            yield opened


@contextmanager
def _named(engine, folder):
    if engine == "remote":
        with OpenAIServer() as server:
            yield server.url
    else:
        yield "bundled" if engine == "llamacpp" else str(folder)


def test_a_model_in_any_engine_is_quoted_for_checked_and_refused(model, tmp_path):
    check_answers(model, tmp_path)


def check_answers(model, folder):
    """A quote leads where the model is small, its sentences are marked, and what is foreign is refused."""
    embedder, reader = HashingEmbedder(), BundledReader()
    with build(folder, embedder, TEXTS).open() as generation:
        retriever = Retriever(generation, embedder, reader, RetrievalSettings(rerank_ms=0))

        def ask(question, lead):
            settings = AnswerSettings(lead=lead, context_tokens=400, answer_tokens=24)
            engine = Engine(retriever, EvidenceFinder(reader), model, settings)
            return next(e.answer for e in engine.ask(question) if isinstance(e, Done))

        quoted, said = ask(QUESTION, "evidence"), ask(QUESTION, "model")
        foreign = ask("What is the melting point of tungsten?", "evidence")
    assert quoted.text.startswith(f'"{QUOTE}" [') and not quoted.unsupported
    assert quoted.citations[0].quote == QUOTE and quoted.citations[0].exact == "Jonas Brandt"
    assert all(citation.verified for citation in quoted.citations)
    marks = re.findall(rf"\[\d+\]|{re.escape(UNSUPPORTED_MARK)}", said.text)
    assert said.timings.answer_tokens and len(marks) == len(said.citations) + len(said.unsupported) >= 1
    assert foreign.text == NOT_IN_DOCUMENTS
