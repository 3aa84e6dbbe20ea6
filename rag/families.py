"""What differs between families of models in how they answer: one line each, told by the model's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ("<|channel>thought", "<channel|>"),
)
"""What stands around the thoughts of a model that thinks before it answers."""
_LONGEST = max(len(tag) for pair in TAGS for tag in pair)


@dataclass(frozen=True, slots=True)
class Family:
    """`names` is searched for in a model's name, without regard to capitals.

    `thought_tokens` are added to what an answer may have. With `begins_thinking` the template has opened the
    thought already, and only its end is seen.
    """

    names: str
    thought_tokens: int = 0
    begins_thinking: bool = False


FAMILIES = (
    Family(r"deepseek-?r1|r1-distill", 4096, begins_thinking=True),
    Family(r"qwq", 4096, begins_thinking=True),
    Family(r"qwen-?3.*thinking", 4096, begins_thinking=True),
    Family(r"qwen-?3.*(?:instruct|coder|embedding)", 0),
    Family(r"qwen-?3", 2048),
    Family(r"gpt-?oss", 2048),
    Family(r"magistral", 4096),
    Family(r"phi-?4.*reasoning", 4096),
    Family(r"smollm3", 2048),
    Family(r"exaone-deep", 4096, begins_thinking=True),
    Family(r"seed-oss", 4096),
    Family(r"olmo-?3.*think", 4096, begins_thinking=True),
)
"""The first that fits counts; a model of no family here thinks within the tokens of its answer, if at all."""


def family_of(name: str) -> Family:
    """The family of a model by its name, path or hub id."""
    return next((family for family in FAMILIES if re.search(family.names, name, re.IGNORECASE)), Family(""))


def without_thoughts(pieces: Iterable[str], begins_thinking: bool = False) -> Iterator[str]:
    """A model's stream without what it thinks before it answers, and without blanks before the answer.

    What may be the beginning of a tag is held back until it is whole.
    """
    held, begun = "", False
    closing = TAGS[0][1] if begins_thinking else ""
    for piece in pieces:
        held += piece
        while True:
            if closing:
                _, found, held = held.partition(closing) if closing in held else ("", "", held[-_LONGEST:])
            else:
                at, tag, ends = _opening(held)
                found = tag
                ready, held = (held[:at], held[at + len(tag) :]) if tag else _safe(held)
                ready = ready if begun else ready.lstrip()
                if ready:
                    begun = True
                    yield ready
            if not found:
                break
            closing = "" if closing else ends
    if not closing and (rest := held if begun else held.lstrip()):
        yield rest


def _opening(text: str) -> tuple[int, str, str]:
    """Where the first thought begins, with which tag, and what ends it."""
    found = [(text.find(opens), opens, closes) for opens, closes in TAGS if opens in text]
    return min(found, default=(0, "", ""))


def _safe(text: str) -> tuple[str, str]:
    """What can be shown, and the end of it that may be the beginning of a tag."""
    for length in range(min(_LONGEST, len(text)), 0, -1):
        if any(opens.startswith(text[-length:]) for opens, _ in TAGS):
            return text[:-length], text[-length:]
    return text, ""
