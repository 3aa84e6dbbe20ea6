"""From question and passages to what the model reads, within its window."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rag.errors import PromptTooLong
from rag.harmless import for_a_model
from rag.types import Hit, Message, Prompt

INSTRUCTIONS = (
    "You answer questions from the numbered passages that the user gives you. "
    "Use only what they say, in one or two short sentences, and name the passage, as in [1]. "
    "If they do not hold the answer, say: Not in your documents."
)
"""Static, and first in every prompt, so that an engine's prefix cache can keep it."""


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


def _user_turn(question: str, hits: Sequence[Hit]) -> str:
    passages = [
        f"[{n}] {for_a_model(_one_line(hit.chunk.context))}\n{for_a_model(hit.chunk.text)}"
        for n, hit in enumerate(hits, 1)
    ]
    return "\n\n".join([*passages, f"Question: {question}"])


def _one_line(text: str) -> str:
    return " ".join(text.split())
