"""As many passages as there is time for, by what reading one costs on this machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from rag.cores import usable_cores
from rag.measured import is_busy, keep, recall
from rag.reranking import FEWEST, Reranker
from rag.types import Chunk, Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRIED = (
    "What is measured here?",
    "A passage of the usual length, about two hundred tokens, says how long one takes to read. " * 10,
)
RUNS = 3
RECENT = 0.3
"""What the last reading counts in the figure."""
NOTABLE = 0.1
"""By so much must the figure change at once to be kept for the next program."""


class Paced(Reranker):
    """A reranker that reads the first passages only, those that `seconds` allow."""

    def __init__(self, reranker: Reranker, seconds: float, environ: Mapping[str, str] | None = None) -> None:
        self.name = reranker.name
        self._reranker, self._seconds, self._environ = reranker, seconds, environ

    def read(self, question: str, chunks: Sequence[Chunk], least: int = 0) -> list[Reading]:
        """Readings of the first passages, at least FEWEST and `least`."""
        sizes = [len(question + chunk.searchable) for chunk in chunks]
        fit = sum(total * self.per_character <= self._seconds for total in itertools.accumulate(sizes))
        count = max(FEWEST, fit, least)
        self._reranker.score(question, [])  # loads the model, which is not to be timed
        began = time.perf_counter()
        readings = self._reranker.read(question, chunks[:count])
        if readings:
            self._learn((time.perf_counter() - began) / sum(sizes[:count]))
        return readings

    def answers(self, questions: Sequence[str], chunk: Chunk) -> list[Reading]:
        """All of them: the passage is a sentence or two."""
        return self._reranker.answers(questions, chunk)

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """All texts: sentences are short."""
        return self._reranker.score(question, texts)

    @cached_property
    def per_character(self) -> float:
        """Seconds for a character of question or passage: the best of a few runs, once a machine."""
        kept = recall("reading", self._key, self._environ)
        if isinstance(kept, float):
            return kept
        busy = is_busy()
        measured = min(self._timed() for _ in range(RUNS))
        keep("reading", self._key, measured, busy, self._environ)
        return measured

    def _learn(self, seconds: float) -> None:
        """Follow what reading costs: the first figure may be from a time when a model was being loaded."""
        before = self.per_character
        self.per_character = before + RECENT * (seconds - before)
        if abs(self.per_character - before) > NOTABLE * before:
            keep("reading", self._key, self.per_character, is_busy(), self._environ)

    @cached_property
    def _key(self) -> dict[str, str | int]:
        from rag.loader.machine.cpu import cpu

        return {"cpu": cpu()[0], "cores": usable_cores(), "reranker": self.name}

    def _timed(self) -> float:
        question, text = TRIED
        began = time.perf_counter()
        self._reranker.score(question, [text, text])
        return (time.perf_counter() - began) / (2 * len(question + text))
