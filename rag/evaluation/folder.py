"""A folder of one's own files with a questions.csv beside them.

Columns, in any order and case, blanks and hyphens read as underscores:

    question     question, query
    answer       answer, answers, reference_answer, gold_answer, expected_answer, ground_truth
    references   references, reference, spans, evidence: passages that a right result holds
    documents    documents, document, source_docs, source_documents, sources, source, files, file, corpus_id
    answerable   answerable (yes/no), is_impossible (yes/no)

Only the question is required. An answer or a reference is plain text or a JSON list of texts or of
objects with "content" or "text". Documents are names, stems or patterns like `*AAPL*`, apart by
semicolons or lines. Retrieval is judged by references where the file has them, else by documents,
else by answers.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from rag.errors import EvaluationError
from rag.evaluation.datasets import QUESTIONS_FILE, Dataset, Question, left_out, read_text

COLUMNS: dict[str, tuple[str, ...]] = {
    "question": ("question", "query"),
    "answers": (
        "answer",
        "answers",
        "reference_answer",
        "gold_answer",
        "expected_answer",
        "ground_truth",
    ),
    "references": ("references", "reference", "spans", "evidence"),
    "documents": (
        "documents",
        "document",
        "source_docs",
        "source_documents",
        "sources",
        "source",
        "files",
        "file",
        "corpus_id",
    ),
    "answerable": ("answerable",),
    "impossible": ("is_impossible",),
}
TRUE, FALSE = {"1", "true", "yes", "y"}, {"0", "false", "no", "n", ""}


def load_folder(folder: Path) -> Dataset:
    """Read the questions; the files themselves are left to ingestion. Raises EvaluationError."""
    path = folder / QUESTIONS_FILE
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file != path]
    asked = [_question(row, files, folder, f"{path} row {number}") for number, row in _rows(path)]
    relevant: Literal["answer", "reference", "document"] = (
        "reference"
        if any(question.references for question in asked)
        else "document"
        if any(question.documents for question in asked)
        else "answer"
    )
    known = {"reference": "references", "document": "documents", "answer": "answers"}[relevant]
    questions = tuple(q for q in asked if not q.answerable or getattr(q, known))
    if not questions:
        raise EvaluationError(
            f"{path} holds no question that can be judged",
            f"Add a column of answers, references or documents; names as in {COLUMNS}.",
        )
    # The index of real files is brought up to date by ingestion itself, so the place is enough.
    fingerprint = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogatepass")).hexdigest()
    notes = left_out(len(asked) - len(questions), f"no {known} given")
    return Dataset(folder.resolve().name, relevant, questions, fingerprint, folder=folder, notes=notes)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Row number and its cells by our own column names."""
    csv.field_size_limit(2**27)
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        header = [re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in next(reader, [])]
        places = {name: _column(header, known) for name, known in COLUMNS.items()}
        if places["question"] is None:
            raise EvaluationError(
                f"{path} has no question column, only: {', '.join(header) or 'nothing'}",
                "Call the column with the questions 'question'.",
            )
        for number, cells in enumerate(reader, start=2):
            row = {name: cells[n].strip() for name, n in places.items() if n is not None and n < len(cells)}
            if row.get("question"):
                yield number, row
    except csv.Error as error:
        raise EvaluationError(
            f"{path} is not a CSV file: {error}", "Save it as comma-separated UTF-8."
        ) from error


def _column(header: Sequence[str], known: Sequence[str]) -> int | None:
    return next((header.index(name) for name in known if name in header), None)


def _question(row: Mapping[str, str], files: Sequence[Path], folder: Path, where: str) -> Question:
    answerable = _flag(row.get("answerable", "yes") or "yes", where)
    return Question(
        id=where.rpartition(" ")[2],
        text=row["question"],
        answers=_texts(row.get("answers", ""), where),
        documents=dict.fromkeys(_documents(row.get("documents", ""), files, folder, where), 1.0),
        references=_texts(row.get("references", ""), where),
        answerable=answerable and not _flag(row.get("impossible", "no"), where),
    )


def _flag(cell: str, where: str) -> bool:
    if cell.lower() not in TRUE | FALSE:
        raise EvaluationError(f"{where}: '{cell}' is neither yes nor no", "Write yes or no.")
    return cell.lower() in TRUE


def _texts(cell: str, where: str) -> tuple[str, ...]:
    """A cell's texts: the cell itself, or the members of the JSON list that it holds."""
    if not cell.startswith(("[{", '["')) and cell != "[]":
        return (cell,) if cell else ()
    try:
        members = json.loads(cell)
        texts = [m if isinstance(m, str) else m.get("content", m.get("text")) for m in members]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError('each member needs "content" or "text"')
    except (ValueError, AttributeError) as error:
        raise EvaluationError(f"{where}: not a JSON list of texts: {error}", "Correct that cell.") from error
    return tuple(text for text in texts if text.strip())


def _documents(cell: str, files: Sequence[Path], folder: Path, where: str) -> list[str]:
    """The files that the cell names, as ingestion writes their paths."""
    found: list[str] = []
    for wanted in filter(None, (part.strip() for part in re.split(r"[;\n]", cell))):
        matches = [file for file in files if _matches(file, folder, wanted.lower())]
        if not matches:
            raise EvaluationError(
                f"{where}: no file in {folder} matches '{wanted}'", "Correct the name or add the file."
            )
        found += [str(file.resolve()) for file in matches]
    return found


def _matches(file: Path, folder: Path, pattern: str) -> bool:
    names = (file.name, file.stem, file.relative_to(folder).as_posix())
    return any(name.lower() == pattern or fnmatchcase(name.lower(), pattern) for name in names)
