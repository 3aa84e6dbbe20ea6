"""Office formats, each file made with a library or by hand."""

import zipfile

import pytest

from rag.errors import TooMuch, Unreadable
from rag.ingest.readers import Limits, read
from tests.sections import outline

LIMITS = Limits()
XML = '<?xml version="1.0" encoding="UTF-8"?>'


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


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
