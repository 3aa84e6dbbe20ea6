"""An evaluation from dataset to figures, on sets small enough to know every figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag.engine import Engine
from rag.evaluation.corpus import cache_name, open_corpus
from rag.evaluation.datasets import Dataset, Question, load_dataset
from rag.evaluation.judge import Judge
from rag.evaluation.measure import measure_answers, measure_retrieval
from rag.evaluation.report import record, table
from rag.evaluation.run import Options, Outcome
from rag.evidence import EvidenceFinder
from rag.places import CHECKOUT
from rag.retrieval import Retriever
from rag.settings import Settings
from rag.store.generation import Generation
from tests.fakes import HashingEmbedder, OverlapReranker, hit


def article(title: str, text: str, *questions: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "paragraphs": [{"context": text, "qas": list(questions)}]}


def qa(question: str, *answers: str) -> dict[str, Any]:
    golds = [{"text": answer} for answer in answers]
    return {"id": question, "question": question, "answers": golds, "is_impossible": not golds}


PLAGUE_TEXT = "The Black Death is thought to have come from Central Asia along the Silk Road."
PLAGUE = article(
    "Black_Death",
    PLAGUE_TEXT,
    qa("Where did the Black Death come from?", "Central Asia"),
    qa("Who cured the Black Death?"),
)
CHEESE_TEXT = "Emmental is a yellow cheese with holes. It was first made near Bern."
CHEESE = article("Cheese", CHEESE_TEXT, qa("Which cheese has holes?", "Emmental"))
FOREIGN = article("Rowing", "Oxford won in 2002.", qa("Which crew won the boat race in 2002?", "Oxford"))


def write_squad(path: Path, *articles: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"data": articles}), encoding="utf-8")
    return path


@pytest.fixture
def squad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path / "cache"))
    return load_dataset(write_squad(tmp_path / "mini.json", PLAGUE, CHEESE))


@pytest.fixture
def generation(squad: Dataset) -> Iterator[Generation]:
    with open_corpus(squad, HashingEmbedder(), Settings()) as opened:
        yield opened


def judge_of(dataset: Dataset, generation: Generation) -> Judge:
    paths = {document.id: document.paths for document in generation.documents()}
    return Judge(dataset, paths, generation.chunks(generation.chunk_ids().tolist()).values())


# The index in the cache


def test_the_index_is_built_once_for_a_corpus_and_its_settings(squad: Dataset) -> None:
    embedder, settings = HashingEmbedder(), Settings()
    with open_corpus(squad, embedder, settings) as first:
        assert [d.title for d in first.documents()] == ["Black Death", "Cheese"]
        assert first.document_text(first.documents()[1].id) == CHEESE_TEXT
    assert embedder.embedded == 2
    with open_corpus(squad, embedder, settings) as second:
        assert second.folder == first.folder
    assert embedder.embedded == 2


def test_another_corpus_embedder_or_chunk_size_gets_another_index(squad: Dataset, tmp_path: Path) -> None:
    embedder, settings = HashingEmbedder(), Settings()
    retrained = HashingEmbedder()
    retrained.revision = "2"
    names = {
        cache_name(squad, embedder, settings),
        cache_name(load_dataset(write_squad(tmp_path / "mini.json", CHEESE)), embedder, settings),
        cache_name(squad, retrained, settings),
        cache_name(squad, embedder, Settings.model_validate({"chunk": {"tokens": 100}})),
    }
    assert len(names) == 4
    assert all(name.startswith("mini-") for name in names)


def test_a_damaged_index_is_built_again(squad: Dataset) -> None:
    embedder = HashingEmbedder()
    with open_corpus(squad, embedder, Settings()) as built:
        folder = built.folder
    (folder / "vectors.faiss").write_bytes(b"damaged")
    with open_corpus(squad, embedder, Settings()) as rebuilt:
        assert rebuilt.chunk_count == 2
    assert embedder.embedded == 4


# All together


def test_retrieval_figures_of_a_known_set(squad: Dataset, generation: Generation) -> None:
    settings = Settings()
    retriever = Retriever(generation, HashingEmbedder(), OverlapReranker(), settings.retrieval)
    questions = squad.sample(9, 0, answerable=True)
    values = measure_retrieval(questions, retriever, judge_of(squad, generation))
    for name in ("hit@1", "hit@5", "mrr@10", "ndcg@10", "recall@100"):
        assert list(values[name].values()) == [1.0, 1.0], name
    assert len(values["seconds"]) == len(values["search_seconds"]) == 2
    wrong = Question("4", "Which cheese has holes?", ("Central Asia",), {"Black_Death": 1.0})
    values = measure_retrieval([wrong], retriever, judge_of(squad, generation))
    assert (values["hit@1"], values["hit@5"], values["mrr@10"]) == ({"4": 0.0}, {"4": 1.0}, {"4": 0.5})


def test_answers_come_through_the_engine(squad: Dataset, generation: Generation) -> None:
    settings = Settings()
    retriever = Retriever(generation, HashingEmbedder(), OverlapReranker(), settings.retrieval)
    engine = Engine(retriever, EvidenceFinder(OverlapReranker()), None, settings.answer)
    foreign = [Question("9", "Which crew rowed quickest yesterday?")]
    values = measure_answers(engine, squad.sample(9, 0, True), squad.sample(9, 0, False), foreign)
    assert list(values["contains_gold"].values()) == [1.0, 1.0]
    assert list(values["cited_gold"].values()) == [1.0, 1.0]
    assert list(values["false_refusal"].values()) == [0.0, 0.0]
    assert values["foreign_refusal"] == {"9": 1.0}
    assert len(values["true_refusal"]) == 1


def test_files_are_judged_by_whether_all_right_ones_are_shown(tmp_path: Path) -> None:
    files = {f"/d/{n}.txt": f"d{n}" for n in range(3)}
    question = Question("1", "How did sales change?", documents={"/d/0.txt": 1.0, "/d/1.txt": 1.0})
    paths = {document: [path] for path, document in files.items()}
    found = [hit("Sales rose.", path=path).chunk for path in files]
    found = [replace(chunk, document_id=files[chunk.path]) for chunk in found]
    of_files = Dataset("own", "document", (question,), "", folder=tmp_path)
    assert Judge(of_files, paths, ()).has_all_documents(question, found)
    assert not Judge(of_files, paths, ()).has_all_documents(question, found[1:])
    by_answer = Dataset("own", "answer", (question,), "", folder=tmp_path)
    assert Judge(by_answer, paths, ()).has_all_documents(question, found) is None


def numbered(*values: float) -> dict[str, float]:
    return {f"q{n}": value for n, value in enumerate(values)}


def test_the_record_has_means_medians_and_nothing_where_nothing_applies() -> None:
    names = ("hit@1", "hit@5", "mrr@10", "ndcg@10", "recall@100")
    ranking = {name: numbered(1.0, 0.0, 0.5, 0.5) for name in names}
    seconds = {"seconds": numbered(0.1, 0.2, 0.3, 0.4), "search_seconds": numbered(*[0.01] * 4)}
    shown = {"one_document": {}, "all_documents": numbered(1.0, 0.0)}
    shares = "em f1 contains_gold exact_em exact_f1 cited_gold false_refusal true_refusal foreign_refusal"
    answers = {name: numbered(1.0, 0.0) for name in shares.split()} | {
        "exact_em": {},
        "confidence": numbered(0.9, 0.2),
        "true_confidence": numbered(0.1, 0.5),
        "foreign_confidence": {},
        "words": numbered(10.0, 31.0),
        "first_token_s": numbered(1.0, 3.0),
        "total_s": numbered(2.0, 4.0),
    }
    outcome = Outcome(
        Options(Path("set.json"), seed=7), {"llm": None}, ranking | shown | seconds, answers, ("a note",)
    )
    figures = record(outcome)
    assert figures["retrieval"] == {
        "n": 4,
        **dict.fromkeys(ranking, 0.5),
        "all_documents": 0.5,
        "p50_s": 0.25,
        "p95_s": 0.385,
        "search_p50_s": 0.01,
        "search_p95_s": 0.01,
    }
    assert figures["per_question"]["retrieval"]["hit@1"] == numbered(1.0, 0.0, 0.5, 0.5)
    assert set(figures["per_question"]["answers"]) == set(shares.split())
    assert figures["answers"]["exact_em"] is None
    assert (figures["answers"]["true_at_10"], figures["answers"]["foreign_at_3"]) == (0.5, None)
    assert (figures["answers"]["median_words"], figures["answers"]["total_s"]) == (20.5, 3.0)
    assert figures["ci95"]["answers"]["exact_em"] is None
    low, high = figures["ci95"]["retrieval"]["hit@1"]
    assert 0.0 <= low < 0.5 < high <= 1.0
    printed = table(figures)
    assert "note: a note" in printed
    assert "exact_em" not in printed and "one_document" not in printed
    assert "retrieval, 4 questions" in printed


ANSWER_KEYS = (
    "n em f1 contains_gold median_words exact_em exact_f1 cited_gold false_refusal true_refusal "
    "foreign_refusal true_at_10 foreign_at_3 first_token_s total_s"
).split()


def run_script(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHECKOUT / "scripts" / "evaluate.py"), *arguments],
        env={**os.environ, "FOOTNOTE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.slow
def test_the_command_with_the_real_models(tmp_path: Path) -> None:
    path = write_squad(tmp_path / "mini.json", PLAGUE, CHEESE)
    foreign = write_squad(tmp_path / "foreign.json", FOREIGN)
    done = run_script(tmp_path, str(path), "--no-llm", "--foreign", str(foreign), "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    retrieval = ["n", "hit@1", "hit@5", "mrr@10", "ndcg@10", "recall@100", "p50_s", "p95_s"]
    assert list(figures)[:4] == ["dataset", "settings", "retrieval", "answers"]
    assert list(figures["retrieval"])[: len(retrieval)] == retrieval
    assert list(figures["answers"]) == ANSWER_KEYS
    assert figures["settings"]["embedder"] == "BAAI/bge-small-en-v1.5"
    assert (figures["retrieval"]["n"], figures["retrieval"]["hit@1"]) == (2, 1.0)
    assert (figures["answers"]["contains_gold"], figures["answers"]["foreign_refusal"]) == (1.0, 1.0)
    assert figures["counts"] == {"unanswerable": 1, "foreign": 1}


@pytest.mark.slow
def test_the_command_on_exact_spans(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "cheese.md").write_text("# Cheese\n\n" + CHEESE_TEXT, encoding="utf-8")
    rows = ["question,references", "Which cheese has holes?,Emmental is a yellow cheese with holes.", ""]
    (folder / "questions.csv").write_text("\n".join(rows), encoding="utf-8")
    done = run_script(tmp_path, str(folder), "--retrieval-only", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    share = len("Emmental is a yellow cheese with holes.") / len(CHEESE_TEXT)
    assert figures["retrieval"]["token_recall@5"] == 1.0
    assert figures["retrieval"]["token_precision@5"] == round(share, 4)
    assert figures["ci95"]["retrieval"]["token_iou@5"] == [round(share, 4)] * 2
    assert list(figures["per_question"]["retrieval"]["token_iou@5"].values()) == [pytest.approx(share)]


@pytest.mark.slow
def test_the_command_on_real_files(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "plague.md").write_text("# Plague\n\n" + PLAGUE_TEXT, encoding="utf-8")
    (folder / "cheese.txt").write_text(CHEESE_TEXT, encoding="utf-8")
    rows = "question,answer,source\nWhich cheese has holes?,Emmental,cheese.txt\n"
    (folder / "questions.csv").write_text(rows, encoding="utf-8")
    done = run_script(tmp_path, str(folder), "--retrieval-only", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["retrieval"]["n"], figures["retrieval"]["mrr@10"]) == (1, 1.0)
    assert figures["retrieval"]["one_document"] == 1.0
    assert "token_iou@5" not in figures["retrieval"]
    assert figures["answers"] is None


def test_the_command_refuses_what_is_no_dataset(tmp_path: Path) -> None:
    done = run_script(tmp_path, str(tmp_path), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "evaluation"
