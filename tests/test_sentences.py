"""Where sentences begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith met Mrs. Jones. They talked.", ["Dr. Smith met Mrs. Jones.", "They talked."]),
        ("It costs 3.50 euros. Cheap.", ["It costs 3.50 euros.", "Cheap."]),
        ("J. R. R. Tolkien wrote it. He was British.", ["J. R. R. Tolkien wrote it.", "He was British."]),
        ("Use e.g. Qwen or similar. Done.", ["Use e.g. Qwen or similar.", "Done."]),
        ("She said “Stop.” He did not.", ["She said “Stop.”", "He did not."]),
        ("(It rained.) We left.", ["(It rained.)", "We left."]),
        ("Ask why... then wait. Good.", ["Ask why... then wait.", "Good."]),
        ("これは文です。次の文！", ["これは文です。", "次の文！"]),
        ("A line that\nis wrapped. Next.", ["A line that\nis wrapped.", "Next."]),
        ("Heading\n\nText below it.", ["Heading", "Text below it."]),
        ("Items:\n- one\n- two", ["Items:", "- one", "- two"]),
        ("1. First step\n2. Second step", ["1. First step", "2. Second step"]),
        ("| a | b |\n| c | d |", ["| a | b |", "| c | d |"]),
        ("", []),
        (" \n\t ", []),
        ("no end", ["no end"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


pieces = st.lists(
    st.sampled_from(["Mr. ", "a", "B", ". ", "?", "\n", "\n\n", " ", "- ", "1. ", "。", "”", "…", "é", "|"])
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), pieces.map("".join)))
def test_spans_are_in_order_and_hold_all_but_blanks(text: str) -> None:
    spans = sentence_spans(text)
    reached = 0
    for start, end in spans:
        assert reached <= start < end
        assert text[reached:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        reached = end
    assert text[reached:].strip() == ""


@pytest.mark.parametrize("unit", [".", " ", "\n", "\n ", "?!", ". ", "”", "-\n", "\t\n"])
def test_long_runs_cost_in_proportion_to_their_length(unit: str) -> None:
    """Squared, these lengths would take minutes, and the suite's time limit would end them."""
    text = unit * (500_000 // len(unit)) + "x"
    spans = sentence_spans(text)
    assert text[spans[-1][1] - 1] == "x"
