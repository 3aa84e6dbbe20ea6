"""Quick stand-ins whose answers are computed from their input, so that they really rank and reply."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from rag.loader.base import Sampling, Usage
from rag.reranking import Reranker
from rag.types import Chunk, Hit, Message, ModelInfo
from rag.wording import content_words


class HashingEmbedder:
    """Counts content words into hashed dimensions: texts that share words are near each other."""

    source = "fake"
    name = "fake/hashing"
    revision = "1"
    max_tokens = 100

    def __init__(self, dimension: int = 64) -> None:
        self.dimension = dimension
        self.embedded = 0

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += len(texts)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for word in content_words(text) or {""}:
                vectors[row, zlib.crc32(word.encode()) % self.dimension] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self.embed_passages([text])[0]


class OverlapReranker(Reranker):
    """Logit from -6 to 6 by the share of the question's content words that the text holds."""

    name = "fake/overlap"

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        asked = content_words(question)
        shares = [len(asked & content_words(text)) / max(len(asked), 1) for text in texts]
        return np.array(shares, np.float32) * 12 - 6


class EchoModel:
    """Answers with the first sentence of passage [1], and then claims something of its own."""

    CLAIM = " The moon is made of green cheese."

    def __init__(self, parameters: int = 135_000_000) -> None:
        self.info = ModelInfo("fake/echo", "fake", "none", parameters, 2048)
        self.prompts: list[Sequence[Message]] = []

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message.content.split()) + 4 for message in messages)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        self.prompts.append(messages)
        passage = re.search(r"\[1\][^\n]*\n(.*?[.!?])", messages[-1].content, re.DOTALL)
        reply = (f"{passage.group(1)} [1]" if passage else "") + self.CLAIM + " [9]"
        for piece in re.findall(r"\s*\S{1,4}", reply)[: sampling.max_tokens]:
            if cancel and cancel.is_set():
                break
            yield piece
        return Usage(self.count_tokens(messages), len(reply.split()), "stop")

    def close(self) -> None:
        return


def hit(text: str, score: float = 1.0, path: str = "notes.txt", **place: object) -> Hit:
    """A hit whose chunk is the whole text of its file."""
    chunk = Chunk(f"id-{zlib.crc32(text.encode())}", "doc", text, 0, len(text), path, "", **place)  # type: ignore[arg-type]
    return Hit(chunk, score)
