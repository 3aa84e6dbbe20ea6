"""Every text-like format, with files made on the spot and their words checked."""

import json
from email.message import EmailMessage

import pytest

from rag.errors import TooMuch, Unreadable
from rag.ingest.readers import Limits, read, sniff
from rag.ingest.readers.base import clean
from rag.ingest.readers.decoding import decode

LIMITS = Limits()


@pytest.fixture
def parse(tmp_path):
    def write_and_read(name, content, limits=LIMITS):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(path, limits)

    return write_and_read


def outline(document):
    return [(section.heading, section.line, section.text) for section in document.sections]


def test_markdown_headings_of_both_kinds_with_lines_and_fences_left_alone(parse):
    document = parse(
        "guide.md",
        "---\ntitle: The Guide\n---\nHello **bold** world.\n\n# One #\n\nSee [there](http://x.org/a) or "
        "[here](#a).\n\n```sh\n# no heading\n```\n\nTwo\n---\nbody\n\n### Bare\n\n### Bare too\n",
    )
    assert document.title == "The Guide"
    assert outline(document) == [
        ((), 2, "title: The Guide\n\nHello bold world."),
        (("One",), 8, "See there (http://x.org/a) or here.\n\n```sh\n# no heading\n```"),
        (("One", "Two"), 16, "body"),
        (("One", "Two"), 18, "Bare\nBare too"),
    ]


def test_markdown_table_rows_stand_alone_and_keep_their_lines(parse):
    document = parse("t.md", "Prices:\n\n| Fruit | Price |\n|---|---|\n| Apple | 3 |\n| Pear | 4 |\n\nEnd.\n")
    lines = document.sections[0].text.split("\n")
    assert lines[4:6] == ["Fruit: Apple; Price: 3", "Fruit: Pear; Price: 4"]
    assert lines[7] == "End."


def test_restructured_text_headings_and_no_inclusion(parse, tmp_path):
    (tmp_path / "secret.txt").write_text("secret words")
    document = parse(
        "a.rst",
        "=====\nTitle\n=====\n\nIntro.\n\nPart\n----\n\n.. include:: secret.txt\n\nPart 2\n------\n\nEnd\n",
    )
    assert document.title == "Title"
    assert outline(document) == [
        (("Title",), 5, "Intro."),
        (("Title", "Part"), 10, ".. include:: secret.txt"),
        (("Title", "Part 2"), 15, "End"),
    ]


def test_html_headings_lists_tables_and_nothing_of_scripts(parse):
    document = parse(
        "p.html",
        "<!doctype html><title>T</title><nav>menu</nav><style>x{}</style><script>evil()</script>"
        "<h1>Big <i>one</i></h1><p>First<br>line of <b>text</b>.<ul><li>a<li>b</ul>"
        "<h2>Sub</h2><table><tr><th>Name<th>Age</tr><tr><td>Ann<td>30</tr></table><pre>x\n  y</pre>",
    )
    assert document.title == "T"
    assert outline(document) == [
        (("Big one",), None, "First\nline of text.\n\n- a\n- b"),
        (("Big one", "Sub"), None, "Name | Age\nName: Ann; Age: 30\n\nx\n  y"),
    ]


def test_a_layout_table_is_read_as_text(parse):
    document = parse(
        "p.html", "<table><tr><td><h1>Head</h1><p>para</td><td><table><tr><td>in</table></table>"
    )
    assert outline(document) == [(("Head",), None, "para\n\nin")]


@pytest.mark.parametrize("encoding", ["windows-1251", "koi8-r", "utf-16", "iso-8859-5"])
def test_html_and_xml_in_declared_encodings(parse, encoding):
    words = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5
    html = f'<html><head><meta charset="{encoding}"></head><body><p>{words}</p></body></html>'
    assert parse("a.html", html.encode(encoding)).text == words.strip()
    xml = f'<?xml version="1.0" encoding="{encoding}"?><a><b>{words}</b></a>'
    assert words.strip() in parse("a.xml", xml.encode(encoding)).text


def test_xml_with_a_wrong_declaration_is_still_decoded(parse):
    xml = '<?xml version="1.0" encoding="us-ascii"?><r><name>Zürich Österreich</name></r>'
    assert parse("a.xml", xml.encode()).text == "name: Zürich Österreich"


def test_xml_entities_and_files_stay_outside(parse, tmp_path):
    (tmp_path / "secret.txt").write_text("secret words")
    uri = (tmp_path / "secret.txt").as_uri()
    document = parse("x.xml", f'<!DOCTYPE r [<!ENTITY e SYSTEM "{uri}">]><r><a>text &e;</a><p>more</p></r>')
    assert "secret words" not in document.text
    assert "more" in document.text


def test_xml_elements_with_text_are_lines(parse):
    document = parse(
        "f.xml", "<f><title>Feed</title><item><price>10</price><d>&lt;p&gt;Hi&lt;/p&gt;</d></item></f>"
    )
    assert document.title == "Feed"
    assert document.text == "Feed\nprice: 10\nd: Hi"


def test_csv_rows_stand_alone_with_the_lines_of_the_file(parse):
    document = parse("a.csv", 'name;note\nAnn;"one\ntwo"\n\nBob;three\n')
    assert outline(document) == [
        ((), 1, "name | note\nname: Ann; note: one\ntwo"),
        ((), 5, "name: Bob; note: three"),
    ]


def test_tsv_without_a_header(parse):
    assert parse("a.tsv", "1\t2\t3\n4\t5\t6\n").text == "1 | 2 | 3\n4 | 5 | 6"


def test_rows_past_the_limit_are_noted(parse):
    document = parse("a.csv", "n,m\n" + "1,2\n" * 50, Limits(rows=10))
    assert document.notes == ("only the first 10 rows were read",)
    assert document.text.count("n: 1") == 9


def test_json_as_paths_and_records_on_one_line(parse):
    value = {
        "app": {"name": "x", "deep": {"on": True}},
        "users": [{"id": 1, "n": "Ann"}, {"id": 2, "n": "Bo"}],
    }
    assert parse("a.json", json.dumps(value)).text.split("\n") == [
        "app.name: x",
        "app.deep: on: true",
        "users 1: id: 1; n: Ann",
        "users 2: id: 2; n: Bo",
    ]


def test_json_lines_by_extension_and_by_content(parse):
    content = '{"a": 1}\n\n{"a": 2}\n'
    expected = [((), 1, "a: 1"), ((), 3, "a: 2")]
    assert outline(parse("a.jsonl", content)) == expected
    assert outline(parse("a.json", content)) == expected


def test_broken_json_is_read_as_text_and_says_so(parse):
    document = parse("a.json", '{"a": 1,\n // comment\n}')
    assert document.text == '{"a": 1,\n // comment\n}'
    assert document.notes[0].startswith("read as plain text: no valid JSON")


def test_notebook_cells_under_markdown_headings(parse):
    cells = [
        {"cell_type": "markdown", "source": ["# Study\n", "Why."]},
        {
            "cell_type": "code",
            "source": "1 + 1",
            "outputs": [{"data": {"text/plain": ["2"], "image/png": "AAA"}}],
        },
    ]
    document = parse("n.ipynb", json.dumps({"cells": cells}))
    assert document.title == "Study"
    assert outline(document)[0][::2] == (("Study",), "Why.\n\n1 + 1\n\nOutput:\n2")


def test_mail_with_headers_first_and_attachments_named(parse):
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Grüße", "Ann <a@x.org>", "b@x.org"
    mail.set_content("Plain words.")
    mail.add_alternative("<p>Rich words.</p>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="bill.pdf")
    document = parse("m.eml", mail.as_bytes())
    assert document.title == "Grüße"
    assert document.text == "Subject: Grüße\nFrom: Ann <a@x.org>\nTo: b@x.org\n\nPlain words."
    assert document.notes == ("attachments were not read: bill.pdf",)


def test_mail_with_only_an_html_body(parse):
    mail = EmailMessage()
    mail["Subject"] = "S"
    mail.set_content("<h1>Head</h1><p>Rich <b>words</b>.</p>", subtype="html")
    assert parse("m.eml", mail.as_bytes()).text == "Subject: S\n\nHead\nRich words."


def test_mailbox_with_two_messages(parse):
    box = "From a@x Mon\nSubject: One\n\nfirst\n\nFrom b@x Tue\nSubject: Two\n\nsecond\n"
    assert outline(parse("m.mbox", box)) == [
        (("One",), None, "Subject: One\n\nfirst"),
        (("Two",), None, "Subject: Two\n\nsecond"),
    ]


def test_rtf_text_and_title(parse):
    document = parse("a.rtf", r"{\rtf1\ansi\ansicpg1252{\info{\title Report}}Caf\'e9 \b bold\b0\par Next}")
    assert document.title == "Report"
    assert document.text == "Café bold\nNext"


def test_long_text_is_cut_at_empty_lines_with_right_line_numbers(parse):
    lines = [f"line {n}" if n % 7 else "" for n in range(1, 501)]
    document = parse("long.txt", "\n".join(lines))
    assert len(document.sections) > 3
    for section in document.sections:
        for offset, text in enumerate(section.text.split("\n")):
            assert text == lines[section.line - 1 + offset]


def test_windows_and_old_mac_line_ends_count_once(parse):
    assert parse("a.txt", b"a\r\nb\rc\n").text == "a\nb\nc"


def test_control_characters_and_lone_surrogates_never_reach_a_document(parse):
    assert clean("a\0b\x1b[31mc\ud800d\x0b") == "ab[31mc\ufffdd"
    document = parse("a.json", '{"a": "x\\ud800y\\u0000z"}')
    assert document.text == "a: x\ufffdyz"
    document.text.encode("utf-8")


def test_invisible_characters_are_left_out_and_counted(parse):
    document = parse("a.md", "# Re\u200bnt\n\nIt is d\u200bue.\U000e0041\U000e0042")
    assert (document.text, document.sections[0].heading) == ("It is due.", ("Rent",))
    assert document.notes == ("3 invisible characters were left out",)


def test_text_is_not_normalised(parse):
    assert parse("a.txt", "e\u0301").text == "e\u0301"


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("Grüße aus München, schöne Straße.", "utf-8"),
        ("Grüße aus München, schöne Straße.", "utf-8-sig"),
        ("Grüße aus München, schöne Straße.\n" * 9, "cp1252"),
        ("日本語の文書です。今日は良い天気ですね。\n" * 9, "shift_jis"),
        ("日本語の文書です。今日は良い天気ですね。\n" * 9, "iso2022_jp"),
        ("日本語の文書です。今日は良い天気ですね。\n" * 9, "euc_jp"),
        ("這是一份繁體中文的文件，天氣很好。\n" * 9, "big5"),
        ("Это русский текст, написанный давно.\n" * 9, "koi8-r"),
        ("Это русский текст, написанный давно.\n" * 9, "cp866"),
        ("plain words without a mark\n" * 9, "utf-16-le"),
        ("plain words without a mark\n" * 9, "utf-32-be"),
        ("plain words with a mark", "utf-16"),
        ("plain words with a mark", "utf-32"),
    ],
)
def test_decoding(text, encoding):
    assert decode(text.encode(encoding)) == text


def test_one_broken_byte_does_not_spoil_a_utf8_file():
    text = "Grüße, schöne Straße, Öl, Übermut, Ärger. " * 4
    assert decode(text.encode() + b"\xff end") == text + "\ufffd end"


def test_detection_looks_past_no_half_character():
    text = "日本語の文書です。\n" * 9_000
    assert decode(text.encode("shift_jis")) == text


@pytest.mark.parametrize(
    "name, content, kind",
    [
        ("a.txt", b"%PDF-1.4", "application/pdf"),
        ("report.html", b"%PDF-1.4", "application/pdf"),
        ("headless.pdf", b"%x\n1 0 obj\n<<>>\nendobj\n", "application/pdf"),
        ("a.doc", b"{\\rtf1 x}", "application/rtf"),
        ("page", b"<!DOCTYPE html><html>", "text/html"),
        ("page.xml", b"<?xml version='1.0'?><html xmlns='x'>", "text/html"),
        ("a.xls", b"a\tb\n1\t2\n", "text/tab-separated-values"),
        ("a.xls", b"<html><table>", "text/html"),
        ("script.py", b"print('<html>')", "text/x-code"),
        ("Makefile", b"all:\n\techo\n", "text/plain"),
        ("mail", b"From: a@x\nTo: b@x\nSubject: s\n\nhi\n", "message/rfc822"),
        ("blob.dat", bytes(range(256)), "application/octet-stream"),
        ("a.tar.gz", b"\x1f\x8b\x08\0", "application/x-archive"),
    ],
)
def test_kinds_by_content_first(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    assert sniff(tmp_path / name) == kind


def test_the_document_names_its_bytes_and_place(parse, tmp_path):
    document = parse("a.txt", b"abc")
    assert document.id == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (document.path, document.title, document.parser) == (str(tmp_path / "a.txt"), "a.txt", "text")


def test_an_empty_file_is_no_failure(parse):
    document = parse("a.docx", b"")
    assert (document.text, document.notes) == ("", ("the file is empty",))


def test_large_files_and_texts_are_capped(parse):
    with pytest.raises(TooMuch, match="larger than 0 MiB"):
        parse("a.txt", b"x" * 100, Limits(file_bytes=10))
    document = parse("b.txt", b"x" * 100, Limits(characters=10))
    assert (document.text, document.notes) == ("x" * 10, ("only the first 10 characters were read",))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "name, content",
    [
        ("a.md", "# " + " " * 100_000 + "x\n\n" + "[" * 50_000 + "*a" * 50_000 + "<a " * 50_000),
        ("a.rtf", "{\\rtf1 " + " \n" * 50_000 + "x}"),
        ("a.html", '<a "' * 50_000 + "<!--" * 50_000),
        ("a.xml", "<?xml " * 50_000 + "<a>x</a>"),
        ("a.csv", 'a,"' * 50_000),
    ],
)
def test_patterns_do_not_stall_on_hostile_repetition(parse, name, content):
    try:
        assert parse(name, content).media_type
    except Unreadable as error:
        assert error.message
