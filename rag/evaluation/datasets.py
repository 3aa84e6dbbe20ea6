"""Question sets in the shapes that people publish them in: SQuAD, BEIR, MTRAG, files + questions.csv."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rag.errors import EvaluationError, InputNotFound, UsageError
from rag.types import Document, Section, Turn

SHAPES = (
    "A dataset is a SQuAD-shaped or MTRAG-shaped .json file, a BEIR-shaped folder (corpus.jsonl, "
    "queries.jsonl, qrels/*.tsv), or a folder of files with a questions.csv."
)
QUESTIONS_FILE = "questions.csv"


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what is known of its answer.

    `documents` maps the paths of the right documents (as in `Chunk.path`) to how relevant they are;
    `answers` are short gold answers, `references` passages that a right result holds. `history` are the
    turns of a conversation before it, and `standalone` is what a person made of it and them, if known.
    """

    id: str
    text: str
    answers: tuple[str, ...] = ()
    documents: Mapping[str, float] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    answerable: bool = True
    history: tuple[Turn, ...] = ()
    standalone: str = ""

    @property
    def key(self) -> str:
        """What tells it from the others: its id, or its text where it has none."""
        return self.id or self.text


@dataclass(frozen=True, slots=True)
class Dataset:
    """Questions, and the corpus to ask them of: `documents()`, or the files under `folder`.

    `relevant` says what a result is judged by: "answer" (a chunk of a right document that has a gold
    answer), "reference" (a chunk that has a reference passage), "document" (a right document, ranked
    by its best chunk). `fingerprint` changes with the corpus.
    """

    name: str
    relevant: Literal["answer", "reference", "document"]
    questions: tuple[Question, ...]
    fingerprint: str
    documents: Callable[[], Iterable[Document]] | None = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    def sample(self, size: int, seed: int, answerable: bool | None = None) -> list[Question]:
        """At most `size` of all questions, or of those that have (or lack) an answer, drawn with `seed`."""
        pool = [q for q in self.questions if answerable is None or q.answerable == answerable]
        return pool if size >= len(pool) else random.Random(seed).sample(pool, size)


def load_dataset(path: Path, split: str | None = None) -> Dataset:
    """Read a dataset of any of the shapes; `split` chooses among a BEIR folder's qrels.

    Raises InputNotFound, EvaluationError.
    """
    if not path.exists():
        raise InputNotFound(f"there is no dataset at {path}", SHAPES)
    if path.is_dir() and (path / "corpus.jsonl").exists():
        return _beir(path, split)
    if split:
        raise UsageError(f"{path} has no splits", "Leave out --split; it is for BEIR-shaped folders.")
    if path.is_dir() and (path / QUESTIONS_FILE).exists():
        from rag.evaluation.folder import load_folder

        return load_folder(path)
    if path.is_file() and path.suffix.lower() == ".json":
        return _json(path)
    raise EvaluationError(f"{path} has none of the known shapes", SHAPES)


def _json(path: Path) -> Dataset:
    raw = read_bytes(path)
    try:
        read = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path} is not JSON: {error}", SHAPES) from error
    if isinstance(read, dict) and "tasks" in read:
        from rag.evaluation.conversations import load_conversations

        return load_conversations(path, raw, read)
    return _squad(path, raw, read)


def _squad(path: Path, raw: bytes, read: Any) -> Dataset:
    try:
        articles = read["data"]
        documents = _unique([_article(article) for article in articles])
        answered = [
            _squad_question(qa, document.path)
            for article, document in zip(articles, documents)
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise EvaluationError(
            f"{path} is not SQuAD-shaped: {what}",
            'It should hold {"data": [{"title", "paragraphs": [{"context", "qas": [...]}]}]}.',
        ) from error
    # Without a gold answer, and not marked as unanswerable, nothing can be judged.
    questions = tuple(q for q in answered if q.answers or not q.answerable)
    notes = left_out(len(answered) - len(questions), "no gold answer")
    _some(questions, path)
    fingerprint = hashlib.sha256(raw).hexdigest()
    return Dataset(path.stem, "answer", questions, fingerprint, lambda: documents, notes=notes)


def _article(article: Mapping[str, Any]) -> Document:
    """One article as one document, its paragraphs apart by a blank line."""
    text = "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
    return make_document(article["title"], article["title"].replace("_", " "), text, "squad")


def _squad_question(qa: Mapping[str, Any], document: str) -> Question:
    answers = tuple(dict.fromkeys(answer["text"] for answer in qa.get("answers", ())))
    impossible = bool(qa.get("is_impossible", False))
    return Question(
        id=str(qa.get("id", "")),
        text=qa["question"].strip(),
        answers=() if impossible else answers,
        documents={document: 1.0},
        answerable=not impossible,
    )


def _beir(path: Path, split: str | None) -> Dataset:
    qrels = _qrels(_split_file(path, split))
    texts = {str(row["_id"]): row["text"] for row in _jsonl(path / "queries.jsonl", ("_id", "text"))}
    known = {query: grades for query, grades in qrels.items() if query in texts}
    questions = tuple(Question(id=q, text=texts[q], documents=grades) for q, grades in known.items())
    notes = left_out(len(qrels) - len(known), "not in queries.jsonl")
    _some(questions, path)
    corpus = path / "corpus.jsonl"
    fingerprint = hashlib.sha256(read_bytes(corpus)).hexdigest()
    return Dataset(
        path.name, "document", questions, fingerprint, lambda: _beir_documents(corpus), notes=notes
    )


def _split_file(path: Path, split: str | None) -> Path:
    files = {file.stem: file for file in sorted((path / "qrels").glob("*.tsv"))}
    if not files:
        raise EvaluationError(f"{path} has no qrels/*.tsv", SHAPES)
    chosen = files.get(split or "test") or (
        next(iter(files.values())) if not split and len(files) == 1 else None
    )
    if chosen is None:
        wanted = f"has no split '{split}'" if split else "has several splits and none is called test"
        raise EvaluationError(f"{path} {wanted}", f"Choose with --split: {', '.join(files)}.")
    return chosen


def _qrels(path: Path) -> dict[str, dict[str, float]]:
    """Query id -> document id -> grade, for grades above 0."""
    qrels: dict[str, dict[str, float]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            query, document, grade = line.split("\t")
            if number == 1 and not _is_number(grade):
                continue  # the header
            if float(grade) > 0:
                qrels.setdefault(query, {})[document] = float(grade)
        except ValueError as error:
            raise EvaluationError(
                f"{path} line {number} is not 'query-id TAB corpus-id TAB score'", "Correct that line."
            ) from error
    return qrels


def _beir_documents(corpus: Path) -> Iterator[Document]:
    for row in _jsonl(corpus, ("_id", "text")):
        yield make_document(str(row["_id"]), row.get("title") or "", row["text"], "beir")


def _jsonl(path: Path, keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    if not path.exists():
        raise EvaluationError(f"{path} is missing", SHAPES)
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict) or any(key not in row for key in keys):
                    raise ValueError(f"needs the keys {', '.join(keys)}")
            except ValueError as error:
                raise EvaluationError(f"{path} line {number}: {error}", "Correct that line.") from error
            yield row


def make_document(path: str, title: str, text: str, parser: str) -> Document:
    digest = hashlib.sha256(f"{path}\n{title}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return Document(digest, path, title, "text/plain", (Section(text),), parser)


def _unique(documents: list[Document]) -> list[Document]:
    """The documents, refused when two share a path: their questions could not be told apart."""
    paths = {document.path for document in documents}
    if len(paths) < len(documents):
        raise ValueError("two articles have the same title")
    return documents


def left_out(count: int, reason: str) -> tuple[str, ...]:
    """A note on questions that cannot be used, if there are any."""
    return (f"{count} questions left out: {reason}",) if count else ()


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}", "Check its permissions.") from error


def read_text(path: Path) -> str:
    return read_bytes(path).decode("utf-8-sig", "replace")


def _some(questions: tuple[Question, ...], path: Path) -> None:
    if not questions:
        raise EvaluationError(f"{path} holds no question that can be judged", SHAPES)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
