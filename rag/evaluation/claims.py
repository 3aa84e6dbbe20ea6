"""How well claims are checked: true sentences of a dataset's documents, and each made false in one place."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.citations import checked
from rag.embedding import load_embedder
from rag.errors import EvaluationError
from rag.evaluation.corpus import open_corpus
from rag.evaluation.corruption import KINDS, corrupted, names_in, otherwise
from rag.evaluation.datasets import load_dataset
from rag.evaluation.progress import counted
from rag.reranking import Reranker, load_reranker
from rag.sentences import sentence_spans
from rag.settings import Settings
from rag.store.generation import Generation
from rag.types import Chunk, Citation, Hit

SHORTEST = 6
"""Words of a sentence that is drawn."""
PASSAGES = 5
"""What a sentence is checked against: its own passage, and others of its document."""
TRIES = 400
"""Draws for each sentence that is wanted, before a kind is given up: not every text has units."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A true sentence and its corruption of one `kind`, with the passages that both are checked against."""

    kind: str
    true: str
    false: str
    passages: tuple[Hit, ...]


def measure_claims(path: Path, settings: Settings, count: int, seed: int) -> dict[str, Any]:
    """Draw `count` sentences in all, as many of each kind; how many are marked as unsupported.

    `false_marked`: share of the corrupted ones, `by_kind` too; `true_marked`: share of the originals.
    `missed` are the corrupted sentences that were not marked, `mistaken` the originals that were.
    Raises EvaluationError.
    """
    reader = load_reranker(settings.retrieval)
    with open_corpus(load_dataset(path), load_embedder(settings.embedding), settings) as generation:
        pairs = list(_draw(generation, count, random.Random(seed)))
    if not pairs:
        raise EvaluationError("no sentence of this dataset can be made false", "Name one with running text.")
    missed = [pair for pair in pairs if not _marked(pair.false, pair.passages, reader)]
    mistaken = [pair.true for pair in pairs if _marked(pair.true, pair.passages, reader)]
    drawn, left = (Counter(pair.kind for pair in each) for each in (pairs, missed))
    figures = {
        "n": len(pairs),
        "false_marked": round(1 - len(missed) / len(pairs), 4),
        "true_marked": round(len(mistaken) / len(pairs), 4),
        "by_kind": {kind: round(1 - left[kind] / drawn[kind], 4) for kind in drawn},
        "missed": [pair.false for pair in missed],
        "mistaken": mistaken,
    }
    return {"dataset": str(path), "claims": figures}


def table(record: dict[str, Any]) -> str:
    """The same for people."""
    figures = record["claims"]
    lines = [
        f"{record['dataset']}: {figures['n']} sentences",
        f"  made false, and marked      {figures['false_marked']:.3f}",
        *(f"    {kind:<26}{share:.3f}" for kind, share in figures["by_kind"].items()),
        f"  true, and marked all the same {figures['true_marked']:.3f}",
        *(f"  missed: {sentence}" for sentence in figures["missed"]),
        *(f"  mistaken: {sentence}" for sentence in figures["mistaken"]),
    ]
    return "\n".join(lines) + "\n"


def _marked(sentence: str, passages: Sequence[Hit], reader: Reranker | None) -> bool:
    return not isinstance(checked(sentence, passages, reader=reader), Citation)


def _draw(generation: Generation, count: int, dice: random.Random) -> Iterator[Pair]:
    by_document: dict[str, list[Chunk]] = {}
    for chunk in generation.chunks(generation.chunk_ids().tolist()).values():
        by_document.setdefault(chunk.document_id, []).append(chunk)
    documents = [by_document[each] for each in sorted(by_document)]
    names = {chunks[0].document_id: names_in(" ".join(c.text for c in chunks)) for chunks in documents}
    for n in counted(list(range(count)), "sentences"):
        kind = KINDS[n % len(KINDS)]
        for _ in range(TRIES):
            chunks = dice.choice(documents)
            chunk = dice.choice(chunks)
            start, end = dice.choice(sentence_spans(chunk.text) or [(0, 0)])
            sentence = chunk.text[start:end]
            if len(sentence.split()) < SHORTEST:
                continue
            true = otherwise(sentence, dice)
            false = corrupted(kind, true, names[chunk.document_id], dice)
            if false and false != true:
                others = [other for other in chunks if other.id != chunk.id]
                beside = dice.sample(others, min(PASSAGES - 1, len(others)))
                yield Pair(kind, true, false, tuple(Hit(each, 0.0) for each in (chunk, *beside)))
                break
