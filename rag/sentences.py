"""Where sentences begin and end: the units that are scored, quoted and checked."""

from __future__ import annotations

import itertools
import re

from rag.tabular import is_row

Span = tuple[int, int]

_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof sr jr st mt ft rev hon gen col sgt capt lt cmdr adm maj gov sen rep pres
    e.g i.e etc cf vs viz al ca approx no nos vol vols p pp ed eds fig figs eq eqs sec sect ch chap
    jan feb mar apr jun jul aug sep sept oct nov dec inc ltd co corp dept univ est u.s u.k u.n a.m p.m
    bzw z.b d.h nr bd ggf usw
    """.split()
)
# What a run of dots or blanks may begin with is asked first: else long runs cost their length squared.
_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？]+[”’」』）]*")
_OPENS_SENTENCE = re.compile(r"[\"'“‘«(\[¿¡]*[^\W\d_a-zà-ÿ]|[\"'“‘«(\[]*\d|[-*•‣–—]\s")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]+$")
_LIST_ITEM = re.compile(r"(?:[-*+•‣▪●–—]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|#{1,6}|\||>)\s")
_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
_LINE_BREAK = re.compile(r"(?<![ \t])[ \t]*\n[ \t]*")
HEADING_LENGTH = 60
"""A line shorter than this, without final punctuation, before a capital, is taken for a heading."""


def sentence_spans(text: str) -> list[Span]:
    """Split into sentences: list of (start, end), in order, disjoint, without surrounding blanks.

    Blank lines, list items and lines that look like headings or table rows end a sentence; a full
    stop does unless it belongs to an abbreviation, an initial or a number.
    """
    cuts = {0, len(text)}
    for match in _BLANK_LINE.finditer(text):
        cuts.add(match.end())
    for match in _LINE_BREAK.finditer(text):
        if _line_ends_sentence(text, match.start(), match.end()):
            cuts.add(match.end())
    for match in _END.finditer(text):
        if _is_sentence_end(text, match):
            cuts.add(match.end())
    edges = sorted(cuts)
    spans = (_trim(text, start, end) for start, end in itertools.pairwise(edges))
    return [span for span in spans if span[0] < span[1]]


def _line_ends_sentence(text: str, end_of_line: int, start_of_next: int) -> bool:
    line = text[text.rfind("\n", 0, end_of_line) + 1 : end_of_line].strip()
    following = text[start_of_next : start_of_next + 8]
    if not line or not following.strip() or is_row(line):
        return True
    if _LIST_ITEM.match(following) or line.startswith(("#", "|")) or line.endswith((":", ";", "|")):
        return True
    looks_like_heading = len(line) < HEADING_LENGTH and not line.endswith((",", "-"))
    return (
        looks_like_heading and bool(_OPENS_SENTENCE.match(following)) and not _is_wrapped(text, end_of_line)
    )


def _is_wrapped(text: str, end_of_line: int) -> bool:
    """Whether the line is one of a paragraph that is filled to an even width."""
    start = text.rfind("\n", 0, end_of_line) + 1
    before = text[text.rfind("\n", 0, max(start - 1, 0)) + 1 : max(start - 1, 0)].strip()
    return len(before) >= HEADING_LENGTH * 0.7 and abs(len(before) - (end_of_line - start)) < 15


def _is_sentence_end(text: str, match: re.Match[str]) -> bool:
    if match.group()[0] in "。！？":
        return True
    rest = text[match.end() : match.end() + 40].lstrip()
    if not _OPENS_SENTENCE.match(rest):
        return not rest
    if match.group()[0] != ".":
        return True
    word = _LAST_WORD.search(text, max(0, match.start() - 40), match.start())
    last = word.group().lower() if word else ""
    is_initial = len(last) == 1 and last.isalpha() and last not in "iaä"
    begins_line = text[max(0, match.start() - 60) : match.start() - len(last)].rstrip(" \t")[-1:] in (
        "",
        "\n",
    )
    is_item_number = begins_line and last.isdigit() and len(last) <= 2
    return not (last in _ABBREVIATIONS or is_initial or is_item_number)


def _trim(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
