"""Measure this machine: a model's ways beside each other, our engines beside the bare libraries, and more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rag.interpreter import ensure_packages

ensure_packages(required=False)  # a machine for measuring may have no more than an engine

from rag import console  # noqa: E402  (after the right Python was found)

if TYPE_CHECKING:
    import argparse

    from rag.evaluation.quantizations import Comparison


def main(arguments: Sequence[str]) -> int:
    what, rest = (arguments[0], arguments[1:]) if arguments[:1] and arguments[0] in PARTS else ("", arguments)
    if not what:
        return _quantizations(_parse(rest))
    parser, measure = PARTS[what]
    return measure(parser().parse_args(rest))


def _quantizations(flags: argparse.Namespace) -> int:
    from rag.evaluation import benchmark_table
    from rag.evaluation.benchmark_record import record
    from rag.evaluation.quantizations import compare
    from rag.evaluation.ways import Options
    from rag.loader.progress import shown
    from rag.loader.units import parse_bytes

    options = Options(
        models=tuple(flags.models or ["bundled"]),
        engines=tuple(flags.engines),
        quantizations=tuple(flags.quantizations),
        dtypes=tuple(flags.dtypes),
        prompt_tokens=flags.prompt_tokens,
        answer_tokens=flags.answer_tokens,
        context_tokens=flags.context,
        max_memory_bytes=parse_bytes(flags.max_memory) if flags.max_memory else None,
        dummy=flags.dummy_weights,
    )
    if flags.output:
        flags.output.mkdir(parents=True, exist_ok=True)  # better now than after an hour
    found = compare(options, lambda: shown(sys.stderr, console.is_terminal(sys.stderr)))
    if flags.output:
        _write(found, flags.output)
    return _tell(record(found), benchmark_table.terminal(found), flags.json)


def _tell(figures: dict[str, Any], text: str, as_json: bool) -> int:
    if as_json:
        console.print_json(figures)
    else:
        print(console.clean(text), end="")
    return console.OK


def _write(found: Comparison, folder: Path) -> None:
    """benchmark.json, benchmark.md, and benchmark.png unless matplotlib is missing, which is told."""
    import json

    from rag.errors import EngineMissing
    from rag.evaluation.benchmark_record import record
    from rag.evaluation.benchmark_table import markdown
    from rag.evaluation.plot import draw

    text = json.dumps(record(found), ensure_ascii=False, indent=2)
    (folder / "benchmark.json").write_text(text + "\n", encoding="utf-8")
    picture = folder / "benchmark.png"
    try:
        draw(found, picture)
        name = picture.name
    except EngineMissing as error:
        print(f"{error.message}. {error.fix}", file=sys.stderr)
        name = None
    (folder / "benchmark.md").write_text(markdown(found, name), encoding="utf-8")


def _ingest(flags: argparse.Namespace) -> int:
    from rag.evaluation.throughput import compare_ingestion, table

    figures = compare_ingestion(flags.folder, flags.runs)
    return _tell(figures, table(figures), flags.json)


def _engines(flags: argparse.Namespace) -> int:
    from rag.evaluation.overhead import compare_engine, table

    figures = compare_engine(flags.engine, flags.model, flags.runs)
    return _tell(figures, table(figures), flags.json)


def _memory(flags: argparse.Namespace) -> int:
    from rag.evaluation.memory_check import run, table

    figures = run()
    return _tell(figures, table(figures), flags.json)


def _page(flags: argparse.Namespace) -> int:
    from rag.evaluation.page_figures import table
    from rag.evaluation.page_speed import compare_page

    figures = compare_page(flags.runs, flags.sessions)
    return _tell(figures, table(figures), flags.json)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = console.Arguments(
        prog="benchmark.py",
        description="Measure every way to run a model on this machine: memory, speed, and what is lost.",
        epilog=f"Other measurements, each with a --help of its own: {', '.join(PARTS)}.",
    )
    add = parser.add_argument
    add(
        "models",
        metavar="MODEL",
        nargs="*",
        help="GGUF files, model folders, hub ids, presets, or `bundled` (default); several make one table",
    )
    add("--engines", metavar="E", nargs="+", choices=ENGINES, default=[], help=f"of {', '.join(ENGINES)}")
    add("--quantizations", metavar="Q", nargs="+", default=[], help="none, bnb-4bit, awq, Q8_0 and so on")
    add("--dtypes", metavar="D", nargs="+", default=[], help="of float32, bfloat16, float16")
    add(
        "--prompt-tokens",
        metavar="N",
        type=console.count,
        default=512,
        help="of the long prompt (default: 512)",
    )
    add(
        "--answer-tokens",
        metavar="N",
        type=console.count,
        default=64,
        help="at most, of an answer (default: 64)",
    )
    add(
        "--context",
        metavar="N",
        type=console.count,
        default=2048,
        help="to reserve memory for (default: 2048)",
    )
    add("--max-memory", metavar="SIZE", help="cap for the model's process, as in 8GB")
    add("--dummy-weights", action="store_true", help="a preset's or folder's architecture only, through vLLM")
    add("--output", metavar="FOLDER", type=Path, help="write benchmark.md, benchmark.json and benchmark.png")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


def _ingest_parser() -> console.Arguments:
    parser = console.Arguments(
        prog="benchmark.py ingest",
        description="Ingest a folder, then its passages again by us and by a plain script, in turns.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder with documents")
    _add_runs(parser)
    return parser


def _engines_parser() -> console.Arguments:
    parser = console.Arguments(
        prog="benchmark.py engines",
        description="One of our engines and the bare library below it, in turns: what our worker costs.",
    )
    parser.add_argument("engine", metavar="ENGINE", choices=BARE, help=f"one of {', '.join(BARE)}")
    parser.add_argument(
        "model", metavar="MODEL", help="a GGUF file for llamacpp, a model folder for transformers"
    )
    _add_runs(parser)
    return parser


def _memory_parser() -> console.Arguments:
    parser = console.Arguments(
        prog="benchmark.py memory",
        description="Predicted beside measured memory, of models in published shapes with random weights.",
    )
    _add_json(parser)
    return parser


def _page_parser() -> console.Arguments:
    parser = console.Arguments(
        prog="benchmark.py page",
        description="The chat page in a real Chromium, beside the engine below it, and in many tabs at once.",
    )
    parser.add_argument(
        "--sessions", metavar="N", type=console.count, default=20, help="tabs at once (default: 20)"
    )
    _add_runs(parser, 10)
    return parser


def _add_runs(parser: argparse.ArgumentParser, default: int = 3) -> None:
    parser.add_argument(
        "--runs",
        metavar="N",
        type=int,
        choices=range(1, 21),
        default=default,
        help="of each (default: %(default)s)",
    )
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


ENGINES = ("llamacpp", "transformers", "vllm")
BARE = ("llamacpp", "transformers")
PARTS = {
    "ingest": (_ingest_parser, _ingest),
    "engines": (_engines_parser, _engines),
    "memory": (_memory_parser, _memory),
    "page": (_page_parser, _page),
}
"""The measurements that are not of one model's ways, by the first word on the command line."""


if __name__ == "__main__":
    sys.exit(console.run(main))
