"""A model's sentences beside what they rest on."""

from rag.citations import footnoted
from rag.evaluation.spoken import said_and_cited, table
from rag.types import Answer, Citation, Timings, Unsupported
from tests.fakes import hit

HITS = [hit("Cats sleep sixteen hours a day."), hit("Dogs bark at night.")]


def answer(*said):
    text, citations, unsupported = "", [], []
    for piece in footnoted(said, HITS):
        if isinstance(piece, Citation):
            citations.append(piece)
        elif isinstance(piece, Unsupported):
            unsupported.append(piece)
        else:
            text += piece
    said_of = (tuple(citations), tuple(HITS), False, None, Timings())
    return Answer("?", text, *said_of, unsupported=tuple(unsupported))


def test_each_verified_sentence_comes_with_its_quote():
    found = list(
        said_and_cited(answer("Dogs bark at night. Cows fly to Rome. Cats sleep sixteen hours a day."))
    )
    assert [(sentence, citation.number) for sentence, citation in found] == [
        ("Dogs bark at night.", 2),
        ("Cats sleep sixteen hours a day.", 1),
    ]


def test_the_table_shows_sentence_and_quote():
    shown = {"question": "Who barks?", "sentence": "Dogs bark.", "quote": "Dogs bark at night.", "place": "a"}
    text = table({"dataset": "d", "asked": 1, "verified": 1, "marked": 2, "sentences": [shown]})
    assert text.splitlines()[2:4] == ["1. Dogs bark.", '   "Dogs bark at night."']
