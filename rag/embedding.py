"""Text to unit vectors: the bundled model through onnxruntime, any other through sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rag import bundled
from rag.errors import EngineMissing, ModelNotFound
from rag.onnx import OnnxModel
from rag.settings import EmbeddingSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 4
"""Passages encoded together. Larger batches are no faster on a CPU, and eight need 120 MB more."""


class Embedder(Protocol):
    """Turns passages and questions into vectors of one space.

    All vectors are float32 and of unit length, so that their inner product is the cosine.
    `max_tokens` is the longest passage that is read whole, without special tokens; `source` is what to
    write as `embedding.model` to load the same one again.
    """

    source: str
    name: str
    revision: str
    dimension: int
    max_tokens: int

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens."""

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dimension)."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Vector of shape (dimension,)."""


def load_embedder(settings: EmbeddingSettings) -> Embedder:
    """The embedder that the settings name. Raises ModelNotFound, EngineMissing, BundledModelMissing."""
    if settings.model == "bundled":
        return BundledEmbedder(settings.threads)
    return SentenceTransformersEmbedder(settings.model, settings.threads)


class BundledEmbedder:
    """BAAI/bge-small-en-v1.5 in int8: the first token's last hidden state, normalised."""

    source = "bundled"
    name = "BAAI/bge-small-en-v1.5"
    dimension = 384
    max_tokens = 510
    query_prefix = "Represent this sentence for searching relevant passages: "

    def __init__(self, threads: int = 0) -> None:
        self.revision = bundled.BGE_SMALL.sha256[:12]
        self._threads = threads

    @cached_property
    def _onnx(self) -> OnnxModel:
        return OnnxModel.bundled(bundled.BGE_SMALL, self._threads)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._onnx.count_tokens(texts)

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        vectors = np.empty((len(texts), self.dimension), np.float32)
        for rows, states in self._onnx.run(texts, BATCH):
            vectors[rows] = states[:, 0]
        return _unit(vectors)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self.embed_passages([self.query_prefix + text])[0]


class SentenceTransformersEmbedder:
    """Any model that sentence-transformers loads, with the prompts that the model itself defines."""

    def __init__(self, name: str, threads: int = 0) -> None:
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError as error:
            raise EngineMissing(
                f"the embedder {name} needs sentence-transformers, which does not import: {error}",
                "Run `python scripts/run.py shell` once to install it, or use the bundled embedder.",
            ) from error
        if threads:
            import torch

            torch.set_num_threads(threads)
        logging.disable_progress_bar()
        try:
            self._model: Any = SentenceTransformer(name, device=None)
        except (OSError, ValueError) as error:
            raise ModelNotFound(
                f"the embedder {name} cannot be loaded: {str(error).splitlines()[0]}",
                "Name a model folder or a hub id that is on this machine, or use 'bundled'.",
            ) from error
        is_folder = Path(name).is_dir()
        self.source = str(Path(name).resolve()) if is_folder else name
        self.name = Path(name).resolve().name if is_folder else name
        self.revision = _revision(self._model)
        self.dimension = int(self._model.get_embedding_dimension() or 0)
        limit = self._model.max_seq_length or 512
        self.max_tokens = int(limit) - 2

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        encoded = self._model.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False
        )
        return [len(ids) for ids in encoded["input_ids"]]

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return _unit(self._model.encode_document(list(texts), batch_size=BATCH, show_progress_bar=False))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return _unit(self._model.encode_query([text], show_progress_bar=False))[0]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def _revision(model: Any) -> str:
    """A fingerprint of the weights, so that another model under the same name is noticed."""
    import hashlib

    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
