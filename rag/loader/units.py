"""Amounts of memory, read and written the way people do."""

from __future__ import annotations

import re

from rag.errors import UsageError

SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Bytes in "8GB" (powers of 1000), "8GiB" (powers of 1024) or plain "8000000000"."""
    match = SIZE.fullmatch(text.strip())
    amount = 0
    if match:
        number, prefix, binary = match.groups()
        amount = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))
    if amount < 1:
        raise UsageError(f"{text!r} is not an amount of memory", "Write it as in 8GB, 7.5GiB or 8000000000.")
    return amount


def size(count: float) -> str:
    """Bytes for people, in powers of 1000: "6.9 GB", "180 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
