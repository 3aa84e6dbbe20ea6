"""Whether a source says what a claim says: the same words, numbers, units, names, negations and order (pure).

A claim that merely shares its words with a source may still say something else. So each of what is easily
said wrongly is checked on its own; what cannot be told for sure counts as not said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rag.roles import exchanged
from rag.wording import MONTHS, Word, content_words, has, words

LENT = 0.25
"""Share of a claim's content words that its source's headings may lend; one in any case."""
FRAGMENT = 3
"""Content words that are too few to say anything without the question that they answer."""
STATED = 5
"""Content words behind "the answer is" from which on they are a statement of their own."""
ITEM = 8
"""Content words below which an item of a list may be a mere answer."""
_BULLET = re.compile(r"^\s*(?:[-*+•–]|\d+[.)])\s+")
_ANSWERING = re.compile(
    r"\W*(?:(?:the|my) )?(?:(?:correct|final|right|short) )?answer(?: to (?:this|the|your) question)?"
    r"(?:\s+(?:is|was|would be))?\b[\s:.\-–—]*",
    re.IGNORECASE,
)
_CLAUSES = frozenset("and but or which who that while when where because so after before although".split())

_LEADING = frozenset(
    """a an the of for to in on at by with from into as and or but nor is was are were be been has have had
    his her its their our my your this that these those which who whose than""".split()
)
"""Words that no sentence ends with, but one that was broken off."""
_PRONOUNS = frozenset("he she it they him them his her hers its their theirs".split())
_OPPOSITES = [
    frozenset(group.split())
    for group in (
        "before after until since",
        "more less fewer",
        "most least",
        "above below",
        "over under",
        "up down",
        "north south east west northern southern eastern western",
        "first second third last final",
        "increased decreased rose fell grew shrank declined",
        "increase decrease rise fall growth decline",
        "all some few",
        "always never sometimes often rarely seldom",
        "maximum minimum",
        "highest lowest",
        "largest smallest",
        "higher lower",
        "larger smaller",
        "oldest youngest newest",
        "older younger newer",
        "early late",
        "earlier later",
        "with without",
        "inside outside",
        "true false",
        "left right",
        "allowed forbidden",
    )
]
_ADVERBS = frozenset("ever yet even quite always really longer".split())
_WEAK_NEGATIONS = frozenset("only until just merely".split())


@dataclass(frozen=True, slots=True)
class Verdict:
    """`share` of the claim's content words is in the source; `problem` says why that is not enough, if so.

    `unsure`: it cuts a name short or takes two sentences; a reader should confirm it.
    """

    share: float
    problem: str = ""
    unsure: bool = False

    @property
    def supported(self) -> bool:
        return not self.problem


def check(claim: str, source: str, background: str = "") -> Verdict:
    """Whether the source, a sentence or two, says the claim.

    `background` is what stands above the source, its title and headings: it may name what the source calls
    "he" or "it", and lend a word, but no number.
    """
    said, told = words(claim), words(source)
    content = [word for word in said if word.carries]
    if not content:
        return Verdict(0.0, "it says nothing that can be checked")
    if said[-1].text.lower() in _LEADING:
        return Verdict(0.0, "it breaks off")
    known = {word.stem for word in told if word.carries}
    found = sum(word.stem in known for word in content) / len(content)
    around = {word.stem for word in words(background) if word.kind in ("name", "word")}
    referring = _has_pronoun(told)
    lacking = [
        word
        for word in content
        if word.stem not in known and not (word.stem in around and (word.kind == "word" or referring))
    ]
    if problem := _opposed(said, told) or _missing(lacking):
        return Verdict(found, problem)
    lent = sum(word.stem not in known for word in content)
    heading = lent and {word.stem for word in content} <= _stems(background)
    if heading or lent > max(1, LENT * len(content)):
        return Verdict(found, "little of it is said there")
    for find in _CHECKS:
        if problem := find(said, told):
            return Verdict(found, problem)
    return Verdict(found, unsure=_cuts_a_name(said, told))


def check_pair(claim: str, first: str, second: str, background: str = "") -> Verdict:
    """Whether two sentences in a row say the claim together, and it takes both.

    What only one of them adds may not be a mere name or number: that would put it into the other's place,
    unless the second has a pronoun for it.
    """
    content = [word for word in words(claim) if word.carries]
    in_first, in_second = ({w.stem for w in content} & _stems(each) for each in (first, second))
    if in_first <= in_second or in_second <= in_first:
        return Verdict(0.0, "one of them says as much")
    verdict = check(claim, f"{first} {second}", background)
    if not verdict.supported:
        return verdict
    for one, other, name_for in ((first, second, second), (second, first, "")):
        stems = {word.stem for word in words(other)}
        own = [word for word in content if word.stem not in stems and word.stem in _stems(one)]
        named = all(word.kind == "name" for word in own) and _has_pronoun(words(name_for))
        if own and all(word.kind != "word" for word in own) and not named:
            return Verdict(verdict.share, f"{own[0].text} is said of something else")
        for number in (word for word in own if word.kind == "number"):
            if not _beside(number, words(claim), _stems(one)):
                return Verdict(verdict.share, f"{number.text} is said of something else")
    return Verdict(verdict.share, unsure=True)


def _beside(number: Word, said: Sequence[Word], stems: set[str]) -> bool:
    """Whether most of what a clause says beside a number is said where that number is."""
    clause: list[Word] = []
    for word in (*said, Word(".", ".", "mark")):
        if word.kind == "mark" or word.text.lower() in _CLAUSES:
            if number in clause:
                others = [each for each in clause if each.carries and each.kind != "number"]
                return 2 * sum(each.stem in stems for each in others) >= len(others)
            clause = []
        else:
            clause.append(word)
    return True


def fragment(claim: str) -> str:
    """Of a sentence that says nothing by itself, only what a question's answer is, that answer; else "".

    "The answer is: 1957.", "1957." and "American Broadcasting Company (ABC)" are true or false together with
    the question that they answer.
    """
    item = _BULLET.match(claim)
    rest = statement(claim)
    content = [word for word in words(rest) if word.carries]
    few = len(content) < (STATED if rest != claim and not item else FRAGMENT)
    return rest.strip() if few or all(word.kind != "word" for word in content) else ""


def short_item(claim: str) -> bool:
    """Whether it is an item of a list that may say nothing without what it is an item of."""
    return bool(_BULLET.match(claim)) and sum(word.carries for word in words(claim)) < ITEM


def statement(claim: str) -> str:
    """The claim without "The answer is:" or the bullet before it."""
    rest = _BULLET.sub("", claim, count=1)
    opening = _ANSWERING.match(rest)
    return rest[opening.end() :] if opening else rest


def share(claim: str, source: str) -> float:
    """Share of the claim's content words that the source holds, 0 to 1; 0 if it lacks a number of them."""
    content = [word for word in words(claim) if word.carries]
    known = content_words(source)
    if not content or any(word.kind == "number" and word.stem not in known for word in content):
        return 0.0
    stems = {word.stem for word in content}
    return len(stems & known) / len(stems)


def contrary(one: str, other: str) -> bool:
    """Whether one of two short answers denies, or says the opposite of, what the other says."""
    said, told = words(one), words(other)
    denies = [any(word.kind == "negation" for word in each) for each in (said, told)]
    return denies[0] != denies[1] or bool(_opposed(said, told))


def _stems(text: str) -> set[str]:
    return {word.stem for word in words(text)}


def _missing(lacking: Sequence[Word]) -> str:
    """What a claim adds: a single word, such as "repealed", can make it false."""
    word = next(iter(lacking), None)
    if word is None:
        return ""
    thing = word.kind in ("number", "unit", "name")
    return f"{word.text} is not there" if thing else f'nothing is said there of "{word.text}"'


def _cuts_a_name(said: Sequence[Word], told: Sequence[Word]) -> bool:
    """ "San Francisco" may not be the "San Francisco Bay Area"; of one word nobody knows."""
    whole = set(_names(told))
    for name in _names(said):
        longer = [other for other in whole if other[: len(name)] == name]
        if len(name) > 1 and longer and name not in longer:
            return True
    return False


def _names(told: Sequence[Word]) -> Iterator[tuple[str, ...]]:
    """The stems of names, those as one that nothing stands between."""
    for is_name, run in groupby(told, key=lambda word: word.kind == "name"):
        if is_name:
            yield tuple(word.stem for word in run)


def _repeated(said: Sequence[Word], told: Sequence[Word]) -> str:
    """A name or number that the source says once cannot stand in two places of the claim."""
    have = Counter(word.stem for word in told)
    spare = sum(word.text.lower() in _PRONOUNS for word in told)
    for kind, more in (("name", spare), ("number", 0)):
        used = Counter(word.stem for word in said if word.kind == kind and have[word.stem])
        for stem, times in used.items():
            if times > have[stem] + more:
                return f"{_written(said, stem)} is said of something else"
    return ""


def _counted(said: Sequence[Word], told: Sequence[Word]) -> str:
    """A number belongs to what follows it, and a day or year to its month."""
    have = _pairs(told)
    for number, thing in _pairs(said):
        if (number, thing) in have:
            continue
        others = {n for n, what in have if what == thing}
        units = {what for n, what in have if n == number and _is_unit(told, what)}
        if others or (units and _is_unit(said, thing)):
            return f"{_written(said, number)} is said of something else"
    return ""


def _pairs(told: Sequence[Word]) -> set[tuple[str, str]]:
    pairs = set()
    for before, after in pairwise(told):
        if before.kind == "number" and after.kind in ("unit", "word", "name"):
            pairs.add((before.stem, after.stem))
        if after.kind == "number" and before.text.lower() in MONTHS:
            pairs.add((after.stem, before.stem))
    return pairs


def _is_unit(told: Sequence[Word], stem: str) -> bool:
    return any(word.kind == "unit" and word.stem == stem for word in told)


def _denied(said: Sequence[Word], told: Sequence[Word]) -> str:
    """What one denies, the other must deny, as far as it speaks of it."""
    claimed, stated = _denials(said, told), _denials(told, said)
    there = {stem for denial in stated for stem in denial}
    if len(claimed) > len(stated) or any(not there.intersection(denial) for denial in claimed if denial):
        return "it denies what is said there"
    here = {stem for denial in claimed for stem in denial}
    mine = {word.stem for word in said if word.carries}
    for denial in stated:
        first = next((stem for stem in denial if stem not in _ADVERBS and not stem.endswith("ly")), None)
        if first in mine and first not in here:
            return "it leaves out what is denied there"
    return ""


def _denials(told: Sequence[Word], beside: Sequence[Word]) -> list[list[str]]:
    """Behind each negation the next content words of its clause, three at most.

    "Not only" and "not until" deny nothing, unless the text `beside` has an "only" or "until" to be denied.
    """
    found = []
    for at, word in enumerate(told):
        if word.kind != "negation":
            continue
        behind = told[at + 1 :]
        weak = behind[0].text.lower() if behind else ""
        if weak in _WEAK_NEGATIONS and not has(beside, weak):
            continue
        denied: list[str] = []
        for other in behind:
            if len(denied) == 3 or (other.kind == "mark" and (denied or other.text in ".;:!?")):
                break
            if other.carries:
                denied.append(other.stem)
        found.append(denied)
    return found


def _opposed(said: Sequence[Word], told: Sequence[Word]) -> str:
    mine, theirs = ({word.text.lower() for word in each} for each in (said, told))
    for group in _OPPOSITES:
        here, there = mine & group, theirs & group
        if here and there and not here & there:
            return f'it says "{min(here)}" where "{min(there)}" is said'
    return ""


def _has_pronoun(told: Sequence[Word]) -> bool:
    return any(word.text.lower() in _PRONOUNS for word in told)


def _written(told: Sequence[Word], stem: str) -> str:
    return next(word.text for word in told if word.stem == stem)


_CHECKS: tuple[Callable[[Sequence[Word], Sequence[Word]], str], ...] = (
    _repeated,
    _counted,
    _denied,
    exchanged,
)
