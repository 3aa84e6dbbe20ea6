"""Scanned PDF pages through Tesseract, where its program is installed."""

from __future__ import annotations

import shutil
import time
from typing import Any

from rag.ingest.readers.base import Limits, numbered
from rag.ingest.readers.pdf_layout import Line, Page

DPI = 200
MAX_PIXELS = 25_000_000
SHARE_OF_TIME = 0.75
"""OCR stops after this share of the file's time limit, so that what was read is kept."""


def read_pages(pdf: Any, numbers: list[int], limits: Limits, started: float) -> tuple[dict[int, Page], str]:
    """The pages that Tesseract could read, by number, and a note on the others ("" for none).

    `started` is when the file's time began to run, on the monotonic clock.
    """
    how = "is a picture" if len(numbers) == 1 else "are pictures"
    if not limits.ocr:
        return {}, f"{numbered('page', numbers)} {how} without text (reading them is switched off: --ocr off)"
    if shutil.which("tesseract") is None:
        return {}, f"{numbered('page', numbers)} {how} without text (install Tesseract to read them)"
    pages: dict[int, Page] = {}
    deadline = started + limits.seconds * SHARE_OF_TIME
    problem = ""
    for number in numbers:
        left = deadline - time.monotonic()
        if left < 1:
            problem = "no time was left to read them; raise ingest.file_seconds"
            break
        try:
            text = _recognise(pdf[number - 1], limits.ocr_language, left)
        except RuntimeError as error:  # TesseractError and pytesseract's timeout
            problem = f"Tesseract: {str(error).splitlines()[0] if str(error) else 'failed'}"
            continue
        pages[number] = Page(number, _placed(text))
    unread = [number for number in numbers if number not in pages]
    return pages, f"{numbered('page', unread)} {how} without text ({problem})" if unread else ""


def _recognise(page: Any, language: str, seconds: float) -> str:
    import pytesseract  # type: ignore[import-untyped]

    width, height = page.get_size()
    scale = min(DPI / 72, (MAX_PIXELS / max(width * height, 1.0)) ** 0.5)
    image = page.render(scale=scale, grayscale=True).to_pil()
    return pytesseract.image_to_string(image, lang=language, timeout=seconds)


def _placed(text: str) -> list[Line]:
    """Recognised lines with made-up boxes in which Tesseract's empty lines are gaps between paragraphs."""
    lines = text.splitlines()
    return [
        Line(line.strip(), 0.0, -10.0 * n, 5.0 * len(line), 10.0 - 10.0 * n)
        for n, line in enumerate(lines)
        if line.strip()
    ]
