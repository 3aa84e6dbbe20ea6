"""Office formats, each file made with a library or by hand, and PDF files written by hand."""

import io
import stat
import sys
import zipfile

import pytest

from rag.errors import TooMuch, Unreadable
from rag.ingest.readers import Limits, read
from rag.ingest.readers.pdf_layout import Line, hyphen_mender, merge_lines

LIMITS = Limits()
XML = '<?xml version="1.0" encoding="UTF-8"?>'


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def outline(document):
    return [(section.page, section.heading, section.text) for section in document.sections]


def test_docx_headings_lists_tables_boxes_and_margins(tmp_path):
    import docx

    made = docx.Document()
    made.core_properties.title = "Handbook"
    made.add_heading("Leave", level=1)
    made.add_paragraph("Ask early.")
    made.add_paragraph("one", style="List Bullet")
    made.add_paragraph("two", style="List Number")
    made.add_heading("Days", level=2)
    table = made.add_table(rows=0, cols=3)
    for row in (("Kind", "Days", "Paid"), ("Sick", "10", "yes"), ("Child", "5", "no")):
        for cell, text in zip(table.add_row().cells, row):
            cell.text = text
    table.cell(1, 2).merge(table.cell(2, 2)).text = "yes"
    made.sections[0].footer.paragraphs[0].text = "Confidential"
    made.save(str(tmp_path / "a.docx"))

    document = read(tmp_path / "a.docx", LIMITS)
    assert (document.title, document.parser) == ("Handbook", "python-docx")
    assert outline(document) == [
        (None, ("Leave",), "Ask early.\n\n- one\n- two"),
        (
            None,
            ("Leave", "Days"),
            "Kind | Days | Paid\nKind: Sick; Days: 10; Paid: yes\nKind: Child; Days: 5; Paid: yes",
        ),
        (None, ("Header and footer",), "Confidential"),
    ]


def test_pptx_slides_with_tables_and_notes(tmp_path):
    import pptx
    from pptx.util import Inches

    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Plan"
    first.placeholders[1].text = "Build\nTest"
    first.notes_slide.notes_text_frame.text = "Say hello"
    second = deck.slides.add_slide(deck.slide_layouts[6])
    table = second.shapes.add_table(3, 2, Inches(1), Inches(1), Inches(4), Inches(2)).table
    for r, row in enumerate((("Year", "Sales"), ("2023", "10"), ("2024", "12"))):
        for c, text in enumerate(row):
            table.cell(r, c).text = text
    deck.save(str(tmp_path / "a.pptx"))

    document = read(tmp_path / "a.pptx", LIMITS)
    assert document.unit == "slide"
    assert outline(document) == [
        (1, ("Plan",), "- Build\n- Test\n\nNotes: Say hello"),
        (2, (), "Year | Sales\nYear: 2023; Sales: 10\nYear: 2024; Sales: 12"),
    ]
    assert read(tmp_path / "a.pptx", Limits(pages=1)).notes == ("only the first 1 of 2 slides were read",)


def test_xlsx_sheets_with_titles_headers_dates_and_limits(tmp_path):
    import datetime

    import xlsxwriter

    book = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"), {"default_date_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet("Stock")
    sheet.write_row(0, 0, ["Stock of March"])
    sheet.write_row(2, 0, ["Item", "Count", "Price", "Since"])
    sheet.write_row(3, 0, ["Nut", 5, 0.25])
    sheet.write_datetime(3, 3, datetime.datetime(2024, 2, 29))
    sheet.write_row(4, 0, ["Bolt", 1200, 1.5])
    book.add_worksheet("Form").write_column(0, 0, ["alone"])
    book.close()

    document = read(tmp_path / "a.xlsx", LIMITS)
    assert document.unit == "sheet"
    assert outline(document) == [
        (
            1,
            ("Stock",),
            "Stock of March\nItem | Count | Price | Since\n"
            "Item: Nut; Count: 5; Price: 0.25; Since: 2024-02-29\nItem: Bolt; Count: 1200; Price: 1.5",
        ),
        (2, ("Form",), "alone"),
    ]
    assert "rows past 3 were not read" in read(tmp_path / "a.xlsx", Limits(rows=3)).notes


ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
)


def odt(path, body, prologue="", **more):
    content = f"{XML}{prologue}<office:document-content {ODF}><office:body><office:text>{body}"
    content += "</office:text></office:body></office:document-content>"
    return zipped(
        path, {"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content, **more}
    )


def test_odt_headings_spaces_lists_tables_and_notes(tmp_path):
    cells = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell><text:p>{c}</text:p></table:table-cell>" for c in row)
        + "</table:table-row>"
        for row in (("A", "B", "C"), ("1", "2", "3"))
    )
    path = odt(
        tmp_path / "a.odt",
        '<text:h text:outline-level="1">Head</text:h>'
        '<text:p>a<text:s text:c="2"/>b<text:note><text:note-body><text:p>why</text:p></text:note-body>'
        "</text:note></text:p>"
        "<text:list><text:list-item><text:p>x</text:p></text:list-item></text:list>"
        f"<table:table>{cells}</table:table>",
    )
    assert outline(read(path, LIMITS)) == [
        (None, ("Head",), "a  b (why)\n\n- x\n\nA | B | C\nA: 1; B: 2; C: 3")
    ]


def test_odt_entities_do_not_expand(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    document = read(odt(tmp_path / "a.odt", "<text:p>safe &b; words</text:p>", bomb), LIMITS)
    assert "haha" not in document.text
    assert "safe" in document.text


def test_an_encrypted_odt_says_so(tmp_path):
    manifest = {"META-INF/manifest.xml": f"{XML}<m><file-entry><encryption-data/></file-entry></m>"}
    with pytest.raises(Unreadable, match="protected by a password"):
        read(odt(tmp_path / "a.odt", "", **manifest), LIMITS)


def epub(path, **more):
    opf = (
        f"{XML}<package><metadata><title>Two Tales</title></metadata><manifest>"
        '<item id="b" href="b%20c.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="b"/><itemref idref="a"/></spine></package>'
    )
    page = "<html><body><h1>{}</h1><p>{}</p></body></html>"
    return zipped(
        path,
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f'{XML}<c><rootfile full-path="OEBPS/c.opf"/></c>',
            "OEBPS/c.opf": opf,
            "OEBPS/a.xhtml": page.format("Second", "end"),
            "OEBPS/b c.xhtml": page.format("First", "begin"),
            **more,
        },
    )


def test_epub_in_the_order_of_the_spine(tmp_path):
    document = read(epub(tmp_path / "a.epub"), LIMITS)
    assert document.title == "Two Tales"
    assert outline(document) == [(None, ("First",), "begin"), (None, ("Second",), "end")]


def test_a_protected_epub_says_so(tmp_path):
    key = {"META-INF/encryption.xml": '<e><CipherReference URI="OEBPS/a.xhtml"/></e>'}
    with pytest.raises(Unreadable, match="DRM"):
        read(epub(tmp_path / "a.epub", **key), LIMITS)


def test_an_encrypted_office_file_says_so(tmp_path):
    # the directory of an OLE container, with the one stream that Office's encryption uses
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + bytes.fromhex("3e000300feff09000600") + bytes(10)
    header += (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4) + (4096).to_bytes(4, "little")
    header += b"\xfe\xff\xff\xff" + bytes(4) + b"\xfe\xff\xff\xff" + bytes(4) + bytes(4) + b"\xff" * (4 * 108)

    def entry(name, kind, child=0xFFFFFFFF):
        raw = name.encode("utf-16-le") + b"\0\0"
        head = raw.ljust(64, b"\0") + len(raw).to_bytes(2, "little") + bytes([kind, 1])
        return (
            (head + b"\xff" * 8 + child.to_bytes(4, "little")).ljust(116, b"\0")
            + b"\xfe\xff\xff\xff"
            + bytes(8)
        )

    fat = b"\xfd\xff\xff\xff" + b"\xfe\xff\xff\xff" + b"\xff" * 504
    folder = entry("Root Entry", 5, 1) + entry("EncryptedPackage", 2) + bytes(256)
    (tmp_path / "a.docx").write_bytes(header.ljust(512, b"\0") + fat + folder)
    with pytest.raises(Unreadable, match="protected by a password"):
        read(tmp_path / "a.docx", LIMITS)


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


def test_a_damaged_docx_names_the_damage(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"PK\x03\x04" + bytes(range(200)))
    with pytest.raises(Unreadable, match="is damaged"):
        read(tmp_path / "a.docx", LIMITS)


def test_a_zip_bomb_in_office_clothes_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("word/document.xml", "w") as member:
            for _ in range(300):
                member.write(b" " * 2**20)
    with pytest.raises(TooMuch, match="would unpack to 300 MiB"):
        read(tmp_path / "a.docx", LIMITS)


def test_archives_and_old_formats_are_named(tmp_path):
    zipped(tmp_path / "a.zip", {"x.txt": "x"})
    with pytest.raises(Unreadable, match="archives are not opened"):
        read(tmp_path / "a.zip", LIMITS)
    (tmp_path / "a.doc").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600))
    with pytest.raises(Unreadable, match="old binary formats"):
        read(tmp_path / "a.doc", LIMITS)


@pytest.mark.parametrize("suffix", ["html", "xml"])
def test_towers_of_tags_are_refused_before_a_parser_sees_them(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_text("<div>" * 200_000)
    with pytest.raises(TooMuch, match="tags nest deeper"):
        read(tmp_path / f"a.{suffix}", LIMITS)


def test_many_flat_tags_are_fine(tmp_path):
    (tmp_path / "a.html").write_text("<p>word<br>" * 50_000)
    assert read(tmp_path / "a.html", LIMITS).text.count("word") == 50_000


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 200_000, "[" * 500 + "]" * 500])
def test_towers_of_brackets_are_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(TooMuch, match="brackets nest"):
        read(tmp_path / "a.json", LIMITS)


def test_a_mail_of_nested_parts_is_refused_or_read_but_ends(tmp_path):
    parts = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(3_000))
    (tmp_path / "a.eml").write_text("Subject: s\n" + parts)
    with pytest.raises(TooMuch, match="nest too deeply"):
        read(tmp_path / "a.eml", LIMITS)


def test_panics_that_are_no_exceptions_become_unreadable(tmp_path, monkeypatch):
    from rag.ingest import readers

    class Panic(BaseException):
        pass

    def panics(path, limits):
        raise Panic("index out of bounds")

    monkeypatch.setitem(readers.READERS, "text/plain", panics)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(Unreadable, match=r"is damaged \(Panic: index out of bounds\)"):
        read(tmp_path / "a.txt", LIMITS)
