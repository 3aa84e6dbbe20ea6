"""Train the reader that finds an answer's words in a passage; see its model card in rag/models/reader/."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rag.interpreter import ensure_packages

ensure_packages()

from rag import console  # noqa: E402  (needs the packages)

if TYPE_CHECKING:
    import argparse


def main(arguments: Sequence[str]) -> int:
    flags = _parse(arguments)

    from rag.training.run import Job, train

    job = Job(
        data=tuple(flags.data),
        held_out=tuple(flags.held_out),
        output=flags.output,
        work=flags.work,
        layers=flags.layers,
        epochs=flags.epochs,
        seed=flags.seed,
        steps=flags.steps,
        stop_at=flags.stop_at,
        questions=flags.questions,
    )
    figures = train(job)
    if flags.json:
        console.print_json(figures)
    else:
        print("\n".join(f"{name:<18} {value}" for name, value in figures.items()))
    return console.OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = console.Arguments(
        prog="train_reader.py",
        description="Train the reader: which words of a passage answer a question, and whether any do.",
        epilog="An interrupted run goes on where it was when started again with the same --work.",
    )
    add = parser.add_argument
    add("data", metavar="FILE", type=Path, nargs="+", help="SQuAD-shaped files")
    add(
        "--held-out",
        metavar="TITLE",
        nargs="*",
        default=(),
        help="articles kept for measuring, by their titles",
    )
    add("--output", metavar="FOLDER", type=Path, required=True, help="write model.onnx and figures.json here")
    add("--work", metavar="FOLDER", type=Path, required=True, help="for examples and checkpoints")
    add("--layers", metavar="N", type=int, default=12, help="of the cross-encoder's 12 (default: 12)")
    add("--epochs", metavar="X", type=float, default=3.0, help="default: %(default)s")
    add("--seed", metavar="S", type=int, default=0, help="default: %(default)s")
    add("--steps", metavar="N", type=int, help="end after so many batches: for trying it out")
    add("--stop-at", metavar="N", type=int, help="export what the run has learned after N of its batches")
    add("--questions", metavar="N", type=int, help="use the first N of each file: for trying it out")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(console.run(main))
