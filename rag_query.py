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
    from rag.filters import Filters
    from rag.loader.progress import View
    from rag.types import Answer, Turn

QUIET_S = 2.0
"""A model that loads sooner is not worth a bar."""
_IN = "only these documents: a file name, a folder or a glob as in .gitignore (repeatable)"
_TYPE = "only this extension or kind: pdf, markdown, word, sheet, slides, mail (repeatable)"


def main(arguments: Sequence[str]) -> int:
    flags = _parse(arguments)
    question = " ".join(flags.question).strip()
    if flags.question and not question:
        raise console.UsageError("the question is empty", 'Write: rag_query.py "your question".')
    if flags.json and not question:
        raise console.UsageError("--json needs a question", 'Write: rag_query.py --json "your question"')
    if flags.why_not and not question:
        raise console.UsageError(
            "--why-not needs a question", f'Write: rag_query.py "your question" --why-not {flags.why_not}'
        )

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
    filters = _filters(flags)
    ensure_index(flags.collection, settings, not flags.no_llm)
    with (
        shown(sys.stderr, console.is_terminal(sys.stderr), QUIET_S) as loading,
        open_engine(settings, flags.collection, not flags.no_llm, loading) as engine,
    ):
        engine.retriever.scope(filters)  # a filter that fits nothing is to be said before any question
        if not question:
            return _chat(engine, flags, filters, loading)
        if flags.json:
            console.print_json(_answer_record(engine, question, flags, filters))
        else:
            _show_answer(engine, question, flags, filters, loading)
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
    add("--in", metavar="GLOB", dest="within", action="append", default=[], help=_IN)
    add("--since", metavar="DATE", help="only files changed since then: 2024-05-31, 30d, 6m or 1y")
    add("--type", metavar="T", dest="kinds", action="append", default=[], help=_TYPE)
    add("--no-llm", action="store_true", help="answer at once with the best sentences, quoted")
    add(
        "--explain",
        action="store_true",
        help="show ranks in every stage of the search, and what was left out",
    )
    add("--why-not", metavar="PATH[:PAGE]", help="tell at which stage the best passage of a place fell out")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


def _filters(flags: argparse.Namespace) -> Filters:
    from datetime import date

    from rag.filters import Filters, first_day

    since = first_day(flags.since, date.today()) if flags.since else None
    return Filters(tuple(flags.within), since, tuple(flags.kinds))


def _answer_record(
    engine: Engine, question: str, flags: argparse.Namespace, filters: Filters
) -> dict[str, Any]:
    from rag.explain import explanation_record
    from rag.records import answer_record
    from rag.types import Done
    from rag.why_not import why_not

    events = list(engine.ask(question, filters=filters))
    answer = next(event.answer for event in events if isinstance(event, Done))
    record = answer_record(answer)
    if filters:
        record["filters"] = filters.as_dict()
    if flags.explain:
        record |= explanation_record(answer)
    if flags.why_not:
        record["why_not"] = why_not(engine.retriever, answer, flags.why_not, filters).as_dict()
    return record


def _show_answer(
    engine: Engine,
    question: str,
    flags: argparse.Namespace,
    filters: Filters,
    loading: View,
    history: Sequence[Turn] = (),
) -> Answer:
    """Print sources, then the answer as it comes, then its footnotes; in between, how the model loads."""
    from rag import explain, render
    from rag.types import Done, Sources, Standalone, Token
    from rag.why_not import why_not

    out = sys.stdout
    lines = render.Wrapper(render.width() if console.is_terminal(out) else None)
    for event in engine.ask(question, filters=filters, history=history):
        loading.hide()
        match event:
            case Standalone(whole):
                out.write(render.standalone(whole, out))
            case Sources(hits):
                out.write(render.sources(hits, out))
                if flags.explain:
                    out.write(explain.stages(hits, out))
                out.write("\n")
            case Token():
                out.write(lines.feed(render.token(event, out)))
            case Done(answer):
                out.write(lines.flush() + "\n\n" + render.footnotes(answer, out))
                if flags.explain:
                    out.write(explain.not_found(answer, out))
                    out.write(explain.left_out(answer, out) + explain.meter(answer, out))
                if flags.why_not:
                    verdict = why_not(engine.retriever, answer, flags.why_not, filters)
                    out.write(explain.why_not(verdict, out))
        out.flush()
        loading.hide(isinstance(event, Done))
    return answer


def _chat(engine: Engine, flags: argparse.Namespace, filters: Filters, loading: View) -> int:
    """Answer one question after another until the input ends."""
    from rag.chat import questions

    loading.hide()
    history: list[Turn] = []
    for question in questions():
        try:
            history.append(_show_answer(engine, question, flags, filters, loading, history).turn)
        except KeyboardInterrupt:
            print("\n(stopped)")
    return console.OK


if __name__ == "__main__":
    sys.exit(console.run(main))
