"""A conversation as a file: Markdown for people, JSON for programs (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rag.console import clean
from rag.hidden import without_hidden
from rag.page.conversations import Conversation, Exchange

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>!|~$&#]")
_FIRST = re.compile(r"(?m)^(\d{0,9})([+\-=:.)])")
"""What makes a list, a heading above it, a line or a table where it begins a line."""
_NUMBER = re.compile(r"\\\[(\d+)\\\](?!\s*[(:]|\\\[)")
"""A footnote's number, which no text behind it makes a link or the target of one."""


def as_markdown(conversation: Conversation, exchanges: Sequence[Exchange]) -> str:
    """Questions as headings, answers with their `[n]`, and below each its footnotes: place, path and quote.

    Whatever a document says is shown as text: it makes no link, image, tag, heading or list.
    """
    parts = [f"# {_line(conversation.title)}", f"{_line(conversation.collection)}, {conversation.created}"]
    for exchange in exchanges:
        parts += [f"## {_line(exchange.question)}", _paragraphs(exchange.answer["answer"])]
        if footnotes := "\n".join(_footnotes(exchange.answer["citations"])):
            parts.append(footnotes)
    return "\n\n".join(parts) + "\n"


def as_json(conversation: Conversation, exchanges: Sequence[Exchange]) -> str:
    """One object: the conversation and, in `exchanges`, each question with its answer's whole record."""
    record = {**asdict(conversation), "exchanges": [asdict(exchange) for exchange in exchanges]}
    text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
    # odd bytes of a file name are half surrogate pairs, which JSON can spell and UTF-8 cannot
    return text.encode("utf-8", "backslashreplace").decode()


def escaped(text: str) -> str:
    """Text that a reader of Markdown shows as it is, on lines of their own; numbers as in "[1]" stay bare."""
    seen = without_hidden(clean(text))[0]
    flat = "\n".join(" ".join(line.split()) for line in seen.splitlines())
    marked = _FIRST.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", flat))
    return _NUMBER.sub(r"[\1]", marked)


def _footnotes(citations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each cited place once, with its quotes."""
    for number in dict.fromkeys(each["number"] for each in citations):
        cited = [each for each in citations if each["number"] == number]
        trail = " > ".join([cited[0]["place"], *cited[0]["heading"]])
        yield f"- [{number}] {_line(trail)} ({_line(cited[0]['path'])})"
        yield "\n  >\n".join(
            f'  > "{_line(quote)}"' for quote in dict.fromkeys(each["quote"] for each in cited)
        )


def _line(text: str) -> str:
    return escaped(" ".join(text.split()))


def _paragraphs(text: str) -> str:
    """Lines stay lines, and what a blank line parts stays apart."""
    return re.sub(r"(?<=[^\n])\n(?=[^\n])", "\\\\\n", escaped(text.strip()))
