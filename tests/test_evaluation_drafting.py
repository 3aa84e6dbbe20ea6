"""Drafted questions: what a sentence is turned into, what is left alone, and the file that comes of it."""

import json

import pytest

from rag.errors import EvaluationError, InputNotFound
from rag.evaluation.datasets import load_dataset
from rag.evaluation.drafting import Draft, draft_questions, questions_about, spread
from rag.settings import load_settings

SENTENCES = {
    "The ferry was built in 1931 at Elmhaven.": ("When was the ferry built at Elmhaven?", "1931"),
    "The harbour was opened on 4 May 1902 by the mayor.": (
        "When was the harbour opened by the mayor?",
        "4 May 1902",
    ),
    "The ferry can carry 60 cars across the sound.": (
        "How many cars can the ferry carry across the sound?",
        "60",
    ),
    "The old inn has 14 rooms under the roof.": (
        "How many rooms does the old inn have under the roof?",
        "14",
    ),
    "A season ticket will cost €120 from next spring.": (
        "How much will a season ticket cost from next spring?",
        "€120",
    ),
    "The clock of the town hall was repaired by Ole Brandt, a smith.": (
        "By whom was the clock of the town hall repaired?",
        "Ole Brandt",
    ),
    "The annual boat fair is held at Elmhaven every June.": (
        "Where is the annual boat fair held every June?",
        "Elmhaven",
    ),
    "A kipper is a herring split and smoked in one night.": (
        "What is a kipper?",
        "a herring split and smoked in one night",
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_plain_sentence_becomes_a_question_whose_answer_it_holds(sentence):
    assert list(questions_about(sentence)) == [SENTENCES[sentence]]
    assert SENTENCES[sentence][1] in sentence


@pytest.mark.parametrize(
    "sentence",
    [
        "It was built in 1931 at Elmhaven.",  # what "it" is stands elsewhere
        "This was decided by Ole Brandt in the winter.",
        "Nobody knows.",
        "The ferry, which is old, was built in 1931.",
        "Appeals are answered within 30 days of receipt.",
    ],
)
def test_a_sentence_that_does_not_stand_alone_is_left(sentence):
    assert list(questions_about(sentence)) == []


def test_all_documents_have_their_turn():
    drafts = [Draft(f"q{n}", "", "", "long.txt") for n in range(9)] + [Draft("x", "", "", "short.txt")]
    chosen = spread(drafts, 4, seed=1)
    assert [draft.document for draft in chosen].count("short.txt") == 1
    assert len(chosen) == 4 and chosen != spread(drafts, 4, seed=2)


def test_a_folder_gets_questions_that_evaluate_can_ask(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "ferry.txt").write_text("The ferry was built in 1931 at Elmhaven. It carries 60 cars.")
    (folder / "inn.md").write_text("# Inn\n\nThe old inn has 14 rooms under the roof.\n")
    file, count = draft_questions(folder, load_settings(), 10)
    dataset = load_dataset(folder)
    assert count == len(dataset.questions) == 2
    assert {question.answers for question in dataset.questions} == {("1931",), ("14",)}
    assert dataset.relevant == "reference"
    assert all(next(iter(question.documents)).startswith(str(folder)) for question in dataset.questions)
    with pytest.raises(EvaluationError, match="exists already"):
        draft_questions(folder, load_settings(), 10)
    assert file.name == "questions.csv"


def test_nothing_to_ask_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "data.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(EvaluationError, match="no sentence"):
        draft_questions(folder, load_settings(), 10)
    with pytest.raises(InputNotFound):
        draft_questions(tmp_path / "none", load_settings(), 10)
