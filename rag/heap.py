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
