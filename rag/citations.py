"""Checks what a model says against the passages it was given, sentence by sentence.

The model's own `[n]` are not trusted: they are taken out, and every sentence gets the number of the
passage that supports it. So a number out of range cannot appear.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from rag.claims import Verdict, check, check_pair, fragment, share, statement
from rag.crosscheck import SURE, objection, part
from rag.harmless import orders
from rag.quoting import AGREES, agrees, quote
from rag.reranking import Reranker
from rag.sentences import sentence_spans
from rag.types import Citation, Hit, Sentence, Unsupported
from rag.wording import content_words

TWICE = 2
"""Times that a model may say the same."""
TRIED = 3
"""Places that seem to say a claim, of which the reader is asked."""
REPEATED = 0.7
"""A sentence that shares this much with what was said adds nothing."""
UNSUPPORTED_MARK = "[not found in your documents]"
NOT_IN_DOCUMENTS = "Not in your documents."
"""What an answer says that has none; as a model's sentence it claims nothing."""

_FINISHED = tuple(".!?…。！？\"'”’»)")
_MARKER = re.compile(r"\s*\[\d+(?:\s*[,;]\s*\d+)*\]")
_OPEN_MARKER = re.compile(r"\s*(?:\[[\d,;\s]*)?$")


def checked(
    claim: str, hits: Sequence[Hit], neighbours: bool = True, reader: Reranker | None = None
) -> Citation | Unsupported:
    """The footnote of the sentence, or with `neighbours` also of two in a row, that says the claim.

    Of several the one with most of its words, the best hit's first; if none does, why the nearest does not.
    The `reader` is asked whether it finds the claim's facts there, and others are tried where it does not.
    """
    claim = claim.strip()
    nearest = Unsupported(claim, "the passages say nothing of it")
    least = 0.0
    found: list[tuple[Verdict, Citation]] = []
    for number, hit in enumerate(hits, start=1):
        for start, end, verdict in _verdicts(claim, hit, neighbours):
            if verdict.supported and verdict.share:
                found.append((verdict, Citation(number, hit, hit.chunk.text[start:end], start, end, True)))
            elif not verdict.supported and verdict.share > least:
                least = verdict.share
                nearest = Unsupported(claim, verdict.problem, hit, (start, end))
    objections = []
    for verdict, citation in sorted(found, key=lambda pair: -pair[0].share)[:TRIED]:
        place = citation.start, citation.end
        source = part(citation.hit.chunk, *place)
        problem = objection(statement(claim), source, reader, confirm=verdict.unsure)
        if not problem:
            return citation
        objections.append(Unsupported(claim, problem, citation.hit, place))
    return objections[0] if objections else nearest


def _verdicts(claim: str, hit: Hit, neighbours: bool) -> Iterator[tuple[int, int, Verdict]]:
    text, background = hit.chunk.text, hit.chunk.context
    spans = _statements(text)
    for start, end in spans:
        yield start, end, check(claim, text[start:end], background)
    for (start, middle), (second, end) in pairwise(spans) if neighbours else ():
        yield start, end, check_pair(claim, text[start:middle], text[second:end], background)


@lru_cache(maxsize=256)
def _statements(text: str) -> tuple[tuple[int, int], ...]:
    """A passage's sentences, without those that tell a model what to say: they are no evidence that it is so.

    Kept, since each sentence of an answer is looked for in the same passages.
    """
    forbidden = orders(text)
    return tuple(
        (start, end)
        for start, end in sentence_spans(text)
        if not any(first < end and start < last for first, last in forbidden)
    )


def footnoted(
    pieces: Iterable[str],
    hits: Sequence[Hit],
    found: Sequence[Sentence] = (),
    reader: Reranker | None = None,
) -> Iterator[str | Citation | Unsupported]:
    """Pass a model's stream on as it comes, and put a footnote or a mark behind every sentence that ends.

    `found` are the sentences in which a reader found the answer: they support a reply such as "1957.", which
    says nothing without its question. Yields text, and each sentence's Citation or Unsupported just before
    its `[n]` or its mark. A sentence that was said before is left out, and ends the stream when it comes
    once more: the model goes round in circles.
    """
    shown, said = "", Counter[str]()
    for sentence, ended in _growing_sentences(pieces):
        plain = _plain(sentence)
        if ended and plain in said:
            said[plain] += 1
            if said[plain] > TWICE:
                return
            shown = ""
            continue
        if not ended and any(each.startswith(plain) for each in said):
            continue  # it may become the same
        yield sentence[len(shown) :]
        shown = sentence
        if not ended:
            continue
        shown = ""
        said[plain] += 1
        if content_words(sentence) and sentence.strip() != NOT_IN_DOCUMENTS:
            answer = fragment(sentence)
            verdict = (
                _found(sentence, answer, hits, found) if answer else checked(sentence, hits, reader=reader)
            )
            yield verdict
            yield f" [{verdict.number}]" if isinstance(verdict, Citation) else f" {UNSUPPORTED_MARK}"


def _plain(sentence: str) -> str:
    """What two sentences have in common that are the same but for blanks."""
    return " ".join(sentence.split())


def _found(
    sentence: str, answer: str, hits: Sequence[Hit], found: Sequence[Sentence]
) -> Citation | Unsupported:
    """The footnote of a mere answer: the sentence in which the reader found the same."""
    for each in found:
        if each.hit in hits and each.score >= SURE and agrees(each, answer):
            return quote(each, hits)
    best = found[0] if found and found[0].hit in hits else None
    nearest = (best.hit, (best.start, best.end)) if best else (None, None)
    return Unsupported(sentence.strip(), "no passage is seen to answer the question so", *nearest)


def supported_only(
    pieces: Iterable[str],
    hits: Sequence[Hit],
    cited: Collection[int],
    said: str,
    answer: str = "",
    reader: Reranker | None = None,
) -> Iterator[str | Citation]:
    """Of a weak model's stream, only the sentences that say something new and wholly supported.

    Every content word must stand in one sentence of a passage whose number is in `cited`: such a model
    swaps subjects ("locked" for "damaged") among words that are otherwise all there. They must also hold
    the `answer` that a reader found, if one did: what is merely true of the passage is beside the question.
    """
    for sentence, ended in _growing_sentences(pieces):
        beside = bool(answer) and share(answer, sentence) < AGREES
        broken_off = not sentence.rstrip().endswith(_FINISHED)
        if not ended or broken_off or beside or share(sentence, said) >= REPEATED:
            continue
        found = checked(sentence, hits, neighbours=False, reader=reader)
        if (
            not fragment(sentence)
            and isinstance(found, Citation)
            and found.number in cited
            and share(sentence, found.quote) == 1.0
        ):
            said += sentence
            yield found
            yield f" {sentence.strip()} [{found.number}]"


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
