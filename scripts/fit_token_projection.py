"""Fit the projection of token vectors on this project's own texts, and print its sha256.

Run it again only to change the projection: every index with token vectors has to be rebuilt then.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from rag import bundled  # noqa: E402
from rag.late import BATCH, PROJECTION, BundledTokenEncoder  # noqa: E402
from rag.onnx import OnnxModel  # noqa: E402

PIECE = 900
"""Characters encoded together, about as many as a passage has."""


def main() -> None:
    import numpy as np

    sources = [*sorted(CHECKOUT.glob("data/*.md")), *sorted(CHECKOUT.glob("docs/**/*.md"))]
    texts = [path.read_text(encoding="utf-8") for path in [*sources, CHECKOUT / "README.md"]]
    pieces = [text[at : at + PIECE] for text in texts for at in range(0, len(text), PIECE)]
    encoder = OnnxModel.bundled(bundled.COLBERT)
    states = np.concatenate([found for _, found in encoder.token_states(pieces, BATCH)])
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    _, directions = np.linalg.eigh(states.T @ states)  # ascending, so the main ones come last
    main_ones = directions[:, ::-1][:, : BundledTokenEncoder.dimension]
    np.save(PROJECTION, np.ascontiguousarray(main_ones, np.float16))
    print(f"{hashlib.sha256(PROJECTION.read_bytes()).hexdigest()}  {len(states)} tokens")


if __name__ == "__main__":
    main()
