"""The records that flow through Footnote, in the order in which they come to exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath

SECTION_BREAK = "\n\n"
"""What stands between two sections in `Document.text`; chunk offsets count it."""

PLACE_WORDS = {"page": "p.", "slide": "slide", "sheet": "sheet"}


@dataclass(frozen=True, slots=True)
class Section:
    """A run of text under one heading, on one page where the format has pages.

    `page` counts from 1 in what `Document.unit` names; `line` is the 1-based number of the
    text's first line in the file (plain text and code); `heading` is the path of headings above
    the text, outermost first.
    """

    text: str
    page: int | None = None
    line: int | None = None
    heading: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """One file's text as a reader found it; `id` is the sha256 of the file's bytes, in hex.

    `unit` says what `Section.page` counts: "page", "slide" or "sheet". `notes` are remarks for
    the ledger that are not failures ("3 pages are scans without text").
    """

    id: str
    path: str
    title: str
    media_type: str
    sections: tuple[Section, ...]
    parser: str = ""
    unit: str = "page"
    notes: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """All sections joined by `SECTION_BREAK`: what chunk offsets point into."""
        return SECTION_BREAK.join(section.text for section in self.sections)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage small enough for the embedder; `document.text[start:end] == text`.

    `id` is a hash of content and place, so the same file always gives the same ids. `page` and
    `line` are where the passage begins.
    """

    id: str
    document_id: str
    text: str
    start: int
    end: int
    path: str
    title: str
    page: int | None = None
    line: int | None = None
    heading: tuple[str, ...] = ()
    unit: str = "page"

    @property
    def context(self) -> str:
        """Title and heading path on one line: what a reader of the passage alone would miss."""
        parts = [self.title, *self.heading]
        return " > ".join(part for n, part in enumerate(parts) if part and part not in parts[:n])

    @property
    def searchable(self) -> str:
        """What is embedded and scored: context line, then the passage."""
        return f"{self.context}\n{self.text}" if self.context else self.text

    @property
    def place(self) -> str:
        """Where to look it up, as in `report.pdf p. 4`, `deck.pptx slide 2`, `notes.txt line 12`."""
        return place(self.path, self.page, self.line, self.unit)


def place(path: str, page: int | None, line: int | None = None, unit: str = "page") -> str:
    """Name a spot in a file the way a person would look it up."""
    name = PurePath(path).name
    if page is not None:
        return f"{name} {PLACE_WORDS.get(unit, unit)} {page}"
    return f"{name} line {line}" if line is not None else name


@dataclass(frozen=True, slots=True)
class Rank:
    """A chunk's standing in one search stage: 1-based rank and that stage's own score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Span:
    """Words of a passage, `text[start:end]`; `margin`: how far their logits exceed those of "not here"."""

    start: int
    end: int
    margin: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reranker makes of a passage: how relevant it is to the question, as a logit.

    Only a reader says more: `answerable`, the logit that the passage answers at all, and with which words,
    likeliest first and disjoint.
    """

    relevance: float
    answerable: float | None = None
    spans: tuple[Span, ...] = ()

    @property
    def score(self) -> float:
        """What passages are ordered by: a passage that answers is worth more than one that is about it."""
        return self.relevance if self.answerable is None else (self.relevance + self.answerable) / 2


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk; `score` is a relevance, higher is better, never converted downstream.

    `how` maps each stage that saw the chunk ("dense", "lexical", "fused", "rerank") to its rank; `reading`
    is there where a reranker read it.
    """

    chunk: Chunk
    score: float
    how: Mapping[str, Rank] = field(default_factory=dict)
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A passage that the search found and left out; `reason` continues the words "left out:".

    `stage` is "thinned" (the same once more, or too many of one document) or "top_k" (beyond them).
    """

    hit: Hit
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads; `used_hits` are numbered from 1 in it, `dropped_hits` found no room."""

    messages: tuple[Message, ...]
    used_hits: tuple[Hit, ...]
    dropped_hits: tuple[Hit, ...]
    token_count: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a hit's chunk: `chunk.text[start:end] == text`; `score` as in `Hit`.

    `exact` are the words in it that answer, where a reader found them; their place is the chunk's, too.
    """

    hit: Hit
    text: str
    start: int
    end: int
    score: float
    exact: Span | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """A footnote: `quote` stands verbatim at `start:end` of the cited chunk's text.

    `number` is the footnote's `[n]` in the answer; `exact` is the few words that answer the
    question, where a reader found them; `verified`: the quote says what the sentence before the `[n]` does.
    """

    number: int
    hit: Hit
    quote: str
    start: int
    end: int
    verified: bool
    exact: str | None = None


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A sentence of a model's answer that the passages do not say, and why it counts as that.

    `hit` and `span`, a place in its chunk's text, are what comes nearest; None where nothing does.
    """

    sentence: str
    problem: str
    hit: Hit | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds since the question was asked, and token counts; None where there was none."""

    retrieval_s: float = 0.0
    first_token_s: float | None = None
    total_s: float = 0.0
    prompt_tokens: int = 0
    answer_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model speaks, through which engine, from which kind of weights.

    `notes` are what the user should know of how it runs ("the context was shortened to 2048 tokens").
    """

    name: str
    engine: str
    quantization: str
    parameters: int | None = None
    context_tokens: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question of a conversation, the form of it that stood on its own, and what was answered."""

    question: str
    standalone: str
    answer: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a model was given to read: `tokens` of the `budget_tokens` that a prompt may have.

    `used` passages stand in the prompt, `dropped` ones found no room.
    """

    tokens: int
    budget_tokens: int
    used: tuple[Hit, ...]
    dropped: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the user is shown; `abstained` means "not in your documents".

    `disputed` means that a reader found an answer which the model does not give; the text shows both.
    `confidence`, from 0 to 1, is how sure the reader is that the passages answer. `unsupported` are the
    sentences of a model that are marked as not found. `standalone` is the question as it was searched for:
    another than `question` where that continues a conversation.
    `dropped` is what the search left out, best first; `context` is None where no model read anything.
    """

    question: str
    text: str
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    abstained: bool
    model: ModelInfo | None
    timings: Timings
    dropped: tuple[Dropped, ...] = ()
    context: Context | None = None
    disputed: bool = False
    confidence: float = 0.0
    unsupported: tuple[Unsupported, ...] = ()
    standalone: str = ""

    @property
    def continues(self) -> bool:
        """Whether the question was made to stand on its own."""
        return self.standalone not in ("", self.question)

    @property
    def turn(self) -> Turn:
        """What the next question of the conversation needs of this one."""
        return Turn(self.question, self.standalone or self.question, self.text)


@dataclass(frozen=True, slots=True)
class Standalone:
    """Before the sources, where a question continues a conversation: what it is taken to ask."""

    question: str


@dataclass(frozen=True, slots=True)
class Sources:
    """First of an answer: the passages it will rest on, best first."""

    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer's text, to be appended to what came before; `exact`: the words that answer."""

    text: str
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """Last event: the whole, checked answer."""

    answer: Answer


Event = Standalone | Sources | Token | Done
