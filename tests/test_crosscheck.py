"""Facts of claims, asked of the real reader: sentences that a model said of what stands in the sources."""

import pytest

from rag.citations import checked
from rag.claims import check
from rag.crosscheck import facts, objection
from rag.reading import BundledReader
from rag.reranking import BundledReranker
from rag.types import Citation, Unsupported
from tests.fakes import OverlapReranker, hit

RADIO = (
    "In July 1968, the network launched a programme for its FM stations, which was led by Allen Shaw, a "
    "former manager in Chicago who was approached by radio president Harold L. Neal to develop a format."
)
FLINTSTONES = (
    "To catch up, ABC followed up The Flintstones with another animated series from Hanna-Barbera, The "
    "Jetsons, which debuted on September 23, 1962 as the first television series to be broadcast in color on "
    "the network."
)
LOGO = (
    "A sequence of 1977 featured a bubble on a black background, and the circle had glossy gold letters and "
    "was the first to have a three-dimensional appearance."
)
RULES = (
    "In 1970, the senate voted to pass the Syndication Rules, which keep networks from owning programmes. "
    "In 1972, the new rules resulted in the decision to split the company into two."
)


@pytest.fixture(scope="module")
def reader():
    return BundledReader()


@pytest.mark.parametrize(
    ("claim", "source", "other"),
    [
        ("The radio president in 1968 was Allen Shaw.", RADIO, "Harold L. Neal"),
        ("The first series to be broadcast in color on ABC was The Flintstones.", FLINTSTONES, "Jetsons"),
        ("The background of the sequence of 1977 was gold.", LOGO, "black"),
        ("The senate voted to pass the Syndication Rules in 1972.", RULES, "1970"),
    ],
)
def test_another_answer_in_the_source_is_an_objection(reader, claim, source, other):
    assert check(claim, source).share == 1.0  # all of its words are there
    assert other in objection(claim, hit(source).chunk, reader)


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("The radio president in 1968 was Harold L. Neal.", RADIO),
        ("Allen Shaw led the programme for FM stations.", RADIO),
        ("The Jetsons was the first series to be broadcast in color.", FLINTSTONES),
        ("The Jetsons debuted on September 23, 1962.", FLINTSTONES),
        ("The letters of the circle were gold.", LOGO),
        ("The senate voted to pass the Syndication Rules in 1970.", RULES),
        ("The new rules split the company into two in 1972.", RULES),
    ],
)
def test_to_what_is_true_there_is_none(reader, claim, source):
    assert objection(claim, hit(source).chunk, reader) == ""


def test_where_one_place_says_otherwise_another_may_say_so(reader):
    claim = "The radio president in 1968 was Allen Shaw."
    found = checked(claim, [hit(RADIO)], reader=reader)
    assert isinstance(found, Unsupported) and "Harold L. Neal" in found.problem
    second = hit("The radio president in 1968 was said to be Allen Shaw.")
    assert checked(claim, [hit(RADIO), second], reader=reader).number == 2


def test_two_sentences_together_must_be_confirmed(reader):
    source = hit(
        "Newcastle has three cathedrals, two of which are in its centre. "
        "All three cathedrals began their lives as parish churches."
    )
    joined = "The three cathedrals in Newcastle began as parish churches."
    assert isinstance(checked(joined, [source], reader=reader), Citation)
    for none in (None, OverlapReranker(), BundledReranker()):
        assert checked(joined, [source], reader=none).problem == "it goes beyond what is said there"


@pytest.mark.parametrize(
    ("claim", "questions"),
    [
        ("Tesla moved to Paris in 1882.", ["who moved to Paris in 1882?", "Tesla moved to what in 1882?"]),
        ("It opened on May 4, 1961.", ["It opened on when?"]),
        ("The fee is $350 a year.", ["The fee is how much a year?"]),
        (
            "It has 12 rooms, which Ann built.",
            ["It has how many rooms?", "It has 12 rooms, which what built?"],
        ),
        ("The letters were glossy gold.", ["The letters were what?"]),
        ("The head was Harold L. Neal.", ["The head was who?"]),
        ("It was led by the Troika Group.", ["It was led by what?"]),
    ],
)
def test_each_fact_becomes_a_question(claim, questions):
    asked = [question for fact in facts(claim) for question in fact.questions]
    assert [question for question in questions if question not in asked] == []
