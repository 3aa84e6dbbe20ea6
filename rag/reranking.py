"""A cross-encoder reads the question together with a passage and says how relevant it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from rag import bundled
from rag.onnx import OnnxModel
from rag.settings import RetrievalSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 4


class Reranker(Protocol):
    """Judges whole passages and single sentences alike."""

    name: str

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Relevance of each text, shape (len(texts),), in logits: 0 is undecided, higher is better."""


def load_reranker(settings: RetrievalSettings) -> Reranker | None:
    """The reranker that the settings name; None when it is off."""
    return BundledReranker() if settings.rerank == "bundled" else None


class BundledReranker:
    """cross-encoder/ms-marco-MiniLM-L-12-v2 in int8."""

    name = "cross-encoder/ms-marco-MiniLM-L-12-v2"

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads

    @cached_property
    def _onnx(self) -> OnnxModel:
        return OnnxModel.bundled(bundled.CROSS_ENCODER, self._threads)

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        scores = np.empty(len(texts), np.float32)
        for rows, logits in self._onnx.run([(question, text) for text in texts], BATCH):
            scores[rows] = logits[:, 0]
        return scores
