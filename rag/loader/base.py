"""What every engine gives and gets: one small protocol and the records around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rag.types import Message, ModelInfo

Report = Callable[[dict[str, Any]], None]
"""Takes what happens while a model loads: {"event": ..., ...} in JSON's types."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to pick tokens; temperature 0 always takes the likeliest one.

    Generation ends before the first of the `stop` strings, which is not part of the text.
    """

    max_tokens: int = 160
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0


BATCH_TOKENS = {"llamacpp": 256, "transformers": 1024, "vllm": 256}
"""Prompt tokens read at a time on a processor. Where they are few a cancelled prompt ends soon; transformers,
which looks between layers too, reads one of 574 tokens 10 % faster at once than in three parts."""

TOP_P = 0.95
"""With a temperature above 0, our engines draw from the likeliest tokens that hold this probability."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost; `finish` is "stop" (the model ended it), "length" or "cancelled"."""

    prompt_tokens: int
    answer_tokens: int
    finish: str


class LanguageModel(Protocol):
    """Messages in, text out."""

    @property
    def info(self) -> ModelInfo:
        """Which model this is; final once it has answered anything."""

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        """Yield the answer in pieces of whole characters; the generator's return value is the Usage.

        Setting `cancel`, or closing the generator, ends the work within a token. Raises PromptTooLong
        before the first piece, ModelError when the model gives nothing, ModelDied.
        """

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the whole prompt, the model's chat template included."""

    def close(self) -> None:
        """Free the model; it answers nothing afterwards."""


class LoadedModel(LanguageModel, Protocol):
    """What an engine's `load(plan, report)` returns: a language model that can also be examined."""

    def token_logprobs(self, text: str) -> list[float]:
        """Natural logarithm of each token's probability after the ones before it, the first token left out.

        `text` is read as it is, without the chat template. Its exponentiated negative mean is the perplexity.
        Raises ModelError when a number is not finite.
        """


def defuse(messages: Iterable[Message], control: Sequence[str]) -> list[dict[str, str]]:
    """Messages as the chat template wants them, none of them able to pose as another turn.

    A document may hold the text of a `control` token, such as "<|im_end|>", and engines read the
    rendered template as one text. A zero-width space inside the marker leaves it readable and inert.
    """
    safe = []
    for message in messages:
        content = message.content.encode("utf-8", "replace").decode("utf-8")  # lone surrogates
        for marker in control:
            if marker in content:
                content = content.replace(marker, f"{marker[0]}\u200b{marker[1:]}")
        safe.append({"role": message.role, "content": content})
    return safe
