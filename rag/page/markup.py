"""Questions, answers and sources as HTML: all text is escaped, and the page itself hears of all links."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rag.page.answering import Said
from rag.page.conversations import Exchange
from rag.page.safe import answer_html

Record = Mapping[str, Any]

NEAREST = "These passages come nearest:"
DETAILS, SOURCE, UP, DOWN = "details", "source", "up", "down"
"""What a link asks for: `of` is an exchange's number, `n` that of a source."""


def live(said: Said) -> str:
    """An answer that is still coming: its sources first, then its words."""
    places = [hit.chunk.place for hit in said.hits]
    parts = [_taken(said.standalone)]
    if not said.searched:
        parts.append('<p class="searching">Searching your documents …</p>')
    if places:
        rows = "".join(f"<li>{_number(n)} {html.escape(place)}</li>" for n, place in enumerate(places, 1))
        parts.append(f'<ul class="notes">{rows}</ul>')
    if said.searched:
        words = answer_html(said.text, lambda n: _number(n) if n <= len(places) else "", said.bold)
        parts.append(f'<div class="answer">{words}<span class="cursor"></span></div>')
    return "".join(parts)


def answer(exchange: Exchange) -> str:
    """A kept answer with its footnotes, sources and what can be done with it."""
    record, of = exchange.answer, exchange.id
    hits = record["hits"]

    def chip(number: int) -> str:
        return _chip(of, number, hits[number - 1]["place"]) if 0 < number <= len(hits) else ""

    text = record["answer"]
    said = answer_html(text, chip, map(tuple, record["bold"]), unsupported_in(record))
    return (
        _taken(record["standalone"] if record["standalone"] != record["question"] else "")
        + f'<div class="answer">{said}</div>'
        + _notes(record, of)
        + _found(record, of)
        + _acts(exchange)
    )


def unsupported_in(record: Record) -> Iterable[tuple[int, int]]:
    """Where the sentences that were not found stand in the answer's text."""
    text = record["answer"]
    for each in record["unsupported"]:
        start = text.find(each["sentence"])
        if start >= 0:
            yield start, start + len(each["sentence"])


def trail(heading: Sequence[str]) -> str:
    """Headings on one line, escaped."""
    return html.escape(" › ".join(heading))


def _taken(question: str) -> str:
    return f'<p class="taken">Taken as: {html.escape(question)}</p>' if question else ""


def _notes(record: Record, of: int) -> str:
    """A line for each cited place."""
    numbers = dict.fromkeys(citation["number"] for citation in record["citations"])
    return _list(record["hits"], of, numbers)


def _found(record: Record, of: int) -> str:
    """All sources, opened where the answer is that there is none."""
    hits = record["hits"]
    if not hits:
        return ""
    found = "1 passage was found" if len(hits) == 1 else f"{len(hits)} passages were found"
    opened, label = (" open", NEAREST) if record["abstained"] else ("", found)
    rows = _list(hits, of, range(1, len(hits) + 1))
    return f'<details class="found"{opened}><summary>{label}</summary>{rows}</details>'


def _list(hits: Sequence[Record], of: int, numbers: Iterable[int]) -> str:
    rows = []
    for n in numbers:
        hit = hits[n - 1]
        heading = trail(hit["heading"][-2:])
        rows.append(
            f"<li>{_chip(of, n, hit['place'])} {_link(SOURCE, html.escape(hit['place']), of, n)} "
            f'<span class="trail">{heading}</span></li>'
        )
    return f'<ul class="notes">{"".join(rows)}</ul>' if rows else ""


def _acts(exchange: Exchange) -> str:
    text, of = html.escape(exchange.answer["answer"]), exchange.id
    seconds = exchange.answer["timings"]["total_s"]
    links = [
        f'<a href="#" role="button" data-do="copy" data-text="{text}">Copy</a>',
        _link(UP, "Good", of, on=exchange.vote == "up"),
        _link(DOWN, "Bad", of, on=exchange.vote == "down"),
        _link(DETAILS, f"Details ({seconds:.1f} s)", of),
    ]
    return f'<div class="acts">{"".join(links)}</div>'


def _link(do: str, label: str, of: int, n: int = 0, on: bool = False) -> str:
    pressed = ' class="on" aria-pressed="true"' if on else ""
    return f'<a href="#" role="button"{pressed} data-do="{do}" data-of="{of}" data-n="{n}">{label}</a>'


def _chip(of: int, n: int, place: str) -> str:
    place = html.escape(place)
    return (
        f'<a class="chip" href="#" role="button" title="{place}" aria-label="Source {n}: {place}" '
        f'data-do="{SOURCE}" data-of="{of}" data-n="{n}">{n}</a>'
    )


def _number(n: int) -> str:
    return f'<a class="chip">{n}</a>'
