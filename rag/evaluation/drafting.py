"""Questions drafted from a folder's own sentences, with known answers, for its owner to edit.

By rules, so that it needs no model: a sentence with a plain subject and an auxiliary verb is turned round,
and a date, a number, a name or a definition in it becomes what is asked for.
"""

from __future__ import annotations

import csv
import itertools
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import EvaluationError
from rag.evaluation.datasets import QUESTIONS_FILE
from rag.sentences import sentence_spans

if TYPE_CHECKING:
    from rag.settings import Settings
    from rag.types import Chunk

SUBJECT_WORDS, SENTENCE_WORDS, DEFINITION_WORDS = 9, 40, 15
FEWEST_WORDS = 5
"""Of a question: shorter ones could be about anything."""

_CLAUSE = re.compile(
    r"(?P<subject>[A-Z0-9][^,;:()\n]*?) "
    r"(?P<verb>was|were|is|are|has|have|had|can|could|will|would|must|should|may) "
    r"(?P<rest>[^\n]+?)[.!]"
)
_POINTING = re.compile(
    r"\b(it|its|he|she|they|their|his|her|this|that|these|those|there|we|you|i|which|who|what|when|if|such)\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"(?:The|A|An|All|Each|Every|Most|Many|Some|No|Both|Any|Our|In|On|At|For|With|By|From)\b"
)
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DATE = rf"(?:\d{{1,2}} )?{_MONTH}(?: \d{{1,2}})?,? \d{{4}}"
_LOOSE = re.compile(r"\b(?:of|to|for|within|about|at|from|by|with|least|most|than|between|over|under|in|on)$")
_NAME = r"[A-Z][\w'’.-]*\w(?: (?:of |the |de |van |and )?[A-Z][\w'’.-]*\w)*"


@dataclass(frozen=True, slots=True)
class Draft:
    """A question, its answer, the sentence that holds it, and the file's path."""

    question: str
    answer: str
    reference: str
    document: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """`asks` begins the question; the group "answer" of `phrase` is what it asks for."""

    asks: str
    phrase: re.Pattern[str]


_RULES = (
    _Rule("When", re.compile(rf"\b(?:in|since|until|on) (?P<answer>{_DATE})\b")),
    _Rule("When", re.compile(r"\b(?:in|since|until|from) (?P<answer>(?:1[5-9]|20)\d\d)\b")),
    _Rule("How many {noun}", re.compile(r"(?<![$€£\d.,])\b(?P<answer>\d[\d,]*) (?P<noun>[a-z]{3,}s)\b")),
    _Rule("How much", re.compile(r"(?P<answer>[$€£] ?\d[\d,.]*\d(?: (?:million|billion))?)")),
    _Rule("By whom", re.compile(rf"\bby (?P<answer>{_NAME})")),
    _Rule("Where", re.compile(rf"\b(?:in|at|near) (?P<answer>(?:the )?{_NAME})")),
)


def draft_questions(folder: Path, settings: Settings, most: int, seed: int = 0) -> tuple[Path, int]:
    """Write `most` questions at most, spread over the files, to a new questions.csv in the folder.

    Returns the file and how many there are. Raises EvaluationError when there is one already, or nothing to
    ask; InputNotFound.
    """
    file = folder / QUESTIONS_FILE
    if file.exists():
        raise EvaluationError(f"{file} exists already", "Edit that one, or move it away and draft a new one.")
    from rag.evaluation.corpus import open_folder

    with open_folder(folder, settings) as generation:
        chunks = list(generation.chunks(generation.chunk_ids().tolist()).values())
    drafts = spread(drafted(chunks), most, seed)
    if not drafts:
        raise EvaluationError(
            f"no sentence in {folder} can be turned into a question",
            f"Write {file} by hand, with the columns question and answer.",
        )
    with file.open("x", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(("question", "answer", "references", "documents"))
        rows.writerows(
            (d.question, d.answer, d.reference, Path(d.document).relative_to(folder.resolve()).as_posix())
            for d in drafts
        )
    return file, len(drafts)


def drafted(chunks: Iterable[Chunk]) -> list[Draft]:
    """All drafts from these passages; what stands in two passages is asked once."""
    found: dict[str, Draft] = {}
    for chunk in chunks:
        for start, end in sentence_spans(chunk.text):
            sentence = " ".join(chunk.text[start:end].split())
            for question, answer in questions_about(sentence):
                found.setdefault(question.lower(), Draft(question, answer, sentence, chunk.path))
    return list(found.values())


def spread(drafts: Sequence[Draft], most: int, seed: int) -> list[Draft]:
    """At most so many, from all documents by turns, in an order that `seed` decides."""
    dice = random.Random(seed)
    by_document: dict[str, list[Draft]] = {}
    for draft in drafts:
        by_document.setdefault(draft.document, []).append(draft)
    for members in by_document.values():
        dice.shuffle(members)
    turns = itertools.zip_longest(*by_document.values())
    return [draft for turn in turns for draft in turn if draft is not None][:most]


def questions_about(sentence: str) -> Iterator[tuple[str, str]]:
    """Questions that this sentence answers on its own, each with its answer, verbatim in the sentence."""
    clause = _CLAUSE.fullmatch(sentence)
    if clause is None or len(sentence.split()) > SENTENCE_WORDS:
        return
    subject, verb, rest = clause["subject"], clause["verb"], clause["rest"]
    if len(subject.split()) > SUBJECT_WORDS or _POINTING.search(f"{subject} {rest}"):
        return
    if _OPENING.match(subject):
        subject = subject[0].lower() + subject[1:]
    if verb in ("is", "are") and (definition := _definition(rest)):
        yield f"What {verb} {subject}?", definition
        return
    for rule in _RULES:
        if found := rule.phrase.search(rest):
            yield from _turned(rule.asks.format(**found.groupdict()), subject, verb, rest, found)
            return


def _turned(asks: str, subject: str, verb: str, rest: str, found: re.Match[str]) -> Iterator[tuple[str, str]]:
    before = rest[: found.start()].rstrip(" ,")
    after = re.split(r"[,;:(]| and | but ", rest[found.end() :])[0].strip()
    if _LOOSE.search(before) or ";" in before or ":" in before:
        return
    if verb in ("has", "have", "had") and not before:  # the main verb: it has to be turned with "do"
        auxiliary = {"has": "does", "have": "do", "had": "did"}[verb]
        words = [asks, auxiliary, subject, "have", after]
    else:
        words = [asks, verb, subject, before, after]
    question = " ".join(part for part in words if part)
    if len(question.split()) >= FEWEST_WORDS:
        yield f"{question}?", found["answer"]


def _definition(rest: str) -> str | None:
    """What a thing is said to be; None where that is no noun, or long."""
    match = re.match(r"(?:an?|the) [^,;:]+", rest)
    text = match.group() if match else ""
    return text if 3 <= len(text.split()) <= DEFINITION_WORDS and match and match.end() == len(rest) else None
