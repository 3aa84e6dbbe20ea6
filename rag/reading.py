"""The reader: for a question and a passage, how relevant it is, whether it answers, and with which words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag import bundled
from rag.onnx import OnnxModel
from rag.reranking import Reranker
from rag.types import Chunk, Reading, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 4
LONGEST = 30
"""Tokens of an answer at most; in SQuAD 99 % have no more than 21 words."""

SPANS = 5
"""Places in a passage that are looked at: a second sentence, and no more, is ever quoted."""


class Reader(Reranker):
    """A BERT with three heads in int8, trained by scripts/train_reader.py."""

    name = "footnote-reader"

    def __init__(self, file: Path, tokenizer: Path, threads: int = 0) -> None:
        self._file, self._tokenizer = file, tokenizer
        self._threads = threads

    @cached_property
    def _onnx(self) -> OnnxModel:
        return OnnxModel(self._file, self._tokenizer, threads=self._threads)

    def read(self, question: str, chunks: Sequence[Chunk], least: int = 0) -> list[Reading]:
        """One reading for each passage, headings read along; answers are never found in the headings."""
        return self._readings([(question, chunk) for chunk in chunks])

    def answers(self, questions: Sequence[str], chunk: Chunk) -> list[Reading]:
        """A reading of the passage for each question."""
        return self._readings([(question, chunk) for question in questions])

    def _readings(self, asked: Sequence[tuple[str, Chunk]]) -> list[Reading]:
        leads = [len(chunk.searchable) - len(chunk.text) for _, chunk in asked]
        pairs = [(question, chunk.searchable) for question, chunk in asked]
        found: dict[int, Reading] = {}
        for batch in self._onnx.batches(pairs, BATCH, places=True):
            for row, encoding, *outputs in zip(batch.rows, batch.encodings, *batch.outputs):
                relevance, answerable, logits = outputs
                spans = tuple(_best_spans(logits, encoding, leads[row]))
                found[row] = Reading(float(relevance), float(answerable), spans)
        return [found[row] for row in range(len(asked))]

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Relevance of each text, shape (len(texts),), in logits."""
        import numpy as np

        scores = np.empty(len(texts), np.float32)
        for rows, logits in self._onnx.run([(question, text) for text in texts], BATCH):
            scores[rows] = logits
        return scores


class BundledReader(Reader):
    """The one that comes with the program. Raises BundledModelMissing at its first use."""

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads

    @cached_property
    def _onnx(self) -> OnnxModel:
        return OnnxModel.bundled(bundled.READER, self._threads)


def _best_spans(logits: NDArray[np.float32], encoding: Any, lead: int) -> Iterator[Span]:
    """The likeliest answers in a passage; none overlaps a likelier one.

    `logits` is of shape (tokens, 2), beginning and end; an answer counts as the sum of both, and stands in
    no more than LONGEST tokens of the text behind its first `lead` characters.
    """
    import numpy as np

    places = encoding.offsets[: len(logits) - 1]  # the last one is [SEP], also where a text was cut
    inside = [
        at
        for at, (kind, (begin, end)) in enumerate(zip(encoding.type_ids, places))
        if kind == 1 and end > begin >= lead
    ]
    if not inside:
        return
    first, last = inside[0], inside[-1] + 1
    sums = logits[first:last, 0, None] + logits[None, first:last, 1]
    length = np.subtract.outer(np.arange(last - first), np.arange(last - first))
    sums[(length > 0) | (length <= -LONGEST)] = -np.inf
    nowhere = logits[0].sum()
    for _ in range(SPANS):
        begin, end = divmod(int(sums.argmax()), last - first)
        if np.isneginf(sums[begin, end]):
            return
        start, stop = places[first + begin][0] - lead, places[first + end][1] - lead
        yield Span(start, stop, float(sums[begin, end] - nowhere))
        sums[: end + 1, begin:] = -np.inf
