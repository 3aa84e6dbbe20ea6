"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Return what is free in the heap; does nothing where the C library is not glibc.

    glibc keeps freed memory below the last block in use. Between batches of tensors and documents
    of all sizes that came to several hundred megabytes.
    """
    if sys.platform == "linux":
        release = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if release:
            release(0)


def give_back_at_once(from_bytes: int) -> None:
    """From now on return each freed block of that size to the system, in glibc; it costs new pages each time.

    Else glibc raises its threshold to the largest block that it saw freed, up to 32 MB. Weights read from the
    disk for each token then left up to 220 MB of holes in the heap.
    """
    if sys.platform == "linux":
        m_mmap_threshold = -3
        options = getattr(ctypes.CDLL(None), "mallopt", None)
        if options:
            options(m_mmap_threshold, from_bytes)
