"""Exported conversations: whole, with footnotes, and harmless whatever the documents say."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rag.page.conversations import Conversation, Exchange
from rag.page.export import as_json, as_markdown, escaped
from rag.page.saved import saved
from rag.types import Answer, Citation, Timings
from tests.fakes import hit

CONVERSATION = Conversation(
    3, "Sleep & rest", "pets", "2024-05-31T12:00:00+00:00", "2024-05-31T12:05:00+00:00"
)
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])

HOSTILE = [
    "![x](http://evil.example/?q=1)",
    "[click](javascript:alert(1)) [1](http://evil.example) [1] (x) ![1](y)",
    "[1]: http://evil.example\n\n[1]",
    "<img src=x onerror=alert(1)><script>alert(1)</script> <http://evil.example>",
    "# Heading\n\nText\n===\n\nText\n---\n***\n## [1] ##",
    "- one\n+ two\n* three\n1. four\n2) five\n> six\n- [x] done",
    "    indented\n\tcode `code` ``code``\n```\nfenced\n~~~\n~~struck~~",
    "| a | b |\n|---|:-:|\n| c | d |\n:-:|:-:",
    "**bold** __bold__ *it* _it_ snake_case_name \\*not\\* &lt;b&gt; &copy; $x^2$",
    "a  \nb\\\nc\r\nd\u2028e\x0bf",
    "C# and C++ cost -5 % = 3 $; 2024. A year.",
]


def exchange(answer, question="How long do cats sleep?"):
    return Exchange(5, 3, question, saved(answer), "2024-05-31T12:05:00+00:00", "down", "too short")


def answer(text, *citations):
    hits = tuple(each.hit for each in citations)
    return Answer("?", text, citations, hits, False, None, Timings())


def cite(number, quote, path="/docs/cats.pdf", **place):
    return Citation(number, hit(quote, path=path, **place), quote, 0, len(quote), True)


def test_markdown_has_questions_answers_and_footnotes():
    first = cite(1, "Cats sleep sixteen hours.", page=4, heading=("Pets", "Cats"))
    said = answer(
        '"Cats sleep sixteen hours." [1] "They\npurr." [1]\n"Dogs bark." [2]',
        first,
        cite(1, "They\npurr."),
        first,
        cite(2, "Dogs bark.", "/docs/my_notes.txt", line=7),
    )
    none = answer("Not in your documents.")
    assert as_markdown(CONVERSATION, [exchange(said), exchange(none, "Who won?")]) == (
        "# Sleep \\& rest\n\n"
        "pets, 2024-05-31T12:00:00+00:00\n\n"
        "## How long do cats sleep?\n\n"
        '"Cats sleep sixteen hours." [1] "They\\\npurr." [1]\\\n"Dogs bark." [2]\n\n'
        "- [1] cats.pdf p. 4 \\> Pets \\> Cats (/docs/cats.pdf)\n"
        '  > "Cats sleep sixteen hours."\n'
        "  >\n"
        '  > "They purr."\n'
        "- [2] my\\_notes.txt line 7 (/docs/my\\_notes.txt)\n"
        '  > "Dogs bark."\n\n'
        "## Who won?\n\n"
        "Not in your documents.\n"
    )


def tokens_of(markdown):
    """All token types of a Markdown text, and the texts that are shown."""
    types, shown = [], []
    for token in MARKDOWN.parse(markdown):
        types.append(token.type)
        for child in token.children or ():
            types.append(child.type)
            shown.append("\n" if child.type in ("softbreak", "hardbreak") else child.content)
    return set(types), "".join(shown)


PLAIN = {"paragraph_open", "inline", "text", "text_special", "softbreak", "hardbreak", "paragraph_close"}


@settings(deadline=None)
@given(st.text(alphabet="ab1 \n\t\\`*_{}[]()<>#+-.!|~=:&;\"'/$", max_size=60))
@pytest.mark.parametrize("around", ["{}", "some words {}", '- [1] x\n  > "{}"'])
def test_escaped_text_is_shown_as_it_is_and_does_nothing(around, text):
    check(around, text)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("around", ["{}", "some words {}"])
def test_hostile_text_is_shown_as_it_is_and_does_nothing(around, text):
    check(around, text)


def check(around, text):
    if "\n" in around:
        text = " ".join(text.split())
    types, shown = tokens_of(around.format(escaped(text)))
    outside = tokens_of(around.format(""))[0]
    assert types <= PLAIN | outside
    assert "".join(text.split()) in "".join(shown.split())


def test_numbers_stay_bare_unless_what_follows_would_make_them_links():
    assert escaped('"Sixteen." [1] "Nine." [12]') == '"Sixteen." [1] "Nine." [12]'
    assert escaped("[1](x) [2]: y [3][4]") == "\\[1\\](x) \\[2\\]: y \\[3\\][4]"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_document_changes_nothing_of_the_export(text):
    flat = " ".join(text.split())
    bad = cite(1, text, f"/docs/{flat.replace('/', '')}.pdf", heading=(text,))
    tame = cite(1, "tame", "/docs/tame.pdf", heading=("tame",))
    title = Conversation(3, text, text, "2024", "2024")
    found, _ = tokens_of(as_markdown(title, [exchange(answer(text, bad), text)]))
    expected, _ = tokens_of(as_markdown(CONVERSATION, [exchange(answer("tame", tame), "tame")]))
    assert found <= expected | PLAIN


def test_hidden_characters_and_odd_bytes_do_not_get_into_markdown():
    assert escaped("a\u202eb\x1b[31mc\U000e0041d\udce9") == "ab\\[31mcd\ufffd"


def test_json_has_everything():
    said = exchange(answer("Ja — 猫 [1]", cite(1, "猫", "/docs/caf\udce9.txt")))
    text = as_json(CONVERSATION, [said])
    assert "猫" in text and text.encode()
    record = json.loads(text)
    assert (record["title"], record["collection"]) == ("Sleep & rest", "pets")
    (found,) = record["exchanges"]
    assert found["answer"] == said.answer
    assert (found["question"], found["vote"], found["note"]) == (said.question, "down", "too short")
