"""Answers as HTML: what models write is shown, and whatever they write, only our own tags come out."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.citations import UNSUPPORTED_MARK
from rag.page.safe import answer_html, chip_link
from tests.test_hostile import CARRIERS, ORDERS

ALLOWED = {
    **{tag: set() for tag in "p br strong em ul li code pre table thead tbody tr th td".split()},
    "ol": {"start"},
    "span": {"class"},
    "a": {"class", "href", "title"},
}
PLACES = {1: "report.pdf p. 4", 2: "<\"evil\"> & 'name'.pdf", 3: "notes.txt", 4: "a\nb"}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "![x](http://evil.example/?q=1)",
    "![x][r]\n\n[r]: http://evil.example",
    "[x](javascript:alert(1))",
    "[1](javascript:alert(1))",
    '[x](http://e "t" onclick="alert(1)")',
    "<http://evil.example>",
    "http://evil.example",
    "&lt;script&gt;&#60;b&#62;",
    "`<b>`",
    "```<b>\n<i>\n```",
    '```" onclick="x\n<i>',
    "| <b> | [1] |\n|---|:-:|\n| <i> | `</td>` |",
    "- <li>\n  1. </ul>",
    "</p></div>",
    "<!-- -->",
    "<style>*{background:url(http://evil.example)}</style>",
    "\x00<\x00b>",
    "**<b>**",
    "# <h1>",
    "99999999999. x",
    "4294967296) x",
    "[99999]",
    "[1",
    "\ue000\ue001\ue002\ue003",
    "\u202e<b>",
    *(carrier.format(order.format("x")) for carrier, order in zip(CARRIERS * 2, ORDERS)),
]


class Reader(HTMLParser):
    """Reads HTML as a browser would, and keeps its tags with their attributes, and its text."""

    def __init__(self, shown):
        super().__init__()
        self.tags, self.text, self.odd, self._open = [], "", [], []
        self.feed(shown)
        self.close()
        self.odd += self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.odd.append(f"/{tag}")

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.odd.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def chip(number):
    return chip_link(number, PLACES[number]) if number in PLACES else ""


def shown(text, **ranges):
    return answer_html(text, chip, **ranges)


def check(html):
    """Only tags and attributes of ours, each closed where it must be. Returns what was read."""
    read = Reader(html)
    assert "\n" not in html and "\r" not in html
    assert read.odd == []
    for tag, attributes in read.tags:
        assert tag in ALLOWED and set(attributes) <= ALLOWED[tag], (tag, attributes)
        assert attributes.get("class") in (None, "chip", "unsupported", "not-found")
        assert re.fullmatch(r"#source-[1-4]", attributes.get("href", "#source-1"))
        assert attributes.get("title", "notes.txt") in {*PLACES.values(), "a b"}
        assert attributes.get("start", "1").isdigit()
    return read


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One.\n\nTwo\nlines.", "<p>One.</p><p>Two<br>lines.</p>"),
        ("**a** and *b* and _c_", "<p><strong>a</strong> and <em>b</em> and <em>c</em></p>"),
        ("## Head\ntext", "<p><strong>Head</strong></p><p>text</p>"),
        ("- a\n- b\n  - c", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("3) c", '<ol start="3"><li>c</li></ol>'),
        ("say `x[1] < y`", "<p>say <code>x[1] &lt; y</code></p>"),
        ("```py\na[1]\n\n<b>\n```", "<pre><code>a[1]&#10;&#10;&lt;b&gt;&#10;</code></pre>"),
        (
            "| a | b |\n|---|--:|\n| 1 | 2 |",
            "<table><thead><tr><th>a</th><th>b</th></tr></thead>"
            "<tbody><tr><td>1</td><td>2</td></tr></tbody></table>",
        ),
        ("a\n\n---\n\nb", "<p>a</p><p>b</p>"),
        ("a_long_name costs 5 * 3 * 2", "<p>a_long_name costs 5 * 3 * 2</p>"),
        (r"C:\_new\notes &amp; 1 < 2", r"<p>C:\_new\notes &amp;amp; 1 &lt; 2</p>"),
        ("> said", "<p>&gt; said</p>"),
    ],
)
def test_what_models_write_is_shown(text, html):
    assert shown(text) == html
    check(html)


def test_footnotes_become_chips_and_unknown_ones_stay():
    assert shown("So it is. [1][3] [7]") == (
        '<p>So it is. <a class="chip" href="#source-1" title="report.pdf p. 4">1</a>'
        '<a class="chip" href="#source-3" title="notes.txt">3</a> [7]</p>'
    )
    assert check(shown("**So [2]**")).tags[2][1]["title"] == PLACES[2]
    assert 'title="a b"' in shown("[4]")


def test_the_mark_of_what_was_not_found_stands_out():
    assert shown(f"So. {UNSUPPORTED_MARK}") == (
        '<p>So. <span class="not-found">[not found in your documents]</span></p>'
    )


def test_links_and_images_stay_text():
    read = check(shown("![x](http://evil.example/?q=1) [y](javascript:alert(1)) <http://evil.example>"))
    assert [tag for tag, _ in read.tags] == ["p"]
    assert read.text == "![x](http://evil.example/?q=1) [y](javascript:alert(1)) <http://evil.example>"


def test_ranges_stand_out_whatever_markup_they_cross():
    text = "It is so.\n- **This is** false.\n- `Code` too.\n\nEnd."
    start, end = text.index("- **"), text.index("\n\nEnd")
    assert shown(text, bold=[(0, 5)], unsupported=[(start, end)]) == (
        "<p><strong>It is</strong> so.</p>"
        '<ul><li><strong><span class="unsupported">This is</span></strong>'
        '<span class="unsupported"> false.</span></li>'
        '<li><code><span class="unsupported">Code</span></code>'
        '<span class="unsupported"> too.</span></li></ul>'
        "<p>End.</p>"
    )


@pytest.mark.parametrize(
    "text",
    [
        "**All of it.**",
        "1. First.\n2. Second.",
        "# Head",
        "| a | b |\n|---|---|\n| c | d |",
        "```\ncode\n```",
        "- a",
    ],
)
def test_a_range_at_the_edge_of_markup_leaves_it_as_it_is(text):
    bare = re.sub(r"<span[^>]*>|</span>", "", shown(text, unsupported=[(0, len(text))]))
    assert bare == shown(text)
    assert "<span" in shown(text, unsupported=[(0, len(text))])


def test_a_range_whose_end_is_lost_ends_with_its_block():
    text = "Open.\n\n| a |\n|---|\n| b | lost |\n\nEnd."
    start = text.index("b |")
    html = shown(text, unsupported=[(start, text.index("lost") + 4)])
    assert "lost" not in html  # a cell more than the head has
    assert html.endswith('<td><span class="unsupported">b</span></td></tr></tbody></table><p>End.</p>')


def test_ranges_may_touch_nest_and_be_empty():
    assert shown("one two three", bold=[(0, 13), (4, 7), (5, 5)], unsupported=[(4, 7), (7, 99)]) == (
        '<p><strong>one </strong><span class="unsupported"><strong>two</strong></span><strong> </strong>'
        '<span class="unsupported"><strong>three</strong></span></p>'
    )


def test_what_readers_do_not_see_is_left_out():
    assert shown("say\u202e yes\U000e0041") == "<p>say yes</p>"


def test_lists_without_end_are_no_trouble():
    read = check(shown("".join("  " * depth + "- x\n" for depth in range(500))))
    assert read.text.count("x") > 15


@given(
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8), st.sampled_from("\n|*`_[]#<>&\"'"))),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), max_size=4),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), max_size=4),
)
def test_only_our_tags_come_out_whatever_goes_in(pieces, bold, unsupported):
    check(shown("".join(pieces), bold=bold, unsupported=unsupported))


@given(st.text("abc 12.,\n-*#", max_size=60))
def test_no_letter_is_lost(text):
    assert re.findall("[abc]", check(shown(text)).text) == re.findall("[abc]", text)
