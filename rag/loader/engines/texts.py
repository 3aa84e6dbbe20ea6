"""Tokens to text as they come: whole characters only, and none of it after a stop string."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence


def texts(tokens: Iterable[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """Whole characters as they become complete; a character may span several tokens.

    The tokens of the last piece are decoded again with the new ones, because some tokenizers
    drop a space at the beginning of what they decode.
    """
    seen: list[int] = []
    fresh: list[int] = []
    for token in tokens:
        fresh.append(token)
        before, whole = decode(seen), decode(seen + fresh)
        if len(whole) > len(before) and not whole.endswith("\ufffd"):
            yield whole[len(before) :]
            seen, fresh = fresh, []


def until_stop(pieces: Iterable[str], stop: Sequence[str]) -> Generator[str, None, bool]:
    """Pass pieces on up to the first stop string; returns whether one was met.

    What might be the beginning of a stop string is held back until the next piece decides.
    """
    held = ""
    for piece in pieces:
        held += piece
        cuts = [at for at in (held.find(end) for end in stop) if at >= 0]
        if cuts:
            if held[: min(cuts)]:
                yield held[: min(cuts)]
            return True
        keep = max((n for end in stop for n in range(1, len(end)) if held.endswith(end[:n])), default=0)
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held
    return False
