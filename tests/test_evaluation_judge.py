"""What counts as found, and what as a right answer, on results whose every grade is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rag.evaluation.datasets import Dataset, Question
from rag.evaluation.judge import Judge
from rag.evaluation.measure import judge_answer
from rag.types import Answer, Chunk, Citation, Timings
from tests.fakes import hit

# Judging retrieval


def chunk(document: str, text: str) -> Chunk:
    return Chunk(f"{document}/{text}", document, text, 0, len(text), f"{document}.txt", document)


PATHS = {"a": ("a.txt",), "b": ("b.txt", "copy of a.txt")}
CHUNKS = [
    chunk("a", "Bern lies on the Aare."),
    chunk("a", "Bern again."),
    chunk("b", "Bern, in a wrong file."),
]


def dataset_of(relevant: Any) -> Dataset:
    return Dataset("d", relevant, (), "")


def test_an_answer_counts_only_in_the_right_document() -> None:
    judge = Judge(dataset_of("answer"), PATHS, CHUNKS)
    question = Question("1", "?", answers=("Bern",), documents={"a.txt": 1.0})
    assert judge.gains(question, [CHUNKS[2], CHUNKS[1], chunk("a", "No.")]) == [0.0, 1.0, 0.0]
    assert judge.ideal(question) == [1.0, 1.0]
    assert judge.ideal(replace(question, documents={})) == [1.0, 1.0, 1.0]


def test_an_answer_that_no_chunk_holds_is_still_to_be_found() -> None:
    judge = Judge(dataset_of("answer"), PATHS, CHUNKS)
    question = Question("1", "?", answers=("Aare Bern",), documents={"a.txt": 1.0})
    assert judge.ideal(question) == [1.0]


def test_documents_are_ranked_by_their_best_chunk_and_found_under_any_path() -> None:
    judge = Judge(dataset_of("document"), PATHS, ())
    question = Question("1", "?", documents={"copy of a.txt": 2.0, "lost.txt": 1.0})
    assert judge.gains(question, [CHUNKS[0], CHUNKS[1], CHUNKS[2], CHUNKS[0]]) == [0.0, 2.0]
    assert judge.ideal(question) == [2.0, 1.0]


def test_references_are_judged_by_their_words() -> None:
    judge = Judge(dataset_of("reference"), PATHS, CHUNKS)
    question = Question("1", "?", references=("bern lies on aare",), documents={"a.txt": 1.0})
    assert judge.gains(question, CHUNKS) == [1.0, 0.0, 0.0]


def test_references_are_looked_up_in_the_right_documents_text() -> None:
    texts = {"a": "Bern lies on\nthe Aare. Bern again.", "b": "Bern lies on the Aare."}
    judge = Judge(dataset_of("reference"), PATHS, CHUNKS, texts.__getitem__)
    question = Question("1", "?", references=("lies on the Aare.",), documents={"a.txt": 1.0})
    first = replace(CHUNKS[0], start=0, end=22)
    assert judge.overlap(question, [first]) == (1.0, 17 / 22, 17 / 22)
    assert judge.overlap(question, [replace(first, document_id="b")]) == (0.0, 0.0, 0.0)
    assert judge.notes == ()


def test_a_reference_that_stands_nowhere_is_left_out_and_noted() -> None:
    judge = Judge(dataset_of("reference"), PATHS, CHUNKS, lambda _: "Bern lies on the Aare.")
    lost, both = (Question("1", "?", references=found) for found in (("Basel",), ("Bern", "Basel")))
    chunk_of_it = replace(CHUNKS[0], start=0, end=8)
    assert judge.overlap(lost, [chunk_of_it]) is None
    assert judge.overlap(both, [chunk_of_it]) == (1.0, 0.5, 0.5)
    assert judge.notes == ("references left out, since they stand in no document: 1",)


# Judging answers


def answer(text: str, *citations: Citation, abstained: bool = False) -> Answer:
    timings = Timings(0.1, 0.5, 2.0)
    return Answer("?", text, citations, (), abstained, None, timings)


def cite(quote: str, verified: bool = True, exact: str | None = None) -> Citation:
    return Citation(1, hit(quote), quote, 0, len(quote), verified, exact)


def test_a_right_answer_with_its_quote() -> None:
    shown = answer('"It is Bern." [1]', cite("It is Bern.", exact="Bern"))
    figures = judge_answer(Question("1", "?", answers=("Bern",)), shown)
    assert figures == {
        "false_refusal": 0.0,
        "confidence": 0.0,
        "first_token_s": 0.5,
        "total_s": 2.0,
        "words": 3.0,
        "em": 0.0,
        "f1": 0.5,
        "contains_gold": 1.0,
        "exact_em": 1.0,
        "exact_f1": 1.0,
        "cited_gold": 1.0,
    }


def test_only_a_verified_quote_with_the_answer_is_a_gold_citation() -> None:
    question = Question("1", "?", answers=("Bern",))
    wrong = [cite("It is Bern.", verified=False), cite("It is a town.")]
    assert judge_answer(question, answer("Bern [1]", *wrong))["cited_gold"] == 0.0
    assert "cited_gold" not in judge_answer(question, answer("Basel [1]", cite("It is Bern.")))


def test_a_refusal_is_a_wrong_answer_without_words() -> None:
    refused = answer("Not in your documents.", abstained=True)
    figures = judge_answer(Question("1", "?", answers=("documents",)), refused)
    assert (figures["false_refusal"], figures["contains_gold"], figures["f1"]) == (1.0, 0.0, 0.0)
    assert "words" not in figures
