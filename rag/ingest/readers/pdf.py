"""PDF through pypdfium2: pages, paragraphs, headings from the outline or from the type size."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import ocr
from rag.ingest.readers.base import Limits, Outline, Parsed, numbered, one_line
from rag.ingest.readers.pdf_layout import Heading, Line, Page, hyphen_mender, merge_lines, sized_headings

GLUED = re.compile(r"[a-z.,;:)](?=[A-Z])")
WORD_GAP = 0.12
"""White space between two letters that parts words, in type sizes."""

PATHS_OF_A_PICTURE = 50
"""A page without text but with this many drawn paths shows letters as outlines."""


def read_pdf(path: Path, limits: Limits) -> Parsed:
    """All pages up to the limit; scanned ones through OCR. Raises Unreadable."""
    import pypdfium2  # type: ignore[import-untyped]

    try:
        pdf = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise explained(path, error) from error
    started = time.monotonic()
    notes: list[str] = []
    pages, pictures, broken = [], [], []
    count = min(len(pdf), limits.pages)
    for number in range(1, count + 1):
        try:
            page = pdf[number - 1]
            lines = _lines(page)
        except pypdfium2.PdfiumError:
            broken.append(number)
            continue
        if not any(line.text.strip() for line in lines) and _is_picture(page):
            pictures.append(number)
        pages.append(Page(number, lines))
        page.close()
    if pictures:
        scans, note = ocr.read_pages(pdf, pictures, limits, started)
        pages = [scans.get(page.number, page) for page in pages]
        notes += [note] if note else []
    if broken:
        notes.append(f"{numbered('page', broken)} could not be opened")
    if len(pdf) > count:
        notes.append(f"only the first {count:,} of {len(pdf):,} pages were read")
    title = one_line(pdf.get_metadata_value("Title"))
    return Parsed(_sections(pages, _outline(pdf, count)), "pypdfium2", title, "page", tuple(notes))


def explained(path: Path, error: Exception) -> Unreadable:
    """Why PDFium did not open the file."""
    # PDFium may report the error of an earlier file, so the file itself must speak of a password too
    if "password" in str(error).lower() and b"/Encrypt" in path.read_bytes():
        return Unreadable("is protected by a password", "Save a copy without the password and ingest that.")
    return Unreadable("is damaged: no PDF that can be opened", "Open it in a PDF viewer and save it again.")


def _lines(page: Any) -> list[Line]:
    """The page's lines in the order of the file, each with its box in points."""
    text_page = page.get_textpage()
    lines, position = [], 0
    for text in text_page.get_text_range().split("\r\n"):
        bare = text.strip()
        if bare:
            lines.append(_line(text_page, bare, position + text.index(bare)))
        position += len(text) + 2
    text_page.close()
    return lines


def _line(text_page: Any, text: str, position: int) -> Line:
    """The line whose first character is the page's character number `position`."""
    import pypdfium2.raw as raw  # type: ignore[import-untyped]

    first = raw.FPDFText_GetCharIndexFromTextIndex(text_page.raw, position)
    last = raw.FPDFText_GetCharIndexFromTextIndex(text_page.raw, position + len(text) - 1)
    start, end = _box(text_page, first), _box(text_page, last)
    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(text_page.raw, first, matrix)
    size = raw.FPDFText_GetFontSize(text_page.raw, first) * math.hypot(matrix.c, matrix.d)
    weight = raw.FPDFText_GetFontWeight(text_page.raw, first)
    text = _spaced(text_page, text, first, size)
    return Line(text, start[0], start[1], max(start[2], end[2]), start[3], size, weight)


def _spaced(text_page: Any, text: str, first: int, size: float) -> str:
    """Put back the spaces that PDFium misses before some capitals ("JobPathways")."""
    parts, done = [], 0
    for match in GLUED.finditer(text):
        before, after = _box(text_page, first + match.start()), _box(text_page, first + match.start() + 1)
        if after[0] - before[2] > WORD_GAP * size > 0:
            parts.append(text[done : match.start() + 1])
            done = match.start() + 1
    return " ".join([*parts, text[done:]])


def _box(text_page: Any, index: int) -> tuple[float, float, float, float]:
    import pypdfium2

    try:
        return text_page.get_charbox(index, loose=True)
    except (pypdfium2.PdfiumError, ValueError):
        return 0.0, 0.0, 0.0, 0.0


def _is_picture(page: Any) -> bool:
    import pypdfium2.raw as raw

    paths = 0
    for item in page.get_objects(max_depth=4):
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            return True
        paths += item.type in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_SHADING)
        if paths >= PATHS_OF_A_PICTURE:
            return True
    return False


def _outline(pdf: Any, pages: int) -> list[Heading]:
    """The bookmarks that lead to a page, in the order of the file."""
    import pypdfium2

    headings = []
    try:
        for entry in pdf.get_toc(max_depth=8):
            target = entry.get_dest()
            index = target.get_index() if target else None
            if index is not None and 0 <= index < pages:
                headings.append(Heading(entry.level + 1, one_line(entry.get_title()), index + 1))
    except (pypdfium2.PdfiumError, RecursionError, UnicodeDecodeError):
        return headings  # a broken outline costs headings, not text
    return sorted(headings, key=lambda heading: heading.page)


def _sections(pages: list[Page], bookmarks: list[Heading]) -> tuple[Any, ...]:
    mend = hyphen_mender(line.text for page in pages for line in page.lines)
    pages = [Page(page.number, [line.with_text(mend(line.text)) for line in page.lines]) for page in pages]
    headings = bookmarks or sized_headings(pages)
    outline = Outline()
    for page in pages:
        outline.turn(page.number)
        for heading, lines in _parts(page, [h for h in headings if h.page == page.number]):
            if heading:
                outline.heading(heading.level, heading.title)
            outline.add(merge_lines(lines))
    return tuple(s for s in outline.finish() if s.heading or s.text) if pages else ()


def _parts(page: Page, headings: list[Heading]) -> Iterator[tuple[Heading | None, list[Line]]]:
    """The page's lines cut at the lines where its headings stand; a heading not found opens the page."""
    places = []
    search_from = 0
    for heading in headings:
        found = heading.line if heading.line is not None else page.find(heading.title, search_from)
        places.append((search_from if found is None else found, heading))
        search_from = places[-1][0]
    cuts = [place for place, _ in places] + [len(page.lines)]
    yield None, page.lines[: cuts[0]]
    for n, (place, heading) in enumerate(places):
        yield heading, page.lines[place : cuts[n + 1]]
