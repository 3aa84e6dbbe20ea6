"""Evidence as it is shown: each sentence verbatim, with its footnote, the words that answer marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rag.claims import contrary, share
from rag.evidence import Evidence
from rag.types import Citation, Hit, Sentence, Token
from rag.wording import content_words, words

SURE = 0.8
"""How confident the reader must be before it contradicts a model."""
AGREES = 0.5
"""Share of the reader's words that a model's answer must hold to agree with it."""
_MARK = re.compile(r"[;()]|[,:–—](?!\d)")
DISPUTED = "Check this: your documents may answer otherwise:"


def quotes(evidence: Evidence, hits: Sequence[Hit]) -> Iterator[Token | Citation]:
    """Each sentence on one line; the exact words of the first alone are marked: they are the answer.

    Of several documents each has its own answer, on a line of its own.
    """
    between = "\n" if evidence.several else " "
    for n, sentence in enumerate(evidence.sentences):
        citation = quote(sentence, hits)
        before, exact, after = _parts(sentence)
        yield citation
        yield Token(f'{between if n else ""}"{before}')
        if exact:
            yield Token(exact, exact=evidence.several or not n)
        yield Token(f'{after}" [{citation.number}]')


def dispute(said: str, evidence: Evidence, hits: Sequence[Hit]) -> Iterator[Token | Citation]:
    """What the documents say, where a reader is sure of an answer that a model's words do not hold."""
    best = next(iter(evidence.sentences), None)
    exact = _exact(best) if best else ""
    if not best or not exact or evidence.confidence < SURE or share(exact, said) >= AGREES:
        return
    yield Token(f"\n\n{DISPUTED} ")
    yield from quotes(replace(evidence, sentences=(best,), several=False), hits)


def agrees(sentence: Sentence, answer: str) -> bool:
    """Whether an answer says what the reader found in a sentence, and nothing that does not stand there.

    "Newton" is "Cam Newton", but "Genghis Khan" not "Batu Khan, a grandson of Genghis Khan", and "10" not
    "10-20".
    """
    core = next((part for part in _MARK.split(_exact(sentence)) if content_words(part)), "")
    exact, stated = content_words(core), content_words(answer)
    numbers = {word.stem for word in words(core) if word.kind == "number"}
    same = exact <= stated or (stated <= exact and numbers <= stated)
    return bool(exact) and same and stated <= content_words(sentence.text) and not contrary(answer, core)


def quote(sentence: Sentence, hits: Sequence[Hit]) -> Citation:
    """The footnote for a sentence that is shown verbatim."""
    number = 1 + next(n for n, hit in enumerate(hits) if hit.chunk.id == sentence.hit.chunk.id)
    exact = _exact(sentence) or None
    return Citation(number, sentence.hit, sentence.text, sentence.start, sentence.end, True, exact)


def _exact(sentence: Sentence) -> str:
    span = sentence.exact
    return sentence.hit.chunk.text[span.start : span.end] if span else ""


def _parts(sentence: Sentence) -> tuple[str, str, str]:
    """A sentence's text before, in and after its exact words, line breaks made blanks."""
    first = sentence.exact.start - sentence.start if sentence.exact else 0
    last = first + len(_exact(sentence))
    text = sentence.text
    return _flat(text[:first]), _flat(text[first:last]), _flat(text[last:])


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)
