"""Jupyter notebooks: Markdown headings, code cells and their text outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import markdown
from rag.ingest.readers.base import Limits, Outline, Parsed, numbered
from rag.ingest.readers.decoding import decode
from rag.ingest.readers.structured import load

OUTPUT_CHARACTERS = 10_000


def read_notebook(path: Path, limits: Limits) -> Parsed:
    """Cells in order under the headings of the Markdown ones. Raises Unreadable, TooMuch."""
    try:
        notebook = load(decode(path.read_bytes()))
        cells = notebook.get("cells") or [
            c for sheet in notebook.get("worksheets", []) for c in sheet["cells"]
        ]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise Unreadable(
            f"is no Jupyter notebook: {error}", "Open it in Jupyter and save it again."
        ) from error
    outline = Outline()
    title = ""
    cut: list[int] = []
    for number, cell in enumerate(cells, start=1):
        source = _joined(cell.get("source", cell.get("input", "")))
        if cell.get("cell_type") == "markdown":
            found = markdown.fill(source, outline)
            title = title or found
            continue
        outline.add(source.strip("\n").rstrip())
        output = "\n".join(filter(None, (_output(each) for each in cell.get("outputs", []))))
        if len(output) > OUTPUT_CHARACTERS:
            cut.append(number)
        if output.strip():
            outline.add(f"Output:\n{output[:OUTPUT_CHARACTERS].rstrip()}")
    notes = (f"the long output of {numbered('cell', cut)} was cut",) if cut else ()
    return Parsed(outline.finish(), "notebook", title, notes=notes)


def _joined(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def _output(output: Any) -> str:
    if output.get("output_type") == "error":
        return f"{output.get('ename', '')}: {output.get('evalue', '')}"
    data = output.get("data", output)
    return _joined(data.get("text/plain", data.get("text", "")))
