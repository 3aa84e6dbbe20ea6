"""What people said of their answers: the votes that the chat page keeps."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rag.console import clean_line
from rag.errors import InputNotFound
from rag.page.conversations import Conversations, Exchange, default_path

QUOTES_ALONE = "none (quotes alone)"


def feedback(file: Path | None = None) -> dict[str, Any]:
    """Votes up and down in the page's conversations or in another file of them, and what was voted down.

    Shares are of votes up, None where there was no vote. Raises InputNotFound, HistoryError.
    """
    if file and not file.is_file():
        raise InputNotFound(f"there is no file {file}", "Name a conversations.sqlite, or leave it out.")
    path = file or default_path()
    voted = Conversations(path).voted()
    return {
        "file": str(path),
        **_counts(voted),
        "models": [{"model": name, **_counts(each)} for name, each in _by(voted, _model)],
        "abstained": [{"abstained": kind, **_counts(each)} for kind, each in _by(voted, _abstained)],
        "voted_down": [_complaint(each) for each in voted if each.vote == "down"],
    }


def table(found: dict[str, Any]) -> str:
    """The record of `feedback` for a terminal."""
    if not found["votes"]:
        return f"{clean_line(found['file'])}: no answer was voted on yet\n"
    rows = [("all", found)]
    rows += [(each["model"] or QUOTES_ALONE, each) for each in found["models"]]
    rows += [("not in documents" if each["abstained"] else "answered", each) for each in found["abstained"]]
    names = [clean_line(name) for name, _ in rows]
    longest = max(map(len, names))
    lines = [f"  {'':<{longest}} {'votes':>6} {'up':>5} {'down':>5} {'share up':>9}"]
    for name, (_, row) in zip(names, rows):
        counts = f"{row['votes']:>6} {row['up']:>5} {row['down']:>5} {row['share_up']:>9.3f}"
        lines.append(f"  {name:<{longest}} {counts}")
    if found["voted_down"]:
        lines += ["", "Voted down"]
    for each in found["voted_down"]:
        note = f": {each['note']}" if each["note"] else ""
        lines.append(clean_line(f"  {each['question']}{note}"))
    return "\n".join(lines) + "\n"


def _counts(voted: Sequence[Exchange]) -> dict[str, Any]:
    up = sum(each.vote == "up" for each in voted)
    share = round(up / len(voted), 4) if voted else None
    return {"votes": len(voted), "up": up, "down": len(voted) - up, "share_up": share}


def _by(voted: Iterable[Exchange], key: Callable[[Exchange], Hashable]) -> list[tuple[Any, list[Exchange]]]:
    """The exchanges by a key, the most frequent first."""
    groups: dict[Hashable, list[Exchange]] = {}
    for each in voted:
        groups.setdefault(key(each), []).append(each)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _model(exchange: Exchange) -> str | None:
    name: str | None = exchange.answer["model"]["name"]
    return name


def _abstained(exchange: Exchange) -> bool:
    return bool(exchange.answer["abstained"])


def _complaint(exchange: Exchange) -> dict[str, Any]:
    return {
        "question": exchange.question,
        "note": exchange.note,
        "answer": exchange.answer["answer"],
        "model": _model(exchange),
        "abstained": _abstained(exchange),
        "created": exchange.created,
    }
