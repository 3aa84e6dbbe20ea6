"""What lies beside the chat: a source with the quoted words marked, or how an answer came about."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from rag.errors import IndexMissing, RagError, StoreError
from rag.page import markup
from rag.page.advice import told
from rag.page.conversations import Exchange
from rag.page.desk import Desk
from rag.page.matching import Span
from rag.page.passage_view import around, as_html
from rag.page.pdf_view import Quote, render
from rag.page.saved import chunk_of
from rag.page.state import Panel, Tab
from rag.render import near
from rag.store.generation import Generation

WIDTH_PX = 1100
"""Of a page's picture: sharp on a screen of twice the usual density."""
BEFORE, AFTER = 300, 600
"""Characters around a quote, so that it is seen without scrolling."""

Record = Mapping[str, Any]


def draw(desk: Desk, mine: Tab, panel: Panel, exchange: Exchange) -> None:
    """The panel, with what closes it."""
    with st.container(horizontal=True, wrap=False, vertical_alignment="center"):
        st.html(f"<strong>{html.escape(_title(panel, exchange))}</strong>")
        st.button(
            "Close", key="close", icon=":material/close:", type="tertiary", on_click=_close, args=(mine,)
        )
    if panel.what == markup.SOURCE:
        _source(desk, mine.collection, exchange.answer, panel.number)
    elif panel.what == markup.DETAILS:
        _details(exchange.answer)
    else:
        _note(desk, mine, exchange)


def _title(panel: Panel, exchange: Exchange) -> str:
    if panel.what == markup.SOURCE:
        return f"[{panel.number}] {exchange.answer['hits'][panel.number - 1]['place']}"
    return "How this answer came about" if panel.what == markup.DETAILS else "What was wrong?"


def _close(mine: Tab) -> None:
    mine.panel = None


def _source(desk: Desk, collection: str, record: Record, number: int) -> None:
    """What is quoted of one source, in its place; the passage where nothing of it is."""
    hit = record["hits"][number - 1]
    heading = f"{markup.trail(hit['heading'])}<br>" if hit["heading"] else ""
    st.html(f'<div class="path">{heading}{html.escape(near(hit["path"]))}</div>')
    cited = [each for each in record["citations"] if each["number"] == number]
    spans = list(dict.fromkeys((each["start"], each["end"]) for each in cited))
    if exact := next((each["exact"] for each in cited if each["exact"]), None):
        st.html(f"Answer: <strong>{html.escape(exact)}</strong>")
    if _is_pdf(hit):
        _page(hit, spans)
    _passage(desk, collection, hit, spans)


def _is_pdf(hit: Record) -> bool:
    return hit["page"] is not None and Path(hit["path"]).suffix.lower() == ".pdf"


def _page(hit: Record, spans: Sequence[Span]) -> None:
    """The page of a PDF as a picture."""
    quotes = [Quote(hit["text"][start:end], hit["text"][:start]) for start, end in spans]
    try:
        view = render(Path(hit["path"]), hit["page"], quotes, WIDTH_PX, hit["document_id"])
    except RagError as error:
        st.text(told(error))
        return
    st.image(view.png, width="stretch")
    if spans and not view.found:
        st.caption("The quoted words could not be found in the picture of the page. They stand below.")


def _passage(desk: Desk, collection: str, hit: Record, spans: Sequence[Span]) -> None:
    chunk = chunk_of(hit)

    def view(generation: Generation | None) -> None:
        found = around(generation, chunk, spans or [(0, 0)], BEFORE, AFTER)
        before, after = "… " * found.cut_before, " …" * found.cut_after
        st.html(f"{before}{as_html(found.segments)}{after}")

    try:
        with desk.shelf.reading(collection) as retriever:
            view(retriever.generation)
    except (IndexMissing, StoreError):
        view(None)


def _details(record: Record) -> None:
    _meter(record)
    timings = record["timings"]
    told = {
        "Search": f"{timings['retrieval_s']:.2f} s",
        "First word": "-" if timings["first_token_s"] is None else f"{timings['first_token_s']:.2f} s",
        "Whole answer": f"{timings['total_s']:.2f} s",
        "Model": record["model"]["name"] or "none: quotes only",
        "Tokens read and said": f"{timings['prompt_tokens']} and {timings['answer_tokens']}",
        "Sure that it is answered": f"{record['confidence']:.2f}",
    }
    rows = "".join(f"<tr><th>{key}</th><td>{html.escape(value)}</td></tr>" for key, value in told.items())
    st.html(f'<table class="plans">{rows}</table>')
    for each in record["unsupported"]:
        st.html(f"<p>Not found: “{html.escape(each['sentence'])}”: {html.escape(each['problem'])}</p>")
    st.html(_ranks(record["hits"]))
    if record["dropped"]:
        rows = "".join(
            f"<li>{html.escape(each['place'])}: {html.escape(each['reason'])}</li>"
            for each in record["dropped"][:10]
        )
        st.html(f'<p>Left out:</p><ul class="notes">{rows}</ul>')


def _meter(record: Record) -> None:
    """How full the prompt was."""
    context = record["context"]
    if not context:
        st.html("<p>No model read anything: the answer is quotes.</p>")
        return
    share = min(1.0, context["tokens"] / max(context["budget_tokens"], 1))
    used = len(context["used"])
    st.html(
        f"<p>The model read {context['tokens']} of {context['budget_tokens']} tokens, "
        f"from {used} passage{'s' * (used != 1)}; {len(context['dropped'])} found no room.</p>"
        f'<div class="gauge"><div style="width:{share:.0%}"></div></div>'
    )


def _ranks(hits: list[Record]) -> str:
    stages = list(dict.fromkeys(stage for hit in hits for stage in hit["stages"]))
    head = "".join(f"<th>{html.escape(stage)}</th>" for stage in stages)
    rows = []
    for n, hit in enumerate(hits, 1):
        cells = "".join(f"<td>{_standing(hit['stages'].get(stage))}</td>" for stage in stages)
        rows.append(f"<tr><td>[{n}] {html.escape(hit['place'])}</td>{cells}</tr>")
    table = f'<table class="plans"><tr><th>Passage</th>{head}</tr>{"".join(rows)}</table>'
    return f'<p>Rank and score in each stage of the search:</p><div class="wide">{table}</div>'


def _standing(rank: Record | None) -> str:
    return f"{rank['rank']} ({rank['score']:.3f})" if rank else "-"


def _note(desk: Desk, mine: Tab, exchange: Exchange) -> None:
    with st.form("note", border=False):
        note = st.text_area(
            "It stays on this machine; scripts/evaluate.py --feedback shows it.", exchange.note
        )
        if st.form_submit_button("Keep"):
            desk.conversations.vote(exchange.id, "down", note)
            mine.panel = None
            st.rerun()
