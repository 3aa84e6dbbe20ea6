"""A page of a PDF as a picture, cited words marked; PDFium runs in a process of its own."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from rag.child import Child
from rag.errors import DocumentError, InputNotFound, TooMuch
from rag.ingest.sandbox import answered, ask, limits
from rag.settings import IngestSettings

FOR_A_VIEW = IngestSettings(file_seconds=20.0)
"""The limits of ingestion, but for the time that somebody who clicked on a footnote is kept waiting."""
WIDTHS = range(100, 2_001)
"""Widths of a picture in pixels; others become the nearest of them."""
KEPT = 12
"""Pictures kept in memory, a few hundred KB each as a rule and 12 MB at worst."""

_AT_ONCE = threading.BoundedSemaphore(2)


@dataclass(frozen=True, slots=True)
class Mark:
    """A marked box, as fractions of the page as it is seen, from its left and its top."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class PageView:
    """A page as a PNG of `width` by `height` pixels, in which `marks` are painted already.

    `found` tells whether any quote was, and can be seen: scanned pages have no letters to find.
    """

    png: bytes
    width: int
    height: int
    marks: tuple[Mark, ...]

    @property
    def found(self) -> bool:
        return bool(self.marks)


@dataclass(frozen=True, slots=True)
class Quote:
    """Words to be marked; `before` is the text in front of them, for those that stand on the page twice."""

    text: str
    before: str = ""


def render(
    path: Path,
    page: int,
    quotes: Sequence[Quote],
    width_px: int,
    document_id: str | None = None,
    settings: IngestSettings = FOR_A_VIEW,
    module: str = "rag.page.pdf_child",
) -> PageView:
    """Page number `page`, from 1, with the quotes marked; the last few views are kept.

    With `document_id`, the sha256 of the file as it was ingested, a changed file is refused. `module`
    is what the process runs: one that calls rag.page.pdf_child.main.

    Raises InputNotFound where the file is gone, Unreadable where it is damaged or has changed, and
    TooMuch beyond the limits in `settings`.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise InputNotFound(
            f"{path.name} is no longer where it was: {error.strerror}",
            "Put it back, or run: python scripts/ingest.py FOLDER.",
        ) from error
    width_px = min(max(width_px, WIDTHS.start), WIDTHS.stop - 1)
    request = _Request(str(path), page, tuple(quotes), width_px, document_id)
    return _rendered(request, (stat.st_mtime_ns, stat.st_size), settings, module)


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    page: int
    quotes: tuple[Quote, ...]
    width_px: int
    document_id: str | None


@lru_cache(maxsize=KEPT)
def _rendered(request: _Request, version: tuple[int, int], settings: IngestSettings, module: str) -> PageView:
    """The view of one version of a file; `version` is there to tell the views of others from it."""
    with _AT_ONCE, Child(module, [limits(settings)]) as child:
        try:
            view = answered(ask(child, asdict(request), settings))
        except DocumentError as error:
            child.kill()
            raise _named(error, request) from error
    png = base64.b64decode(view["png"])
    return PageView(png, view["width"], view["height"], tuple(Mark(*mark) for mark in view["marks"]))


def _named(error: DocumentError, request: _Request) -> DocumentError:
    """The error with the file's name, since it is shown alone; a limit is no reason to split the file."""
    fix = "" if isinstance(error, TooMuch) else error.fix
    fix = fix or f"Open the file itself, at page {request.page}."
    return type(error)(f"{Path(request.path).name} {error.message}", fix)
