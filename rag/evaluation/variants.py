"""The choices in retrieval, each made otherwise than by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rag import bundled
from rag.duplicates import ALIKE
from rag.errors import BundledModelMissing
from rag.evaluation.alternatives import USUAL, Indexing, min_max, reciprocal_ranks
from rag.retrieval import Fusion, fuse
from rag.settings import Settings, load_settings
from rag.store.lexical import LexicalSettings

SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "squad": ("squad/questions.json", ("mrr@10", "hit@1")),
    "scifact": ("scifact", ("ndcg@10",)),
    "cranfield": ("cranfield", ("ndcg@10",)),
    "chunking": ("chunking", ("token_recall@5", "token_precision@5", "token_iou@5")),
    "ten_q": ("ten_q", ("one_document", "all_documents")),
}
"""Each set's place in the data folder, and the figures that it is there for."""

BASE = {"retrieval.rerank_ms": 0}
"""As many passages are reread as the settings say, so that no figure depends on the machine's speed."""

WEIGHT = "retrieval.dense_weight"
DEPTHS = ("retrieval.dense_depth", "retrieval.lexical_depth")


@dataclass(frozen=True, slots=True)
class Variant:
    """One choice made otherwise: settings by dotted names, or what the program has no setting for.

    Above an `alike` of 1 no passage counts as a repetition; `grown` passages are shown, each with its
    neighbours (0: as always).
    """

    group: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sets: tuple[str, ...] = tuple(SETS)
    indexing: Indexing = USUAL
    fusion: Fusion = fuse
    alike: float = ALIKE
    grown: int = 0

    @property
    def choice(self) -> dict[str, Any]:
        """What is chosen, in JSON's types, whatever it is called here."""
        return {
            "settings": dict(self.settings),
            "indexing": asdict(self.indexing),
            "fusion": self.fusion.__name__,
            "alike": self.alike,
            "grown": self.grown,
        }


DEFAULT = Variant("", "default")

SEARCHES, FUSION, CUTTING, CONTEXT, WORDS, NAMES, REPEATED, AROUND, REREADING = GROUPS = (
    "Searches and embedder",
    "Fusion",
    "Passage size",
    "Title and headings",
    "Words",
    "Names of files, several documents",
    "Repetitions",
    "Neighbours",
    "Rereading",
)
ALONE = {"BM25": 0, "vectors": 1}
"""A search and the cosine's share in the fused score with which it decides alone."""
SIZES = ((100, 0), (150, 0), (150, 30), (200, 30), (200, 60), (300, 0), (400, 60))
"""Tokens of a passage, and how many of them it repeats."""
SIZE_SETS = ("chunking", "cranfield")
"""Where a passage counts by its document or its text: one that is right for holding an answer is right more
often the longer it is."""


def variants() -> list[Variant]:
    """All variants but the default; those of a model that is not installed are left out."""
    return [
        *(
            Variant(SEARCHES, f"{name} alone, not reread", {WEIGHT: share, "retrieval.rerank": "off"})
            for name, share in ALONE.items()
        ),
        Variant(SEARCHES, "both fused, not reread", {"retrieval.rerank": "off"}),
        *(Variant(SEARCHES, f"{name} alone, reread", {WEIGHT: share}) for name, share in ALONE.items()),
        *_another_embedder(),
        *_tried(FUSION, "cosine's share {}", (0.5, 0.7, 0.9), WEIGHT),
        *_tried(FUSION, "reciprocal ranks, cosine's share {}", (0.5, 0.8), WEIGHT, fusion=reciprocal_ranks),
        *_tried(FUSION, "min-max, cosine's share {}", (0.5, 0.8), WEIGHT, fusion=min_max),
        *_tried(FUSION, "{} candidates of each search", (30, 300), *DEPTHS),
        *(
            Variant(
                CUTTING,
                f"{tokens} tokens, {overlap} repeated",
                {"chunk.tokens": tokens, "chunk.overlap": overlap},
                SIZE_SETS,
            )
            for tokens, overlap in SIZES
        ),
        Variant(CONTEXT, "without title and headings", indexing=Indexing(context=False)),
        Variant(WORDS, "not stemmed", indexing=Indexing(lexical=LexicalSettings(stemmer="none"))),
        Variant(WORDS, "stop words left out", indexing=Indexing(lexical=LexicalSettings(stop_words=True))),
        *_tried(NAMES, "a file's name is worth {}", (0, 0.05, 0.2), "retrieval.name_weight"),
        *_tried(NAMES, "at most {} documents where several are asked of", (0, 4), "retrieval.documents"),
        Variant(REPEATED, "repetitions kept", alike=2.0),
        *_tried(REPEATED, "at most {} passages of a document", (2, 3), "retrieval.per_document"),
        *(
            Variant(AROUND, f"{n} passages, each with its neighbours", sets=("chunking",), grown=n)
            for n in (2, 5)
        ),
        *_tried(REREADING, "{} reread", (0, 3, 5), "retrieval.rerank_pairs"),
        Variant(REREADING, "by the bundled cross-encoder", {"retrieval.rerank": "bundled"}),
        *_tried(REREADING, "a logit is worth {}", (0.02, 0.04, 0.15), "retrieval.rerank_weight"),
        *_tried(REREADING, "two where one leads by {}", (0.05, 0.2), "retrieval.rerank_lead"),
        *_tried(REREADING, "as many whatever leads", (0,), "retrieval.rerank_lead"),
    ]


def _tried(
    group: str, label: str, values: Sequence[float], *names: str, fusion: Fusion = fuse
) -> Iterator[Variant]:
    """A variant for each value of the settings of these names."""
    for value in values:
        yield Variant(group, label.format(value), dict.fromkeys(names, value), fusion=fusion)


def _another_embedder() -> Iterator[Variant]:
    try:
        folder = bundled.path(bundled.MINILM).parent
    except BundledModelMissing:
        return
    yield Variant(SEARCHES, "all-MiniLM-L6-v2 instead of bge-small", {"embedding.model": str(folder)})


def settings_of(variant: Variant) -> Settings:
    """The settings in force, with the variant's own."""
    return load_settings({**BASE, **variant.settings})
