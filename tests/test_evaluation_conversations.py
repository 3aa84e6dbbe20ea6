"""Conversations as a dataset: what is asked, what is right, and three forms of a question side by side."""

import json

import pytest

from rag.errors import EvaluationError
from rag.evaluation.corpus import open_corpus
from rag.evaluation.datasets import load_dataset
from rag.evaluation.measure import measure_retrieval
from rag.evaluation.run import judge_of
from rag.retrieval import Retriever
from rag.settings import Settings
from rag.types import Turn
from tests.fakes import HashingEmbedder

DOCUMENTS = [
    {"document_id": "rent-22", "text": "In 2022 the rent of the flat was 900 euros.", "title": "Lease"},
    {"document_id": "rent-23", "text": "In 2023 the rent of the flat was 950 euros."},
    {"document_id": "cats", "text": "In 2023 cats slept sixteen hours."},
]
RENT = [
    {"speaker": "user", "text": "What was the rent of the flat in 2022?"},
    {"speaker": "agent", "text": "900 euros."},
    {"speaker": "user", "text": "And in 2023?"},
]


def task(number, said, *contexts, **more):
    return {"task_id": number, "input": said, "contexts": [{"document_id": c} for c in contexts], **more}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    tasks = [
        task("1", RENT[:1], "rent-22"),
        task("2", RENT, "rent-23", standalone="What was the rent of the flat in 2023?"),
        task("3", RENT[:1], Answerability=["UNANSWERABLE"]),
        task("4", RENT[:1], Answerability=["ANSWERABLE"]),
    ]
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps({"documents": DOCUMENTS, "tasks": tasks}), encoding="utf-8")
    return path


def test_a_task_is_its_last_question_with_the_turns_before_it(file):
    dataset = load_dataset(file)
    first, second, third = dataset.questions
    assert (first.text, first.history, first.documents) == (RENT[0]["text"], (), {"rent-22": 1.0})
    assert second.text == "And in 2023?" and second.standalone == "What was the rent of the flat in 2023?"
    assert second.history == (Turn(RENT[0]["text"], RENT[0]["text"], "900 euros."),)
    assert not third.answerable and third.documents == {}
    assert dataset.notes == ("1 questions left out: no right passage",)


def test_three_forms_of_a_question_are_measured_side_by_side(file):
    dataset, embedder, settings = load_dataset(file), HashingEmbedder(), Settings()
    questions = [question for question in dataset.questions if question.answerable]
    with open_corpus(dataset, embedder, settings) as generation:
        retriever = Retriever(generation, embedder, None, settings.retrieval)
        values = measure_retrieval(questions, retriever, judge_of(dataset, generation))
    assert values["hit@1"] == {"1": 1.0, "2": 1.0}
    assert values["human_ndcg@10"] == {"2": 1.0}
    assert values["literal_ndcg@10"]["1"] == 1.0 > values["literal_ndcg@10"]["2"]


def test_a_file_of_another_shape_is_named(tmp_path):
    path = tmp_path / "tasks.json"
    path.write_text('{"tasks": [{"input": []}], "documents": []}', encoding="utf-8")
    with pytest.raises(EvaluationError, match="not MTRAG-shaped"):
        load_dataset(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(EvaluationError, match="is not JSON"):
        load_dataset(path)
