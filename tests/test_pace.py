"""Rereading within a time limit: as many passages as fit, by a pace that is measured once."""

import time

import pytest

from rag.measured import keep, recall
from rag.pace import Paced
from rag.reranking import FEWEST, BundledReranker, load_reranker
from rag.settings import RetrievalSettings
from tests.fakes import OverlapReranker, hit

QUESTION = "How long do cats sleep?"
CHUNKS = [hit(f"Cats sleep sixteen hours, says book {n}. " + "They also hunt. " * 20).chunk for n in range(8)]


@pytest.fixture
def paced(tmp_path):
    def make(seconds, per_character):
        reranker = Paced(OverlapReranker(), seconds, {"FOOTNOTE_CACHE": str(tmp_path)})
        reranker.per_character = per_character
        return reranker

    return make


@pytest.mark.parametrize("fit", [4, 6, 8])
def test_as_many_passages_are_read_as_the_time_allows(paced, fit):
    pair = len(QUESTION + CHUNKS[0].searchable)
    assert len({len(chunk.searchable) for chunk in CHUNKS}) == 1
    assert len(paced((fit + 0.5) * pair * 1e-3, 1e-3).read(QUESTION, CHUNKS)) == fit


def test_a_slow_machine_still_reads_a_few(paced):
    readings = paced(0.001, 1.0).read(QUESTION, CHUNKS)
    assert readings == OverlapReranker().read(QUESTION, CHUNKS)[:FEWEST]


def test_fewer_passages_than_there_is_time_for_are_all_read(paced):
    assert len(paced(100.0, 1e-9).read(QUESTION, CHUNKS[:2])) == 2


def test_the_pace_is_measured_once_a_machine(tmp_path):
    environ = {"FOOTNOTE_CACHE": str(tmp_path)}
    measured = Paced(BundledReranker(), 1.0, environ).per_character
    assert 1e-6 < measured < 1e-2
    again = Paced(OverlapReranker(), 1.0, environ)
    again.name = BundledReranker.name
    assert again.per_character == measured


def test_a_figure_from_a_busy_moment_is_corrected_by_reading(paced):
    reranker = paced(0.05, 1e-3)
    assert len(reranker.read(QUESTION, CHUNKS)) == FEWEST
    for _ in range(20):
        reranker.read(QUESTION, CHUNKS)
    assert reranker.per_character < 1e-5
    assert len(reranker.read(QUESTION, CHUNKS)) == len(CHUNKS)
    another = paced(0.05, 1e-3)
    del another.per_character  # what is kept on this machine
    assert another.per_character < 1e-4


def test_loading_the_model_is_not_timed(paced):
    class Lazy(OverlapReranker):
        loaded = False

        def score(self, question, texts):
            if not self.loaded:
                time.sleep(0.5)
            self.loaded = True
            return super().score(question, texts)

    reranker = paced(0.05, 1e-6)
    reranker._reranker = Lazy()
    reranker.read(QUESTION, CHUNKS)
    assert reranker.per_character < 1e-5


def test_no_limit_means_the_reranker_itself():
    assert isinstance(load_reranker(RetrievalSettings(rerank="bundled", rerank_ms=0)), BundledReranker)
    assert isinstance(load_reranker(RetrievalSettings(rerank="bundled")), Paced)


def test_a_measurement_is_found_again_under_its_own_key_only(tmp_path, monkeypatch):
    environ = {"FOOTNOTE_CACHE": str(tmp_path)}
    keep("reading", {"cpu": "a"}, 0.5, False, environ)
    assert recall("reading", {"cpu": "a"}, environ) == 0.5
    assert recall("reading", {"cpu": "b"}, environ) is None
    later = time.time() + 31 * 86400
    monkeypatch.setattr("rag.measured.time.time", lambda: later)
    assert recall("reading", {"cpu": "a"}, environ) is None
