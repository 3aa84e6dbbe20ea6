"""Say what a model is, what this machine is, and how well the one runs on the other; then try it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rag.interpreter import ensure_packages

HAS_PACKAGES = ensure_packages(required=False)  # a look at files and machine needs none

from rag import console  # noqa: E402  (after the right Python was found)

if TYPE_CHECKING:
    import argparse

    from rag.diagnosis.records import Options


def main(arguments: Sequence[str]) -> int:
    flags = _parse(arguments)
    options = _options(flags)
    if flags.recommend:
        from rag.diagnosis.recommend import recommend

        return recommend(options, light=not HAS_PACKAGES)
    if not flags.model and not flags.json and console.is_terminal(sys.stdin):
        from rag.diagnosis.interview import interview

        return interview(options, light=not HAS_PACKAGES)

    from rag.diagnosis.run import diagnose

    return diagnose(options, light=not HAS_PACKAGES)


def _options(flags: argparse.Namespace) -> Options:
    from rag.diagnosis.records import Options

    names = ("model", "quantization", "engine", "dtype", "device", "context", "max_memory", "report")
    said = {name: getattr(flags, name) for name in names}
    return Options(**said, plan_only=flags.plan, as_json=flags.json)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = console.Arguments(
        prog="diagnose_load.py",
        description="Say what a model is, what this machine is, and how well the one runs on the other.",
        epilog="Without --plan the model is then loaded and measured. Without MODEL it asks what to look at.",
    )
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a GGUF file, a model folder, a hub id (OWNER/NAME), a preset, or `bundled`",
    )
    add("--quantization", metavar="Q", help="auto, none, bnb-4bit, bnb-8bit, awq, gptq, fp8 or a GGUF type")
    add("--engine", metavar="E", choices=ENGINES, help=f"one of {', '.join(ENGINES)}")
    add("--dtype", metavar="D", help="auto, float32, bfloat16 or float16")
    add("--device", metavar="D", choices=DEVICES, help=f"one of {', '.join(DEVICES)}")
    add("--context", metavar="N", type=console.count, help="tokens of prompt and answer together")
    add("--max-memory", metavar="SIZE", help="cap for the model's process, as in 8GB")
    add("--plan", action="store_true", help="stop before anything is loaded")
    add("--recommend", action="store_true", help="list the presets that this machine runs well")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    add("--report", metavar="FILE", type=Path, help="write a support report without secrets")
    return parser.parse_args(arguments)


ENGINES = ("auto", "llamacpp", "transformers", "vllm", "remote")
DEVICES = ("auto", "cpu", "cuda", "disk")


if __name__ == "__main__":
    sys.exit(console.run(main))
