"""The text around citations, from a real index, and what of it can become HTML."""

import re
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.page.passage_view import Segment, around, as_html
from rag.settings import ChunkSettings
from rag.store.generation import Collection
from rag.types import SECTION_BREAK, Chunk, Document, Section
from tests.fakes import HashingEmbedder

PARTS = (
    Section("Leases run for a year.\n\nThey are renewed by letter.", None, 1, ("Leases",)),
    Section(
        "Rent is due on Monday.\n\nIt is paid to the landlord. Nobody else may take it.\n\nKeep the receipt.",
        None,
        9,
        ("Rent",),
    ),
    Section("Pets are welcome.", None, 15, ("Pets",)),
)


@pytest.fixture
def shelf(tmp_path):
    """Indexes sections, each as one chunk or as several, and opens what was made."""
    opened = []

    def make(sections, cuts=lambda text: [(0, len(text))]):
        embedder = HashingEmbedder()
        document = Document("d" * 64, "/home/lease.md", "Lease", "text/markdown", tuple(sections))
        chunks, offset = [], 0
        for section in sections:
            for start, end in cuts(section.text):
                text = section.text[start:end]
                place = ("/home/lease.md", "Lease", section.page, section.line, section.heading)
                chunks.append(
                    Chunk(f"c{len(chunks)}", document.id, text, offset + start, offset + end, *place)
                )
            offset += len(section.text) + len(SECTION_BREAK)
        collection = Collection(tmp_path, "shelf")
        with collection.writer(embedder, ChunkSettings()) as writer:
            vectors = embedder.embed_passages([chunk.text for chunk in chunks])
            writer.put_document(document, [document.path], chunks, vectors)
            writer.publish().close()
        opened.append(collection.open())
        return opened[-1], chunks

    yield make
    for generation in opened:
        generation.close()


def cite(chunk, quote):
    start = chunk.text.index(quote)
    return start, start + len(quote)


def test_the_paragraphs_under_the_heading_are_shown_and_the_words_marked(shelf):
    generation, chunks = shelf(PARTS)
    view = around(generation, chunks[1], [cite(chunks[1], "It is paid to the landlord.")])
    assert view.segments == (
        Segment("Rent is due on Monday.\n\n", False),
        Segment("It is paid to the landlord.", True),
        Segment(" Nobody else may take it.\n\nKeep the receipt.", False),
    )
    assert (view.heading, view.place) == (("Rent",), "lease.md line 9")
    assert view.cut_before and view.cut_after


def test_several_citations_are_marked_in_one_text_and_those_that_touch_as_one(shelf):
    generation, chunks = shelf(PARTS)
    quotes = ["Keep the receipt.", "Rent is due", " on Monday.", "due on Monday."]
    view = around(generation, chunks[1], [cite(chunks[1], quote) for quote in quotes])
    assert [(segment.text, segment.marked) for segment in view.segments] == [
        ("Rent is due on Monday.", True),
        ("\n\nIt is paid to the landlord. Nobody else may take it.\n\n", False),
        ("Keep the receipt.", True),
    ]


def test_the_text_goes_on_into_the_chunks_next_to_it(shelf):
    halves = lambda text: [(0, len(text) // 2), (len(text) // 2, len(text))]  # noqa: E731
    generation, chunks = shelf(PARTS[1:2], halves)
    view = around(generation, chunks[1], [cite(chunks[1], "Keep the receipt.")])
    assert "".join(segment.text for segment in view.segments) == PARTS[1].text
    assert not view.cut_before and not view.cut_after


def test_paragraphs_are_whole_where_they_fit(shelf):
    generation, chunks = shelf(PARTS[1:2])
    view = around(generation, chunks[0], [cite(chunks[0], "It is paid")], before=24, after=60)
    assert [segment.text for segment in view.segments] == [
        "Rent is due on Monday.\n\n",
        "It is paid",
        " to the landlord. Nobody else may take it.",
    ]
    assert not view.cut_before and view.cut_after
    view = around(generation, chunks[0], [cite(chunks[0], "It is paid")], before=20, after=12)
    assert [segment.text for segment in view.segments] == ["It is paid", " to the"]
    assert view.cut_before and view.cut_after


def test_of_long_tables_whole_rows_are_shown(shelf):
    rows = [f"Item: lamp {n}; Price: {n}.50" for n in range(200)]
    generation, chunks = shelf([Section("\n".join(rows), 2, None, ("Prices",))])
    view = around(generation, chunks[0], [cite(chunks[0], rows[100])], before=60, after=60)
    assert "".join(segment.text for segment in view.segments) == "\n".join(rows[98:103])


def test_another_page_is_not_shown_and_the_columns_of_a_table_are_no_heading(shelf):
    sections = [
        Section("One.", 1),
        Section("Two.", 2, None, ("T",)),
        Section("Three.", 2, None, ("T", "Q1 Q2")),
    ]
    generation, chunks = shelf(sections)
    view = around(generation, chunks[1], [(0, 4)])
    assert "".join(segment.text for segment in view.segments) == "Two.\n\nThree."
    assert view.place == "lease.md p. 2"


def test_without_the_document_the_saved_passage_is_shown(shelf):
    generation, chunks = shelf(PARTS)
    gone = replace(chunks[1], document_id="e" * 64)
    otherwise = replace(chunks[1], text=chunks[1].text.replace("Monday", "Friday"))
    for source, chunk in ((generation, gone), (generation, otherwise), (None, chunks[1])):
        view = around(source, chunk, [cite(chunk, "It is paid")])
        assert "".join(segment.text for segment in view.segments) == chunk.text
        assert Segment("It is paid", True) in view.segments
        assert not view.cut_before and not view.cut_after


def test_nothing_of_a_document_becomes_a_tag():
    hostile = "<script>alert(1)</script>\n\n</div><img src=x onerror='a\"b'>"
    shown = as_html((Segment(hostile, False), Segment("<b>&amp;</b>", True)))
    assert shown == (
        '<div class="passage" style="white-space: pre-wrap">&lt;script&gt;alert(1)&lt;/script&gt;<br><br>'
        "&lt;/div&gt;&lt;img src=x onerror=&#x27;a&quot;b&#x27;&gt;"
        "<mark>&lt;b&gt;&amp;amp;&lt;/b&gt;</mark></div>"
    )


@given(st.lists(st.tuples(st.text("<>&\"'/ab \n", max_size=30), st.booleans()), max_size=4))
def test_the_text_can_be_read_back_from_the_html(pieces):
    shown = as_html([Segment(text, marked) for text, marked in pieces])
    assert set(re.findall("<[^>]*>", shown)) <= {
        '<div class="passage" style="white-space: pre-wrap">',
        "</div>",
        "<mark>",
        "</mark>",
        "<br>",
    }
    assert unescape(re.sub("<[^>]*>", "", shown.replace("<br>", "\n"))) == "".join(text for text, _ in pieces)
