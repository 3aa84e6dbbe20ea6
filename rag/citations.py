"""Checks what a model says against the passages it was given, sentence by sentence.

The model's own `[n]` are not trusted: they are taken out, and every sentence gets the number of the
passage that supports it. So a number out of range cannot appear.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from rag.sentences import sentence_spans
from rag.types import Citation, Hit

VERIFIED = 0.85
"""Share of a sentence's content words that the quoted span must hold to support it."""
REPEATED = 0.7
"""A sentence that shares this much with what was said adds nothing."""
CITED = 0.4
"""From here on the nearest span is still cited, though not as verified."""
UNSUPPORTED_MARK = "[not found in your documents]"

_NEGATION = re.compile(r"\b(?:not|no|never|none|nor|neither|without|cannot)\b|n['’]t\b", re.IGNORECASE)
_MARKER = re.compile(r"\s*\[\d+(?:\s*[,;]\s*\d+)*\]")
_OPEN_MARKER = re.compile(r"\s*(?:\[[\d,;\s]*)?$")
_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_STOP_WORDS = frozenset(
    """a about after all also an and any are as at be been being but by can could did do does for from
    had has have he her his how i if in into is it its more most no not of on one only or other our out
    over she should so some such than that the their them then there these they this those to under up
    isn aren wasn weren don doesn didn wouldn couldn shouldn hasn haven hadn
    was we were what when where which while who whom why will with would you your according passage
    passages document documents question answer based provided context""".split()
)


def support(claim: str, source: str) -> float:
    """Share of the claim's content words found in the source, 0 to 1.

    It is 0 if a number is missing or if only the claim is negated. Words are compared by their stems;
    a claim without content words is supported by nothing.
    """
    words = content_words(claim)
    if not words or (_is_negated(claim) and not _is_negated(source)):
        return 0.0
    known = content_words(source)
    if any(word[0].isdigit() and word not in known for word in words):
        return 0.0
    return len(words & known) / len(words)


def content_words(text: str) -> set[str]:
    """Lower-case stems of the words that carry meaning, numbers as they stand."""
    return {
        _stem(word)
        for word in _WORD.findall(text.lower())
        if word not in _STOP_WORDS and (len(word) > 1 or word.isdigit())
    }


def best_support(claim: str, hits: Sequence[Hit], neighbours: bool = True) -> tuple[float, Citation | None]:
    """The sentence, or with `neighbours` also two in a row, among the hits that supports the claim best."""
    best: tuple[float, Citation | None] = (0.0, None)
    for number, hit in enumerate(hits, start=1):
        text = hit.chunk.text
        spans = sentence_spans(text)
        pairs = [(first[0], second[1]) for first, second in itertools.pairwise(spans)]
        for start, end in [*spans, *pairs] if neighbours else spans:
            strength = support(claim, text[start:end])
            if strength > best[0] + 1e-9:
                best = (strength, Citation(number, hit, text[start:end], start, end, strength >= VERIFIED))
    return best


def footnoted(pieces: Iterable[str], hits: Sequence[Hit]) -> Iterator[str | Citation]:
    """Pass a model's stream on as it comes, and put a footnote behind every sentence that ends.

    Yields text, and each footnote as a Citation just before its `[n]`.
    """
    sentence = shown = ""
    for sentence, ended in _growing_sentences(pieces):
        yield sentence[len(shown) :]
        shown = sentence
        if not ended:
            continue
        shown = ""
        strength, citation = best_support(sentence, hits)
        if citation and strength >= CITED:
            yield citation
            yield f" [{citation.number}]"
        elif content_words(sentence):
            yield f" {UNSUPPORTED_MARK}"


def supported_only(
    pieces: Iterable[str], hits: Sequence[Hit], cited: Collection[int], said: str
) -> Iterator[str | Citation]:
    """Of a weak model's stream, only the sentences that say something new and wholly supported.

    Every content word must stand in one sentence of a passage whose number is in `cited`: such a model
    swaps subjects ("locked" for "damaged") among words that are otherwise all there.
    """
    for sentence, ended in _growing_sentences(pieces):
        if not ended or support(sentence, said) >= REPEATED:
            continue
        strength, citation = best_support(sentence, hits, neighbours=False)
        agrees = citation and _is_negated(sentence) == _is_negated(citation.quote)
        if citation and agrees and strength == 1.0 and citation.number in cited:
            said += sentence
            yield citation
            yield f" {sentence.strip()} [{citation.number}]"


def _is_negated(text: str) -> bool:
    return bool(_NEGATION.search(text))


def _growing_sentences(pieces: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield (sentence so far, whether it is complete) without the model's markers."""
    pending = ""
    for piece in pieces:
        pending = _MARKER.sub("", pending + piece)
        while len(spans := sentence_spans(pending)) > 1:
            end = spans[0][1]
            yield pending[:end], True
            pending = pending[end:]
        if ready := _OPEN_MARKER.sub("", pending):
            yield ready, False
    if pending.strip():
        yield _OPEN_MARKER.sub("", pending), True


def _stem(word: str) -> str:
    """Cut the commonest English endings: enough to match "quantized" with "quantization"."""
    for ending in ("ization", "izations", "izing", "ized", "izes", "ize"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    for ending in ("ingly", "edly", "ings", "ing", "ied", "ies", "ed", "es", "ly", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
