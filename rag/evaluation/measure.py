"""Asks the questions, one by one, and notes what came back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rag.errors import RagError
from rag.evaluation import metrics
from rag.evaluation.datasets import Question
from rag.evaluation.judge import Judge
from rag.evaluation.progress import counted
from rag.followups import standalone
from rag.retrieval import Retriever
from rag.types import Answer, Chunk, Done, Hit

if TYPE_CHECKING:
    from rag.engine import Engine

Values = dict[str, dict[str, float]]
"""Figure -> question (its id, or its text where it has none) -> value, for questions that have one."""
DEPTH = 100
SHOWN = 5
"""Passages that an answer rests on, unless `retrieval.top_k` says otherwise."""


RANKING = ("hit@1", "hit@5", "mrr@10", "ndcg@10", "recall@100")
FILES = ("one_document", "all_documents")
"""Whether the right files are among those shown: where one is right, and where several are."""
OVERLAP = ("token_recall@5", "token_precision@5", "token_iou@5")
CONVERSATION = ("hit@5", "ndcg@10")
"""Figures that are also measured without making a question stand on its own ("literal_"), and with the form
that a person gave it ("human_")."""
SOME = (*FILES, *OVERLAP, *(f"{form}_{name}" for form in ("literal", "human") for name in CONVERSATION))
"""Figures that only some sets have: those whose right files or passages are known, and conversations."""

Search = Callable[[Question, int], Sequence[Hit]]
"""What ranking is measured of: the so many best passages for a question, best first."""


def measure_retrieval(questions: Sequence[Question], retriever: Retriever, judge: Judge) -> Values:
    """Per question: ranking figures over the 100 best, and seconds of a search as the user gets it.

    Times are of a warm search for the default number of passages, with reranking ("seconds") and
    without it ("search_seconds").
    """
    values = measure_ranking(questions, lambda q, depth: _find(retriever, q, depth), judge)
    if any(question.history for question in questions):
        forms = {"literal": [replace(q, history=()) for q in questions]}
        forms["human"] = [replace(q, text=q.standalone, history=()) for q in questions if q.standalone]
        for form, asked in forms.items():
            ranked = measure_ranking(asked, lambda q, depth: _find(retriever, q, depth), judge)
            values |= {f"{form}_{name}": ranked[name] for name in CONVERSATION}
    plain = Retriever(retriever.generation, retriever.embedder, None, retriever.settings)
    values["search_seconds"], values["seconds"] = {}, {}
    for question in counted(questions, "timing"):
        values["search_seconds"][question.key] = _seconds(plain, question)
        values["seconds"][question.key] = _seconds(retriever, question)
    return values


def measure_ranking(questions: Sequence[Question], search: Search, judge: Judge) -> Values:
    """Per question: RANKING over the 100 best, and of SOME what the set has over what a user is shown."""
    values: Values = {name: {} for name in (*RANKING, *SOME)}
    for question in counted(questions, "searching"):
        found, shown = ([hit.chunk for hit in search(question, depth)] for depth in (DEPTH, SHOWN))
        for name, figure in _figures(question, found, shown, judge).items():
            values[name][question.key] = figure
    return values


def _find(retriever: Retriever, question: Question, depth: int | None = None) -> Sequence[Hit]:
    """As the engine searches for it."""
    whole = standalone(question.text, question.history)
    return retriever.find(whole, depth, spoken=question.text if whole != question.text else "").hits


def _figures(
    question: Question, found: Sequence[Chunk], shown: Sequence[Chunk], judge: Judge
) -> dict[str, float]:
    gains, ideal = judge.gains(question, found), judge.ideal(question)
    figures = {
        "hit@1": metrics.hit_at(gains, 1),
        "hit@5": metrics.hit_at(gains, 5),
        "mrr@10": metrics.reciprocal_rank(gains, 10),
        "ndcg@10": metrics.ndcg(gains, ideal, 10),
        "recall@100": metrics.recall_at(gains, len(ideal), DEPTH),
    }
    if (has_all := judge.has_all_documents(question, shown)) is not None:
        figures[FILES[len(question.documents) > 1]] = float(has_all)
    if overlap := judge.overlap(question, shown):
        figures |= dict(zip(OVERLAP, overlap))
    return figures


def _seconds(retriever: Retriever, question: Question) -> float:
    start = time.perf_counter()
    _find(retriever, question)
    return time.perf_counter() - start


def measure_answers(
    engine: Engine,
    answerable: Sequence[Question],
    unanswerable: Sequence[Question],
    foreign: Sequence[Question],
) -> Values:
    """Per question: how right the answer is, and whether questions were rightly or wrongly refused."""
    values: Values = {name: {} for name in ANSWER_FIGURES}
    for question in counted(answerable, "answering"):
        for name, value in judge_answer(question, _ask(engine, question)).items():
            values[name][question.key] = value
    for kind, questions in (("true", unanswerable), ("foreign", foreign)):
        for question in counted(questions, f"{kind} refusals"):
            answer = _ask(engine, question)
            values[f"{kind}_refusal"][question.key] = float(answer.abstained)
            values[f"{kind}_confidence"][question.key] = answer.confidence
    return values


ANSWER_FIGURES = (
    "em",
    "f1",
    "contains_gold",
    "words",
    "exact_em",
    "exact_f1",
    "cited_gold",
    "false_refusal",
    "true_refusal",
    "foreign_refusal",
    "confidence",
    "true_confidence",
    "foreign_confidence",
    "first_token_s",
    "total_s",
)


def judge_answer(question: Question, answer: Answer) -> dict[str, float]:
    """The figures of one answer to an answerable question; those that do not apply are left out.

    A refusal is a wrong answer. "words" are counted where something was answered, "exact_*" where a
    citation has an exact span, "cited_gold" where the answer contains the gold answer.
    """
    figures = {
        "false_refusal": float(answer.abstained),
        "confidence": answer.confidence,
        "total_s": answer.timings.total_s,
    }
    if answer.timings.first_token_s is not None:
        figures["first_token_s"] = answer.timings.first_token_s
    text = "" if answer.abstained else metrics.shown_text(answer)
    if not answer.abstained:
        figures["words"] = float(len(text.split()))
    golds = question.answers
    if not golds:
        return figures
    figures |= {"em": metrics.exact_match(text, golds), "f1": metrics.f1(text, golds)}
    figures["contains_gold"] = float(metrics.contains(text, golds))
    exact = next((citation.exact for citation in answer.citations if citation.exact), None)
    if exact and not answer.abstained:
        figures |= {"exact_em": metrics.exact_match(exact, golds), "exact_f1": metrics.f1(exact, golds)}
    if figures["contains_gold"]:
        quotes = [citation.quote for citation in answer.citations if citation.verified]
        figures["cited_gold"] = float(any(metrics.contains(quote, golds) for quote in quotes))
    return figures


def _ask(engine: Engine, question: Question) -> Answer:
    events = engine.ask(question.text, history=question.history)
    answer = next((event.answer for event in events if isinstance(event, Done)), None)
    if answer is None:
        raise RagError(f"no answer came to '{question.text}'", "Report this.")
    return answer
