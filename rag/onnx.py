"""The bundled BERT-shaped models, run by onnxruntime; the only module that imports it or tokenizers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag import bundled
from rag.cores import usable_cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Text = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """What the model says of the texts at `rows`: outputs, padded, and each text's tokens and encoding."""

    rows: list[int]
    lengths: list[int]
    encodings: list[Any]
    outputs: list[NDArray[np.float32]]


class OnnxModel:
    """One model file with its tokenizer; what an input has beyond `max_tokens` is cut off its end."""

    max_tokens = 512

    def __init__(self, file: Path, tokenizer: Path, threads: int = 0) -> None:
        import onnxruntime  # type: ignore[import-untyped]
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.log_severity_level = 3
        # Threads that spin while they wait steal the core from the language model's worker, or from
        # whatever else runs: five 200-token pairs beside another busy process took 0.4 s instead of 0.8 s.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    @classmethod
    def bundled(cls, model: bundled.BundledModel, threads: int = 0) -> OnnxModel:
        """One that comes with the installation. Raises BundledModelMissing."""
        file = bundled.path(model)
        return cls(file, file.parent / "tokenizer.json", threads)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each whole text, without special tokens."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(one.ids) for one in encoded]

    def run(self, texts: Sequence[Text], batch: int) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (positions in `texts`, first output for them), grouped by similar length."""
        for one in self.batches(texts, batch):
            yield one.rows, one.outputs[0]

    def batches(self, texts: Sequence[Text], batch: int, places: bool = False) -> Iterator[Batch]:
        """All outputs, in batches of texts of similar length; `places`: tokens know where they stand."""
        import numpy as np

        encode = self._tokenizer.encode_batch if places else self._tokenizer.encode_batch_fast
        encodings = encode(list(texts))
        encoded = [self._cut(one) for one in encodings]
        order = sorted(range(len(texts)), key=lambda position: len(encoded[position][0]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            lengths = [len(encoded[row][0]) for row in rows]
            ids, types, mask = (np.zeros((len(rows), lengths[-1]), np.int64) for _ in range(3))
            for n, (row, length) in enumerate(zip(rows, lengths)):
                ids[n, :length], types[n, :length] = encoded[row]
                mask[n, :length] = 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
            yield Batch(rows, lengths, [encodings[row] for row in rows], self._session.run(None, feed))

    def _cut(self, encoding: Any) -> tuple[list[int], list[int]]:
        ids, types = encoding.ids, encoding.type_ids
        if len(ids) <= self.max_tokens:
            return ids, types
        # The last token is the closing [SEP]; what is cut before it belongs to the text or the passage.
        return [*ids[: self.max_tokens - 1], ids[-1]], types[: self.max_tokens]
