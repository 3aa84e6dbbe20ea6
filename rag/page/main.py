"""The page: what all its parts share, and which of them is open."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from rag.errors import RagError
from rag.page import chat, documents, model, sidebar
from rag.page.advice import tell
from rag.page.conversations import Conversations
from rag.page.desk import Desk
from rag.page.state import tab

HERE = Path(__file__).parent


def main() -> None:
    """What a run of the script draws."""
    st.set_page_config("Footnote", page_icon=str(HERE / "icon.png"), layout="wide")
    st.html(HERE / "style.css")
    try:
        shared = desk()
    except RagError as error:
        tell(error, "page")
        st.stop()
    page = st.navigation(
        [
            st.Page(
                lambda: chat.draw(shared), title="Chat", icon=":material/chat:", url_path="ask", default=True
            ),
            st.Page(
                lambda: documents.draw(shared),
                title="Documents",
                icon=":material/folder:",
                url_path="documents",
            ),
            st.Page(lambda: model.draw(shared), title="Model", icon=":material/memory:", url_path="model"),
        ],
        position="top",
    )
    try:
        sidebar.draw(shared, page.title)
        page.run()
    except RagError as error:
        tell(error, "page")
    _click_listener(shared)


@st.cache_resource(show_spinner="Starting …")
def desk() -> Desk:
    """The one desk of this server."""
    from rag.places import index_root
    from rag.settings import load_settings

    return Desk(load_settings(), index_root(), Conversations())


def _click_listener(shared: Desk) -> None:
    """Footnotes and the links below an answer lie in its HTML; this hears of clicks on them."""
    from streamlit.components.v2 import component

    def heard() -> None:
        if clicked := st.session_state["clicks"].get("clicked"):
            chat.clicked(shared, tab(), clicked["do"], clicked["of"], clicked["n"])

    component("footnote.clicks", js=(HERE / "clicks.js").read_text(encoding="utf-8"))(
        key="clicks", on_clicked_change=heard
    )
