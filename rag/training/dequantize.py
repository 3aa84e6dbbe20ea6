"""The bundled cross-encoder's int8 weights as floating-point ones: where the reader's training begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def weights(file: Path) -> dict[str, NDArray[np.float32]]:
    """All weights of a BERT in int8 ONNX, named as in transformers' state dict.

    A weight is (q - zero point) x scale. Linear layers are stored by ONNX as (inputs, outputs) under a
    number; their name is the path of the node that multiplies with them.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(file)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def dequantized(name: str) -> NDArray[np.float32]:
        quantized = stored[f"{name}_quantized"].astype(np.float32)
        zero = stored[f"{name}_zero_point"].astype(np.float32)
        return (quantized - zero) * stored[f"{name}_scale"].astype(np.float32)

    found = {name: array for name, array in stored.items() if array.dtype == np.float32 and "." in name}
    found = {name: array for name, array in found.items() if not name.endswith(("_scale", "_zero_point"))}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            path = node.name.removeprefix("/").rpartition("/")[0].replace("/", ".")
            found[f"{path}.weight"] = dequantized(node.input[1].removesuffix("_quantized")).T
        elif node.op_type == "DequantizeLinear":
            name = node.input[1].removesuffix("_scale")
            found[name] = dequantized(name)
    return found
