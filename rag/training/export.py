"""The trained network as the file that the program runs: ONNX, weights in int8."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import torch

from rag.training.network import ReaderNetwork

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = ("relevance", "answerable", "span")
OPSET = 17


def export(network: ReaderNetwork, file: Path) -> str:
    """Write the network to `file`; returns its sha256.

    Weights are rounded per output channel to 8 bits, symmetric; activations are quantized as they come.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    plain = ReaderNetwork(network.bert.config.num_hidden_layers, attention="eager")
    plain.load_state_dict(network.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder) / "reader.onnx"
        _write(plain.eval(), wide)
        quantize_dynamic(
            str(wide),
            str(file),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # without VNNI products are added in 16 bits, which 8-bit weights overflow
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
        )
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write(network: ReaderNetwork, file: Path) -> None:
    ids = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "span")}
    torch.onnx.export(
        network,
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(file),
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_axes={**axes, "relevance": {0: "batch"}, "answerable": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
