"""What one tab has open, and the desk that it shares with all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import streamlit as st

from rag.errors import RagError
from rag.page.answering import Asking
from rag.page.desk import Desk
from rag.settings import DEFAULT_COLLECTION

CHAT, ASKING = "chat", "answer"
"""Parameters of the address: the conversation that is open, and the answer that is under way."""
SHOWN = 20
"""So many of the last answers are shown at first."""


@dataclass(slots=True)
class Panel:
    """What lies beside the chat: a source, or the details, or the note for a vote, of an exchange."""

    what: str
    exchange: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that an error kept from being answered; `replaces` as in `Asking`."""

    question: str
    error: RagError
    replaces: int | None


@dataclass(slots=True)
class Tab:
    """One tab's choices; what has to survive a reload stands in the address."""

    collection: str = DEFAULT_COLLECTION
    conversation: int | None = None
    panel: Panel | None = None
    asking: Asking | None = None
    unanswered: Unanswered | None = None
    error: RagError | None = None
    refused: list[str] = field(default_factory=list)
    """Files that were not taken, with the reason."""
    shown: int = SHOWN
    uploads: int = 0

    def open(self, conversation: int | None) -> None:
        """Turn to another conversation; None: a new one."""
        self.panel, self.asking, self.unanswered, self.error = None, None, None, None
        self.conversation = conversation
        _keep(CHAT, conversation)
        _keep(ASKING, None)

    def follow(self, asking: Asking | None) -> None:
        """Show an answer as it comes; None: it is over."""
        self.asking = asking
        _keep(ASKING, asking.number if asking else None)

    def take_up(self, desk: Desk) -> None:
        """After a reload: the answer that the address names, if it is still under way.

        After a look at another page, the address gets back what it had.
        """
        _keep(CHAT, self.conversation)
        number = _number(st.query_params.get(ASKING))
        if self.asking is None and number is not None:
            self.follow(desk.asking(number))


def tab() -> Tab:
    """This tab's."""
    if "tab" not in st.session_state:
        st.session_state.tab = Tab(conversation=_number(st.query_params.get(CHAT)))
    return cast(Tab, st.session_state.tab)


def _keep(name: str, number: int | None) -> None:
    if number is not None:
        st.query_params[name] = str(number)
    elif name in st.query_params:
        del st.query_params[name]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None
