"""PDFs made for tests, with their text at known places."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = 400, 600


def pdf(path: Path, *pages, rotation: int = 0, crop: tuple[float, float, float, float] | None = None) -> Path:
    """A file of pages, each a list of (x, y, text) in points from the lower left corner."""
    canvas = Canvas(str(path), pagesize=(WIDTH, HEIGHT))
    for lines in pages:
        canvas.setFont("Helvetica", 12)
        for x, y, text in lines:
            canvas.drawString(x, y, text)
        canvas.showPage()
    canvas.save()
    if rotation or crop:
        _turn(path, rotation, crop or (0, 0, WIDTH, HEIGHT))
    return path


def _turn(path: Path, rotation: int, crop: tuple[float, float, float, float]) -> None:
    with pypdfium2.PdfDocument(path.read_bytes()) as file:
        for page in file:
            page.set_rotation(rotation)
            page.set_cropbox(*crop)
        file.save(path)
