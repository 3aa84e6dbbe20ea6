"""Marks on pages of real PDFs, from the folder that FOOTNOTE_TEST_DATA names."""

import os
import random
from pathlib import Path

import pypdfium2
import pytest

from rag.errors import DocumentError
from rag.ingest.readers import Limits, kinds, read
from rag.page.matching import Folded
from rag.page.pdf_child import show
from rag.sentences import sentence_spans

DATA = os.environ.get("FOOTNOTE_TEST_DATA", "")
FILES, SENTENCES = 25, 50
LETTERS = 8
"""A shorter sentence is a number or a word, and says nothing."""

pytestmark = pytest.mark.skipif(not DATA, reason="FOOTNOTE_TEST_DATA names no folder of real files")


def sentences(path):
    """(page, text in front, sentence) of our own text; none of scans, whose letters PDFium does not know."""
    try:
        document = read(path, Limits(ocr=False, pages=20))
    except DocumentError:
        return []
    if document.media_type != kinds.PDF:
        return []
    return [
        (section.page, section.text[:start], section.text[start:end])
        for section in document.sections
        for start, end in sentence_spans(section.text)
        if len(Folded.of(section.text[start:end]).letters) >= LETTERS
    ]


def under(path, number, marks):
    """The text that PDFium has inside the marks."""
    with pypdfium2.PdfDocument(path) as pdf:
        page = pdf[number - 1]
        left, bottom, right, top = page.get_cropbox()
        text_page, width, height = page.get_textpage(), right - left, top - bottom
        boxes = [
            (left + x * width - 0.1, top - (y + h) * height, left + (x + w) * width + 0.1, top - y * height)
            for x, y, w, h in marks
        ]
        return "".join(text_page.get_text_bounded(*box) for box in boxes)


def upright(path, number):
    with pypdfium2.PdfDocument(path) as pdf:
        return pdf[number - 1].get_rotation() == 0


def lies_over(text, quote):
    """Whether nearly all of the quote's letters are under its marks; those of lines above may be, too."""
    covered, wanted = Folded.of(text).letters, Folded.of(quote).letters
    size = 6
    grams = [wanted[n : n + size] for n in range(len(wanted) - size + 1)]
    return sum(gram in covered for gram in grams) >= 0.9 * len(grams)


def checked(path, number, before, quote):
    request = {"path": str(path), "document_id": None, "page": number, "width_px": 300}
    marks = show({**request, "quotes": [{"text": quote, "before": before}]}, Limits())["marks"]
    return bool(marks) and lies_over(under(path, number, marks), quote)


def test_nearly_all_sentences_are_marked_where_they_stand():
    chance = random.Random(1)
    files = sorted(Path(DATA).rglob("*.pdf"))
    assert files, f"no PDF below {DATA}"
    asked = [
        (path, number, before, quote)
        for path in chance.sample(files, min(FILES, len(files)))
        for number, before, quote in sentences(path)
    ]
    asked = [place for place in chance.sample(asked, min(SENTENCES, len(asked))) if upright(*place[:2])]
    missed = [
        (path.name, number, quote)
        for path, number, before, quote in asked
        if not checked(path, number, before, quote)
    ]
    assert len(missed) <= 0.05 * len(asked), missed
