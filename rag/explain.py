"""Why an answer rests on these passages, as text for a terminal and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import IO, Any

from rag.console import clean_line, paint
from rag.records import hit_record
from rag.render import width
from rag.types import Answer, Context, Hit
from rag.why_not import WhyNot

INDENT = "    "
METER = 20
"""Characters of the bar that shows how full the prompt is."""


def stages(hits: Sequence[Hit], out: IO[str]) -> str:
    """Each passage's rank and score in every stage of the search: a table, or blocks where it is too wide."""
    names = list(dict.fromkeys(stage for hit in hits for stage in hit.how))
    rows = [["", *names, "score", "place"]]
    for number, hit in enumerate(hits, start=1):
        standings = [_standing(hit, stage) for stage in names]
        rows.append([f"[{number}]", *standings, f"{hit.score:.3f}", clean_line(hit.chunk.place)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    if max(map(len, lines)) <= width():
        return "\n" + "\n".join([paint(lines[0], "2", out), *lines[1:]]) + "\n"
    return "\n" + "".join(_block(f"[{n}]", hit, f"score {hit.score:.3f}") for n, hit in enumerate(hits, 1))


def left_out(answer: Answer, out: IO[str]) -> str:
    """What the search dropped and why; "" where it dropped nothing."""
    if not answer.dropped:
        return ""
    blocks = [_block("-", each.hit, each.reason) for each in answer.dropped]
    return "\n" + paint("Left out", "1", out) + "\n" + "".join(blocks)


def not_found(answer: Answer, out: IO[str]) -> str:
    """The sentences that no passage says, with the reason and the nearest place; "" where there is none."""
    if not answer.unsupported:
        return ""
    lines = ["", paint("Not found", "1", out)]
    for each in answer.unsupported:
        nearest = f"; nearest: {each.hit.chunk.place}" if each.hit else ""
        lines += [
            _wrapped(f'- "{clean_line(each.sentence)}"', ""),
            _wrapped(clean_line(each.problem + nearest)),
        ]
    return "\n".join(lines) + "\n"


def meter(answer: Answer, out: IO[str]) -> str:
    """How full the prompt was, and which passages the model did not read for lack of room."""
    context = answer.context
    if context is None:
        return "\n" + paint("Context", "1", out) + "  no model read anything\n"
    filled = round(METER * context.tokens / context.budget_tokens)
    bar = "#" * filled + "." * (METER - filled)
    lines = [f"{paint('Context', '1', out)}  [{bar}]", *map(_wrapped, _read(answer, context))]
    return "\n" + "\n".join(lines) + "\n"


def why_not(verdict: WhyNot, out: IO[str]) -> str:
    """One line a stage, up to where the passage fell out."""
    chunk = verdict.chunk
    lines = [paint(f"Why not {clean_line(verdict.place)}", "1", out)]
    if chunk:
        lines.append(_wrapped(f"{clean_line(chunk.place)}: {_begin(chunk.text)}"))
    longest = max(len(step.stage) for step in verdict.steps)
    for step in verdict.steps:
        head = f"{'ok ' if step.passed else 'out'} {step.stage.ljust(longest)}  "
        text = textwrap.fill(head + clean_line(step.says), width(), subsequent_indent=" " * len(head))
        lines.append(text if step.passed else paint(text, "33", out))
    return "\n" + "\n".join(lines) + "\n"


def explanation_record(answer: Answer) -> dict[str, Any]:
    """The keys that --explain adds to an answer's JSON."""
    context = answer.context
    numbers = {hit.chunk.id: number for number, hit in enumerate(answer.hits, 1)}
    return {
        "dropped": [
            {**hit_record(each.hit), "stage": each.stage, "reason": each.reason} for each in answer.dropped
        ],
        "confidence": round(answer.confidence, 4),
        "context": context
        and {
            "tokens": context.tokens,
            "budget_tokens": context.budget_tokens,
            "used": [numbers[hit.chunk.id] for hit in context.used],
            "dropped": [numbers[hit.chunk.id] for hit in context.dropped],
        },
    }


def _standing(hit: Hit, stage: str) -> str:
    return f"{hit.how[stage].rank} ({hit.how[stage].score:.3f})" if stage in hit.how else "-"


def _block(mark: str, hit: Hit, remark: str) -> str:
    """A passage's place and a remark, then its standing in every stage that saw it."""
    ranks = [f"{stage} {_standing(hit, stage)}".replace(" ", "\xa0") for stage in hit.how]
    lines = [_wrapped(f"{mark} {clean_line(hit.chunk.place)}  {clean_line(remark)}", "")]
    lines += [_wrapped("  ".join(ranks)).replace("\xa0", " ")] if ranks else []
    return "".join(line + "\n" for line in lines)


def _read(answer: Answer, context: Context) -> Iterator[str]:
    numbers = {hit.chunk.id: f"[{number}]" for number, hit in enumerate(answer.hits, 1)}
    used, dropped = (" ".join(numbers[h.chunk.id] for h in part) for part in (context.used, context.dropped))
    yield f"{context.tokens} of {context.budget_tokens} tokens"
    yield f"the model read {used or 'no passage'}"
    if dropped:
        yield f"no room for {dropped}: raise answer.context_tokens"
    if len(numbers) > len(context.used) + len(context.dropped):
        yield "a small model reads only the passages that are quoted"


def _begin(text: str) -> str:
    return f'"{textwrap.shorten(clean_line(" ".join(text.split())), 60, placeholder=" ...")}"'


def _wrapped(text: str, indent: str = INDENT) -> str:
    return textwrap.fill(text, width(), initial_indent=indent, subsequent_indent=INDENT)
