"""What was asked and answered on the page, kept for the next time it is opened."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rag.errors import ConversationGone, UsageError
from rag.page.database import Database
from rag.places import data_root

FILE = "conversations.sqlite"
TITLE_LENGTH = 60
"""Characters of a conversation's name."""

Vote = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row of questions to one collection; times are ISO 8601, UTC, `updated` is the last answer's."""

    id: int
    title: str
    collection: str
    created: str
    updated: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer, a record as `rag.page.saved` makes it; `note` says why it got its vote."""

    id: int
    conversation_id: int
    question: str
    answer: Mapping[str, Any]
    created: str
    vote: Vote | None
    note: str


_CONVERSATIONS = "SELECT id, title, collection, created, updated FROM conversations"
_EXCHANGES = "SELECT id, conversation_id, question, answer, created, vote, note FROM exchanges"
_TEXTS = """
SELECT id, title FROM conversations
UNION ALL SELECT conversation_id, question FROM exchanges
UNION ALL SELECT conversation_id, text FROM exchanges
"""


def default_path() -> Path:
    """Where the page keeps its conversations."""
    return data_root() / FILE


class Conversations:
    """All conversations, in the file `path`; use it from any thread, and from several processes at once.

    Every method may raise HistoryError and HistoryDamaged; those that take an id raise ConversationGone
    where what it names was deleted.
    """

    def __init__(
        self, path: Path | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = Database(path or default_path())
        self._now = now

    # Reading

    def newest(self) -> list[Conversation]:
        """All conversations, the one that was last answered first."""
        with self._database.reading() as database:
            return _newest(database)

    def search(self, words: str) -> list[Conversation]:
        """Those that hold each of these words, or parts of words, in any of their texts; newest first."""
        wanted = frozenset(_folded(words).split())
        with self._database.reading() as database:
            conversations = _newest(database)
            missing = {conversation.id: wanted for conversation in conversations}
            for id, text in database.execute(_TEXTS):
                said = _folded(text)
                missing[id] = frozenset(word for word in missing[id] if word not in said)
        return [conversation for conversation in conversations if not missing[conversation.id]]

    def get(self, conversation_id: int) -> Conversation:
        with self._database.reading() as database:
            return _conversation(database, conversation_id)

    def exchanges(self, conversation_id: int) -> list[Exchange]:
        """A conversation's questions and answers, in the order in which they were asked."""
        with self._database.reading() as database:
            _conversation(database, conversation_id)
            rows = database.execute(f"{_EXCHANGES} WHERE conversation_id = ? ORDER BY id", [conversation_id])
            return [self._exchange(row) for row in rows]

    def voted(self) -> list[Exchange]:
        """All answers that somebody voted on, oldest first."""
        with self._database.reading() as database:
            rows = database.execute(f"{_EXCHANGES} WHERE vote IS NOT NULL ORDER BY id")
            return [self._exchange(row) for row in rows]

    # Writing

    def start(self, collection: str, question: str, answer: Mapping[str, Any]) -> Exchange:
        """A new conversation, named after its first question; an empty one is never stored."""
        with self._database.writing() as database:
            now = self._time()
            cursor = database.execute(
                "INSERT INTO conversations (title, collection, created, updated) VALUES (?, ?, ?, ?)",
                [title_of(question), _plain(collection), now, now],
            )
            assert cursor.lastrowid is not None
            return self._add(database, cursor.lastrowid, question, answer, now)

    def append(self, conversation_id: int, question: str, answer: Mapping[str, Any]) -> Exchange:
        """Put a further question and its answer behind the others."""
        with self._database.writing() as database:
            now = self._time()
            _touch(database, conversation_id, now)
            return self._add(database, conversation_id, question, answer, now)

    def replace_answer(self, exchange_id: int, answer: Mapping[str, Any]) -> Exchange:
        """Give a question another answer; the vote was on the one before and goes with it."""
        with self._database.writing() as database:
            before = self._one(database, exchange_id)
            _touch(database, before.conversation_id, self._time())
            database.execute(
                "UPDATE exchanges SET text = ?, answer = ?, vote = NULL, note = '' WHERE id = ?",
                [*_stored(answer), exchange_id],
            )
            return self._one(database, exchange_id)

    def rename(self, conversation_id: int, title: str) -> Conversation:
        """Raises UsageError for a title of blanks."""
        if not (title := " ".join(_plain(title).split())):
            raise UsageError("a conversation needs a name", "Type one.")
        with self._database.writing() as database:
            database.execute("UPDATE conversations SET title = ? WHERE id = ?", [title, conversation_id])
            return _conversation(database, conversation_id)

    def vote(self, exchange_id: int, vote: Vote | None, note: str = "") -> Exchange:
        """Say whether an answer was good, and why; None takes a vote back."""
        with self._database.writing() as database:
            self._one(database, exchange_id)
            values = [vote, _plain(note) if vote else "", exchange_id]
            database.execute("UPDATE exchanges SET vote = ?, note = ? WHERE id = ?", values)
            return self._one(database, exchange_id)

    def follow(self, old: str, new: str) -> None:
        """Let the conversations with a collection go on when it gets another name."""
        with self._database.writing() as database:
            values = [_plain(new), _plain(old)]
            database.execute("UPDATE conversations SET collection = ? WHERE collection = ?", values)

    def delete(self, conversation_id: int) -> None:
        """Leave nothing of a conversation, neither in the file nor in its log; unknown ones are ignored."""
        with self._database.writing() as database:
            database.execute("DELETE FROM conversations WHERE id = ?", [conversation_id])
        self._database.scrub()

    def _add(
        self,
        database: sqlite3.Connection,
        conversation_id: int,
        question: str,
        answer: Mapping[str, Any],
        now: str,
    ) -> Exchange:
        cursor = database.execute(
            "INSERT INTO exchanges (conversation_id, question, text, answer, created) VALUES (?, ?, ?, ?, ?)",
            [conversation_id, _plain(question), *_stored(answer), now],
        )
        assert cursor.lastrowid is not None
        return self._one(database, cursor.lastrowid)

    def _one(self, database: sqlite3.Connection, exchange_id: int) -> Exchange:
        row = database.execute(f"{_EXCHANGES} WHERE id = ?", [exchange_id]).fetchone()
        if row is None:
            raise _gone()
        return self._exchange(row)

    def _exchange(self, row: tuple[Any, ...]) -> Exchange:
        id, conversation_id, question, answer, *rest = row
        try:
            return Exchange(id, conversation_id, question, json.loads(answer), *rest)
        except ValueError as error:
            raise self._database.damaged(error) from error

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")


def title_of(question: str) -> str:
    """The question as a name: one line, cut at a word where it is long."""
    text = " ".join(_plain(question).split())
    if len(text) <= TITLE_LENGTH:
        return text
    kept = text[:TITLE_LENGTH]  # the last of these characters makes room for the dots
    return (kept.rpartition(" ")[0] or kept[:-1]).rstrip(" ,;:") + "…"


def _newest(database: sqlite3.Connection) -> list[Conversation]:
    rows = database.execute(f"{_CONVERSATIONS} ORDER BY updated DESC, id DESC")
    return [Conversation(*row) for row in rows]


def _conversation(database: sqlite3.Connection, id: int) -> Conversation:
    row = database.execute(f"{_CONVERSATIONS} WHERE id = ?", [id]).fetchone()
    if row is None:
        raise _gone()
    return Conversation(*row)


def _touch(database: sqlite3.Connection, id: int, now: str) -> None:
    if not database.execute("UPDATE conversations SET updated = ? WHERE id = ?", [now, id]).rowcount:
        raise _gone()


def _gone() -> ConversationGone:
    return ConversationGone(
        "this conversation was deleted, perhaps in another tab", "Choose another one, or begin a new one."
    )


def _stored(answer: Mapping[str, Any]) -> tuple[str, str]:
    """An answer's words and its record; escaped, JSON keeps the odd bytes of file names."""
    return _plain(answer["answer"]), json.dumps(answer)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _plain(text: str) -> str:
    """Half a surrogate pair, which SQLite does not take, becomes a '?'."""
    return text.encode("utf-8", "replace").decode()
