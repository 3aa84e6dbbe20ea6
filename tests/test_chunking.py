"""Chunks: exact offsets, nothing lost, never longer than the embedder reads, whatever the text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.embedding import load_embedder
from rag.ingest.chunking import CountTokens, split
from rag.sentences import sentence_spans
from rag.settings import ChunkSettings, EmbeddingSettings
from rag.types import SECTION_BREAK, Chunk, Document, Section

LIMIT = 510


def words(texts: Sequence[str]) -> list[int]:
    """A fake tokenizer: runs of letters and single marks, as BERT's pre-tokenizer sees them."""
    return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def letters(texts: Sequence[str]) -> list[int]:
    """A fake tokenizer that needs a token for each byte, as byte models do for rare scripts."""
    return [len(text.encode()) for text in texts]


@pytest.fixture(scope="module")
def real() -> CountTokens:
    return load_embedder(EmbeddingSettings()).count_tokens


def document(*sections: Section | str, title: str = "Handbook") -> Document:
    made = tuple(Section(one) if isinstance(one, str) else one for one in sections)
    return Document("0" * 64, "/docs/a.txt", title, "text/plain", made)


def uncovered(doc: Document, chunks: Sequence[Chunk]) -> str:
    """The characters of a document, blanks aside, that no chunk holds."""
    seen = bytearray(len(doc.text))
    for chunk in chunks:
        seen[chunk.start : chunk.end] = b"\x01" * (chunk.end - chunk.start)
    return "".join(c for c, hit in zip(doc.text, seen) if not hit and not c.isspace())


prose = st.lists(
    st.sampled_from(
        [
            "The quick brown fox jumps over the lazy dog.",
            "Mr. Smith paid 3.50 for it!",
            "Warum nicht? Weil es regnet.",
            "“Quoted,” she said; he left.",
            "これは文です。次の文。",
            "- an item in a list",
            "| a | b |",
            "aGVsbG8gd29ybGQ" * 12,
            "supercalifragilisticexpialidocious" * 3,
            "e\u0301t\u0302",
            "🙂🙃",
            "\n",
            "\n\n",
            "   ",
            "\t",
            "\u2028",
            "....",
        ]
    ),
    max_size=60,
).map(" ".join)
anything = st.one_of(prose, st.text(max_size=400), st.text("ab .\n", max_size=400))
headings = st.lists(st.text(max_size=150), max_size=6).map(tuple)
a_section = st.builds(
    Section, anything, st.none() | st.integers(1, 9), st.none() | st.integers(1, 9), headings
)
a_document = st.builds(document, a_section, a_section, title=st.text(max_size=200))
sizes = st.builds(ChunkSettings, tokens=st.integers(32, 600), overlap=st.integers(0, 600))
thorough = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check(doc: Document, count: CountTokens, limit: int, chosen: ChunkSettings) -> None:
    chunks = split(doc, count, limit, chosen)
    for chunk in chunks:
        assert doc.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        assert count([chunk.searchable])[0] <= limit
    assert uncovered(doc, chunks) == ""
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert [c.end for c in chunks] == sorted(c.end for c in chunks)


@thorough
@given(a_document, sizes, st.sampled_from([64, 254, LIMIT]))
def test_chunks_hold_all_of_any_text_and_fit(doc: Document, chosen: ChunkSettings, limit: int) -> None:
    check(doc, words, limit, chosen)


@thorough
@given(a_document, sizes)
def test_chunks_fit_a_tokenizer_of_bytes(doc: Document, chosen: ChunkSettings) -> None:
    check(doc, letters, LIMIT, chosen)


@settings(thorough, max_examples=60)
@given(doc=a_document, chosen=sizes, limit=st.sampled_from([126, 254, LIMIT]))
def test_chunks_fit_the_bundled_tokenizer(
    real: CountTokens, doc: Document, chosen: ChunkSettings, limit: int
) -> None:
    check(doc, real, limit, chosen)


@thorough
@given(prose, st.integers(5, 60))
def test_overlap_begins_where_a_sentence_begins(text: str, overlap: int) -> None:
    doc = document(text)
    alone = split(doc, words, LIMIT, ChunkSettings(tokens=40, overlap=0))
    begins = {start for start, _ in sentence_spans(doc.text)}
    for plain, chunk in zip(alone, split(doc, words, LIMIT, ChunkSettings(tokens=40, overlap=overlap))):
        assert (chunk.end, chunk.start <= plain.start) == (plain.end, True)
        assert chunk.start == plain.start or chunk.start in begins
        assert words([doc.text[chunk.start : plain.start]])[0] <= overlap


@thorough
@given(st.text("ab \n.", max_size=600), st.integers(1, 50), st.integers(0, 40))
def test_line_numbers_count_from_the_section(text: str, first: int, overlap: int) -> None:
    doc = document("before\nit", Section(text, line=first))
    offset = len("before\nit" + SECTION_BREAK)
    for chunk in split(doc, words, LIMIT, ChunkSettings(tokens=32, overlap=overlap))[1:]:
        assert chunk.line == first + text[: chunk.start - offset].count("\n")


def test_overlap_repeats_the_last_sentences() -> None:
    sentences = [f"Sentence number {n} has exactly eight words here." for n in range(10)]
    chunks = split(document(" ".join(sentences)), words, LIMIT, ChunkSettings(tokens=36, overlap=10))
    assert [chunk.text for chunk in chunks] == [
        " ".join(sentences[:4]),
        " ".join(sentences[3:8]),
        " ".join(sentences[7:]),
    ]


def test_a_chunk_keeps_its_section_s_page_and_heading() -> None:
    sections = (Section("One.", 3, None, ("A", "B")), Section("Two.", 4, 7, ("C",)))
    chunks = split(document(*sections), words, LIMIT, ChunkSettings())
    assert [(c.text, c.page, c.line, c.heading) for c in chunks] == [
        ("One.", 3, None, ("A", "B")),
        ("Two.", 4, 7, ("C",)),
    ]
    assert chunks[0].searchable == "Handbook > A > B\nOne."


def test_a_long_title_is_shortened_alike_for_all_chunks() -> None:
    sections = (Section("word " * 300, heading=("long " * 60,)), Section("One."))
    chunks = split(document(*sections, title="title " * 60), words, 126, ChunkSettings())
    assert {chunk.title for chunk in chunks} == {("title " * 60)[:100]}


def test_long_headings_leave_room_for_the_passage() -> None:
    heading = tuple(f"{n} " + "very long heading " * 30 for n in range(9))
    chunks = split(document(Section("word " * 300, heading=heading)), words, 126, ChunkSettings())
    assert all(words([chunk.context])[0] <= 42 for chunk in chunks)
    assert [words([chunk.text])[0] > 40 for chunk in chunks[:-1]] == [True] * (len(chunks) - 1)


def test_the_same_document_gives_the_same_chunks() -> None:
    doc = document("Some text. " * 200)
    assert split(doc, words, LIMIT, ChunkSettings()) == split(doc, words, LIMIT, ChunkSettings())


def test_no_text_gives_no_chunks() -> None:
    assert split(document("", " \n "), words, LIMIT, ChunkSettings()) == []


def test_a_passage_that_begins_in_a_table_is_told_the_names_of_its_columns() -> None:
    rows = "".join(f"Region {n} $ {n}00 $ {n}50\n" for n in range(10, 60))
    text = (
        f"Net sales are as follows, in each of the regions, in millions:\n\n2022 2023\n{rows}\nSo they rose."
    )
    chunks = split(
        document(Section(text, heading=("Sales",))), words, LIMIT, ChunkSettings(tokens=60, overlap=0)
    )
    inside = [chunk for chunk in chunks if chunk.text.startswith("Region")]
    assert len(inside) > 3
    assert all(chunk.heading == ("Sales", "2022 2023") for chunk in inside)
    assert all(chunk.heading == ("Sales",) for chunk in chunks if chunk not in inside)
    assert all(chunk.text in text for chunk in chunks)
