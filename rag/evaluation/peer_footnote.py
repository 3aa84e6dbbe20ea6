"""Footnote's side of the comparison, in a process of its own that prints what the peers' scripts print.

    python -m rag.evaluation.peer_footnote ingest DATASET.json
    python -m rag.evaluation.peer_footnote ask QUESTIONS.json [--no-llm]

Its index lies where FOOTNOTE_INDEX says. Answers have more than the peers': whether Footnote refused, and the
quotes of the footnotes that were verified.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.embedding import load_embedder
from rag.evaluation.corpus import add_documents
from rag.places import index_root
from rag.settings import Settings
from rag.store.generation import Collection
from rag.types import Answer, Document, Done

if TYPE_CHECKING:
    from rag.engine import Engine

DEPTH = 10
"""Passages that are judged, as in the peers' scripts."""


def ingest(dataset_file: str) -> None:
    settings = Settings()
    embedder = load_embedder(settings.embedding)
    embedder.embed_query("warm up")
    documents = _documents(Path(dataset_file))
    start = time.perf_counter()
    with Collection(index_root()).writer(embedder, settings.chunk, rebuild=True, task="compare") as writer:
        add_documents(writer, documents, embedder, settings.chunk)
        with writer.publish() as published:
            _tell(chunks=published.chunk_count, seconds=time.perf_counter() - start)


def _documents(dataset_file: Path) -> list[Document]:
    """Without titles, which would be a number here, and which the peers are not given either."""
    from rag.evaluation.datasets import load_dataset

    dataset = load_dataset(dataset_file)
    assert dataset.documents is not None
    return [replace(document, title="") for document in dataset.documents()]


def ask(questions_file: str, *flags: str) -> None:
    from rag.engine import open_engine

    questions = json.loads(Path(questions_file).read_text(encoding="utf-8"))
    with open_engine(Settings(), with_model="--no-llm" not in flags) as engine:
        _tell(first_hit=len(engine.retriever.search(questions["search"][0]["text"])))
        for question in questions["search"]:
            _search(engine, question)
        for question in questions["answer"]:
            _answer(engine, question)


def _search(engine: Engine, question: dict[str, str]) -> None:
    start = time.perf_counter()
    engine.retriever.search(question["text"])
    seconds = time.perf_counter() - start
    found = engine.retriever.search(question["text"], DEPTH)
    _tell(
        searched=question["key"],
        hits=[[hit.chunk.path, hit.chunk.text] for hit in found],
        seconds=seconds,
    )


def _answer(engine: Engine, question: dict[str, str]) -> None:
    start = time.perf_counter()
    answer = next(event.answer for event in engine.ask(question["text"]) if isinstance(event, Done))
    seconds = time.perf_counter() - start
    _tell(
        answered=question["key"],
        text=answer.text,
        seconds=seconds,
        refused=answer.abstained,
        quotes=_quotes(answer),
    )


def _quotes(answer: Answer) -> list[str]:
    return [citation.quote for citation in answer.citations if citation.verified]


def _tell(**record: Any) -> None:
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    (ingest if sys.argv[1] == "ingest" else ask)(*sys.argv[2:])
