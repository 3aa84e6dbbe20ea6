"""The list of conversations, the collection, and how the model is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from rag.loader.units import size
from rag.page.conversations import Conversation, Exchange
from rag.page.desk import Desk
from rag.page.export import as_json, as_markdown, escaped
from rag.page.state import Tab, tab
from rag.settings import DEFAULT_COLLECTION
from rag.store.collections import collections

LISTED = 50


def draw(desk: Desk, page: str) -> None:
    """The sidebar; only the chat has conversations beside it."""
    mine = tab()
    with st.sidebar:
        st.html('<div class="brand">Footnote<sup>1</sup></div>')
        _collection(desk, mine)
        if page == "Chat":
            st.button(
                "New chat",
                key="new",
                icon=":material/edit_square:",
                width="stretch",
                on_click=mine.open,
                args=(None,),
            )
            _conversations(desk, mine)
        _model(desk)


def _collection(desk: Desk, mine: Tab) -> None:
    names = [each.name for each in collections(desk.shelf.root)]
    names = list(dict.fromkeys([*names, DEFAULT_COLLECTION, mine.collection]))

    def chosen() -> None:
        mine.open(None)
        mine.collection = st.session_state["collection"]

    st.session_state["collection"] = mine.collection
    st.selectbox("Collection", sorted(names), key="collection", on_change=chosen, disabled=bool(mine.asking))


def _conversations(desk: Desk, mine: Tab) -> None:
    words = st.text_input(
        "Search", key="words", placeholder="Search your chats", label_visibility="collapsed"
    )
    found = desk.conversations.search(words) if words.strip() else desk.conversations.newest()
    with st.container(key="conversations", gap="xsmall"):
        for conversation in found[:LISTED]:
            here = conversation.id == mine.conversation
            st.button(
                escaped(conversation.title),
                key=f"conversation-{conversation.id}",
                type="primary" if here else "tertiary",
                width="stretch",
                on_click=mine.open,
                args=(conversation.id,),
            )
            if here:
                _manage(desk, mine, conversation)
    if not found:
        st.caption("No chat has these words." if words.strip() else "No chats yet.")


def _manage(desk: Desk, mine: Tab, conversation: Conversation) -> None:
    with st.popover("Rename, export, delete", width="stretch"):
        title = st.text_input("Name", conversation.title, key=f"title-{conversation.id}")
        if st.button("Rename", key="rename", disabled=title == conversation.title):
            desk.conversations.rename(conversation.id, title)
            st.rerun()
        for kind, ending, written in (("Markdown", "md", as_markdown), ("JSON", "json", as_json)):
            name = f"chat-{conversation.id}.{ending}"
            make = partial(_export, desk, conversation, written)
            st.download_button(f"Export as {kind}", make, name, on_click="ignore")  # the page stays as it is
        sure = st.checkbox("Delete it for good", key="sure")
        if st.button("Delete", key="delete", disabled=not sure):
            desk.conversations.delete(conversation.id)
            mine.open(None)
            st.rerun()


def _export(
    desk: Desk, conversation: Conversation, written: Callable[[Conversation, Sequence[Exchange]], str]
) -> str:
    """The whole conversation as it is when somebody asks for the file: too much work for every run."""
    return written(conversation, desk.conversations.exchanges(conversation.id))


@st.fragment(run_every=3)
def _model(desk: Desk) -> None:
    """One line on the model, renewed while the page is open."""
    models = desk.models
    if load := models.load:
        st.caption(escaped(f"Loading {load.settings.model}: {load.state.facts or 'starting'}"))
    elif info := models.info:
        way = f"{info.engine}, {info.quantization}, {size(models.resident_bytes())}"
        st.caption(escaped(f"{info.name} answers ({way})"))
    else:
        st.caption("No model: answers are quotes.")
