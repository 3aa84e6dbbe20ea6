"""The reader: for a question and a passage, how relevant it is, whether it answers, and with which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.onnx import OnnxModel
from rag.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 4
LONGEST = 30
"""Tokens of an answer at most; in SQuAD 99 % have no more than 21 words."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader makes of one passage.

    `relevance` and `answerable` are logits: that it is about the question, that it answers it. `start` and
    `end` are the answer's place in the passage's text; `margin` is by how much its logits exceed those of
    "not here".
    """

    relevance: float
    answerable: float
    start: int
    end: int
    margin: float


class Reader:
    """A BERT of three heads in int8; also a `Reranker`."""

    name = "footnote-reader"

    def __init__(self, file: Path, tokenizer: Path, threads: int = 0) -> None:
        self._files = (file, tokenizer)
        self._threads = threads

    @cached_property
    def _onnx(self) -> OnnxModel:
        return OnnxModel(*self._files, threads=self._threads)

    def read(self, question: str, chunks: Sequence[Chunk]) -> list[Reading]:
        """One reading for each passage, headings read along."""
        leads = [len(chunk.searchable) - len(chunk.text) for chunk in chunks]
        found: list[Any] = [None] * len(chunks)
        pairs = [(question, chunk.searchable) for chunk in chunks]
        for batch in self._onnx.batches(pairs, BATCH, places=True):
            relevance, answerable, span = batch.outputs
            for n, (row, encoding) in enumerate(zip(batch.rows, batch.encodings)):
                start, end, margin = _best_span(span[n], encoding, leads[row])
                found[row] = Reading(float(relevance[n]), float(answerable[n]), start, end, margin)
        return found

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Relevance of each text, shape (len(texts),), in logits."""
        import numpy as np

        scores = np.empty(len(texts), np.float32)
        for batch in self._onnx.batches([(question, text) for text in texts], BATCH):
            scores[batch.rows] = batch.outputs[0]
        return scores


def _best_span(logits: NDArray[np.float32], encoding: Any, lead: int) -> tuple[int, int, float]:
    """Where the likeliest answer stands in the passage, and its margin; (0, 0, -inf) where nothing can."""
    import numpy as np

    places = encoding.offsets[: len(logits)]
    inside = [
        at
        for at, (kind, (begin, end)) in enumerate(zip(encoding.type_ids, places))
        if kind == 1 and end > begin >= lead
    ]
    if not inside:
        return 0, 0, -np.inf
    first, last = inside[0], inside[-1] + 1
    starts, ends = logits[first:last, 0], logits[first:last, 1]
    sums = starts[:, None] + ends[None, :]
    far = np.subtract.outer(np.arange(last - first), np.arange(last - first))
    sums[(far > 0) | (far <= -LONGEST)] = -np.inf
    begin, end = divmod(int(sums.argmax()), last - first)
    margin = float(sums[begin, end] - logits[0].sum())
    return places[first + begin][0] - lead, places[first + end][1] - lead, margin
