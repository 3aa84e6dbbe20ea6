"""Errors as the page tells them: with its own fields where the advice names an option of a command."""

from __future__ import annotations

import re

import streamlit as st

from rag.errors import RagError

FIELDS = {
    "model": "Model",
    "engine": "Engine",
    "quantization": "Quantization",
    "max-memory": "At most so much memory",
    "context": "Context in tokens",
    "dtype": "Number type",
    "device": "Device",
}
"""What the model page calls an option of `rag_query.py`."""
SETTINGS = {"top-k": "retrieval.top_k"}
"""Options that have no field, as they are set in footnote.toml."""
_OPTION = re.compile(r"`[^`]*`|(?<![\w-])--([a-z][a-z-]*)\b")


def tell(error: RagError, place: str) -> None:
    """Show an error in the box of its place; as text, since a document's words in it are not Markdown."""
    with st.container(border=True, key=f"error-{place}"):
        st.text(told(error))


def told(error: RagError) -> str:
    """The error and what can be done about it, as sentences."""
    return ". ".join(filter(None, [in_fields(_capital(error.message.rstrip("."))), in_fields(error.fix)]))


def in_fields(text: str) -> str:
    """The text with fields and settings instead of options; a command in backticks stays as it is."""
    return _OPTION.sub(_named, text)


def _named(found: re.Match[str]) -> str:
    option = found[1]
    if option in FIELDS:
        return f"“{FIELDS[option]}”"
    return f"{SETTINGS[option]} in footnote.toml" if option in SETTINGS else found[0]


def _capital(text: str) -> str:
    """Names of files and models keep their small letters."""
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first.isalpha() else text
