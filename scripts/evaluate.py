"""Measure retrieval and answers on a question set whose answers are known."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rag.interpreter import ensure_packages

ensure_packages()

from rag import console  # noqa: E402  (needs the packages)

if TYPE_CHECKING:
    import argparse


def main(arguments: Sequence[str]) -> int:
    flags = _parse(arguments)
    if flags.compare:
        a, b = flags.compare
        return _compare(a, b, flags.json)
    if flags.feedback is not False:
        return _feedback(flags.feedback, flags.json)
    if flags.make_questions:
        return _draft(flags.make_questions, flags.sample, flags.seed, flags.json)
    if flags.dataset and flags.claims:
        return _claims(flags.dataset, flags.claims, flags.seed, flags.json)
    if flags.dataset and flags.spoken:
        return _spoken(flags.dataset, flags.spoken, flags.seed, flags.json)
    if flags.dataset is None:
        raise console.UsageError(
            "evaluate.py needs a DATASET, --make-questions FOLDER, --compare A B, or --feedback",
            "See evaluate.py --help.",
        )

    from rag.evaluation.report import draw_refusals, record, table
    from rag.evaluation.run import Options, evaluate
    from rag.settings import load_settings

    options = Options(
        dataset=flags.dataset,
        sample=flags.sample,
        seed=flags.seed,
        split=flags.split,
        retrieval_only=flags.retrieval_only,
        with_model=not flags.no_llm,
        foreign=flags.foreign,
    )
    outcome = evaluate(options, load_settings())
    if flags.curve:
        draw_refusals(outcome, flags.curve)
    figures = record(outcome)
    return _tell(figures, table(figures), flags.json)


def _tell(figures: dict[str, Any], text: str, as_json: bool) -> int:
    if as_json:
        console.print_json(figures)
    else:
        print(console.clean(text), end="")
    return console.OK


def _draft(folder: Path, most: int, seed: int, as_json: bool) -> int:
    from rag.evaluation.drafting import draft_questions
    from rag.settings import load_settings

    file, count = draft_questions(folder, load_settings(), most, seed)
    if as_json:
        console.print_json({"file": str(file), "questions": count})
    else:
        print(
            console.clean_line(f"{count} questions drafted in {file}: read, correct and delete there, then")
        )
        print(console.clean_line(f"  python scripts/evaluate.py {folder}"))
    return console.OK


def _claims(dataset: Path, count: int, seed: int, as_json: bool) -> int:
    from rag.evaluation.claims import measure_claims, table
    from rag.settings import load_settings

    figures = measure_claims(dataset, load_settings(), count, seed)
    return _tell(figures, table(figures), as_json)


def _spoken(dataset: Path, count: int, seed: int, as_json: bool) -> int:
    from rag.evaluation.spoken import measure_spoken, table
    from rag.settings import load_settings

    found = measure_spoken(dataset, load_settings(), count, seed)
    return _tell(found, table(found), as_json)


def _compare(a: Path, b: Path, as_json: bool) -> int:
    from rag.evaluation.compare import compare, table

    found = compare(a, b)
    return _tell(found, table(found), as_json)


def _feedback(file: Path | None, as_json: bool) -> int:
    from rag.evaluation.feedback import feedback, table

    found = feedback(file)
    return _tell(found, table(found), as_json)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = console.Arguments(
        prog="evaluate.py",
        description="Measure retrieval and answers on a question set whose answers are known.",
        epilog="The set's index is kept in the cache folder and used again while corpus and settings stay.",
    )
    add = parser.add_argument
    add(
        "dataset",
        metavar="DATASET",
        type=Path,
        nargs="?",
        help="a .json like SQuAD or MTRAG, a BEIR-shaped folder, or a folder of files with a questions.csv",
    )
    add(
        "--sample",
        metavar="N",
        type=console.count,
        default=300,
        help="questions of each kind (default: %(default)s)",
    )
    add("--seed", metavar="S", type=int, default=0, help="which questions are drawn (default: %(default)s)")
    add("--split", metavar="NAME", help="a BEIR folder's qrels (default: test, or the only ones there)")
    add("--retrieval-only", action="store_true", help="do not answer the questions")
    add("--no-llm", action="store_true", help="answer with quoted sentences only")
    add("--foreign", metavar="DATASET2", type=Path, help="ask its questions too: they should be refused")
    add(
        "--curve",
        metavar="FILE.png",
        type=Path,
        help="draw what refusing costs",
    )
    add(
        "--claims",
        metavar="N",
        type=console.count,
        help="instead: how many of N sentences of its documents, made false, are marked?",
    )
    add(
        "--spoken",
        metavar="N",
        type=console.count,
        help="instead: show N verified sentences of the model beside their quotes, to be read",
    )
    add(
        "--make-questions",
        metavar="FOLDER",
        type=Path,
        help="instead: draft a questions.csv from a folder's own documents, to be edited",
    )
    add(
        "--compare",
        metavar=("A", "B"),
        type=Path,
        nargs=2,
        help="instead: is B better than A, both written with --json?",
    )
    add(
        "--feedback",
        metavar="FILE",
        type=Path,
        nargs="?",
        default=False,
        help="instead: how were the chat page's answers voted? (FILE: another conversations.sqlite)",
    )
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(console.run(main))
