"""The speeds of one loaded model: reading a prompt, writing, and the wait for the first token.

Every prompt is another one, from its first word on, so that no cache of an earlier prompt helps; only the few
tokens that the chat template puts before a message may come from one. The first request is not counted.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from rag.errors import EvaluationError, ModelError
from rag.loader.base import LanguageModel, Sampling, Usage
from rag.types import Message

T = TypeVar("T")

RUNS, BUDGET_S = 3, 20.0
"""So often each figure is taken, or as often as begins within these seconds; the median counts."""
LIMIT_S = 600.0
"""A request that takes longer says enough."""
WRITING_PROMPT_TOKENS = 96
LEAST_TOKENS = 8
"""Fewer tokens than this say nothing about the speed of writing."""
NEVER = "\ue000"
"""A character of no meaning to stop at: an answer of nothing but an unfinished character is no error then."""
QUESTION = "How many days does a week have?"
TASK = "\nTell a long story in which all of these words occur, and do not end it soon."
WORDS = (
    "amber anchor apple autumn basket beacon bridge bronze candle canyon castle cedar circle clock cloud "
    "copper coral cotton desert dragon eagle ember engine falcon feather field flame forest garden ginger "
    "glacier granite harbor hazel hollow honey island ivory jasmine journey kettle ladder lantern lemon "
    "letter linen magnet maple marble meadow mirror monsoon needle ocean olive orchard paper pebble pepper "
    "planet prairie quartz rabbit raven ribbon river saddle salmon shadow silver sparrow spring summer "
    "temple thunder timber tunnel valley velvet village violin walnut water whisper willow window winter"
).split()
FILLERS = (" a", ".", " x")
MOST_FILLERS = 24


@dataclass(frozen=True, slots=True)
class Speeds:
    """Tokens a second and seconds, each the median of some runs; None where nothing was timed."""

    prompt_tokens: int | None = None
    prefill_tokens_per_s: float | None = None
    answer_tokens: int | None = None
    tokens_per_s: float | None = None
    first_token_s: float | None = None


def measure(model: LanguageModel, prompt_tokens: int, answer_tokens: int) -> Speeds:
    """Prefill: a prompt of exactly so many tokens until its first answering token is there.

    Writing: the tokens of an answer after its first, in the time that it takes longer than an answer of one
    token to a prompt just as long. Raises ModelError, ModelDied, EvaluationError.
    """
    prompts = Prompts(model)
    answer_in(model, prompts.exact(prompt_tokens)[0], 2)  # buffers are made, code is compiled
    reads = _repeated(lambda: _prefill(model, prompts, prompt_tokens))
    writes = _repeated(lambda: _writing(model, prompts, answer_tokens))
    rates = [rate for _, rate in writes if rate]
    first_s, _ = answer_in(model, [Message("user", QUESTION)], 1)
    return Speeds(
        prompt_tokens=reads[0][0],
        prefill_tokens_per_s=median(rate for _, rate in reads),
        answer_tokens=max(tokens for tokens, _ in writes),
        tokens_per_s=median(rates) if rates else None,
        first_token_s=first_s,
    )


def _prefill(model: LanguageModel, prompts: Prompts, wanted: int) -> tuple[int, float]:
    messages, tokens = prompts.exact(wanted)
    seconds, _ = answer_in(model, messages, 1)
    return tokens, tokens / seconds


def _writing(model: LanguageModel, prompts: Prompts, wanted: int) -> tuple[int, float | None]:
    first_s, _ = answer_in(model, prompts.exact(WRITING_PROMPT_TOKENS, TASK)[0], 1)
    seconds, usage = answer_in(model, prompts.exact(WRITING_PROMPT_TOKENS, TASK)[0], wanted)
    tokens = usage.answer_tokens
    if tokens < min(LEAST_TOKENS, wanted) or tokens < 2 or seconds <= first_s:
        return tokens, None
    return tokens, (tokens - 1) / (seconds - first_s)


def _repeated(once: Callable[[], T]) -> list[T]:
    began = time.perf_counter()
    results = [once()]
    while len(results) < RUNS and time.perf_counter() - began < BUDGET_S:
        results.append(once())
    return results


def answer_in(model: LanguageModel, messages: Sequence[Message], tokens: int) -> tuple[float, Usage]:
    """Seconds of a whole answer of at most so many tokens, and its usage. Raises EvaluationError."""
    cancel = threading.Event()
    alarm = threading.Timer(LIMIT_S, cancel.set)
    alarm.start()
    began = time.perf_counter()
    pieces = model.stream(messages, Sampling(max_tokens=tokens, stop=(NEVER,)), cancel)
    try:
        while True:
            next(pieces)
    except StopIteration as end:
        seconds, usage = time.perf_counter() - began, end.value
    finally:
        alarm.cancel()
    if usage.finish == "cancelled":
        raise EvaluationError(
            f"{tokens} tokens took more than {LIMIT_S:.0f} s", "Lower --prompt-tokens or --answer-tokens."
        )
    return seconds, usage


class Prompts:
    """Makes prompts of a number of tokens, no two of which begin alike."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._numbers = itertools.count(random.Random().randrange(100, 1000))
        self._system = _takes_system(model)

    def exact(self, tokens: int, task: str = "") -> tuple[list[Message], int]:
        """Messages of so many tokens, template included, and how many they are.

        They are fewer where no words make exactly that number, more where the template alone takes more.
        """
        number = next(self._numbers)
        words = random.Random(number).choices(WORDS, k=max(1, tokens))
        count = self._most(number, words, tokens, task)
        best = self._messages(number, words[:count], task)
        best_tokens = self._model.count_tokens(best)
        for filler in FILLERS:
            for times in range(1, MOST_FILLERS):
                if best_tokens >= tokens:
                    return best, best_tokens
                tried = self._messages(number, [*words[:count], filler * times], task)
                found = self._model.count_tokens(tried)
                if found > tokens:
                    break
                if found > best_tokens:
                    best, best_tokens = tried, found
        return best, best_tokens

    def _most(self, number: int, words: list[str], tokens: int, task: str) -> int:
        """How many of the words fit, found by halving."""
        low, high = 1, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            if self._model.count_tokens(self._messages(number, words[:middle], task)) <= tokens:
                low = middle
            else:
                high = middle - 1
        return low

    def _messages(self, number: int, words: Sequence[str], task: str) -> list[Message]:
        system = [Message("system", f"{number} is the number of this text.")] if self._system else []
        return [*system, Message("user", f"{number} {' '.join(words)}{task}")]


def _takes_system(model: LanguageModel) -> bool:
    """Whether the chat template has a place for a system message, the first thing that may differ.

    Without one some templates put their own there, which a cache would know from the prompt before.
    """
    try:
        model.count_tokens([Message("system", "1"), Message("user", "1")])
    except ModelError:  # Gemma's raises
        return False
    return True
