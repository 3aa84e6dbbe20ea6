"""Measure this machine: so far `ingest`, our ingestion beside a plain script."""

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
    return {"ingest": _ingest}[flags.what](flags)


def _ingest(flags: argparse.Namespace) -> int:
    from rag.evaluation.throughput import compare_ingestion, table

    figures = compare_ingestion(flags.folder, flags.runs)
    if flags.json:
        console.print_json(figures)
    else:
        print(console.clean(table(figures)), end="")
    return console.OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = console.Arguments(prog="benchmark.py", description="Measure this machine.")
    parts = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    ingest = parts.add_parser(
        "ingest",
        help="passages a second and memory, beside a plain sentence-transformers script",
        description="Ingest a folder, then its passages again by us and by a plain script, in turns.",
    )
    ingest.add_argument("folder", metavar="FOLDER", type=Path, help="a folder with documents")
    ingest.add_argument(
        "--runs", metavar="N", type=int, choices=range(1, 21), default=3, help="of each (default: 3)"
    )
    ingest.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(console.run(main))
