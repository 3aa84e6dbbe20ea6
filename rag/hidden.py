"""Characters that no reader sees and a model reads all the same (pure)."""

from __future__ import annotations

import re

# Tags, which spell ASCII invisibly; the marks that reverse the direction of text; Hangul fillers; variation
# selectors of the supplement, which belong behind CJK ideographs only.
_NEVER_SEEN = (
    "[\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069\ufeff\u180e\u115f\u1160\u3164\uffa0]"
    "|(?<![\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\U000e0100-\U000e01ef])[\U000e0100-\U000e01ef]+"
)
# Joiners, zero-width spaces and direction marks mean something in other scripts and in emoji, not in Latin.
_NOT_IN_LATIN = "(?<![^\x00-\u024f\u200b-\u200f])[\u200b-\u200f\u2060-\u2064]+(?![^\x00-\u024f\u200b-\u200f])"
_HIDDEN = re.compile(f"{_NEVER_SEEN}|{_NOT_IN_LATIN}")


def without_hidden(text: str) -> tuple[str, int]:
    """The text without invisible characters that have no business in it, and how many there were."""
    seen = _HIDDEN.sub("", text)
    return seen, len(text) - len(seen)
