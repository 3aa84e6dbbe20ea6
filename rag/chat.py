"""The questions of an interactive session, with history and line editing on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rag.console import is_terminal
from rag.places import cache_root

HELP = "Type a question. Ctrl-C stops an answer, Ctrl-D or /quit leaves, the up key recalls."
LEAVE = {"/quit", "/exit", "/q"}


def questions() -> Iterator[str]:
    """Yield what the user asks; blank lines and commands are dealt with here."""
    for line in _typed() if is_terminal(sys.stdin) else sys.stdin:
        question = line.strip()
        if question in LEAVE:
            return
        if question in ("/help", "/?", "?"):
            print(HELP)
        elif question.startswith("/"):
            print(f"There is no command {question.split()[0]}. {HELP}")
        elif question:
            yield question


def _typed() -> Iterator[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory

    folder = cache_root()
    folder.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(folder / "chat_history")))
    print(HELP)
    while True:
        try:
            yield session.prompt("\n? ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
