"""Measure what each choice in retrieval is worth, and write one table."""

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
    from rag.evaluation.ablation import Ablation, Options, Results
    from rag.evaluation.ablation_table import markdown, record

    options = Options(flags.folder, tuple(flags.sets), tuple(flags.only), flags.sample, flags.seed)
    ablation = Ablation(options, Results(flags.results or flags.output.with_suffix(".jsonl")))
    try:
        ablation.run()
    finally:  # what Ctrl-C leaves is a table, too
        found = record(ablation)
        flags.output.write_text(markdown(found), encoding="utf-8")
    if flags.json:
        console.print_json(found)
    else:
        print(console.clean_line(f"written to {flags.output}"))
    return console.OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    from rag.evaluation.variants import SETS

    parser = console.Arguments(
        prog="ablate.py",
        description="Measure what each choice in retrieval is worth, and write one table.",
        epilog="Started again, it measures only what is not in the results file yet.",
    )
    add = parser.add_argument
    places = ", ".join(place for place, _ in SETS.values())
    add("folder", metavar="DATA_FOLDER", type=Path, help=f"holds the question sets: {places}")
    add("--output", metavar="FILE.md", type=Path, required=True, help="where the table goes")
    add("--results", metavar="FILE.jsonl", type=Path, help="what is measured (default: beside FILE.md)")
    add("--only", metavar="NAME", nargs="+", default=[], help="only these groups or rows of the table")
    add("--sets", metavar="SET", nargs="+", default=[], choices=SETS, help=f"only these: {', '.join(SETS)}")
    add(
        "--sample",
        metavar="N",
        type=console.count,
        default=300,
        help="questions of each set (default: %(default)s)",
    )
    add("--seed", metavar="S", type=int, default=0, help="which questions are drawn (default: %(default)s)")
    add("--json", action="store_true", help="print the table as one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(console.run(main))
