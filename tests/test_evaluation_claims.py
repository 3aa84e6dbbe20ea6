"""Sentences made false for measuring: each kind changes that kind of thing, and figures count the marks."""

import json
import random
import re

import pytest

from rag.evaluation.claims import measure_claims, table
from rag.evaluation.corruption import KINDS, corrupted, names_in, otherwise
from rag.settings import load_settings

SENTENCE = (
    "Nikola Tesla was paid 18 dollars in May 1884 (his first year) by Thomas Edison, who had hired him."
)
NAMES = ["Nikola Tesla", "Thomas Edison", "Charles Batchelor"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_thing_of_its_kind_is_changed(kind):
    false = corrupted(kind, SENTENCE, NAMES, random.Random(1))
    assert false and false != SENTENCE
    changed = set(re.findall(r"\w+", SENTENCE)) ^ set(re.findall(r"\w+", false))
    assert bool(changed) == (kind != "subject")  # two names have changed places
    assert corrupted(kind, "cats sleep", NAMES, random.Random(1)) is None


def test_names_are_those_with_a_capital_inside_a_sentence():
    assert names_in("He met Thomas Edison and the Duke of York. Later he left.") == [
        "Duke of York",
        "Thomas Edison",
    ]


def test_other_forms_say_no_more_than_the_sentence():
    forms = {
        otherwise("In 1884, Tesla (a Serb) came, which was late.", random.Random(seed)) for seed in range(30)
    }
    assert forms == {
        "In 1884, Tesla (a Serb) came, which was late.",
        "In 1884, Tesla came, which was late.",
        "In 1884, Tesla (a Serb) came.",
        "Tesla (a Serb) came, which was late in 1884.",
    }


def test_the_figures_count_what_is_marked(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "set.json"
    text = (
        f"{SENTENCE} Later he met Nikola Tesla and Charles Batchelor. It was 30 miles away and was not near."
    )
    answer = {"text": "18 dollars", "answer_start": text.index("18")}
    paragraph = {"context": text, "qas": [{"id": "1", "question": "How much?", "answers": [answer]}]}
    file.write_text(json.dumps({"data": [{"title": "Tesla", "paragraphs": [paragraph]}]}))
    record = measure_claims(file, load_settings(), 12, seed=0)
    figures = record["claims"]
    assert figures["n"] == 12 and set(figures["by_kind"]) == set(KINDS)
    assert figures["false_marked"] == 1 - len(figures["missed"]) / 12 > 0.8
    assert figures["true_marked"] == len(figures["mistaken"]) / 12 < 0.2
    assert "12 sentences" in table(record)
