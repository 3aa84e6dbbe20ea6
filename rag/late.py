"""Late interaction: a passage is worth what its tokens best match the question's.

Khattab and Zaharia 2020, "ColBERT", with the token states of the embedder itself, which computes them
anyhow. Of a passage's only the signs are kept, one bit each; the question's stay as they are (Dong, Charikar
and Li 2008, "Asymmetric Distance Estimation with Sketches").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rag.embedding import BundledEmbedder, Embedder
from rag.settings import RetrievalSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vectors = dict[str, "NDArray[np.float32]"]
"""A passage's vector, shape (dimension,), by the hash of its text."""
Tokens = dict[str, "NDArray[np.uint8]"]
"""A passage's token vectors, shape (tokens, bytes of a token), by the hash of its text."""


@dataclass(frozen=True, slots=True)
class AskedTokens:
    """A question: its vector, (dimension,), each token's state, (tokens, d), and the word it is a piece of.

    The word is "" where a token is of none.
    """

    vector: NDArray[np.float32]
    states: NDArray[np.float32]
    words: list[str]


class TokenEncoder(Protocol):
    """Turns texts into their vector and one more per token, in one pass.

    A token takes `dimension` bytes; `space` changes when token vectors stop being comparable.
    """

    space: str
    dimension: int

    def encode_passages(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.uint8]]]:
        """The embedder's vectors, and for each text the signs of its tokens' states, (tokens, d / 8)."""

    def encode_question(self, text: str) -> AskedTokens:
        """The embedder's vector, and the tokens of the question itself, without the embedder's prompt."""


def load_token_encoder(settings: RetrievalSettings, embedder: Embedder) -> TokenEncoder | None:
    """The embedder's token encoder; None when it is off or the embedder has none."""
    return token_encoder(embedder) if settings.late_interaction == "on" else None


def token_encoder(embedder: Embedder) -> TokenEncoder | None:
    """That of the bundled embedder; others keep their tokens' states to themselves."""
    return SignEncoder(embedder) if isinstance(embedder, BundledEmbedder) else None


class SignEncoder:
    """The signs of the bundled embedder's last hidden states."""

    def __init__(self, embedder: BundledEmbedder) -> None:
        self._embedder = embedder
        self.space = f"signs of {embedder.name} {embedder.revision}"
        self.dimension = embedder.dimension // 8

    def encode_passages(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.uint8]]]:
        import numpy as np

        vectors = np.empty((len(texts), self._embedder.dimension), np.float32)
        signs: dict[int, NDArray[np.uint8]] = {}
        for position, vector, states in self._embedder.token_states(texts):
            vectors[position], signs[position] = vector, np.packbits(states > 0, axis=1)
        return vectors, [signs[position] for position in range(len(texts))]

    def encode_question(self, text: str) -> AskedTokens:
        return AskedTokens(*self._embedder.query_states(text))


def encode(
    texts: Mapping[str, str], embedder: Embedder, tokens: TokenEncoder | None
) -> tuple[Vectors, Tokens]:
    """Vectors of texts, by the keys of `texts`, and their token vectors where there is a `tokens`."""
    if tokens is None:
        return dict(zip(texts, embedder.embed_passages(list(texts.values())))), {}
    vectors, matrices = tokens.encode_passages(list(texts.values()))
    return dict(zip(texts, vectors)), dict(zip(texts, matrices))


def word_weights(words: Sequence[str], idf: Callable[[str], float]) -> NDArray[np.float32]:
    """A share for each token, by how rare its word is; together 1, and equal where no word is rare.

    Without them the question's "what did the" counts as much as its subject.
    """
    import numpy as np

    rarity = np.array([idf(word) if word else 0.0 for word in words], np.float32)
    return rarity / rarity.sum() if rarity.any() else np.full(len(words), 1 / len(words), np.float32)


def late_scores(
    states: NDArray[np.float32],
    weights: NDArray[np.float32],
    tokens: NDArray[np.uint8],
    lengths: Sequence[int],
) -> NDArray[np.float32]:
    """Per passage the weighted mean, over the question's tokens, of the best cosine among its own.

    `states` is of shape (tokens of the question, d). `tokens`, shape (tokens, d / 8), are the passages' signs
    one after another, `lengths` (none 0) how many each has. The cosine is that between a state and signs.
    """
    import numpy as np

    bits = np.unpackbits(tokens, axis=1)
    unit = states / (np.linalg.norm(states, axis=1, keepdims=True) * bits.shape[1] ** 0.5)
    # a sign is 2 x bit - 1, so that no matrix of signs has to be made
    cosines = bits.astype(np.float32) @ (2 * unit.T) - unit.sum(axis=1)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    return np.asarray(np.maximum.reduceat(cosines, starts, axis=0) @ weights)
