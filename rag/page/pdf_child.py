"""The process that turns one page of a PDF into a picture, since PDFium reads what nobody vouches for.

Started by rag.page.pdf_view as `python -m rag.page.pdf_child LIMITS`, where LIMITS is the JSON of `Limits`.
"""

from __future__ import annotations

import base64
import faulthandler
import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rag.child import Parent, limit_memory
from rag.errors import DocumentError, TooMuch, Unreadable
from rag.ingest.parse_child import BACKSTOP_S
from rag.ingest.readers.base import Limits, too_large
from rag.ingest.readers.pdf import explained
from rag.page.matching import Box, joined, locate, marks

MAX_PIXELS = 4_000_000
MAX_SIDE = 6_000
"""Bounds of a picture, in pixels: a poster's page comes out smaller than it was asked for."""
UNITS = 1_000_000
"""PDFium turns a place on a page into a whole number of pixels; of so many, none is lost."""
PAINT = (255, 235, 110)
PAD = 0.0015
"""So much of the page's width is painted around the words."""

View = Callable[[dict[str, Any], Limits], dict[str, Any]]


def main(view: View | None = None) -> None:
    """Answer the parent's one request."""
    parent = Parent()
    limits = Limits(**json.loads(sys.argv[1]))
    limit_memory(limits.memory_bytes)
    request = parent.receive()
    assert request is not None
    faulthandler.dump_traceback_later(limits.seconds + BACKSTOP_S, exit=True)
    parent.send(_answer(request, limits, view or show))


def _answer(request: dict[str, Any], limits: Limits, view: View) -> dict[str, Any]:
    try:
        return view(request, limits)
    except DocumentError as error:
        return error.as_dict()
    except MemoryError:
        return too_large(limits.memory_bytes).as_dict()
    except OSError as error:
        return Unreadable(f"cannot be read: {error.strerror or error}").as_dict()


def show(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The page as asked for by rag.page.pdf_view. Raises OSError, Unreadable, TooMuch."""
    import pypdfium2  # type: ignore[import-untyped]

    path = Path(request["path"])
    try:
        # opened from memory, so that what is hashed is what is shown
        with pypdfium2.PdfDocument(_content(path, request["document_id"], limits)) as pdf:
            if not 1 <= request["page"] <= len(pdf):
                raise Unreadable(f"has no page {request['page']}, only {len(pdf)}")
            return _shown(pdf[request["page"] - 1], request)
    except pypdfium2.PdfiumError as error:
        raise explained(path, error) from error


def _content(path: Path, document_id: str | None, limits: Limits) -> bytes:
    if not path.is_file():
        raise Unreadable("is no file")
    if path.stat().st_size > limits.file_bytes:
        raise TooMuch(f"is larger than {limits.file_bytes // 2**20} MiB")
    content = path.read_bytes()
    if document_id and hashlib.sha256(content).hexdigest() != document_id:
        raise Unreadable("has changed since it was ingested", "Run: python scripts/ingest.py FOLDER.")
    return content


def _shown(page: Any, request: dict[str, Any]) -> dict[str, Any]:
    text_page = page.get_textpage()
    characters, boxes = _characters(text_page)
    spans = joined(
        span
        for quote in request["quotes"]
        for span in locate(quote["text"], characters, boxes, quote["before"])
    )
    fractions = [mark for box in marks(spans, boxes) if (mark := _on_page(page, box))]
    picture = _painted(_picture(page, request["width_px"]), fractions)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return {
        "png": base64.b64encode(file.getvalue()).decode(),
        "width": picture.width,
        "height": picture.height,
        "marks": fractions,
    }


def _characters(text_page: Any) -> tuple[list[str], list[Box]]:
    import pypdfium2.raw as raw  # type: ignore[import-untyped]

    count = text_page.count_chars()
    codes = (raw.FPDFText_GetUnicode(text_page, n) for n in range(count))
    characters = [chr(code) if code <= sys.maxunicode else "" for code in codes]
    return characters, [_box(text_page, n) for n in range(count)]


def _box(text_page: Any, n: int) -> Box:
    """The character's box in the full height of its font, so that marks along a line are even."""
    import pypdfium2

    try:
        return text_page.get_charbox(n, loose=True)
    except pypdfium2.PdfiumError:
        return 0.0, 0.0, 0.0, 0.0


def _on_page(page: Any, box: Box) -> tuple[float, float, float, float] | None:
    """Left, top, width and height as fractions of the page as it is seen; None outside of it."""
    corners = [_seen(page, box[0], box[1]), _seen(page, box[2], box[3])]
    left, right = (min(max(side(x for x, _ in corners), 0.0), 1.0) for side in (min, max))
    top, bottom = (min(max(side(y for _, y in corners), 0.0), 1.0) for side in (min, max))
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _seen(page: Any, x: float, y: float) -> tuple[float, float]:
    """A place in points as fractions from the left and the top; PDFium knows rotation and crop box."""
    from ctypes import c_int

    import pypdfium2.raw as raw

    across, down = c_int(), c_int()
    raw.FPDF_PageToDevice(page, 0, 0, UNITS, UNITS, 0, x, y, across, down)
    return across.value / UNITS, down.value / UNITS


def _picture(page: Any, width_px: int) -> Any:
    width, height = page.get_size()
    longest = max(width, height, 1.0)
    scale = min(
        width_px / max(width, 1.0), (MAX_PIXELS / max(width * height, 1.0)) ** 0.5, MAX_SIDE / longest
    )
    return page.render(scale=scale).to_pil().convert("RGB")


def _painted(picture: Any, fractions: list[tuple[float, float, float, float]]) -> Any:
    """The picture with yellow behind the words, or over them where the page is dark."""
    from PIL import Image, ImageChops, ImageStat

    painted, (width, height), pad = picture.copy(), picture.size, PAD * picture.width
    for left, top, wide, high in fractions:
        area = (
            round(max(left * width - pad, 0)),
            round(max(top * height - pad, 0)),
            round(min((left + wide) * width + pad, width)),
            round(min((top + high) * height + pad, height)),
        )
        if area[0] < area[2] and area[1] < area[3]:
            part = picture.crop(area)  # of the bare picture, as marks of lines that touch would darken
            paint = Image.new("RGB", part.size, PAINT)
            light = ImageStat.Stat(part.convert("L")).median[0] > 127
            painted.paste(ImageChops.multiply(part, paint) if light else Image.blend(part, paint, 0.4), area)
    return painted


if __name__ == "__main__":
    main()
