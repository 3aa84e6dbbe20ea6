"""Ask your documents: one question, or a chat when none is given."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rag.interpreter import ensure_packages

ensure_packages()

from rag import console  # noqa: E402  (needs the packages)

if TYPE_CHECKING:
    import argparse

    from rag.engine import Engine
    from rag.loader.progress import View

QUIET_S = 2.0
"""A model that loads sooner is not worth a bar."""


def main(arguments: Sequence[str]) -> int:
    flags = _parse(arguments)
    question = " ".join(flags.question).strip()
    if flags.json and not question:
        raise console.UsageError("--json needs a question", 'Write: rag_query.py --json "your question"')

    from rag.engine import open_engine
    from rag.first_run import ensure_index
    from rag.loader.progress import shown
    from rag.settings import load_settings

    settings = load_settings(
        {
            "model.model": flags.model,
            "model.quantization": flags.quantization,
            "model.engine": flags.engine,
            "model.dtype": flags.dtype,
            "model.device": flags.device,
            "model.context": flags.context,
            "model.max_memory": flags.max_memory,
            "retrieval.top_k": flags.top_k,
        }
    )
    ensure_index(flags.collection, settings, not flags.no_llm)
    with (
        shown(sys.stderr, console.is_terminal(sys.stderr), QUIET_S) as loading,
        open_engine(settings, flags.collection, not flags.no_llm, loading) as engine,
    ):
        if not question:
            return _chat(engine, flags.explain, loading)
        if flags.json:
            console.print_json(_answer_record(engine, question))
        else:
            _show_answer(engine, question, flags.explain, loading)
    return console.OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = console.Arguments(
        prog="rag_query.py",
        description="Answer a question from your documents, with footnotes to the pages it rests on.",
        epilog="Without a question it chats. Your own folder first: python scripts/ingest.py FOLDER",
    )
    add = parser.add_argument
    add("question", nargs="*", help="the question; none starts a chat")
    add("--collection", metavar="C", default="default", help="the index to ask (default: %(default)s)")
    add("--model", metavar="M", help="a preset, GGUF file, folder, hub id or URL (default: the bundled one)")
    add("--quantization", metavar="Q", help="none, bnb-4bit, bnb-8bit, awq, gptq, fp8 (default: auto)")
    add("--engine", metavar="E", help="llamacpp, transformers, vllm or remote (default: auto)")
    add("--dtype", metavar="D", help="float32, bfloat16 or float16 (default: auto)")
    add("--device", metavar="D", help="cpu, cuda or disk (default: auto)")
    add("--context", metavar="N", type=int, help="tokens of prompt and answer (default: what answers need)")
    add("--max-memory", metavar="SIZE", help="cap for the model's process, as in 8GB")
    add("--top-k", metavar="N", type=int, help="passages that the answer rests on (default: 5)")
    add("--no-llm", action="store_true", help="answer at once with the best sentences, quoted")
    add("--explain", action="store_true", help="show each passage's rank in every stage of the search")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


def _answer_record(engine: Engine, question: str) -> dict[str, Any]:
    from rag.records import answer_record
    from rag.types import Done

    events = list(engine.ask(question))
    return answer_record(next(event.answer for event in events if isinstance(event, Done)))


def _show_answer(engine: Engine, question: str, explain: bool, loading: View) -> None:
    """Print sources, then the answer as it comes, then its footnotes; in between, how the model loads."""
    from rag import render
    from rag.types import Done, Sources, Token

    out = sys.stdout
    lines = render.Wrapper(render.width() if console.is_terminal(out) else None)
    for event in engine.ask(question):
        loading.hide()
        match event:
            case Sources(hits):
                out.write(render.sources(hits, out))
                if explain:
                    out.write(render.stages(hits, out))
                out.write("\n")
            case Token(text):
                out.write(lines.feed(console.clean(text)))
            case Done(answer):
                out.write(lines.flush() + "\n\n" + render.footnotes(answer, out))
        out.flush()
        loading.hide(isinstance(event, Done))


def _chat(engine: Engine, explain: bool, loading: View) -> int:
    """Answer one question after another until the input ends."""
    from rag.chat import questions

    loading.hide()
    for question in questions():
        try:
            _show_answer(engine, question, explain, loading)
        except KeyboardInterrupt:
            print("\n(stopped)")
    return console.OK


if __name__ == "__main__":
    sys.exit(console.run(main))
