"""Bytes to text, whatever the encoding: byte-order mark, strict UTF-8, declaration, detection."""

from __future__ import annotations

import codecs
import re

DETECT_BYTES = 100_000

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MULTI_BYTE = re.compile(r"gb|hz|big5|euc|shift|sjis|cp93|cp94|cp95|iso-?2022|johab|utf", re.IGNORECASE)
_ESCAPES = re.compile(rb"\x1b[$(]|~\{")


def decode(data: bytes, declared: str | None = None) -> str:
    """Text of `data`; `declared` is the encoding that the file itself claims, if it does.

    Never fails: in the worst case windows-1252 is assumed and what it lacks becomes U+FFFD.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    # NULs mean UTF-16 or UTF-32 without a mark, and escapes a seven-bit encoding of East Asia;
    # both are valid UTF-8 as they stand.
    if b"\0" not in data[:DETECT_BYTES] and not _ESCAPES.search(data[:DETECT_BYTES]):
        text = _strict(data, "utf-8")
        if text is not None:
            return text
    # In an encoding of several bytes per character a wrong guess fails; in one of single bytes
    # everything decodes, so there the declaration is only a hint, which the detector weighs.
    if declared and _MULTI_BYTE.match(declared) and not _is_wide(declared):
        text = _strict(data, declared)
        if text is not None:
            return text
    return _damaged_utf8(data) or _detected(data)


def looks_wide(head: bytes) -> bool:
    """True where NUL bytes fall in the pattern of UTF-16 or UTF-32 text without a mark."""
    head = head[: len(head) // 4 * 4]
    if not head:
        return False
    share = [head[lane::4].count(0) * 4 / len(head) for lane in range(4)]
    even, odd = (share[0] + share[2]) / 2, (share[1] + share[3]) / 2
    if min(share[0], share[1]) > 0.9 or min(share[2], share[3]) > 0.9:
        return True
    if abs(even - odd) < 0.05 or min(even, odd) > 0.02:
        return False
    text = head.decode("utf-16-be" if even > odd else "utf-16-le", "replace")
    odd_ones = sum(
        1 for c in text if c == "\ufffd" or (c < " " and c not in "\t\n\r\f") or "\ue000" <= c <= "\uf8ff"
    )
    return odd_ones <= len(text) * 0.02


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (LookupError, ValueError):
        return None


def _is_wide(encoding: str) -> bool:
    # whoever could read the declaration byte by byte proved that the file is not UTF-16
    return encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32", "ucs"))


def _damaged_utf8(data: bytes) -> str | None:
    """UTF-8 with a few broken bytes, recognised by its many whole multi-byte characters."""
    head = data[:DETECT_BYTES]
    whole = len(
        re.findall(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}", head)
    )
    if whole < 5 or b"\0" in head:
        return None
    broken = head.decode("utf-8", "replace").count("\ufffd")
    return data.decode("utf-8", "replace") if broken * 20 <= whole else None


def _detected(data: bytes) -> str:
    import chardet

    head = data[:DETECT_BYTES]
    if len(data) > len(head) and b"\0" not in head:
        head = head[: head.rfind(b"\n") + 1] or head  # never half a character at the end
    encoding = chardet.detect(head)["encoding"] or "cp1252"
    text = _strict(data, encoding)
    if text is not None:
        return text
    try:
        return data.decode(encoding, "replace")
    except LookupError:
        return data.decode("cp1252", "replace")
