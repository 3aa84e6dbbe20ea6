"""Datasets in each shape, and what is said of damaged ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag.errors import EvaluationError, InputNotFound, UsageError
from rag.evaluation.datasets import Question, load_dataset


def squad_article(title: str, contexts: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "title": title,
        "paragraphs": [{"context": text, "qas": questions} for text, questions in contexts.items()],
    }


def qa(question: str, *answers: str, impossible: bool = False) -> dict[str, Any]:
    golds = [{"text": answer, "answer_start": 0} for answer in answers]
    return {"id": question[:3], "question": question, "answers": golds, "is_impossible": impossible}


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    path = tmp_path / "mini.json"
    article = squad_article(
        "Black_Death",
        {"It came from Asia.": [qa(" Where from? ", "Asia", "Asia"), qa("Who won?", "x", impossible=True)],
         "It ended in 1351.": [qa("When?", "1351"), qa("Hidden?")]},
    )  # fmt: skip
    path.write_text(json.dumps({"data": [article]}), encoding="utf-8")
    return path


def write_beir(folder: Path, *splits: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": "d1", "title": "Cats", "text": "Cats purr."}, {"_id": "d2", "text": "Dogs bark."}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)) + "\n", encoding="utf-8")
    queries = [{"_id": "1", "text": "purring"}, {"_id": "2", "text": "barking"}]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    for split in splits:
        rows = "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n9\td1\t1\n"
        (folder / "qrels" / f"{split}.tsv").write_text(rows, encoding="utf-8")
    return folder


def test_squad_articles_become_documents(squad: Path) -> None:
    dataset = load_dataset(squad)
    assert dataset.documents is not None
    (document,) = dataset.documents()
    assert (document.title, document.path) == ("Black Death", "Black_Death")
    assert document.text == "It came from Asia.\n\nIt ended in 1351."
    assert dataset.relevant == "answer"
    assert [(q.text, q.answers, q.answerable) for q in dataset.questions] == [
        ("Where from?", ("Asia",), True),
        ("Who won?", (), False),
        ("When?", ("1351",), True),
    ]
    assert {path for q in dataset.questions for path in q.documents} == {"Black_Death"}
    assert dataset.notes == ("1 questions left out: no gold answer",)


def test_samples_depend_on_the_seed_alone(squad: Path) -> None:
    article = squad_article("A", {"text": [qa(f"q{n}", "text") for n in range(50)]})
    squad.write_text(json.dumps({"data": [article]}), encoding="utf-8")
    dataset = load_dataset(squad)
    first = dataset.sample(5, seed=1)
    assert first == load_dataset(squad).sample(5, seed=1)
    assert first != dataset.sample(5, seed=2)
    assert len({question.text for question in first}) == 5
    assert dataset.sample(500, seed=1) == list(dataset.questions)
    assert dataset.sample(5, seed=1, answerable=False) == []


def test_beir_grades_and_titles(tmp_path: Path) -> None:
    dataset = load_dataset(write_beir(tmp_path / "set", "train"))
    assert dataset.documents is not None
    assert [(d.path, d.title, d.text) for d in dataset.documents()] == [
        ("d1", "Cats", "Cats purr."),
        ("d2", "", "Dogs bark."),
    ]
    assert dataset.questions == (Question("1", "purring", documents={"d1": 2.0}),)
    assert dataset.notes == ("1 questions left out: not in queries.jsonl",)


def test_beir_split_is_test_or_the_only_one(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "set", "train", "dev")
    with pytest.raises(EvaluationError) as caught:
        load_dataset(folder)
    assert caught.value.fix == "Choose with --split: dev, train."
    assert len(load_dataset(folder, "dev").questions) == 1
    with pytest.raises(EvaluationError, match="no split 'test'"):
        load_dataset(folder, "test")
    (folder / "qrels" / "test.tsv").write_text("2\td2\t1\n", encoding="utf-8")
    assert [q.id for q in load_dataset(folder).questions] == ["2"]


def test_folder_columns_are_found_by_many_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("2023 Q1 AAPL.pdf", "a/2023 Q2 AAPL.pdf", "2023 Q1 NVDA.pdf"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / "questions.csv").write_text(
        '\ufeffQuestion,Source Docs,Reference Answer\nHow much?,*AAPL*,"5, or\nso"\n'
        'And?,2023 q1 nvda,"[""a"", ""b""]"\n',
        encoding="utf-8",
    )
    dataset = load_dataset(tmp_path)
    assert (dataset.relevant, dataset.documents, dataset.folder) == ("document", None, tmp_path)
    first, second = dataset.questions
    assert first.answers == ("5, or\nso",)
    assert set(first.documents) == {
        str((tmp_path / "2023 Q1 AAPL.pdf").resolve()),
        str((tmp_path / "a" / "2023 Q2 AAPL.pdf").resolve()),
    }
    assert second.answers == ("a", "b")
    assert set(second.documents) == {str((tmp_path / "2023 Q1 NVDA.pdf").resolve())}


def test_folder_references_and_unanswerable_questions(tmp_path: Path) -> None:
    (tmp_path / "speech.md").write_text("We cut fees.", encoding="utf-8")
    reference = json.dumps([{"content": "We cut fees.", "start_index": 0}]).replace('"', '""')
    (tmp_path / "questions.csv").write_text(
        f'question,references,corpus_id,answerable\nWhat?,"{reference}",speech,yes\nWhy?,,,no\nWho?,,speech,\n',
        encoding="utf-8",
    )
    dataset = load_dataset(tmp_path)
    assert dataset.relevant == "reference"
    assert [(q.text, q.references, q.answerable) for q in dataset.questions] == [
        ("What?", ("We cut fees.",), True),
        ("Why?", (), False),
    ]
    assert dataset.notes == ("1 questions left out: no references given",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not SQuAD-shaped"),
        ('{"data": [{"title": "A"}]}', "no 'paragraphs'"),
        ('{"data": [1]}', "not SQuAD-shaped"),
        ('{"data": []}', "no question that can be judged"),
        (json.dumps({"data": [squad_article("A", {}), squad_article("A", {})]}), "same title"),
    ],
)
def test_damaged_squad(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(EvaluationError, match=message) as caught:
        load_dataset(path)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("queries.jsonl", "{}\n", r"queries.jsonl line 1: needs the keys _id, text"),
        ("queries.jsonl", '{"_id": "1", "text": "x"}\nnonsense', r"queries.jsonl line 2"),
        ("qrels/test.tsv", "1\td1\t1\n1 d1 1\n", r"test.tsv line 2"),
        ("qrels/test.tsv", "", "no question"),
    ],
)
def test_damaged_beir(tmp_path: Path, file: str, content: str, message: str) -> None:
    folder = write_beir(tmp_path / "set", "test")
    (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(EvaluationError, match=message):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("text,answer\nx,y\n", "no question column, only: text, answer"),
        ("question\nx\n", "no question that can be judged"),
        ("question,source\nx,nowhere.pdf\n", "row 2: no file in .* matches 'nowhere.pdf'"),
        ("question,answer,answerable\nx,y,perhaps\n", "'perhaps' is neither yes nor no"),
        ('question,references\nx,"[{""a"": 1}]"\n', "row 2: not a JSON list of texts"),
        ("", "no question column"),
    ],
)
def test_damaged_folder(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "questions.csv").write_text(table, encoding="utf-8")
    with pytest.raises(EvaluationError, match=message):
        load_dataset(tmp_path)


def test_what_is_no_dataset(tmp_path: Path, squad: Path) -> None:
    with pytest.raises(InputNotFound):
        load_dataset(tmp_path / "nothing.json")
    with pytest.raises(UsageError, match="no splits"):
        load_dataset(squad, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="none of the known shapes"):
        load_dataset(tmp_path / "empty")
