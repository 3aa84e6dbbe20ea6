"""A sentence as the words that carry its meaning, each in one spelling (pure, English first)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

STOP_WORDS = frozenset(
    """a about after all also an and any are as at be been being but by can could did do does for from
    had has have he her his how i if in into is it its more most no not of on one only or other our out
    over she should so some such than that the their them then there these they this those to under up
    isn aren wasn weren don doesn didn wouldn couldn shouldn hasn haven hadn
    against although because between during since though through until upon while within
    was we were what when where which while who whom why will with would you your according passage
    passages document documents question answer based provided context""".split()
)
NEGATIONS = frozenset(
    """
    not no never none nor neither without cannot n't
    nicht kein keine keinen keinem keiner keines nie niemals ohne weder niet geen nooit zonder
    pas jamais aucun aucune sans nunca jamás ningún ninguna ninguno não nem sem non mai senza nessun nessuna
    """.split()
)
"""English, then German and Dutch, then Romance; no word that English has otherwise, such as Spanish "sin"."""
MONTHS = "january february march april may june july august september october november december".split()

_NUMBER_WORDS = dict(
    zip(
        """zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen""".split(),
        [0, *range(2, 20)],
    )
)
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10)))
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_UNITS = {
    name: unit
    for unit, names in {
        "percent": "% percent",
        "dollar": "$ usd dollar dollars",
        "euro": "€ eur euro euros",
        "pound": "£ gbp lb lbs pound pounds",
        "yen": "¥ jpy yen",
        "cent": "cent cents",
        "millimetre": "mm millimetre millimetres millimeter millimeters",
        "centimetre": "cm centimetre centimetres centimeter centimeters",
        "metre": "m metre metres meter meters",
        "kilometre": "km kilometre kilometres kilometer kilometers",
        "inch": "inch inches",
        "foot": "ft foot feet",
        "yard": "yd yard yards",
        "mile": "mi mile miles",
        "gram": "g gram grams gramme grammes",
        "kilogram": "kg kilogram kilograms",
        "ounce": "oz ounce ounces",
        "ton": "ton tons",
        "tonne": "tonne tonnes",
        "litre": "l litre litres liter liters",
        "gallon": "gallon gallons",
        "acre": "acre acres",
        "hectare": "ha hectare hectares",
        "millisecond": "ms millisecond milliseconds",
        "second": "s sec second seconds",
        "minute": "min minute minutes",
        "hour": "h hr hrs hour hours",
        "day": "day days",
        "week": "week weeks",
        "month": "month months",
        "year": "yr yrs year years",
        "decade": "decade decades",
        "century": "century centuries",
        "degree": "° degree degrees",
        "celsius": "celsius °c",
        "fahrenheit": "fahrenheit °f",
        "watt": "w watt watts",
        "kilowatt": "kw kilowatt kilowatts",
        "megawatt": "mw megawatt megawatts",
        "volt": "volt volts",
        "byte": "byte bytes",
        "kilobyte": "kb kilobyte kilobytes",
        "megabyte": "mb megabyte megabytes",
        "gigabyte": "gb gigabyte gigabytes",
        "terabyte": "tb terabyte terabytes",
        "hertz": "hz hertz",
    }.items()
    for name in names.split()
}
_AFTER_NUMBERS_ONLY = frozenset("m g l s h w mi ha min ms lb oz yd ft mb kb gb tb mw kw second may".split())
"""Short or double meanings: a unit only where a number stands before it."""

_TOKEN = re.compile(
    r"\d+(?:[.,]\d+)*|°[CF]\b|[%$€£¥°]|n['’]t\b|(?:(?!n['’]t\b)[^\W\d])+\d*|\w+|[,;:.!?()\[\]–—]"
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Word:
    """`stem` is compared; `kind` is "number", "unit", "name", "negation", "stop", "mark" or "word".

    `text` is how it was written. A name is what has a capital, the first word of a sentence with it.
    """

    text: str
    stem: str
    kind: str

    @property
    def carries(self) -> bool:
        """Whether it counts as content."""
        return self.kind in ("number", "unit", "name", "word")


@lru_cache(maxsize=8192)
def words(text: str) -> tuple[Word, ...]:
    """The words, negations and clause marks of a text, in order."""
    return tuple(_joined(_currencies_last([word for _, _, word in placed(text)])))


def has(told: Sequence[Word], text: str) -> bool:
    """Whether a word is among them, as it was written but for capitals."""
    return any(word.text.lower() == text for word in told)


def content_words(text: str) -> set[str]:
    """The stems of the words that carry meaning, numbers and units in one spelling."""
    return {word.stem for word in words(text) if word.carries}


def placed(text: str) -> Iterator[tuple[int, int, Word]]:
    """The words with where each stands, `text[start:end]`; "twenty five" and "$ 5" are two."""
    number_before = False
    for match in _TOKEN.finditer(text):
        word = _word(match[0], number_before)
        number_before = word.kind == "number"
        yield *match.span(), word


def _word(raw: str, number_before: bool) -> Word:
    low = raw.lower().replace("’", "'")
    if _NUMBER.fullmatch(raw):
        return Word(raw, _plain(raw), "number")
    if low in NEGATIONS:
        return Word(raw, low, "negation")
    if low in _UNITS and (number_before or low not in _AFTER_NUMBERS_ONLY):
        return Word(raw, _UNITS[low], "unit")
    if not raw[0].isalnum():
        return Word(raw, raw, "mark")
    if low in _NUMBER_WORDS or low in _TENS or low in _SCALES:
        value = _NUMBER_WORDS.get(low) or _TENS.get(low) or _SCALES.get(low) or 0
        return Word(raw, str(value), "number")
    if low in STOP_WORDS or len(low) == 1:
        return Word(raw, low, "stop")
    capital = raw[0].isupper() or any(letter.isupper() for letter in raw[1:])
    return Word(raw, stem(low), "name" if capital else "word")


def _plain(number: str) -> str:
    """ "1,200.50" as "1200.5"."""
    number = number.replace(",", "")
    return number.rstrip("0").rstrip(".") if number.count(".") == 1 else number


def _currencies_last(tokens: list[Word]) -> list[Word]:
    """ "$ 5 million" as "5 million $": a unit stands behind its number."""
    at = 0
    while at < len(tokens):
        if tokens[at].text in "$€£¥" and at + 1 < len(tokens) and tokens[at + 1].kind == "number":
            end = at + 2
            while end < len(tokens) and tokens[end].text.lower() in _SCALES:
                end += 1
            tokens[at:end] = [*tokens[at + 1 : end], tokens[at]]
            at = end
        else:
            at += 1
    return tokens


def _joined(tokens: list[Word]) -> Iterator[Word]:
    """ "twenty five" and "2.5 million" as one number each."""
    held: Word | None = None
    for word in tokens:
        low = word.text.lower()
        if held and low in _SCALES:
            held = Word(f"{held.text} {word.text}", _times(held.stem, _SCALES[low]), "number")
        elif held and held.text.lower() in _TENS and _NUMBER_WORDS.get(low, 99) < 10:
            total = int(held.stem) + _NUMBER_WORDS[low]
            held = Word(f"{held.text} {word.text}", str(total), "number")
        else:
            if held:
                yield held
            held = word if word.kind == "number" else None
            if not held:
                yield word
    if held:
        yield held


def _times(number: str, scale: int) -> str:
    try:
        return f"{float(number) * scale:.15g}"
    except ValueError:  # "1.2.3"
        return number


def stem(word: str) -> str:
    """Cut the commonest English endings: enough to match "quantized" with "quantization"."""
    for ending in ("ization", "izations", "izing", "ized", "izes", "ize"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    for ending in ("ingly", "edly", "ings", "ing", "ied", "ies", "ed", "es", "ly", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
