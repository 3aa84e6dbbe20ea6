"""What a model's sentences rest on, for a person to read: each that was verified, beside its quote."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rag.citations import UNSUPPORTED_MARK
from rag.errors import EvaluationError
from rag.evaluation.datasets import load_dataset
from rag.evaluation.progress import counted
from rag.evaluation.run import open_dataset_engine
from rag.quoting import DISPUTED
from rag.settings import Settings
from rag.types import Answer, Citation, Done

_FOOTNOTE = re.compile(rf" (?:\[\d+\]|{re.escape(UNSUPPORTED_MARK)})")


def measure_spoken(path: Path, settings: Settings, count: int, seed: int) -> dict[str, Any]:
    """Ask questions of the dataset until `count` sentences of the model were verified, or none is left.

    The model speaks first, whatever its size. Questions are drawn from the whole dataset, and a sentence
    counts once. "marked" counts the sentences that were not verified. Raises EvaluationError, ModelError.
    """
    settings = settings.model_copy(update={"answer": settings.answer.model_copy(update={"lead": "model"})})
    dataset = load_dataset(path)
    questions = [question for question in dataset.questions if question.answerable]
    random.Random(seed).shuffle(questions)
    if not questions:
        raise EvaluationError("this dataset has no questions with answers", "Name one that has.")
    verified: dict[str, dict[str, Any]] = {}
    asked = marked = 0
    with open_dataset_engine(dataset, settings) as engine:
        for question in counted(questions, "questions"):
            answer = next(e.answer for e in engine.ask(question.text) if isinstance(e, Done))
            asked, marked = asked + 1, marked + len(answer.unsupported)
            for sentence, citation in said_and_cited(answer):
                verified.setdefault(sentence, _told(question.text, sentence, citation))
            if len(verified) >= count:
                break
    figures = {"asked": asked, "verified": len(verified), "marked": marked}
    return {"dataset": str(path), **figures, "sentences": list(verified.values())[:count]}


def said_and_cited(answer: Answer) -> Iterator[tuple[str, Citation]]:
    """Each sentence that a footnote follows, with it; but for the reader's own quotes."""
    citations = iter(answer.citations)
    begin = 0
    said = answer.text.partition(DISPUTED)[0]
    for footnote in _FOOTNOTE.finditer(said):
        sentence, begin = said[begin : footnote.start()].strip(), footnote.end()
        if footnote[0].strip() != UNSUPPORTED_MARK:
            yield sentence, next(citations)


def table(record: dict[str, Any]) -> str:
    """The same for people: a sentence, and below it what it is said to rest on."""
    lines = [
        f"{record['dataset']}: {record['asked']} questions, {record['verified']} sentences verified, "
        f"{record['marked']} marked as not found"
    ]
    for n, each in enumerate(record["sentences"], start=1):
        lines += ["", f"{n}. {each['sentence']}", f'   "{each["quote"]}"', f"   {each['question']}"]
    return "\n".join(lines) + "\n"


def _told(question: str, sentence: str, citation: Citation) -> dict[str, Any]:
    quote = " ".join(citation.quote.split())
    return {"question": question, "sentence": sentence, "quote": quote, "place": citation.hit.chunk.place}
