"""The bundled reader: which words answer, whether any do, and what is quoted of them."""

from dataclasses import replace

import numpy as np
import pytest

from rag.errors import BundledModelMissing
from rag.evidence import LONGEST, EvidenceFinder, answered
from rag.quoting import quotes
from rag.reading import BundledReader
from rag.types import Citation, Reading, Span, Token
from tests.fakes import hit

FERRY = (
    "The old ferry crosses the sound twice a day. It was built at Elmhaven in 1931 by the Thorsen yard. "
    "Since the bridge was opened, few people take it, and in winter it lies in the harbour."
)
FEES = "The yearly fee is 350 euros. Members under 18 pay half of it, and pensioners pay nothing in March."


@pytest.fixture(scope="module")
def reader():
    return BundledReader()


def read(reader, question, *texts):
    hits = [hit(text) for text in texts]
    readings = reader.read(question, [one.chunk for one in hits])
    return [replace(one, reading=reading) for one, reading in zip(hits, readings)]


@pytest.mark.parametrize(
    ("question", "exact"),
    [
        ("When was the ferry built?", "1931"),
        ("Where was the ferry built?", "Elmhaven"),
        ("How much is the yearly fee?", "350 euros"),
    ],
)
def test_the_words_that_answer_are_found_and_marked_in_their_sentence(reader, question, exact):
    hits = read(reader, question, FEES, FERRY)
    evidence = EvidenceFinder(reader).find(question, hits)
    pieces = list(quotes(evidence, hits))
    citation = next(piece for piece in pieces if isinstance(piece, Citation))
    assert citation.exact == exact and exact in citation.quote
    assert citation.hit.chunk.text[citation.start : citation.end] == citation.quote
    assert [piece.text for piece in pieces if isinstance(piece, Token) and piece.exact] == [exact]
    assert evidence.confidence > 0.5


def test_what_is_not_said_is_doubted(reader):
    asked = ["When was the ferry built?", "Who was the ferry's first captain?", "How do bees make honey?"]
    near, nearer, foreign = (
        EvidenceFinder(reader).find(question, read(reader, question, FEES, FERRY)) for question in asked
    )
    assert near.confidence > 2 * nearer.confidence
    assert foreign.confidence < 0.1


def test_no_answer_is_found_in_a_heading(reader):
    one = hit(FERRY)
    chunk = replace(one.chunk, title="Ferries of 1887", heading=("Built in 1887",))
    (reading,) = reader.read("When was the ferry built?", [chunk])
    best = reading.spans[0]
    assert chunk.text[best.start : best.end] == "1931"


def test_each_passage_is_read_as_if_alone(reader):
    question, texts = "When was the ferry built?", [FEES, FERRY, FERRY * 4, FEES[:40], FERRY[:90]]
    together = read(reader, question, *texts)
    for text, one in zip(texts, together):
        (alone,) = read(reader, question, text)
        assert one.reading.relevance == pytest.approx(alone.reading.relevance, abs=0.35)
        assert one.reading.spans[0].margin == pytest.approx(alone.reading.spans[0].margin, abs=1.0)
    assert reader.score(question, [FERRY, FEES]).argmax() == 0


def test_a_passage_longer_than_the_window_is_read_up_to_there(reader):
    (one,) = read(reader, "When was the ferry built?", FERRY + " Nothing more is known." * 200)
    best = one.reading.spans[0]
    assert one.chunk.text[best.start : best.end] == "1931"
    assert read(reader, "When?", "")[0].reading.spans == ()


def test_a_sentence_without_end_is_quoted_around_the_words_that_answer():
    words = [f"cell{n}" for n in range(400)]
    text = " ".join(words)
    start = text.index("cell200")
    one = replace(hit(text), reading=Reading(3.0, 3.0, (Span(start, start + 7, 5.0),)))
    (sentence,) = EvidenceFinder(None).find("Which cell?", [one]).sentences
    quoted = sentence.text.split()
    assert len(quoted) <= LONGEST and "cell200" in quoted
    assert text[sentence.start : sentence.end] == sentence.text
    assert quoted == words[words.index(quoted[0]) : words.index(quoted[-1]) + 1]


def test_confidence_rises_with_the_best_passage():
    weak, strong = Reading(-4.0, -5.0), Reading(2.0, 3.0)
    assert answered([weak]) < answered([weak, strong]) == answered([strong, weak])
    assert 0 < answered([weak]) < 0.5 < answered([strong]) < 1


def test_a_damaged_reader_is_not_used(monkeypatch, tmp_path):
    from rag import bundled

    wrong = replace(bundled.READER, sha256="0" * 64)
    monkeypatch.setattr(bundled, "READER", wrong)
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path))
    with pytest.raises(BundledModelMissing, match="reader"):
        BundledReader().score("When?", ["Now."])


def test_scores_are_finite_for_odd_texts(reader):
    assert np.isfinite(reader.score("?", ["", "\x00", "日本語" * 300, "a" * 5000])).all()
