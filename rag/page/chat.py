"""The chat: questions, answers as they come, and what lies behind them."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from rag.errors import RagError
from rag.page import markup, panel
from rag.page.advice import tell
from rag.page.answering import Asking
from rag.page.conversations import Exchange, Vote
from rag.page.desk import Desk
from rag.page.state import Panel, Tab, Unanswered, tab
from rag.settings import DEFAULT_COLLECTION

EXAMPLES = (
    "How much memory does a 7B model need?",
    "What does Footnote do when a model is killed while it loads?",
    "Which file formats can it read?",
)
MORE = 20
"""Further answers that are shown when somebody asks for earlier ones."""
LONGEST_QUESTION = 4000


def draw(desk: Desk) -> None:
    """The whole chat page."""
    mine = tab()
    mine.take_up(desk)
    exchanges = _exchanges(desk, mine)
    st.chat_input(
        "Ask your documents",
        key="question",
        max_chars=LONGEST_QUESTION,
        disabled=mine.asking is not None,
        on_submit=_submit,  # before all is drawn, so that it has begun by then
        args=(desk, mine),
    )
    wide = _panel_of(mine, exchanges)
    left, right = st.columns(2, gap="medium") if wide else (st.container(), None)
    if wide and right:
        with right, st.container(key="panel"):
            panel.draw(desk, mine, *wide)
    with left:
        if mine.error:
            tell(mine.error, "chat")
        if not exchanges and not mine.asking and not mine.unanswered:
            _welcome(desk, mine)
        _past(desk, mine, exchanges)
        if mine.unanswered:
            _unanswered(desk, mine, mine.unanswered)
        if mine.asking:
            _follow(desk, mine, mine.asking)


def _submit(desk: Desk, mine: Tab) -> None:
    if question := (st.session_state["question"] or "").strip():
        ask(desk, mine, question)


def ask(desk: Desk, mine: Tab, question: str, replaces: int | None = None) -> None:
    """Begin to answer a question, in this tab."""
    mine.unanswered = mine.error = None
    try:
        mine.follow(desk.ask(question, mine.collection, mine.conversation, replaces))
    except RagError as error:
        mine.unanswered = Unanswered(question, error, replaces)


def clicked(desk: Desk, mine: Tab, what: str, of: int, number: int) -> None:
    """What a link below an answer asks for."""
    if what in (markup.UP, markup.DOWN):
        vote: Vote = "up" if what == markup.UP else "down"
        before = next((each.vote for each in _exchanges(desk, mine) if each.id == of), None)
        desk.conversations.vote(of, None if vote == before else vote)
        mine.panel = Panel(what, of) if vote != before and vote == "down" else None
        return
    wanted = Panel(what, of, number)
    mine.panel = None if mine.panel == wanted else wanted


def _exchanges(desk: Desk, mine: Tab) -> list[Exchange]:
    """What was asked and answered; a conversation that is gone gives way to a new one."""
    if mine.conversation is None:
        return []
    try:
        mine.collection = desk.conversations.get(mine.conversation).collection
        return desk.conversations.exchanges(mine.conversation)
    except RagError as error:
        lost = mine.unanswered
        mine.open(None)
        mine.error = error
        mine.unanswered = replace(lost, replaces=None) if lost else None
        return []


def _panel_of(mine: Tab, exchanges: list[Exchange]) -> tuple[Panel, Exchange] | None:
    """What is open beside the chat, with the exchange that it belongs to."""
    if mine.panel is None:
        return None
    exchange = next((each for each in exchanges if each.id == mine.panel.exchange), None)
    return (mine.panel, exchange) if exchange else None


def _welcome(desk: Desk, mine: Tab) -> None:
    with st.container(key="welcome"):
        st.html('<div class="brand">Footnote<sup>1</sup></div>')
        if mine.collection != DEFAULT_COLLECTION:
            st.text(f"Ask about the documents in “{mine.collection}”.")
            return
        reading = desk.intakes.latest(DEFAULT_COLLECTION)
        if reading and not reading.over:
            st.text("Reading the built-in guide, so that there is something to ask about …")
        st.markdown(
            "Every sentence of an answer carries a footnote to the page it came from. Try one of these:"
        )
        for n, example in enumerate(EXAMPLES):
            st.button(example, key=f"example-{n}", on_click=ask, args=(desk, mine, example), width="stretch")
        st.markdown("Your own documents: open **Documents** above, and drop them there.")


def _past(desk: Desk, mine: Tab, exchanges: list[Exchange]) -> None:
    hidden = max(0, len(exchanges) - mine.shown)
    if hidden:
        st.button(f"Show earlier answers ({hidden})", key="earlier", on_click=_show_more, args=(mine,))
    replaced = mine.asking.replaces if mine.asking else None
    for exchange in exchanges[hidden:]:
        _asked(exchange.question)
        if exchange.id != replaced:
            with st.chat_message("assistant", avatar=":material/menu_book:"):
                st.html(markup.answer(exchange))
    if exchanges and not mine.asking and not mine.unanswered:
        last = exchanges[-1]
        _again("Answer again", desk, mine, last.question, last.id)


def _unanswered(desk: Desk, mine: Tab, unanswered: Unanswered) -> None:
    """The question with what kept it from being answered, and another try."""
    if unanswered.replaces is None:
        _asked(unanswered.question)
    tell(unanswered.error, "answer")
    _again("Try again", desk, mine, unanswered.question, unanswered.replaces)


def _asked(question: str) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        st.text(question)


def _again(label: str, desk: Desk, mine: Tab, question: str, replaces: int | None) -> None:
    arguments = desk, mine, question, replaces
    icon = ":material/refresh:"
    st.button(label, key="again", icon=icon, type="tertiary", on_click=ask, args=arguments)


def _show_more(mine: Tab) -> None:
    mine.shown += MORE


def _follow(desk: Desk, mine: Tab, asking: Asking) -> None:
    """Show an answer as it comes, with a button that stops it; then draw the page with it in its place."""
    if asking.replaces is None:
        _asked(asking.question)
    with st.chat_message("assistant", avatar=":material/menu_book:"):
        place = st.empty()
    st.button("Stop", key="stop", icon=":material/stop_circle:", on_click=asking.stop)
    for said in asking.follow():
        place.html(markup.live(said))
    mine.follow(None)
    if said.error:
        mine.unanswered = Unanswered(asking.question, said.error, asking.replaces)
    if said.exchange is not None and mine.conversation is None:
        mine.open(said.exchange.conversation_id)
    st.rerun()
