"""Who did what to whom: whether a claim leaves the parts of its source in their places (pure, English).

There is no parser here. Names with and without a preposition, passives with "by", and the order of all words
tell most exchanges; what may move (a phrase with a preposition, one of a list) may.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rag.wording import Word, has

_UNORDERED = frozenset("a an and but or the that which who whom".split())
"""They stand between what may change places, or anywhere."""
_MOVABLE = frozenset(
    """in at on from to for with during near through into between against by about under over until since
    after before when while because although though if as once""".split()
)
"""What they lead may stand at a sentence's beginning or end."""
_GENITIVE = frozenset("of the a an s".split())


def exchanged(said: Sequence[Word], told: Sequence[Word]) -> str:
    """What the claim's words (`said`) say of another than those of the source (`told`); "" if nothing."""
    return _voiced(said, told) or _led_otherwise(said, told) or _swapped(said, told)


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
    return (_passive(told, first[1], behind[1]) and not has(said, "by")) or _turned(said, told, behind)


def _led(told: Sequence[Word], at: int) -> bool:
    """Whether a preposition or conjunction stands there, or leads what stands there."""
    return any(word.text.lower() in _MOVABLE for word in (told[at], *_before(told, at)))


def _led_otherwise(said: Sequence[Word], told: Sequence[Word]) -> str:
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
            (led if _led(told, start) or has(_before(told, start), "of") else bare).add(word.stem)
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
