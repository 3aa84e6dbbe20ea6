"""A cross-encoder reads the question together with a passage and says how relevant it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag import bundled
from rag.errors import EngineMissing, ModelNotFound
from rag.onnx import OnnxModel
from rag.settings import RetrievalSettings
from rag.types import Chunk, Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 4
FEWEST = 2
"""So many passages are read in any case: the answer is not always in the first, however clear its lead."""


class Reranker(ABC):
    """Judges whole passages and single sentences alike."""

    name: str

    def read(self, question: str, chunks: Sequence[Chunk], least: int = 0) -> list[Reading]:
        """A reading of each passage, with its headings; where time is short, only for the first `least`."""
        return [Reading(float(logit)) for logit in self.score(question, [c.searchable for c in chunks])]

    def answers(self, questions: Sequence[str], chunk: Chunk) -> list[Reading]:
        """A reading of one passage for each of several questions; none where no words are ever found."""
        return []

    @abstractmethod
    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Relevance of each text, shape (len(texts),), in logits: 0 is undecided, higher is better."""


def load_reranker(settings: RetrievalSettings) -> Reranker | None:
    """The reranker that the settings name; None when it is off. Raises ModelNotFound, EngineMissing."""
    if settings.rerank == "off":
        return None
    reranker = _named(settings.rerank)
    if not settings.rerank_ms:
        return reranker
    from rag.pace import Paced

    return Paced(reranker, settings.rerank_ms / 1000)


def _named(name: str) -> Reranker:
    if name == "reader":
        from rag.reading import BundledReader

        return BundledReader()
    return BundledReranker() if name == "bundled" else SentenceTransformersReranker(name)


class BundledReranker(Reranker):
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


class SentenceTransformersReranker(Reranker):
    """Any cross-encoder with one output that sentence-transformers loads."""

    def __init__(self, name: str) -> None:
        try:
            from sentence_transformers import CrossEncoder
            from torch.nn import Identity
        except ImportError as error:
            raise EngineMissing(
                f"the reranker {name} needs sentence-transformers, which does not import: {error}",
                "Run `python scripts/run.py shell` once to install it, or use the bundled reranker.",
            ) from error
        try:
            # the logit itself: without this, what comes out depends on the model's own last function
            self._model: Any = CrossEncoder(name, activation_fn=Identity())
        except (OSError, ValueError) as error:
            raise ModelNotFound(
                f"the reranker {name} cannot be loaded: {str(error).splitlines()[0]}",
                "Name a cross-encoder's folder or a hub id that is on this machine, or use 'bundled'.",
            ) from error
        outputs = self._model.config.num_labels
        if outputs != 1:
            raise ModelNotFound(
                f"{name} is no reranker: it has {outputs} outputs instead of one",
                "Name a cross-encoder that scores relevance, or use 'bundled'.",
            )
        self.name = Path(name).resolve().name if Path(name).is_dir() else name

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        if not texts:
            return np.empty(0, np.float32)
        pairs = [(question, text) for text in texts]
        return np.asarray(self._model.predict(pairs, batch_size=BATCH, show_progress_bar=False), np.float32)
