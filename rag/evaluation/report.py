"""An outcome in figures: one JSON object for programs, a table for people, from the same record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError
from rag.evaluation import metrics
from rag.evaluation.measure import RANKING, SOME, Values
from rag.evaluation.refusals import curve, draw, refused_at
from rag.evaluation.run import Outcome

SHARES = (
    "em",
    "f1",
    "contains_gold",
    "exact_em",
    "exact_f1",
    "cited_gold",
    "false_refusal",
    "true_refusal",
    "foreign_refusal",
)
MEANINGS = {
    "hit@1": "first result is right",
    "hit@5": "one of five results is right",
    "mrr@10": "mean of 1 / rank of the first right result",
    "ndcg@10": "order of the first ten, 1 is ideal",
    "recall@100": "right results among the first hundred",
    "one_document": "the right file is shown, where one is right",
    "all_documents": "all right files are shown, where several are",
    "token_recall@5": "share of the right text in the first five passages",
    "token_precision@5": "share of the first five passages that is right text",
    "token_iou@5": "right text found, of all that is right or was retrieved",
    "literal_hit@5": "the same without what a conversation adds",
    "literal_ndcg@10": "the same without what a conversation adds",
    "human_hit@5": "the same with a person's form of the question",
    "human_ndcg@10": "the same with a person's form of the question",
    "p50_s": "retrieval, half are faster",
    "p95_s": "retrieval, 95 % are faster",
    "search_p50_s": "the same before reranking",
    "search_p95_s": "the same before reranking",
    "em": "shown answer is exactly a gold answer",
    "f1": "shared words of shown and gold answer",
    "contains_gold": "shown answer contains a gold answer",
    "median_words": "words shown, where not refused",
    "exact_em": "exact span is a gold answer",
    "exact_f1": "shared words of exact span and gold answer",
    "cited_gold": "right answers whose verified quote has the gold answer",
    "false_refusal": "answerable questions refused",
    "true_refusal": "unanswerable questions refused",
    "foreign_refusal": "questions on other things refused",
    "true_at_10": "unanswerable ones refused if 10 % of the answerable are",
    "foreign_at_3": "other things refused if 3 % of the answerable are",
    "first_token_s": "median time to the first token",
    "total_s": "median time to the whole answer",
}


def record(outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints; a figure that does not apply is None. Times are in seconds.

    "ci95" holds the 95 % bootstrap interval of every mean, "counts" the questions of other kinds,
    "per_question" what `rag.evaluation.compare` sets side by side.
    """
    options, retrieval, answers = outcome.options, outcome.retrieval, outcome.answers
    seed, ranked = options.seed, _ranked(retrieval)
    return {
        "dataset": str(options.dataset),
        "settings": {
            "sample": options.sample,
            "seed": seed,
            "split": options.split,
            "foreign": str(options.foreign) if options.foreign else None,
            **outcome.settings,
        },
        "retrieval": _retrieval(retrieval),
        "answers": _answers(answers) if answers else None,
        "ci95": {
            "retrieval": _intervals(retrieval, ranked, seed),
            "answers": _intervals(answers, SHARES, seed) if answers else None,
        },
        "counts": {
            "unanswerable": len(answers.get("true_refusal", ())),
            "foreign": len(answers.get("foreign_refusal", ())),
        },
        "notes": list(outcome.notes),
        "per_question": {
            "retrieval": {name: retrieval[name] for name in ranked},
            "answers": {name: answers[name] for name in SHARES} if answers else None,
        },
    }


def _ranked(values: Values) -> tuple[str, ...]:
    """The figures of a ranking that this set has."""
    return (*RANKING, *(name for name in SOME if values.get(name)))


def _retrieval(values: Values) -> dict[str, float | None]:
    return {
        "n": len(values["seconds"]),
        **{name: _rounded(metrics.mean(_of(values, name))) for name in _ranked(values)},
        "p50_s": _rounded(metrics.percentile(_of(values, "seconds"), 0.5)),
        "p95_s": _rounded(metrics.percentile(_of(values, "seconds"), 0.95)),
        "search_p50_s": _rounded(metrics.percentile(_of(values, "search_seconds"), 0.5)),
        "search_p95_s": _rounded(metrics.percentile(_of(values, "search_seconds"), 0.95)),
    }


def _answers(values: Values) -> dict[str, float | None]:
    means = {name: _rounded(metrics.mean(_of(values, name))) for name in SHARES}
    medians = {
        "median_words": metrics.percentile(_of(values, "words"), 0.5),
        "first_token_s": _rounded(metrics.percentile(_of(values, "first_token_s"), 0.5)),
        "total_s": _rounded(metrics.percentile(_of(values, "total_s"), 0.5)),
    }
    figures = {"n": len(values["false_refusal"]), **means, **medians, **_prices(values)}
    order = ["n", *(name for name in MEANINGS if name in figures)]
    return {name: figures[name] for name in order}


def _prices(values: Values) -> dict[str, float | None]:
    """Refusals at a fixed price, whatever the threshold is now."""
    sure = _of(values, "confidence")
    return {
        "true_at_10": _rounded(refused_at(sure, _of(values, "true_confidence"), 0.10)),
        "foreign_at_3": _rounded(refused_at(sure, _of(values, "foreign_confidence"), 0.03)),
    }


def _intervals(values: Values, names: tuple[str, ...], seed: int) -> dict[str, list[float] | None]:
    found = {name: metrics.bootstrap(_of(values, name), seed) for name in names}
    return {name: [round(end, 4) for end in ends] if ends else None for name, ends in found.items()}


def _of(values: Values, name: str) -> list[float]:
    return list(values[name].values())


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def draw_refusals(outcome: Outcome, file: Path) -> None:
    """A picture of what refusing costs. Raises EvaluationError, EngineMissing."""
    values = outcome.answers
    kinds = {"near misses": "true_confidence", "other things": "foreign_confidence"}
    asked = {name: _of(values, figure) for name, figure in kinds.items() if values.get(figure)}
    if not asked:
        raise EvaluationError(
            "there is no curve without questions that have no answer",
            "Use a set with unanswerable questions, or --foreign, and leave out --retrieval-only.",
        )
    sure = _of(values, "confidence")
    now = metrics.mean(_of(values, "false_refusal")) or 0.0
    draw({name: curve(sure, others) for name, others in asked.items()}, now, file)


def table(figures: Mapping[str, Any]) -> str:
    """The record as lines for a terminal: figure, value, 95 % interval, meaning."""
    lines = [f"{figures['dataset']}  (seed {figures['settings']['seed']})"]
    lines += [f"note: {note}" for note in figures["notes"]]
    for part in ("retrieval", "answers"):
        if figures[part]:
            lines += [
                "",
                f"{part}, {figures[part]['n']} questions",
                *_lines(figures[part], figures["ci95"][part]),
            ]
    others = [f"{count} {kind}" for kind, count in figures["counts"].items() if count]
    if others:
        lines += ["", f"also asked: {', '.join(others)}"]
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, float | None], intervals: Mapping[str, list[float] | None]) -> list[str]:
    lines = []
    for name, value in values.items():
        if name == "n" or value is None:
            continue
        ends = intervals.get(name)
        between = f"{ends[0]:.3f} - {ends[1]:.3f}" if ends else ""
        shown = f"{value:g}" if name == "median_words" else f"{value:.3f}"
        lines.append(f"  {name:<16} {shown:>8}  {between:<15}  {MEANINGS[name]}".rstrip())
    return lines
