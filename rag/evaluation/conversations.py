"""Conversations whose last question is to be answered, in the shape of MTRAG (Katsis et al. 2025)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError
from rag.evaluation.datasets import Dataset, Question, left_out, make_document
from rag.followups import standalone
from rag.types import Turn

ANSWERABLE = {"ANSWERABLE", "PARTIAL"}


def load_conversations(path: Path, raw: bytes, read: Mapping[str, Any]) -> Dataset:
    """The tasks of a file that holds {"documents": [...], "tasks": [{"input", "contexts", ...}]}.

    A task's right passages are its contexts. Raises EvaluationError.
    """
    try:
        documents = [
            make_document(str(row["document_id"]), row.get("title") or "", row["text"], "mtrag")
            for row in read["documents"]
        ]
        questions = [_question(task) for task in read["tasks"]]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise EvaluationError(
            f"{path} is not MTRAG-shaped: {what}",
            'It should hold {"documents": [{"document_id", "text"}], "tasks": [{"task_id", '
            '"input": [{"speaker", "text"}], "contexts": [{"document_id"}]}]}.',
        ) from error
    judged = tuple(q for q in questions if q.documents or not q.answerable)
    if not judged:
        raise EvaluationError(f"{path} holds no question that can be judged", "Name another set.")
    notes = left_out(len(questions) - len(judged), "no right passage")
    fingerprint = hashlib.sha256(raw).hexdigest()
    return Dataset(path.stem, "document", judged, fingerprint, lambda: documents, notes=notes)


def _question(task: Mapping[str, Any]) -> Question:
    said: Sequence[Mapping[str, str]] = task["input"]
    history: list[Turn] = []
    for turn, reply in zip(said[:-1:2], said[1::2]):
        question = turn["text"].strip()
        history.append(Turn(question, standalone(question, history), reply["text"]))
    kinds = task.get("Answerability") or ["ANSWERABLE"]
    answerable = bool(ANSWERABLE.intersection(kinds))
    return Question(
        id=str(task["task_id"]),
        text=said[-1]["text"].strip(),
        documents={str(context["document_id"]): 1.0 for context in task["contexts"]} if answerable else {},
        answerable=answerable,
        history=tuple(history),
        standalone=str(task.get("standalone") or task.get("rewrite") or ""),
    )
