"""Set Footnote beside the quick starts of other libraries: the same texts, questions and language model."""

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
    from rag.evaluation.peer_table import markdown
    from rag.evaluation.peers import Options, compare

    options = Options(
        dataset=flags.dataset,
        foreign=flags.foreign,
        sample=flags.sample,
        searches=flags.searches,
        seed=flags.seed,
        peers=tuple(flags.peers),
        work=flags.work,
    )
    found = compare(options)
    flags.output.write_text(markdown(found), encoding="utf-8")
    if flags.json:
        console.print_json(found)
    else:
        print(console.clean_line(f"written to {flags.output}"))
    return console.OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    from rag.evaluation.peers import PEERS

    parser = console.Arguments(
        prog="peers.py",
        description="Set Footnote beside the quick starts of other libraries, and write one table.",
        epilog="Each peer is installed into an environment of its own, once. What is measured is kept.",
    )
    add = parser.add_argument
    add("dataset", metavar="DATASET", type=Path, help="a .json like SQuAD's")
    add("--output", metavar="FILE.md", type=Path, required=True, help="where the table goes")
    add("--foreign", metavar="DATASET2", type=Path, help="ask its questions too: they should be refused")
    add("--sample", metavar="N", type=console.count, default=100, help="answers of each kind (%(default)s)")
    add("--searches", metavar="N", type=console.count, default=300, help="searches (default: %(default)s)")
    add("--seed", metavar="S", type=int, default=0, help="which questions are drawn (default: %(default)s)")
    add("--peers", metavar="NAME", nargs="*", default=list(PEERS), choices=PEERS, help=", ".join(PEERS))
    add("--work", metavar="FOLDER", type=Path, help="environments and results (default: the cache folder)")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(console.run(main))
