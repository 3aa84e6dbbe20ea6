"""How a language model is asked to make a follow-up stand on its own, and what of its reply counts (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rag.harmless import for_a_model
from rag.types import Message, Turn
from rag.wording import content_words

INSTRUCTIONS = (
    "You rewrite the last question of a conversation so that it can be understood without the conversation. "
    "Put in the names, things and dates that it leaves out, change nothing else, and keep its language. "
    "Reply with the question alone."
)
LONGEST_TOKENS = 80
ANSWER_CHARACTERS = 300
"""Of an earlier answer; what a question points back to stands near its beginning."""
LONGEST_WORDS = 60
NEW_WORDS = 2
"""Content words that a rewritten question may have from nowhere: the model's inflections."""


def rewriting_messages(
    question: str,
    history: Sequence[Turn],
    budget_tokens: int,
    count_tokens: Callable[[Sequence[Message]], int],
) -> tuple[Message, ...]:
    """The prompt, with as many of the last turns as fit into the budget; none where not even one does."""
    for first in range(len(history)):
        told = "\n".join([*map(_turn, history[first:]), f"Last question: {question}"])
        messages = (Message("system", INSTRUCTIONS), Message("user", told))
        if count_tokens(messages) <= budget_tokens:
            return messages
    return ()


def question_in(said: str, question: str, history: Sequence[Turn]) -> str:
    """The rewritten question, if that is what was said: one line, made of words that were there; else ""."""
    line = " ".join(said.split()).removeprefix("Question:").strip().strip("\"'“”")
    known = content_words(" ".join([question, *(f"{turn.standalone} {turn.answer}" for turn in history)]))
    made_up = content_words(line) - known
    asked_of = content_words(question) & content_words(line) or not content_words(question)
    sensible = len(line.split()) <= LONGEST_WORDS and len(made_up) <= NEW_WORDS and asked_of
    return line if line and sensible else ""


def _turn(turn: Turn) -> str:
    answer = for_a_model(" ".join(turn.answer.split())[:ANSWER_CHARACTERS])
    return f"Question: {turn.standalone}\nAnswer: {answer}"
