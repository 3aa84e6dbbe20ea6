"""The figures of an evaluation, against values worked out by hand."""

from __future__ import annotations

import math
import random

import pytest

from rag.evaluation import metrics
from rag.types import Answer, Timings


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("The  Walt Disney Company!", "walt disney company"),
        ("An apple, a day", "apple day"),
        ("U.S.-based", "usbased"),
        ("theatre", "theatre"),
        ("The", ""),
    ],
)
def test_normalise(raw: str, normal: str) -> None:
    assert metrics.normalise(raw) == normal


def test_exact_match_takes_the_best_gold() -> None:
    assert metrics.exact_match("The Rhine.", ["Danube", "rhine"]) == 1.0
    assert metrics.exact_match("the river Rhine", ["Danube", "rhine"]) == 0.0


def test_f1_by_hand() -> None:
    # Said {walt, disney}, gold {walt, disney, company}: precision 1, recall 2/3.
    assert metrics.f1("Walt Disney", ["x", "The Walt Disney Company"]) == pytest.approx(0.8)
    assert metrics.f1("no no no", ["no"]) == pytest.approx(0.5)
    assert metrics.f1("", ["no"]) == 0.0
    assert metrics.f1("a", ["the"]) == 1.0  # both normalise to nothing


@pytest.mark.parametrize(
    ("text", "golds", "expected"),
    [
        ("It was the Walt Disney Company.", ["Walt Disney Company"], True),
        ("In 2015 it rose", ["20"], False),
        ("Disney, then Walt", ["Walt Disney"], False),
        ("anything", ["the"], False),
        ("anything", [], False),
    ],
)
def test_contains_wants_whole_words_in_order(text: str, golds: list[str], expected: bool) -> None:
    assert metrics.contains(text, golds) is expected


def test_a_passage_holds_an_answer_that_punctuation_glues_to_its_neighbour() -> None:
    assert not metrics.contains("in 1986—when two", ["1986"])
    assert metrics.holds_answer("in 1986—when two", ["1986"])
    assert not metrics.holds_answer("in 19861—when two", ["1986"])


def test_a_passage_holds_a_reference_from_half_its_triples_on() -> None:
    reference = "one two three four five six"  # four triples
    assert metrics.holds_reference("zero ONE two, three four", [reference])
    assert not metrics.holds_reference("zero one two three", [reference])
    assert metrics.holds_reference("say fees here", ["fees"])
    assert not metrics.holds_reference("say nothing", ["fees"])


def test_ranking_figures_by_hand() -> None:
    gains = [0.0, 1.0, 0.0, 1.0]
    assert [metrics.hit_at(gains, k) for k in (1, 2, 5)] == [0.0, 1.0, 1.0]
    assert metrics.reciprocal_rank(gains, 10) == 0.5
    assert metrics.reciprocal_rank(gains, 1) == 0.0
    dcg, ideal = 1 / math.log2(3) + 1 / math.log2(5), 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert metrics.ndcg(gains, [1, 1, 1], 10) == pytest.approx(dcg / ideal)
    assert metrics.ndcg([2.0, 1.0], [1, 2], 10) == 1.0
    assert metrics.ndcg([1.0, 2.0], [1, 2], 10) == pytest.approx(
        (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    )
    assert metrics.ndcg([], [], 10) == 0.0
    assert metrics.recall_at(gains, 4, 3) == 0.25
    assert metrics.recall_at(gains, 0, 3) == 0.0


def test_a_span_is_found_whatever_the_blanks() -> None:
    text = "It rained.\n\nThe fee (8 euros)\n  is due."
    assert metrics.find_span(text, "The fee (8 euros) is due.") == (12, 39)
    assert metrics.find_span(text, "  rained. The ") == (3, 15)
    assert metrics.find_span(text, "The fee is due.") is None
    assert metrics.find_span(text, " ") is None


@pytest.mark.parametrize(
    ("retrieved", "relevant", "expected"),
    [
        # 60 of 100 relevant characters, in 120 that were read
        ([("a", 40, 160)], [("a", 0, 100)], (0.6, 0.5, 60 / 160)),
        # the 20 that both passages have are found once, and read twice
        ([("a", 0, 60), ("a", 40, 100)], [("a", 0, 100)], (1.0, 100 / 120, 100 / 120)),
        # the same place in another document is not the same text
        ([("b", 0, 100)], [("a", 0, 100)], (0.0, 0.0, 0.0)),
        # what two references share is sought once
        ([("a", 0, 50)], [("a", 0, 80), ("a", 40, 100)], (0.5, 1.0, 0.5)),
        ([("a", 10, 20), ("b", 0, 10)], [("a", 0, 20), ("b", 0, 20)], (0.5, 1.0, 0.5)),
        ([], [("a", 0, 10)], (0.0, 0.0, 0.0)),
        ([("a", 0, 10)], [], (0.0, 0.0, 0.0)),
    ],
)
def test_overlap_by_hand(
    retrieved: list[metrics.Place], relevant: list[metrics.Place], expected: tuple[float, float, float]
) -> None:
    assert metrics.overlap(retrieved, relevant) == pytest.approx(expected)


def test_overlap_agrees_with_counting_characters() -> None:
    draw = random.Random(5)
    for _ in range(200):
        retrieved, relevant = (
            [(draw.choice("ab"), begin, begin + draw.randrange(1, 9)) for begin in draw.sample(range(20), 3)]
            for _ in range(2)
        )
        sought, seen = (
            {(document, at) for document, begin, end in places for at in range(begin, end)}
            for places in (relevant, retrieved)
        )
        read = sum(end - begin for _, begin, end in retrieved)
        found = len(sought & seen)
        expected = (found / len(sought), found / read, found / (len(sought) + read - found))
        assert metrics.overlap(retrieved, relevant) == pytest.approx(expected)


def test_means_of_nothing_are_none() -> None:
    assert metrics.mean([]) is None
    assert metrics.percentile([], 0.5) is None
    assert metrics.bootstrap([]) is None


def test_percentile_interpolates() -> None:
    assert metrics.percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5


def test_bootstrap_matches_the_normal_interval_and_its_seed() -> None:
    values = [1.0] * 800 + [0.0] * 200
    low, high = metrics.bootstrap(values, seed=3) or (0.0, 0.0)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 1000)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.006)
    assert metrics.bootstrap(values, seed=3) == (low, high)
    assert metrics.bootstrap([1.0, 1.0]) == (1.0, 1.0)


def test_shown_text_is_without_footnote_marks() -> None:
    text = '"Paris is the capital." [2] It is big [1].'
    answer = Answer("?", text, (), (), False, None, Timings())
    assert metrics.shown_text(answer) == '"Paris is the capital." It is big.'
