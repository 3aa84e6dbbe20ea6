"""Which sentences of the retrieved passages answer the question, and whether any does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf

from rag.reranking import Reranker
from rag.retrieval import sigmoid
from rag.sentences import sentence_spans
from rag.tabular import column_names
from rag.types import Hit, Reading, Sentence, Span
from rag.wording import content_words

PASSAGES = 3
"""Passages whose sentences are scored: the answer's sentence is in one of the first three or nowhere."""
CANDIDATES = 18
"""Sentences that the cross-encoder reads at most; long passages are thinned by shared words first."""
PASSAGE_WEIGHT = 0.75
"""Share of its passage's logit in a sentence's score."""
SHORTEST = 10
"""Characters below which a line (a page number, a lone heading) is nothing to quote."""
WORDS = 60
"""A second sentence is quoted when both together stay within this many words."""
CLOSE = 5.0
"""By so much less sure may a reader be of the second sentence."""
CLOSE_WORDS = 100
"""Then both may have so many words: doubt is rare, and worth showing."""
LONGEST = 80
"""Words of a quote at most, where a reader found the words that answer."""
RELEVANCE_SHARE, SLOPE, OFFSET = 0.5, 0.5, -0.7
"""What a passage's relevance counts beside its answerability, and how both become odds."""
LARGEST = 50.0
"""Of a logit whose exponential is taken."""
RELEVANCE_OFFSET = -0.75
"""The same for relevance alone: with it one threshold refuses as many answerable questions either way."""
_BULLET = re.compile(r"(?:[-*+•‣▪●–]|\d{1,2}[.)])\s+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sentences to quote, best first; `confidence`, from 0 to 1, is how sure it is that they answer.

    `several` means one sentence from each of several documents, in the order of their names.
    """

    sentences: tuple[Sentence, ...]
    confidence: float
    several: bool = False


class EvidenceFinder:
    """Picks the sentences in which a reader found the answer; else with the cross-encoder, or by words."""

    def __init__(self, reranker: Reranker | None) -> None:
        self.reranker = reranker

    def find(self, question: str, hits: Sequence[Hit], several: bool = False) -> Evidence:
        """The sentences that answer best, and the confidence that they do.

        With `several` the best sentence of each document that is about the question.
        """
        if readings := [hit.reading for hit in hits if hit.reading and hit.reading.spans]:
            # what takes several passages to answer stands in none of them: then it is relevance that counts
            sure = about(max(each.relevance for each in readings)) if several else answered(readings)
            return _evidence(_around_spans(hits), sure, several, CLOSE, CLOSE_WORDS)
        passages = hits if several else hits[:PASSAGES]
        candidates = _thin(question, [s for hit in passages for s in _sentences(hit)])
        if not candidates:
            return Evidence((), 0.0)
        if self.reranker is None:
            best = [s for s in candidates if s.score > 0]
            return _evidence(best, 1.0 if best else 0.0, several)
        logits = [float(logit) for logit in self.reranker.score(question, [s.text for s in candidates])]
        passage = self._passage_logits(question, hits, passages)
        scored = [
            replace(s, score=logit + PASSAGE_WEIGHT * passage[s.hit.chunk.id])
            for s, logit in zip(candidates, logits)
        ]
        scored.sort(key=lambda s: -s.score)
        # On SQuAD this alone told foreign questions apart best; sentences, cosine and words added nothing.
        return _evidence(scored, about(max(passage.values())), several)

    def _passage_logits(
        self, question: str, hits: Sequence[Hit], passages: Sequence[Hit]
    ) -> dict[str, float]:
        """The cross-encoder's logit of each passage, by chunk id; `passages` it has not read yet are read."""
        assert self.reranker is not None
        known = {hit.chunk.id: hit.how["rerank"].score for hit in hits if "rerank" in hit.how}
        unread = [hit.chunk for hit in passages if hit.chunk.id not in known]
        if unread:
            logits = self.reranker.score(question, [chunk.searchable for chunk in unread])
            known |= {chunk.id: float(logit) for chunk, logit in zip(unread, logits)}
        return known


def answered(readings: Sequence[Reading]) -> float:
    """The chance that one of the passages answers, from what a reader makes of them.

    The odds of each, a logistic function of its two logits, added up; see docs/retrieval.md for what that is
    worth. The offset puts the default threshold where about one in twenty answerable questions is refused.
    """
    logits = [(each.answerable or 0.0) + RELEVANCE_SHARE * each.relevance for each in readings]
    odds = sum(exp(min(SLOPE * logit + OFFSET, LARGEST)) for logit in logits)
    return odds / (1 + odds)


def about(relevance: float) -> float:
    """The same from the relevance of the best passage alone, a logit."""
    return sigmoid(relevance + RELEVANCE_OFFSET)


def _around_spans(hits: Sequence[Hit]) -> list[Sentence]:
    """The sentences of the likeliest spans, each once."""
    spans = [(span, hit) for hit in hits if hit.reading for span in hit.reading.spans]
    found: list[Sentence] = []
    for span, hit in sorted(spans, key=lambda pair: -pair[0].margin):
        sentence = _around(hit, span)
        if not any(_same(sentence, other) for other in found):
            found.append(sentence)
    return found


def _evidence(
    sentences: Sequence[Sentence], confidence: float, several: bool, gap: float = inf, words: int = WORDS
) -> Evidence:
    """What is quoted of the sentences, best first; see `_enough`."""
    if several and len(each := _one_each(sentences)) > 1:
        return Evidence(each, confidence, several=True)
    return Evidence(_enough(sentences, gap, words), confidence)


def _one_each(sentences: Sequence[Sentence]) -> tuple[Sentence, ...]:
    """The best sentence of each document, sorted by file name, numbers in it as numbers."""
    best: dict[str, Sentence] = {}
    for sentence in sentences:
        reading = sentence.hit.reading
        if reading is None or reading.relevance > 0:
            best.setdefault(sentence.hit.chunk.document_id, sentence)
    return tuple(sorted(best.values(), key=lambda sentence: _natural(sentence.hit.chunk.path)))


def _natural(path: str) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", path.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _around(hit: Hit, span: Span) -> Sentence:
    """The sentence, or the sentences, that a span lies in; of a very long one the words about the span."""
    text = hit.chunk.text
    spans = sentence_spans(text)
    inside = [n for n, (start, end) in enumerate(spans) if start < span.end and span.start < end]
    if not inside:
        return Sentence(hit, text[span.start : span.end], span.start, span.end, span.margin, span)
    start, end = spans[inside[0]][0], spans[inside[-1]][1]
    if (bullet := _BULLET.match(text, start, end)) and bullet.end() <= span.start:
        start = bullet.end()
    if text[start:end].endswith(":"):
        end = _end_of_list(text, start, spans[inside[-1] :])
    start = _from_columns(text, start, end)
    start, end = _narrowed(text, start, end, span)
    return Sentence(hit, text[start:end], start, end, span.margin, span)


def _from_columns(text: str, start: int, end: int) -> int:
    """Where the quote of a table's row has to begin to show the columns' names, unless it gets too long."""
    names = column_names(text, start)
    return names[0] if names and len(text[names[0] : end].split()) <= LONGEST else start


def _narrowed(text: str, start: int, end: int, span: Span) -> tuple[int, int]:
    """At most LONGEST words: a table without full stops is one sentence to the splitter."""
    words = [(start + m.start(), start + m.end()) for m in re.finditer(r"\S+", text[start:end])]
    if len(words) <= LONGEST:
        return start, end
    inside = [n for n, (begin, stop) in enumerate(words) if begin < span.end and span.start < stop]
    spare = max(0, LONGEST - len(inside)) // 2
    first, last = max(0, inside[0] - spare), min(len(words) - 1, inside[-1] + spare)
    return words[first][0], words[last][1]


def _same(one: Sentence, other: Sentence) -> bool:
    """Whether they overlap, or one says what the other does."""
    overlap = one.start < other.end and other.start < one.end and one.hit.chunk.id == other.hit.chunk.id
    return overlap or one.text in other.text or other.text in one.text


def _sentences(hit: Hit) -> list[Sentence]:
    """The passage's sentences, without the marks of a list; what ends in a colon takes its list along."""
    text = hit.chunk.text
    spans = sentence_spans(text)
    found = []
    for n, (start, end) in enumerate(spans):
        if bullet := _BULLET.match(text, start, end):
            start = bullet.end()
        if text[start:end].endswith(":"):
            end = _end_of_list(text, start, spans[n:])
        if end - start >= SHORTEST:
            found.append(Sentence(hit, text[start:end], start, end, 0.0))
    return found


def _end_of_list(text: str, start: int, spans: Sequence[tuple[int, int]]) -> int:
    """Where the last sentence ends that still fits into `WORDS` words from `start`."""
    return max([spans[0][1], *(end for _, end in spans if len(text[start:end].split()) <= WORDS)])


def _thin(question: str, sentences: Sequence[Sentence]) -> list[Sentence]:
    """The candidates that share most words with the question; their score is that share."""
    asked = content_words(question)
    shared = [replace(s, score=len(asked & content_words(s.text)) / max(len(asked), 1)) for s in sentences]
    return sorted(shared, key=lambda s: -s.score)[:CANDIDATES]


def _enough(sentences: Sequence[Sentence], gap: float, words: int) -> tuple[Sentence, ...]:
    """The best sentence, and the next that keeps both within `words` and is no more than `gap` below."""
    if not sentences:
        return ()
    best = sentences[0]
    room = words - len(best.text.split())
    near = (other for other in sentences[1:] if best.score - other.score <= gap)
    second = next((other for other in near if len(other.text.split()) <= room), None)
    return (best, second) if second else (best,)
