"""Words in one spelling: numbers, units, names, negations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.wording import content_words, words


@pytest.mark.parametrize(
    ("written", "stems"),
    [
        ("1,200.50", ["1200.5"]),
        ("twenty-five", ["25"]),
        ("$2.5 million", ["2500000", "dollar"]),
        ("2.5 million dollars", ["2500000", "dollar"]),
        ("20 °C", ["20", "celsius"]),
        ("5km", ["5", "kilometre"]),
        ("25%", ["25", "percent"]),
        ("12 hours", ["12", "hour"]),
        ("1.2.3", ["1.2.3"]),
        ("quantized quantization", ["quant", "quant"]),
    ],
)
def test_one_spelling_for_what_is_the_same(written, stems):
    assert [word.stem for word in words(written) if word.carries] == stems


def test_each_word_is_of_a_kind():
    kinds = {word.text: word.kind for word in words("In May, Tesla's men didn't get 18 dollars.")}
    assert kinds["May"] == kinds["Tesla"] == "name"
    assert (kinds["men"], kinds["n't"], kinds["18"], kinds["dollars"]) == (
        "word",
        "negation",
        "number",
        "unit",
    )
    assert (kinds["In"], kinds[","]) == ("stop", "mark")


def test_a_short_unit_is_one_only_behind_a_number():
    assert [word.kind for word in words("in 5 s")] == ["stop", "number", "unit"]
    assert [word.kind for word in words("Tesla's")] == ["name", "stop"]


@given(st.text(max_size=80))
def test_any_text_is_read(text):
    assert content_words(text) == {word.stem for word in words(text) if word.carries}
