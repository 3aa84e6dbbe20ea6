"""True sentences made false in one place, or said otherwise: what checking claims is measured with."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from rag.wording import MONTHS, STOP_WORDS

KINDS = ("number", "date", "name", "unit", "negation", "subject")

_MONTHS = [month.capitalize() for month in MONTHS]
_UNITS = (
    "seconds minutes hours days weeks months years decades centuries".split(),
    "inches feet yards miles metres meters kilometres kilometers acres hectares".split(),
    "grams kilograms ounces pounds tons tonnes".split(),
    "dollars euros pounds yen cents".split(),
    "percent million billion thousand".split(),
    "degrees".split(),
)
_ALL_UNITS = sorted({unit for group in _UNITS for unit in group})
_UNIT = re.compile(rf"(?<=\d )(?:{'|'.join(_ALL_UNITS)})\b|(?<=\d)%")
_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b(?!,\d)")
_MONTH = re.compile(rf"\b(?:{'|'.join(_MONTHS)})\b")
_NUMBER = re.compile(r"(?<![\w.,-])\d+(?:[.,]\d+)*(?![\w-]|[.,]\d)")
_NAME = re.compile(r"\b[A-Z][a-zà-ÿ]+(?: (?:of |the |de |van |von )?[A-Z][a-zà-ÿ]+)*")
_INNER_NAME = re.compile(rf"\b[a-z]+[,;]? ({_NAME.pattern})")
_AUXILIARY = re.compile(r"\b(?:is|are|was|were|has|have|had|can|could|will|would|may|might|must|should)\b")
_NOT = re.compile(r"\b(?:not|never) ")
_PARENTHESIS = re.compile(r" \([^()]*\)")
_CLAUSE = re.compile(r", (?:which|who|where|whose|although|while|whereas|with) [^,;:]*(?=\.$)")
_LEAD = re.compile(r"((?:In|On|At|During|After|Before|By|From|Since) [^,;:()]{3,40}), (?=[A-Z])(.*)\.$")


def otherwise(sentence: str, dice: random.Random) -> str:
    """The sentence, or a shorter or turned form of it that is true if it is."""
    forms = [sentence]
    for pattern in (_PARENTHESIS, _CLAUSE):
        if pattern.search(sentence):
            forms.append(pattern.sub("", sentence, count=1))
    if match := _LEAD.match(sentence):
        lead, rest = match.groups()
        forms.append(f"{rest} {lead[0].lower()}{lead[1:]}.")
    return dice.choice(forms)


def corrupted(kind: str, sentence: str, names: Sequence[str], dice: random.Random) -> str | None:
    """The sentence with one thing of that kind changed; None where it has no such thing.

    `names` are other names of the document, to put in the place of one.
    """
    return _CORRUPTIONS[kind](sentence, names, dice)


def names_in(text: str) -> list[str]:
    """Names of one or more words, without those that stand only where any word has a capital."""
    return sorted({name for name in _INNER_NAME.findall(text) if name.lower() not in STOP_WORDS})


def _number(sentence: str, names: Sequence[str], dice: random.Random) -> str | None:
    years = {match.span() for match in _YEAR.finditer(sentence)}
    found = [match for match in _NUMBER.finditer(sentence) if match.span() not in years]
    if not found:
        return None
    chosen = dice.choice(found)
    return _replaced(sentence, chosen, _other_number(chosen[0], dice))


def _other_number(number: str, dice: random.Random) -> str:
    """Of as many digits, one of them changed."""
    at = dice.choice([n for n, character in enumerate(number) if character.isdigit()])
    others = [digit for digit in "123456789" if digit != number[at]]
    return number[:at] + dice.choice(others) + number[at + 1 :]


def _date(sentence: str, names: Sequence[str], dice: random.Random) -> str | None:
    found = [*_YEAR.finditer(sentence), *_MONTH.finditer(sentence)]
    if not found:
        return None
    chosen = dice.choice(found)
    if chosen[0].isdigit():
        return _replaced(sentence, chosen, str(int(chosen[0]) + dice.choice([-10, -3, -2, -1, 1, 2, 3, 10])))
    return _replaced(sentence, chosen, dice.choice([month for month in _MONTHS if month != chosen[0]]))


def _name(sentence: str, names: Sequence[str], dice: random.Random) -> str | None:
    found = [m for m in _NAME.finditer(sentence) if m[0] in names and m[0] not in _MONTHS]
    others = [name for name in names if name not in sentence and name not in _MONTHS]
    if not found or not others:
        return None
    return _replaced(sentence, dice.choice(found), dice.choice(others))


def _unit(sentence: str, names: Sequence[str], dice: random.Random) -> str | None:
    found = list(_UNIT.finditer(sentence))
    if not found:
        return None
    chosen = dice.choice(found)
    if chosen[0] == "%":
        return _replaced(sentence, chosen, " million")
    group = next(group for group in _UNITS if chosen[0] in group)
    others = [unit for unit in group if unit[:3] != chosen[0][:3]]
    return _replaced(sentence, chosen, dice.choice(others)) if others else None


def _negation(sentence: str, names: Sequence[str], dice: random.Random) -> str | None:
    if found := list(_NOT.finditer(sentence)):
        return _replaced(sentence, dice.choice(found), "")
    found = list(_AUXILIARY.finditer(sentence))
    if not found:
        return None
    chosen = dice.choice(found)
    return _replaced(sentence, chosen, f"{chosen[0]} not")


def _subject(sentence: str, names: Sequence[str], dice: random.Random) -> str | None:
    """The first name changes places with a later one."""
    found = [m for m in _NAME.finditer(sentence) if m[0] in names and m[0] not in _MONTHS]
    if not found or found[0].start() > 5:
        return None
    first = found[0]
    later = [m for m in found[1:] if m[0] != first[0] and not _in_list(sentence[first.end() : m.start()])]
    if not later:
        return None
    other = dice.choice(later)
    between = sentence[first.end() : other.start()]
    return f"{sentence[: first.start()]}{other[0]}{between}{first[0]}{sentence[other.end() :]}"


def _in_list(between: str) -> bool:
    """Whether two names with this between them stand in one list, in whatever order."""
    return not re.search(r"[a-z]{3}", _NAME.sub("", between).replace(" and ", " "))


def _replaced(sentence: str, match: re.Match[str], by: str) -> str:
    return sentence[: match.start()] + by + sentence[match.end() :]


_CORRUPTIONS: dict[str, Callable[[str, Sequence[str], random.Random], str | None]] = {
    "number": _number,
    "date": _date,
    "name": _name,
    "unit": _unit,
    "negation": _negation,
    "subject": _subject,
}
