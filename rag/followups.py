"""Questions that continue a conversation, made to stand on their own (pure, English).

What a question leaves to its context is taken from the last one that stood on its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.types import Turn
from rag.wording import MONTHS, STOP_WORDS, Word, words

FEW, FEW_ASKED = 3, 1
"""Content words that are too few for a question of its own, unless there is a name among them: "streaming
services?" needs a context, "who signed the lease?" with a word that asks does not."""
ENOUGH = 2
"""Content words before a pronoun that it is likely to mean."""
SHORT = 4
"""Words of what may take the place of something in the question before."""

_POINTING = frozenset(
    """he she him it they them his her hers its their theirs this that these those same such other others else
    another similar""".split()
)
_OPENING = re.compile(
    r"(?:(?:and|but|or|so|also|then|any|why|no,|i mean|(?:what|how) about|what of)\b[,:]?\s*)+", re.IGNORECASE
)
_ASKS = frozenset(
    """who whom whose what when where why which how is are was were do does did can could will would should
    may might has have had am""".split()
)
_PREPOSITION = re.compile(
    r"(in|on|at|for|from|to|with|by|during|before|after|since|until|under)\s+", re.IGNORECASE
)
_YEAR = re.compile(r"\b(?:1\d|20)\d\d\b")
_MONTH = re.compile(rf"\b(?:{'|'.join(month.capitalize() for month in MONTHS)})\b")
_NAME = re.compile(r"\b[A-Z][\w'’-]*(?: (?:of (?:the )?)?[A-Z][\w'’-]*)*")
_VERB = "(?:is|are|was|were|do|does|did|can|could|will|would|has|have|had)"
_AFTER = "(?:in|on|at|of|for|from|to|with|by|and|or|end|start|begin|cost|take)"
_THING = re.compile(
    r"\b((?:the|my|our|your|a|an) (?:[\w'’-]+ ){0,3}?[\w'’-]+)"
    rf"(?=\s*[?.,;:]|\s*$| (?:{_VERB}|{_AFTER})\b)",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:(?P<owner>his|its|their)|(?P<her>her)|he|she|him|it|they|them"
    rf"|(?:this|that|these|those)(?=\s*[?.,;]|\s*$| {_VERB}\b))\b",
    re.IGNORECASE,
)
_PERSONS = frozenset("he she him her his".split())
_WHO_IS = re.compile(r"who (?:is|was) (?:[A-Z]\S* ?)+\W*$", re.IGNORECASE)
_EXPLETIVE = re.compile(
    r"\bit (?:takes?|costs?)\b|\b(?:is|was|does|did) it (?:take|possible|true|necessary|ok|okay|safe|legal"
    r"|allowed|worth|best|better)\b",
    re.IGNORECASE,
)


def depends(question: str) -> bool:
    """Whether a question seems to need those before it to be understood."""
    told = words(question)
    if _OPENING.match(question.strip()) or _points_back(told):
        return True
    if any(word.kind == "name" for word in told[1:]):
        return False
    asks = any(word.text.lower() in _ASKS for word in told)
    return sum(word.carries for word in told) <= (FEW_ASKED if asks else FEW)


def _points_back(told: Sequence[Word]) -> bool:
    """Whether a word stands for something, and nothing stands before it that it could mean."""
    content = 0
    for word in told:
        if word.text.lower() in _POINTING:
            return True
        content += word.carries
        if content >= ENOUGH or (word.kind == "name" and word is not told[0]):
            return False
    return False


def standalone(question: str, history: Sequence[Turn]) -> str:
    """The question as it would be asked without the conversation before it; itself where it needs nothing.

    "And in 2023?" after "What was the rent in 2022?" is "What was the rent in 2023?"; "When was he born?"
    after "Who was Nikola Tesla?" asks of Nikola Tesla. What neither rule can mend is put behind the question
    that it continues.
    """
    if not history or not depends(question):
        return question
    before = _topic(history)
    named = _named(question, before, history[-1].answer)
    return _filled(question, before) or named or f"{before} {question}"


def _topic(history: Sequence[Turn]) -> str:
    """The last question that stood on its own, or was made to; else the first one."""
    for turn in reversed(history):
        mended = turn.standalone != turn.question and not turn.standalone.endswith(f" {turn.question}")
        if mended or not depends(turn.question):
            return turn.standalone
    return history[0].question


def _filled(question: str, before: str) -> str:
    """The question before with a year, month or name replaced, or a phrase added; "" if that is not it."""
    asked = question.strip(" ?.!")
    opening = _OPENING.match(asked)
    rest = asked[opening.end() :] if opening else asked
    low = rest.lower().split()
    if not rest or len(low) > SHORT or _ASKS.intersection(low) or _POINTING.intersection(low):
        return ""
    lead = _PREPOSITION.match(rest)
    bare = rest[lead.end() :] if lead else rest
    for pattern in (_YEAR, _MONTH):
        if pattern.fullmatch(bare) and (found := pattern.findall(before)):
            head, _, tail = before.rpartition(found[-1])
            return f"{head}{bare}{tail}"
    names = _names(before)
    if _NAME.fullmatch(bare) and names and (opening or lead or len(low) == len(bare.split())):
        old = next((name for name in names if lead and f"{lead[1].lower()} {name}" in before), names[-1])
        return before.replace(old, bare)
    return f"{before.rstrip(' ?.!')} {rest}?" if lead else ""


def _named(question: str, before: str, answer: str) -> str:
    """The question with its pronoun replaced by what the one before is about; "" if that is not known."""
    pronoun = next(_PRONOUN.finditer(question), None)
    if not pronoun or _EXPLETIVE.search(question):
        return ""
    who = pronoun[0].lower() in _PERSONS and before.lower().startswith("who ")
    names = _names(before) if not who or _WHO_IS.match(before) else _names(answer)
    named = next(iter(names), None) or next((match[1] for match in _THING.finditer(before)), None)
    if not named or named.lower() in question.lower():
        return ""
    named = re.sub(r"^(?:an?|my|our|your) ", "the ", named, flags=re.IGNORECASE)
    owns = pronoun["owner"] or (pronoun["her"] and re.match(r"\s+\w", question[pronoun.end() :]))
    return question[: pronoun.start()] + named + ("'s" if owns else "") + question[pronoun.end() :]


def _names(text: str) -> list[str]:
    """The names in a text, without the words that have a capital only because they begin it."""
    found = []
    for match in _NAME.finditer(text):
        parts = match[0].split(" ")
        while parts and parts[0].lower() in (STOP_WORDS | _ASKS):
            parts.pop(0)
        if parts and (match.start() or len(parts) > 1 or len(match[0]) == len(text.strip(" ?.!"))):
            found.append(" ".join(parts))
    return found
