"""Late interaction: a vector per token; a passage is worth what its tokens best match the question's.

Khattab and Zaharia 2020, "ColBERT". The bundled file lacks the projection layer that the model was
trained with, so its last hidden states are projected on their main directions instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rag import bundled
from rag.errors import BundledModelMissing
from rag.onnx import OnnxModel
from rag.settings import RetrievalSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 4
SCALE = 127
"""A component of 1 as int8."""
PROJECTION = Path(__file__).parent / "models" / "late" / "projection.npy"
"""(384, 64) in float16: the main directions of the token vectors of this project's own guide and docs,
not centred; `scripts/fit_token_projection.py` made it."""
PROJECTION_SHA256 = "2da8ed4fa52c69eae09ab77df314fac86387849b06eb554bc7cd025c8430a9b2"


class TokenEncoder(Protocol):
    """Turns texts into one unit vector per token. `space` changes when vectors stop being comparable."""

    space: str
    dimension: int

    def encode_passages(self, texts: Sequence[str]) -> list[NDArray[np.int8]]:
        """For each text (tokens, dimension), in units of 1 / SCALE."""

    def encode_question(self, text: str) -> tuple[NDArray[np.float32], list[str]]:
        """(tokens, dimension), and the word that each token is a piece of, "" where it is of none."""


def load_token_encoder(settings: RetrievalSettings) -> TokenEncoder | None:
    """The token encoder that the settings name; None when it is off."""
    return BundledTokenEncoder() if settings.late_interaction == "on" else None


class BundledTokenEncoder:
    """answerai-colbert-small-v1 in int8, without marker tokens and padding, in 64 dimensions."""

    space = f"{bundled.COLBERT.name} {bundled.COLBERT.sha256[:12]} {PROJECTION_SHA256[:12]}"
    dimension = 64

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads

    @cached_property
    def _onnx(self) -> OnnxModel:
        return OnnxModel.bundled(bundled.COLBERT, self._threads)

    @cached_property
    def _projection(self) -> NDArray[np.float32]:
        return load_projection()

    def encode_passages(self, texts: Sequence[str]) -> list[NDArray[np.int8]]:
        import numpy as np

        found: dict[int, NDArray[np.int8]] = {}
        for position, states in self._onnx.token_states(texts, BATCH):
            found[position] = np.round(_unit(states @ self._projection) * SCALE).astype(np.int8)
        return [found[position] for position in range(len(texts))]

    def encode_question(self, text: str) -> tuple[NDArray[np.float32], list[str]]:
        (_, states) = next(self._onnx.token_states([text], 1))
        return _unit(states @ self._projection), self._onnx.token_words(text)


def load_projection() -> NDArray[np.float32]:
    """The checked projection, (384, 64). Raises BundledModelMissing."""
    import io

    import numpy as np

    content = PROJECTION.read_bytes() if PROJECTION.exists() else b""
    if hashlib.sha256(content).hexdigest() != PROJECTION_SHA256:
        raise BundledModelMissing(f"{PROJECTION} is missing or altered", "Check this program out again.")
    return np.load(io.BytesIO(content), allow_pickle=False).astype(np.float32)


def word_weights(words: Sequence[str], idf: Callable[[str], float]) -> NDArray[np.float32]:
    """A share for each token, by how rare its word is; together 1, and equal where no word is rare.

    Without them the question's "what did the" counts as much as its subject (measured on SQuAD:
    hit@1 .830 against .875 with late interaction alone).
    """
    import numpy as np

    rarity = np.array([idf(word) if word else 0.0 for word in words], np.float32)
    return rarity / rarity.sum() if rarity.any() else np.full(len(words), 1 / len(words), np.float32)


def late_scores(
    question: NDArray[np.float32],
    weights: NDArray[np.float32],
    tokens: NDArray[np.int8],
    lengths: Sequence[int],
) -> NDArray[np.float32]:
    """Per passage the weighted mean, over the question's tokens, of the best cosine among its own.

    `tokens` are the passages' one after another, `lengths` (none 0) how many each has.
    """
    import numpy as np

    cosines = tokens.astype(np.float32) @ (question.T / SCALE)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    return np.asarray(np.maximum.reduceat(cosines, starts, axis=0) @ weights)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
