"""PDF files written by hand: paragraphs, headings, scanned pages, limits and damage."""

import io
import stat
import sys

import pytest

from rag.errors import Unreadable
from rag.ingest.readers import Limits, read
from rag.ingest.readers.pdf_layout import Line, hyphen_mender, merge_lines
from tests.sections import outline

LIMITS = Limits()
XML = '<?xml version="1.0" encoding="UTF-8"?>'


def pdf(pages, outline="", extra="", trailer=""):
    """A PDF whose pages are content streams; /F1 is Helvetica, /F2 Helvetica-Bold, /Im a grey dot."""
    objects = [
        f"<</Type/Catalog/Pages 2 0 R {outline}>>",
        f"<</Type/Pages/Kids[{' '.join(f'{6 + 2 * n} 0 R' for n in range(len(pages)))}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold/Encoding/WinAnsiEncoding>>",
        "<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>"
        "stream\nx\nendstream",
    ]
    for n, page in enumerate(pages):
        resources = "/Resources<</Font<</F1 3 0 R/F2 4 0 R>>/XObject<</Im 5 0 R>>>>"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]{resources}/Contents {7 + 2 * n} 0 R>>"
        )
        objects.append(f"<</Length {len(page)}>>stream\n{page}\nendstream")
    objects += extra.split("\f") if extra else []
    out, offsets = io.BytesIO(b"%PDF-1.4\n"), []
    out.seek(0, io.SEEK_END)
    for number, body in enumerate(objects, start=1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj{body}endobj\n".encode("latin-1"))
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    out.write(f"trailer<</Size {len(objects) + 1}/Root 1 0 R {trailer}>>\nstartxref\n{start}\n%%EOF".encode())
    return out.getvalue()


def lines(*texts, size=12, left=72, top=720, font="F1"):
    shown = " ".join(f"({text}) Tj 0 -{size * 1.2:g} Td" for text in texts)
    return f"BT /{font} {size} Tf {left} {top} Td {shown} ET\n"


PICTURE = "q 500 0 0 500 50 50 cm /Im Do Q"
PROSE = (
    "The first line of this paragraph goes all the way to the right edge,",
    "and the second one ends it.",
)


@pytest.fixture
def parse(tmp_path):
    def write_and_read(content, limits=LIMITS):
        path = tmp_path / "a.pdf"
        path.write_bytes(content)
        return read(path, limits)

    return write_and_read


def test_pdf_paragraphs_are_unwrapped_and_pages_counted(parse):
    document = parse(pdf([lines(*PROSE), lines("Second page.")]))
    assert outline(document) == [(1, (), " ".join(PROSE)), (2, (), "Second page.")]


def test_pdf_headings_by_size_where_there_is_no_outline(parse):
    page = lines("Holiday Rules", size=20) + lines(*PROSE, top=680) + lines("Exceptions", size=16, top=630)
    document = parse(pdf([page + lines(*PROSE, top=600), lines(*PROSE)]))
    assert [(section.page, section.heading) for section in document.sections] == [
        (1, ("Holiday Rules",)),
        (1, ("Holiday Rules", "Exceptions")),
        (2, ("Holiday Rules", "Exceptions")),
    ]
    assert document.sections[0].text == "Holiday Rules\n\n" + " ".join(PROSE)


def test_pdf_headings_from_the_outline_cut_the_page_where_they_stand(parse):
    page = lines(*PROSE) + lines("Part Two", top=650) + lines(*PROSE, top=620)
    bookmarks = (
        "<</Type/Outlines/First 11 0 R/Last 12 0 R/Count 2>>\f"
        "<</Title(Part One)/Parent 10 0 R/Next 12 0 R/Dest[6 0 R/Fit]>>\f"
        "<</Title(Part Two)/Parent 10 0 R/Prev 11 0 R/Dest[6 0 R/Fit]>>"
    )
    document = parse(pdf([page, lines("End.")], outline="/Outlines 10 0 R", extra=bookmarks))
    assert outline(document) == [
        (1, ("Part One",), " ".join(PROSE)),
        (1, ("Part Two",), "Part Two\n\n" + " ".join(PROSE)),
        (2, ("Part Two",), "End."),
    ]


def test_pdf_pages_that_are_pictures_are_named(parse, monkeypatch):
    monkeypatch.setenv("PATH", "")
    pages = [lines("Words."), PICTURE, "", PICTURE]
    document = parse(pdf(pages))
    assert document.notes == ("pages 2, 4 are pictures without text (install Tesseract to read them)",)
    assert [section.page for section in document.sections] == [1]
    assert "switched off" in parse(pdf(pages), Limits(ocr=False)).notes[0]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Tesseract is a script")
def test_pdf_pages_that_are_pictures_go_through_tesseract(parse, tmp_path, monkeypatch):
    program = tmp_path / "tesseract"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nassert sys.argv[sys.argv.index('-l') + 1] == 'deu'\n"
        "open(sys.argv[2] + '.txt', 'w').write('Recognised words\\nof one paragraph.\\n\\nAnother one.\\n')\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    document = parse(pdf([lines("Words."), PICTURE]), Limits(ocr_language="deu"))
    assert outline(document)[1] == (2, (), "Recognised words of one paragraph.\n\nAnother one.")
    assert document.notes == ()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Tesseract is a script")
def test_what_tesseract_cannot_read_is_named(parse, tmp_path, monkeypatch):
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\necho 'no language data' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    note = parse(pdf([PICTURE])).notes[0]
    assert note.startswith("page 1 is a picture without text (Tesseract: ")
    assert "no language data" in note


def test_pdf_pages_past_the_limit_are_noted(parse):
    document = parse(pdf([lines(f"Page {n}.") for n in range(1, 6)]), Limits(pages=2))
    assert [section.text for section in document.sections] == ["Page 1.", "Page 2."]
    assert document.notes == ("only the first 2 of 5 pages were read",)


def test_an_encrypted_pdf_says_so(parse):
    key = "/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<" + "41" * 32 + ">/U<" + "42" * 32 + ">>>/ID[<00><00>]"
    with pytest.raises(Unreadable, match="protected by a password"):
        parse(pdf([lines("x")], trailer=key))


def test_a_truncated_pdf_is_unreadable_or_read_but_never_a_crash(parse):
    with pytest.raises(Unreadable, match="no PDF that can be opened"):
        parse(b"%PDF-1.7\n" + b"1 0 obj<<" * 20)


def test_hyphens_at_line_ends():
    mend = hyphen_mender(["a well-known thing", "the implementation", "cost and effective words"])
    assert mend("imple\ufffementation") == "implementation"
    assert mend("well\ufffeknown") == "well-known"
    assert mend("Anglo\ufffeAmerican") == "Anglo-American"
    assert mend("cost\ufffeeffective") == "cost-effective"
    assert mend("gov\ufffeernment") == "government"


def test_rows_items_and_labels_keep_their_lines():
    texts = [
        "Revenue 1,200 1,100",
        "Costs (300) (280)",
        "• first item",
        "• second item",
        "Make: A Model: B",
        "Year: 1999",
    ]
    placed = [
        Line(text, 72, 700 - 14 * n, 72 + 6 * len(text), 712 - 14 * n, 12) for n, text in enumerate(texts)
    ]
    assert merge_lines(placed) == "\n".join(texts)
