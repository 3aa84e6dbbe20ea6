"""E-mail: EML, MHTML and mbox through the standard library, MSG through python-oxmsg."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterable
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from rag.errors import TooMuch, Unreadable
from rag.ingest.readers import html
from rag.ingest.readers.base import Limits, Parsed, one_line
from rag.ingest.readers.decoding import decode
from rag.types import Section

HEADERS = ("Subject", "From", "To", "Cc", "Date")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_eml(path: Path, limits: Limits) -> Parsed:
    """One message: its headers' lines, then the text, else the HTML body as text."""
    subject, text, attachments = _message(_seven_bit(path.read_bytes()))
    return Parsed((Section(text),), "email", subject, notes=_attachment_notes(attachments))


def read_mbox(path: Path, limits: Limits) -> Parsed:
    """Every message of a mailbox, its subject as heading."""
    sections: list[Section] = []
    attachments: list[str] = []
    notes: tuple[str, ...] = ()
    for n, data in enumerate(re.split(rb"(?m)^From .*\r?\n", path.read_bytes())[1:]):
        if n >= limits.rows:
            notes = (f"only the first {limits.rows:,} messages were read",)
            break
        subject, text, names = _message(data)
        sections.append(Section(text, heading=(subject,) if subject else ()))
        attachments += names
    return Parsed(tuple(sections), "email", notes=notes + _attachment_notes(attachments))


def read_msg(path: Path, limits: Limits) -> Parsed:
    """An Outlook message. Raises Unreadable."""
    import oxmsg

    try:
        message = oxmsg.Message.load(str(path))
        subject = one_line(message.subject or "")
        headers = {
            "Subject": subject,
            "From": _decoded(message.sender or ""),
            "To": "; ".join(filter(None, (r.name or r.email_address for r in message.recipients))),
            "Date": str(message.sent_date or ""),
        }
        body = message.body or html.plain_text(message.html_body or "")
        names = [attachment.file_name or "unnamed" for attachment in message.attachments]
    except (KeyError, ValueError, OSError, AttributeError, IndexError) as error:
        raise Unreadable(
            f"is no Outlook message that can be opened: {error}", "Save it again from Outlook."
        ) from error
    text = _assembled(headers.items(), body)
    return Parsed((Section(text),), "python-oxmsg", subject, notes=_attachment_notes(names))


def _seven_bit(data: bytes) -> bytes:
    return decode(data).encode("utf-8", "replace") if data.startswith(_WIDE_MARKS) else data


def _message(data: bytes) -> tuple[str, str, list[str]]:
    """Subject, text and the attachments' names of one message. Raises TooMuch."""
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        headers = {name: _header(message, name) for name in HEADERS}
        body = _body(message)
        names = [
            _quietly(part.get_filename) or part.get_content_type() for part in message.iter_attachments()
        ]
    except RecursionError as error:
        raise TooMuch("its parts nest too deeply", "Such a message is damaged or hostile.") from error
    return headers["Subject"], _assembled(headers.items(), body), names


def _header(message: EmailMessage, name: str) -> str:
    try:
        return one_line(str(message.get(name) or ""))
    except Exception:  # the header parser raises a dozen kinds on malformed addresses and dates
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return one_line(str(raw))


def _decoded(text: str) -> str:
    """A header with its encoded words ("=?utf-8?B?...?=") in clear."""
    try:
        return one_line(str(make_header(decode_header(text))))
    except (LookupError, ValueError, HeaderParseError):
        return text


def _body(message: EmailMessage) -> str:
    part = _quietly(lambda: message.get_body(("plain", "html")))
    if part is None:
        parts = [p for p in message.walk() if p.get_content_maintype() == "text" and not p.is_attachment()]
        part = parts[0] if parts else None
    if part is None:
        return ""
    text = _content(part)
    if not text.strip() and part.get_content_subtype() == "plain":
        rich = _quietly(lambda: message.get_body(("html",)))
        part, text = (rich, _content(rich)) if rich is not None else (part, text)
    return html.plain_text(text) if part.get_content_subtype() in ("html", "xhtml+xml") else text


def _content(part: Any) -> str:
    payload = _quietly(lambda: part.get_payload(decode=True))
    if not isinstance(payload, bytes):
        return str(_quietly(part.get_payload) or "")
    charset = part.get_content_charset()
    if charset:
        try:
            return payload.decode(charset)
        except (LookupError, ValueError):
            pass
    return decode(payload, charset)


def _quietly(get: Any) -> Any:
    """The value, or None where the message is too malformed to say."""
    try:
        return get()
    except RecursionError:
        raise
    except Exception:
        return None


def _assembled(headers: Iterable[tuple[str, str]], body: str) -> str:
    lines = [f"{name}: {value}" for name, value in headers if value]
    return "\n".join(lines) + "\n\n" + body.strip()


def _attachment_notes(names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return (f"attachments were not read: {', '.join(names[:20])}" + (" ..." if len(names) > 20 else ""),)
