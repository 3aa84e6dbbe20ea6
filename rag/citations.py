"""Checks what a model says against the passages it was given, sentence by sentence.

The model's own `[n]` are not trusted: they are taken out, and every sentence gets the number of the
passage that supports it. So a number out of range cannot appear.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from rag.claims import Verdict, check, check_pair, fragment, share, short_item, statement
from rag.crosscheck import SURE, objection, part
from rag.harmless import orders
from rag.quoting import AGREES, agrees, quote
from rag.reranking import Reranker
from rag.sentences import sentence_spans
from rag.types import Citation, Hit, Sentence, Unsupported
from rag.wording import content_words

LONGEST_ROUND = 3
"""Sentences that a model may say over and over."""
ROUNDS = 3
"""Sentences that were said before, and end a model's stream when there are more in a row."""
WHOLE = 0.8
"""Share of a sentence's content words that an item of a list must say to say something by itself."""
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
    claim: str,
    hits: Sequence[Hit],
    neighbours: bool = True,
    reader: Reranker | None = None,
    among: Collection[int] | None = None,
) -> Citation | Unsupported:
    """The footnote of the sentence, or with `neighbours` also of two in a row, that says the claim.

    Of several the one with most of its words, the best hit's first; if none does, why the nearest does not.
    The `reader` is asked whether it finds the claim's facts there, and others are tried where it does not.
    `among` are the numbers of the hits that count, where not all do.
    """
    claim = claim.strip()
    nearest = Unsupported(claim, "the passages say nothing of it")
    least = 0.0
    found: list[tuple[Verdict, Citation]] = []
    for number, hit in enumerate(hits, start=1):
        if among is not None and number not in among:
            continue
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
    question: str = "",
) -> Iterator[str | Citation | Unsupported]:
    """Pass a model's stream on as it comes, and put a footnote or a mark behind every sentence that ends.

    `found` are the sentences in which a reader found the answer: they support a reply such as "1957.", which
    says nothing without its `question`, and nothing at all if it only repeats that. Yields text, and each
    sentence's Citation or Unsupported just before its `[n]` or its mark. Of a model that goes round in
    circles the rounds are left out, and end its stream.
    """
    shown, again = "", 0
    said: list[str] = []
    for sentence, ended in _growing_sentences(pieces):
        plain = _plain(sentence)
        rounds = [each for each in _rounds(said) if content_words(each)]
        if ended and plain in rounds:
            shown, again = "", again + 1
            said.append(plain)
            if again > ROUNDS:
                return
            continue
        if not ended and any(each.startswith(plain) for each in rounds):
            continue  # it may become the same
        yield sentence[len(shown) :]
        shown = sentence
        if not ended:
            continue
        shown, again = "", 0
        said.append(plain)
        if content_words(sentence) and sentence.strip() != NOT_IN_DOCUMENTS:
            verdict = _verdict(sentence, hits, found, reader, question)
            yield verdict
            yield f" [{verdict.number}]" if isinstance(verdict, Citation) else f" {UNSUPPORTED_MARK}"


def _rounds(said: Sequence[str]) -> Iterator[str]:
    """Sentences that would make the last few the same as those before them, at most LONGEST_ROUND."""
    for length in range(1, LONGEST_ROUND + 1):
        begun, middle = len(said) - 2 * length + 1, len(said) - length
        if begun >= 0 and said[begun:middle] == said[middle + 1 :]:
            yield said[middle]


def _plain(sentence: str) -> str:
    """What two sentences have in common that are the same but for blanks."""
    return " ".join(sentence.split())


def _verdict(
    sentence: str, hits: Sequence[Hit], found: Sequence[Sentence], reader: Reranker | None, question: str
) -> Citation | Unsupported:
    """The footnote of a sentence: of one that says nothing by itself, where the reader found the answer."""
    answer, rest, item = fragment(sentence), statement(sentence), short_item(sentence)
    replies = bool(answer) or rest != sentence
    if replies and question and content_words(sentence) <= content_words(question):
        return Unsupported(sentence.strip(), "it only repeats the question")
    if answer or item:
        verdict = _found(sentence, answer or rest.strip(), hits, found)
        if answer or isinstance(verdict, Citation):
            return verdict
    verdict = checked(sentence, hits, reader=reader)
    if item and isinstance(verdict, Citation) and share(verdict.quote, sentence) < WHOLE:
        place = verdict.start, verdict.end
        return Unsupported(sentence.strip(), "it is a part of what is said there", verdict.hit, place)
    return verdict


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
        said_before = share(sentence, said) >= REPEATED
        if not ended or broken_off or beside or said_before or fragment(sentence):
            continue
        found = checked(sentence, hits, neighbours=False, reader=reader, among=cited)
        if isinstance(found, Citation) and share(sentence, found.quote) == 1.0:
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
