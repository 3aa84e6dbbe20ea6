"""How far llama.cpp has come in its file, guessed from outside: its loading lets no other thread speak."""

from __future__ import annotations

import bisect
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from rag.errors import RagError
from rag.loader.records import Plan, Tensor

SILENT_S = 0.5
"""Quick loads are not worth reading the file's header a second time."""


class Reading:
    """Turns a worker's growing memory into the tensor that it must have reached."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began: float | None = None
        self._start_bytes: int | None = None
        self._tensors: tuple[Tensor, ...] | None = None
        self._ends: list[int] = []

    def begin(self) -> None:
        """Count from now: the worker has its libraries and opens the file."""
        self._began = time.monotonic()

    def event(self, resident: int) -> dict[str, Any] | None:
        """A "tensor" event marked as estimated, once there is something to tell."""
        self._start_bytes = min(resident, self._start_bytes or resident)
        if self._plan.engine != "llamacpp" or self._began is None:
            return None
        if time.monotonic() - self._began < SILENT_S:
            return None
        if self._tensors is None:
            self._look()
        if not self._tensors:
            return None
        done = min(resident - self._start_bytes, self._ends[-1])
        tensor = self._tensors[min(bisect.bisect_right(self._ends, done), len(self._ends) - 1)]
        shards = sorted({each.shard for each in self._tensors})
        return {
            "event": "tensor",
            "estimated": True,
            "shard": tensor.shard,
            "shard_number": shards.index(tensor.shard) + 1,
            "shards": len(shards),
            "tensor": tensor.name,
            "done_bytes": done,
            "total_bytes": self._ends[-1],
            "resident_bytes": resident,
        }

    def _look(self) -> None:
        from rag.loader.model.inspect import inspect_local

        self._tensors = ()
        try:
            facts = inspect_local(Path(self._plan.model))
        except RagError:  # the engine will say what is wrong with the file
            return
        self._tensors = tuple(sorted(facts.tensors, key=lambda tensor: (tensor.shard, tensor.offset)))
        self._ends = list(accumulate(tensor.bytes for tensor in self._tensors))
