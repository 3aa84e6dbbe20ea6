"""What the reader learns from: a question, a passage, and where in it the answer stands, if it does."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rag.embedding import Embedder
from rag.evaluation.corpus import open_corpus
from rag.evaluation.datasets import load_dataset
from rag.evaluation.metrics import holds_answer
from rag.evaluation.progress import counted
from rag.reranking import Reranker
from rag.retrieval import Retriever
from rag.settings import Settings
from rag.store.generation import Generation
from rag.types import Chunk

WRONG_PASSAGES = 2
"""Of each question: the best-ranked passages that do not hold its answer."""

NEAR = 8
"""Wrong passages are drawn from so many best-ranked ones."""


@dataclass(frozen=True, slots=True)
class Example:
    """`answers` are (start, end) in `passage`, empty where it does not answer.

    `relevance` is the cross-encoder's logit of both: retrieval must not get worse by the rest.
    `hard` marks a question about this very passage that it does not answer.
    """

    article: str
    question: str
    context: str
    passage: str
    answers: tuple[tuple[int, int], ...]
    relevance: float
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a SQuAD-shaped set; places count characters of the whole article's text."""

    article: str
    question: str
    answers: tuple[tuple[int, int], ...]
    texts: tuple[str, ...]
    paragraph: tuple[int, int]


def articles(path: Path) -> list[str]:
    """The titles in a SQuAD-shaped file, in their order."""
    return [article["title"] for article in json.loads(path.read_bytes())["data"]]


def gather(
    path: Path, embedder: Embedder, teacher: Reranker, settings: Settings, most: int | None = None
) -> list[Example]:
    """Examples of all (or `most`) questions in a SQuAD-shaped file, cut and searched as the program does it.

    Of each question the passage that holds its answer, or should hold it, and `WRONG_PASSAGES` others.
    """
    dice = random.Random(0)
    with open_corpus(load_dataset(path), embedder, settings) as generation:
        retriever = Retriever(generation, embedder, None, settings.retrieval)
        ids = {document.paths[0]: document.id for document in generation.documents()}
        chunks = _chunks(generation)
        found: list[Example] = []
        for asked in counted(list(questions(path))[:most], f"passages for {path.name}"):
            own = chunks[ids[asked.article]]
            drafts = list(_drafts(asked, own, retriever, dice))
            logits = teacher.score(asked.question, [chunk.searchable for chunk, _, _ in drafts])
            found += [
                Example(asked.article, asked.question, chunk.context, chunk.text, spans, float(logit), hard)
                for (chunk, spans, hard), logit in zip(drafts, logits)
            ]
    return found


def questions(path: Path) -> Iterator[Asked]:
    """The questions of a SQuAD-shaped file, with places in the text that its article becomes."""
    for article in json.loads(path.read_bytes())["data"]:
        start = 0
        for paragraph in article["paragraphs"]:
            end = start + len(paragraph["context"])
            for qa in paragraph["qas"]:
                yield _asked(article["title"], qa, start, end)
            start = end + 2  # a blank line stands between two


def _asked(article: str, qa: dict[str, Any], start: int, end: int) -> Asked:
    answers = () if qa.get("is_impossible") else qa.get("answers", ())
    spans = {
        (start + answer["answer_start"], start + answer["answer_start"] + len(answer["text"]))
        for answer in answers
    }
    texts = tuple(dict.fromkeys(answer["text"] for answer in answers))
    return Asked(article, qa["question"].strip(), tuple(sorted(spans)), texts, (start, end))


Draft = tuple[Chunk, tuple[tuple[int, int], ...], bool]


def _drafts(asked: Asked, own: Sequence[Chunk], retriever: Retriever, dice: random.Random) -> Iterator[Draft]:
    right = _right(asked, own)
    if right:
        inside = [span for span in asked.answers if _covers(right, span)]
        yield right, tuple((a - right.start, b - right.start) for a, b in inside), False
    elif not asked.answers:
        about = max(own, key=lambda chunk: _shared(chunk, asked.paragraph))
        yield about, (), True
    wrong = [
        hit.chunk
        for hit in retriever.search(asked.question, NEAR)
        if hit.chunk.id != (right.id if right else None) and not holds_answer(hit.chunk.text, asked.texts)
    ]
    for chunk in dice.sample(wrong, min(WRONG_PASSAGES, len(wrong))):
        yield chunk, (), False


def _right(asked: Asked, own: Sequence[Chunk]) -> Chunk | None:
    """The passage that holds an answer and most of its paragraph; None where none is whole in any."""
    holding = [chunk for chunk in own if any(_covers(chunk, span) for span in asked.answers)]
    return max(holding, key=lambda chunk: _shared(chunk, asked.paragraph), default=None)


def _covers(chunk: Chunk, span: tuple[int, int]) -> bool:
    return chunk.start <= span[0] and span[1] <= chunk.end


def _shared(chunk: Chunk, span: tuple[int, int]) -> int:
    return max(0, min(chunk.end, span[1]) - max(chunk.start, span[0]))


def _chunks(generation: Generation) -> dict[str, list[Chunk]]:
    by_document: dict[str, list[Chunk]] = {}
    for chunk in generation.chunks(generation.chunk_ids().tolist()).values():
        by_document.setdefault(chunk.document_id, []).append(chunk)
    return by_document


def save(examples: Iterable[Example], file: Path) -> None:
    """Write one JSON object a line."""
    aside = file.with_suffix(".part")
    with aside.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(asdict(example)) + "\n" for example in examples)
    aside.replace(file)


def load(file: Path) -> list[Example]:
    """Read what `save` wrote."""
    return [_example(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def _example(row: dict[str, Any]) -> Example:
    return Example(**{**row, "answers": tuple(tuple(span) for span in row["answers"])})
