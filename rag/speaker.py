"""A language model as answers use it: prompts within its window, words without thoughts and links."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence

from rag.families import family_of, without_thoughts
from rag.followups import standalone
from rag.harmless import unlinked
from rag.loader.base import LanguageModel, Sampling, Usage
from rag.prompt import build_prompt
from rag.rewriting import LONGEST_TOKENS, question_in, rewriting_messages
from rag.settings import AnswerSettings
from rag.types import Hit, Message, Prompt, Turn
from rag.weighing import READS, reads

TRUSTED_PARAMETERS = 1_000_000_000
"""Models below this size support the quoted evidence with their words; they do not replace it."""


class Speaker:
    """What a model may say in an answer; `reads` measures how well it reads, see `rag.weighing`."""

    def __init__(
        self,
        model: LanguageModel,
        settings: AnswerSettings,
        reads: Callable[[LanguageModel], float] = reads,
    ) -> None:
        self.model = model
        self.settings = settings
        self._reads = reads

    def leads(self) -> bool:
        """Whether the model's words are the answer; else, as it is small or reads badly, the quotes are."""
        if self.settings.lead != "auto":
            return self.settings.lead == "model"
        size = self.model.info.parameters
        small = size is not None and size < TRUSTED_PARAMETERS
        return not small and self._reads(self.model) >= READS

    def prompt(self, question: str, hits: Sequence[Hit]) -> tuple[Prompt, int]:
        """What the model reads, and the tokens that it may have at most. Raises PromptTooLong, ModelError."""
        model = self.model
        model.count_tokens([Message("user", question)])  # waits: a second way to load may have less context
        room = model.info.context_tokens - self.settings.answer_tokens - self._thoughts()
        budget = min(self.settings.context_tokens, room)
        return build_prompt(question, hits, budget, model.count_tokens), budget

    def words(
        self,
        messages: Sequence[Message],
        longest: int | None = None,
        cancel: threading.Event | None = None,
    ) -> Generator[str, None, Usage]:
        """What the model says to the user, in at most `longest` tokens; its thoughts come on top, unseen.

        Returns what it cost. Raises ModelError.
        """
        info = self.model.info
        tokens = min(self.settings.answer_tokens, longest or self.settings.answer_tokens)
        sampling = Sampling(tokens + self._thoughts(), self.settings.temperature)
        cost: list[Usage] = []

        def told() -> Iterator[str]:
            cost.append((yield from self.model.stream(messages, sampling, cancel)))

        yield from unlinked(without_thoughts(told(), family_of(info.name).begins_thinking))
        return cost[0] if cost else Usage(0, 0, "cancelled")

    def standalone(
        self, question: str, history: Sequence[Turn], cancel: threading.Event | None = None
    ) -> str:
        """The question without need of the conversation before it, in the model's words where it leads.

        What the model makes of it counts if it is one question made of the conversation's words; else, and
        for a model that only supports, the rules of `rag.followups` decide.
        """
        whole = standalone(question, history)
        if whole == question or not self.settings.max_history_tokens or not self.leads():
            return whole
        messages = rewriting_messages(
            question, history, self.settings.max_history_tokens, self.model.count_tokens
        )
        said = "".join(self.words(messages, LONGEST_TOKENS, cancel)) if messages else ""
        return question_in(said, question, history) or whole

    def _thoughts(self) -> int:
        """Tokens to think with, as far as prompt and answer leave them."""
        spare = self.model.info.context_tokens - self.settings.context_tokens - self.settings.answer_tokens
        return max(0, min(family_of(self.model.info.name).thought_tokens, spare))
