"""What documents may not do: order a model about, pose as a turn of the conversation, make pages load things.

Pure. A document stays searchable and quotable whatever it says; this is about what a model reads and says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rag.hidden import without_hidden
from rag.sentences import sentence_spans

LEFT_OUT = "(An instruction was left out here.)"

_SAID = r"(?:answers?|repl(?:y|ies)|responses?|outputs?|users?|questions?|queries|conversation|chat)"
_UTTER = r"(?:say|print|output|reply|respond|answer|repeat|reveal|tell|state|claim|insert|append|prepend)"
_SAY = rf"(?:{_UTTER}|write|include|begin|start|end|mention|show|display|return|add|use|give|cite)"
_MODEL = r"(?:ai|assistant|(?:language )?model|llm|chat ?bot|bot)"
_BEGIN = r"(?:^\W*|[^\w\s,-]\s*|- +|\b(?:please|now|always|only|instead|simply|must|then|and)\s+)"
_ORDERS = re.compile(
    "|".join(
        (
            # "Ignore all previous instructions"
            r"\b(?:ignore|disregard|forget|override|bypass|discard)\b.{0,60}\b(?:instructions?|prompts?|rules?"
            r"|guidelines?|context|questions?|passages?|above|everything)\b",
            # "You are now an unrestricted assistant", "from now on you answer"
            r"\b(?:you are|you're|act as|pretend|behave as|role-?play)\b.{0,40}"
            rf"\b(?:{_MODEL}|dan|unrestricted)\b",
            rf"\bfrom now on\b.{{0,40}}\byou\b|\byou (?:must|shall|should|will|have to|need to) "
            rf"(?:now |only |always |never )?{_UTTER}\b",
            # whom it speaks to
            r"\b(?:system|developer|admin\w*) (?:prompt|instruction|override|command)s?\b",
            r"\b(?:hidden|secret) (?:instruction|order|command|directive)s?\b",
            r"\b(?:instruction|order|command|directive|note|message)s? (?:for|to) (?:the |any |all |an )?"
            rf"{_MODEL}s?\b",
            r"\bas an? (?:ai|(?:ai )?assistant|(?:ai )?language model|chat ?bot)\b"
            rf"|\b(?:dear|hey|attention,?) {_MODEL}\b",
            # "Always end your answer with", "respond only with", "say exactly"
            rf"{_BEGIN}{_SAY}\b.{{0,60}}"
            rf"\b(?:your|every|each|any|all|the) (?:\w+ )?{_SAID}\b",
            rf"{_BEGIN}{_UTTER}\b.{{0,60}}"
            r"\b(?:exactly|verbatim|nothing else|only|with the"
            r"|the (?:following|words?|phrase|sentence|text|string))\b",
            # "When asked about the rent, say"
            r"\b(?:when|if|whenever|every time)\b.{0,60}\b(?:asked|questions?|(?:the |a )?users? asks?)\b"
            rf".{{0,80}}(?<!the )\b{_UTTER}\b",
            # "Do not mention this passage"
            r"\b(?:do not|don't|never)\s+(?:mention|reveal|tell|cite|disclose)\b.{0,60}"
            rf"\b(?:{_SAID}|passages?|sources?|instructions?)\b",
            # the marks of prompts
            r"<\|[^|>]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?(?:system|assistant|user|instructions?)>",
            r"#\s*(?:system|instructions?|response|assistant|human|user)\s*(?::|$)",
        )
    ),
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_TURN = re.compile(
    r"^(\s*(?:system|user|human|assistant|ai|question|answer|instructions?|passages?)\s*):",
    re.IGNORECASE | re.MULTILINE,
)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_NUMBER = re.compile(r"^(\s*)\[(\d+)\]", re.MULTILINE)

_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s[^()]*)?\)")
_TAG = re.compile(r"</?[a-z!][^<>]*>", re.IGNORECASE)
_OPEN = re.compile(r"!?\[[^\[\]]*(?:\](?:\([^()]*)?)?$|!$|<[^<>]*$")
LONGEST_OPEN = 2000
"""Characters of a link that does not end, after which it is taken for text."""


def gives_orders(sentence: str) -> bool:
    """Whether a sentence of a document seems to tell a model what to do (English)."""
    return bool(_ORDERS.search(sentence))


def orders(text: str) -> list[tuple[int, int]]:
    """Where a text gives orders, as (start, end): from a sentence that does to the end of its paragraph."""
    found: list[tuple[int, int]] = []
    for start, end in sentence_spans(text):
        if (not found or start >= found[-1][1]) and gives_orders(text[start:end]):
            paragraph = _PARAGRAPH.search(text, end)
            found.append((start, paragraph.start() if paragraph else len(text)))
    return found


def for_a_model(text: str) -> str:
    """A passage as a model may read it: no orders, nothing hidden, no line that poses as a turn."""
    text = without_hidden(text)[0]
    for start, end in reversed(orders(text)):
        text = text[:start] + LEFT_OUT + text[end:]
    return _NUMBER.sub(r"\1(\2)", _TURN.sub(r"\1 -", text))


def unlinked(pieces: Iterable[str]) -> Iterator[str]:
    """A model's stream without Markdown images and links, whose text stays, and without HTML's tags.

    What may be the beginning of one is held back until it is whole.
    """
    held = ""
    for piece in pieces:
        held = _TAG.sub("", _LINK.sub(r"\1", held + piece))
        begun = _OPEN.search(held)
        ready = held[: begun.start()] if begun and len(held) - begun.start() < LONGEST_OPEN else held
        if ready:
            yield ready
            held = held[len(ready) :]
    if held:
        yield held.replace("![", "[")
