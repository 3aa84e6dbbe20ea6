"""From question and passages to what the model reads, within its window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rag.citations import NOT_IN_DOCUMENTS
from rag.errors import PromptTooLong
from rag.harmless import for_a_model
from rag.sentences import sentence_spans
from rag.types import Citation, Hit, Message, Prompt

INSTRUCTIONS = (
    "You answer questions from the numbered passages that the user gives you. "
    "Use only what they say, in one or two short sentences, and name the passage, as in [1]. "
    "Answer in the language of the question. "
    f"If they do not hold the answer, say: {NOT_IN_DOCUMENTS}"
)
"""Static, and first in every prompt, so that an engine's prefix cache can keep it."""

EXCERPT_WORDS = 80
"""Of a passage, for a model that reads little: the quoted sentences, and those around them."""


def build_prompt(
    question: str,
    hits: Sequence[Hit],
    budget_tokens: int,
    count_tokens: Callable[[Sequence[Message]], int],
) -> Prompt:
    """Fit as many hits as the budget allows, best first; what found no room is in `dropped_hits`.

    `count_tokens` is the model's own tokenizer with its chat template applied. Raises PromptTooLong
    when even the question alone exceeds the budget.
    """
    for used in range(len(hits), -1, -1):
        messages = (Message("system", INSTRUCTIONS), Message("user", _user_turn(question, hits[:used])))
        tokens = count_tokens(messages)
        if tokens <= budget_tokens:
            return Prompt(messages, tuple(hits[:used]), tuple(hits[used:]), tokens)
    raise PromptTooLong(
        f"the question alone needs {tokens} tokens, and the prompt may have {budget_tokens}",
        "Shorten the question, or raise answer.context_tokens if the model's window allows it.",
    )


def excerpts(citations: Sequence[Citation]) -> list[Hit]:
    """Of each cited passage what is quoted and the sentences around it, in the order of their numbers."""
    cited: dict[int, list[Citation]] = {}
    for citation in sorted(citations, key=lambda each: each.number):
        cited.setdefault(citation.number, []).append(citation)
    return [_excerpt(each) for each in cited.values()]


def _excerpt(citations: Sequence[Citation]) -> Hit:
    hit = citations[0].hit
    start, end = min(each.start for each in citations), max(each.end for each in citations)
    chunk, spans = hit.chunk, sentence_spans(hit.chunk.text)
    outside = [span for span in spans if span[1] <= start or span[0] >= end]
    for first, last in sorted(outside, key=lambda span: max(start - span[1], span[0] - end)):
        wider = min(start, first), max(end, last)
        if len(chunk.text[slice(*wider)].split()) > EXCERPT_WORDS:
            break
        start, end = wider
    return replace(
        hit,
        chunk=replace(chunk, text=chunk.text[start:end], start=chunk.start + start, end=chunk.start + end),
    )


def _user_turn(question: str, hits: Sequence[Hit]) -> str:
    passages = [
        f"[{n}] {for_a_model(_one_line(hit.chunk.context))}\n{for_a_model(hit.chunk.text)}"
        for n, hit in enumerate(hits, 1)
    ]
    return "\n\n".join([*passages, f"Question: {question}"])


def _one_line(text: str) -> str:
    return " ".join(text.split())
