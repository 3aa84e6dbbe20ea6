"""What stays in memory of a model whose other layers are read from the disk, token by token."""

from __future__ import annotations

import re

from rag.loader.planning.sizes import loaded_bytes, role
from rag.loader.records import ModelFacts, Tensor

LAYER_NUMBER = re.compile(r"\.(\d+)\.")
Place = tuple[int, int]
"""Where a module stands in the model: embeddings, layer by layer, the rest."""


def resident_bytes(facts: ModelFacts, quantization: str, dtype: str | None, share: int) -> int:
    """Weights in memory out of a `share`: whole modules in their order, and one tensor on its way.

    accelerate keeps modules until one does not fit beside the largest of those still to come, and leaves that
    one and all after it on the disk; the engine has held back the tensor on its way before.
    """
    passing = max((loaded_bytes(t, facts, quantization, dtype) for t in facts.tensors), default=0.0)
    modules = [size for _, size in sorted(_modules(facts, quantization, dtype).items())]
    kept = 0.0
    for number, size in enumerate(modules):
        if kept + size + max(modules[number:]) > share - passing:
            break
        kept += size
    return round(kept + passing)


def least_bytes(facts: ModelFacts, quantization: str, dtype: str | None) -> int:
    """The least share that is worth trying: twice the largest module, a layer or a table."""
    return round(2 * max(_modules(facts, quantization, dtype).values(), default=0.0))


def _modules(facts: ModelFacts, quantization: str, dtype: str | None) -> dict[Place, float]:
    modules: dict[Place, float] = {}
    for tensor in facts.tensors:
        place = _place(tensor)
        modules[place] = modules.get(place, 0.0) + loaded_bytes(tensor, facts, quantization, dtype)
    return modules


def _place(tensor: Tensor) -> Place:
    if role(tensor.name) == "embedding":
        return 0, 0
    layer = LAYER_NUMBER.search(tensor.name)
    return (1, int(layer[1])) if layer else (2, 0)
