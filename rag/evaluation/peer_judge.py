"""What a side printed, in figures: the same judges for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.evaluation import metrics
from rag.evaluation.datasets import Dataset, Question
from rag.evaluation.judge import Judge
from rag.evaluation.measure import judge_answer
from rag.evaluation.peer_process import Finished, Line
from rag.types import Answer, Chunk, Timings

REFUSALS = (
    "don't know",
    "do not know",
    "don't have enough information",
    "do not have enough information",
    "don't have information",
    "do not have information",
    "not enough information",
    "no information",
    "no relevant information",
    "cannot answer",
    "can't answer",
    "unable to answer",
    "cannot be answered",
    "cannot be determined",
    "not mentioned",
    "not specified",
    "not provided in",
    "does not mention",
    "doesn't mention",
    "does not provide",
    "doesn't provide",
    "does not contain",
    "doesn't contain",
    "does not specify",
    "doesn't specify",
    "does not say",
    "doesn't say",
)
"""An answer that has one of these, whatever else it says, counts as a refusal: small models seldom say
just the words that a prompt asks for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions that every side gets: to search for, and of the three kinds to answer."""

    search: tuple[Question, ...]
    answerable: tuple[Question, ...]
    near: tuple[Question, ...]
    foreign: tuple[Question, ...]

    @property
    def counts(self) -> dict[str, int]:
        kinds = {"search": self.search, "answerable": self.answerable, "near": self.near}
        return {kind: len(questions) for kind, questions in {**kinds, "foreign": self.foreign}.items()}

    def as_json(self) -> dict[str, list[dict[str, str]]]:
        answer = (*self.answerable, *self.near, *self.foreign)
        return {"search": _keyed(self.search), "answer": _keyed(answer)}


def _keyed(questions: Sequence[Question]) -> list[dict[str, str]]:
    return [{"key": question.key, "text": question.text} for question in questions]


def refuses(text: str) -> bool:
    """Whether an answer says that it does not know, or says nothing."""
    plain = " ".join(text.lower().replace("’", "'").split())
    return not plain or any(phrase in plain for phrase in REFUSALS)


def figures(dataset: Dataset, asked: Asked, ingested: Finished, answered: Finished) -> dict[str, Any]:
    """All figures of one side; None where nothing was asked, or where answers have no footnotes."""
    searched = {line["searched"]: line for line in answered.lines if "searched" in line}
    answers = {line["answered"]: line for line in answered.lines if "answered" in line}
    done = ingested.lines[-1]
    return {
        **_retrieval(dataset, asked.search, searched),
        **_answers(asked, answers),
        "chunks": done["chunks"],
        "ingest_s": done["seconds"],
        "first_hit_s": answered.first_line_s,
        "search_p50_s": metrics.percentile([line["seconds"] for line in searched.values()], 0.5),
        "answer_p50_s": metrics.percentile([answers[q.key]["seconds"] for q in asked.answerable], 0.5),
        "ingest_peak_bytes": ingested.peak_bytes,
        "answer_peak_bytes": answered.peak_bytes,
    }


def _retrieval(
    dataset: Dataset, questions: Sequence[Question], searched: Mapping[str, Line]
) -> dict[str, float | None]:
    paths = {path: (path,) for question in questions for path in question.documents}
    judge = Judge(dataset, paths, ())
    gains = [judge.gains(each, _chunks(searched[each.key])) for each in questions if each.key in searched]
    return {
        "hit@1": metrics.mean([metrics.hit_at(each, 1) for each in gains]),
        "hit@5": metrics.mean([metrics.hit_at(each, 5) for each in gains]),
        "mrr@10": metrics.mean([metrics.reciprocal_rank(each, 10) for each in gains]),
    }


def _chunks(line: Line) -> list[Chunk]:
    return [Chunk("", paragraph, text, 0, len(text), paragraph, "") for paragraph, text in line["hits"]]


def _answers(asked: Asked, answers: Mapping[str, Line]) -> dict[str, float | None]:
    judged = [_judged(question, answers[question.key]) for question in asked.answerable]
    names = ("contains_gold", "em", "f1", "false_refusal", "cited_gold")
    found = {name: metrics.mean([each[name] for each in judged if name in each]) for name in names}
    return {
        **found,
        "median_words": metrics.percentile([each["words"] for each in judged if "words" in each], 0.5),
        "true_refusal": _refused(asked.near, answers),
        "foreign_refusal": _refused(asked.foreign, answers),
    }


def _judged(question: Question, line: Line) -> dict[str, float]:
    """As `judge_answer`; "cited_gold" only of a right answer of a side that has footnotes."""
    text = line["text"]
    answer = Answer(question.text, text, (), (), _abstained(line), None, Timings(total_s=line["seconds"]))
    judged = judge_answer(question, answer)
    judged.pop("cited_gold", None)
    if judged["contains_gold"] and "quotes" in line:
        judged["cited_gold"] = float(
            any(metrics.contains(quote, question.answers) for quote in line["quotes"])
        )
    return judged


def _abstained(line: Line) -> bool:
    return bool(line["refused"]) if "refused" in line else refuses(line["text"])


def _refused(questions: Sequence[Question], answers: Mapping[str, Line]) -> float | None:
    return metrics.mean([float(_abstained(answers[question.key])) for question in questions])
