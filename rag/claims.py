"""Whether a source says what a claim says: the same words, numbers, units, names, negations and order (pure).

A claim that merely shares its words with a source may still say something else. So each of what is easily
said wrongly is checked on its own; what cannot be told for sure counts as not said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rag.wording import MONTHS, Word, content_words, words

SHARE = 0.85
"""Of a claim's content words, the least that its source must hold; names, numbers and units all of them."""
SUBJECT = 2
"""So many content words at a claim's beginning say whom or what it is about: all of them must be there."""

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
_UNORDERED = frozenset("a an and but or the that which who whom".split())
"""They stand between what may change places, or anywhere."""
_MOVABLE = frozenset(
    """in at on from to for with during near through into between against by about under over until since
    after before when while because although though if as once""".split()
)
"""What they lead may stand at a sentence's beginning or end."""
_GENITIVE = frozenset("of the a an s".split())
_ADVERBS = frozenset("ever yet even quite always really longer".split())
_WEAK_NEGATIONS = frozenset("only until just merely".split())


@dataclass(frozen=True, slots=True)
class Verdict:
    """`share` of the claim's content words is in the source; `problem` says why that is not enough, if so."""

    share: float
    problem: str = ""

    @property
    def supported(self) -> bool:
        return not self.problem


def check(claim: str, source: str, background: str = "") -> Verdict:
    """Whether the source, a sentence or two, says the claim.

    `background` is what a reader of the source knows (its title and headings, the question): it may name
    what the source calls "he" or "it", and says nothing else.
    """
    said, told = words(claim), words(source)
    content = [word for word in said if word.carries]
    if not content:
        return Verdict(0.0, "it says nothing that can be checked")
    known = {word.stem for word in told if word.carries}
    found = sum(word.stem in known for word in content) / len(content)
    around = {word.stem for word in words(background) if word.kind in ("name", "word")}
    if problem := _opposed(said, told) or _missing(said, content, told, known, around):
        return Verdict(found, problem)
    for find in _CHECKS:
        if problem := find(said, told):
            return Verdict(found, problem)
    return Verdict(found)


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
    return verdict


def share(claim: str, source: str) -> float:
    """Share of the claim's content words that the source holds, 0 to 1; 0 if it lacks a number of them."""
    content = [word for word in words(claim) if word.carries]
    known = content_words(source)
    if not content or any(word.kind == "number" and word.stem not in known for word in content):
        return 0.0
    stems = {word.stem for word in content}
    return len(stems & known) / len(stems)


def _stems(text: str) -> set[str]:
    return {word.stem for word in words(text)}


def _missing(
    said: Sequence[Word], content: Sequence[Word], told: Sequence[Word], known: set[str], around: set[str]
) -> str:
    referring = _has_pronoun(told)
    lacking = [
        word
        for word in content
        if word.stem not in known and not (word.stem in around and (word.kind == "word" or referring))
    ]
    counted = {after.stem for before, after in pairwise(said) if before.kind == "number"}
    subject = {word.stem for word in content[:SUBJECT]}
    for word in lacking:
        if word.kind in ("number", "unit", "name"):
            return f"{word.text} is not there"
        if word.stem in counted or word.stem in subject:
            return f'nothing is said there of "{word.text}"'
    if len(lacking) > (1 - SHARE) * len(content):
        return f'nothing is said there of "{lacking[0].text}"'
    return ""


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
        if weak in _WEAK_NEGATIONS and not _has(beside, weak):
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


def _swapped(said: Sequence[Word], told: Sequence[Word]) -> str:
    """What stands before a word in the claim and behind it in the source must be free to move."""
    order = _order(said, told)
    for n in range(1, len(order)):
        here, at = order[n]
        if at > order[n - 1][1]:
            continue
        first = n - 1  # of the words before this one that the source has behind it
        while first and order[first - 1][1] > at:
            first -= 1
        if not _may_move(said, told, order[first], order[n - 1], (here, at)):
            return "it says so in another order"
    return ""


Place = tuple[int, int]
"""Of a word, in the claim and in the source."""


def _order(said: Sequence[Word], told: Sequence[Word]) -> list[Place]:
    """The claim's words with their places, chosen so that they go back as seldom as can be."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, word in enumerate(told):
        if _ordered(word):
            places[word.stem].append(at)
    paths: dict[int, tuple[int, list[Place]]] = {-1: (0, [])}
    for here, word in enumerate(said):
        if _ordered(word) and word.stem in places:
            paths = {
                at: min(
                    ((back + (at <= last), [*path, (here, at)]) for last, (back, path) in paths.items()),
                    key=lambda found: found[0],
                )
                for at in places[word.stem]
            }
    return min(paths.values(), key=lambda found: found[0])[1]


def _may_move(said: Sequence[Word], told: Sequence[Word], first: Place, last: Place, behind: Place) -> bool:
    """Whether the claim may have the words from `first` to `last` before that of `behind`."""
    if _led(said, first[0]) or _led(said, behind[0]):
        return True  # "in 1882 she came" and "she came in 1882"
    if any(word.stem in ("and", "or", ",") for word in said[last[0] + 1 : behind[0]]):
        return True  # one of a list
    if told[behind[1] + 1 : first[1]] and all(
        word.stem in _GENITIVE for word in told[behind[1] + 1 : first[1]]
    ):
        return True  # "Rome's king" for "the king of Rome"
    return (_passive(told, first[1], behind[1]) and not _has(said, "by")) or _turned(said, told, behind)


def _led(told: Sequence[Word], at: int) -> bool:
    """Whether a preposition or conjunction stands there, or leads what stands there."""
    return any(word.text.lower() in _MOVABLE for word in (told[at], *_before(told, at)))


def _exchanged(said: Sequence[Word], told: Sequence[Word]) -> str:
    """A name that has lost the preposition before it, and another that has got one."""
    bare, led = _roles(said)
    bare_there, led_there = _roles(told)
    lost = (bare - led) & (led_there - bare_there)
    got = (led - bare) & (bare_there - led_there)
    return f"it says so of another, {min(lost)} for {min(got)}" if lost and got else ""


def _roles(told: Sequence[Word]) -> tuple[set[str], set[str]]:
    """The names that stand alone, and those that a preposition leads."""
    bare: set[str] = set()
    led: set[str] = set()
    for at, word in enumerate(told):
        if word.kind == "name":
            start = at
            while start and told[start - 1].kind == "name":
                start -= 1
            (led if _led(told, start) or _has(_before(told, start), "of") else bare).add(word.stem)
    return bare, led


def _passive(told: Sequence[Word], actor: int, verb: int) -> bool:
    """Whether the source has the verb, then "by" and the actor, in one clause."""
    by = any(word.stem == "by" for word in _before(told, actor))
    return by and not any(word.kind == "mark" for word in told[verb:actor])


def _turned(said: Sequence[Word], told: Sequence[Word], behind: Place) -> bool:
    """Whether the claim's words there are part of a passive that the source has the other way round."""
    by_whom = {word.stem for _, word in _actors(told)}
    here = said[behind[0]].stem
    return any(here in (verb.stem, actor.stem) and actor.stem not in by_whom for verb, actor in _actors(said))


def _voiced(said: Sequence[Word], told: Sequence[Word]) -> str:
    """ "A hired B" is "B was hired by A", and neither is "B hired A"."""
    stated = _actors(told)
    for verb, actor in _actors(said):
        whom = {other.stem for done, other in stated if done.stem == verb.stem}
        if whom and actor.stem not in whom:
            return "it says so of another"
    for passive, active in ((said, told), (told, said)):
        known = {actor.stem for _, actor in _actors(active)}
        for verb, actor in _actors(passive):
            does, done = (
                next((at for at, word in enumerate(active) if word.stem == each.stem), None)
                for each in (actor, verb)
            )
            if actor.stem not in known and does is not None and done is not None and does > done:
                return "it says so of another"
    return ""


def _actors(told: Sequence[Word]) -> list[tuple[Word, Word]]:
    """(verb, who did it) around each "by"."""
    found = []
    for at, word in enumerate(told):
        if word.stem == "by":
            verb = next((each for each in reversed(told[:at]) if each.carries), None)
            actor = next((each for each in told[at:] if each.carries), None)
            if verb and actor:
                found.append((verb, actor))
    return found


def _before(told: Sequence[Word], at: int) -> Sequence[Word]:
    """The words right before one that belong to it: articles, and what leads them."""
    start = at
    while start and told[start - 1].stem in ("the", "a", "an", "his", "her", "its", "their"):
        start -= 1
    return told[max(0, start - 1) : at]


def _ordered(word: Word) -> bool:
    return word.carries or (word.kind == "stop" and word.stem not in _UNORDERED)


def _has(told: Sequence[Word], text: str) -> bool:
    return any(word.text.lower() == text for word in told)


def _has_pronoun(told: Sequence[Word]) -> bool:
    return any(word.text.lower() in _PRONOUNS for word in told)


def _written(told: Sequence[Word], stem: str) -> str:
    return next(word.text for word in told if word.stem == stem)


_CHECKS: tuple[Callable[[Sequence[Word], Sequence[Word]], str], ...] = (
    _repeated,
    _counted,
    _denied,
    _voiced,
    _exchanged,
    _swapped,
)
