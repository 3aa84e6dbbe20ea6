"""PPTX through python-pptx: one section per slide, with its tables, charts and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rag.errors import Unreadable
from rag.ingest.readers import tables
from rag.ingest.readers.base import Limits, Parsed, one_line
from rag.ingest.readers.guards import check_zip
from rag.ingest.readers.xmltree import local, parse_xml
from rag.types import Section

GROUP_DEPTH = 20


def read_pptx(path: Path, limits: Limits) -> Parsed:
    """Slides up to the limit, numbered as shown. Raises Unreadable."""
    import pptx

    check_zip(path)
    try:
        deck = pptx.Presentation(str(path))
    except (KeyError, ValueError) as error:
        raise Unreadable(
            f"is no PowerPoint file: {error.args[0]}", "Open it in PowerPoint and save it again."
        ) from error
    sections: list[Section] = []
    notes: list[str] = []
    for number, slide in enumerate(deck.slides, start=1):
        if number > limits.pages:
            notes.append(f"only the first {limits.pages:,} of {len(deck.slides):,} slides were read")
            break
        sections.append(_slide(slide, number))
    title = one_line(deck.core_properties.title or "")
    return Parsed(tuple(sections), "python-pptx", title, "slide", tuple(notes))


def _slide(slide: Any, number: int) -> Section:
    shape = slide.shapes.title
    title = one_line(shape.text_frame.text) if shape is not None else ""
    own_id = shape.shape_id if shape is not None else None
    blocks = [block for block in _blocks(slide.shapes, own_id) if block.strip()]
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        spoken = slide.notes_slide.notes_text_frame.text.strip()
        blocks += [f"Notes: {spoken}"] if spoken else []
    if not blocks:
        return Section(title, number)
    return Section("\n\n".join(blocks), number, None, (title,) if title else ())


def _blocks(shapes: Iterable[Any], title_id: int | None, depth: int = 0) -> Iterator[str]:
    for shape in shapes:
        if (shape.shape_id == title_id and depth == 0) or _is_furniture(shape):
            continue
        if getattr(shape, "shapes", None) is not None and depth < GROUP_DEPTH:
            yield from _blocks(shape.shapes, title_id, depth + 1)
        elif getattr(shape, "has_table", False):
            yield tables.render([[cell.text for cell in row.cells] for row in shape.table.rows])
        elif getattr(shape, "has_chart", False):
            yield _chart(shape.chart)
        elif shape.has_text_frame:
            yield _paragraphs(shape.text_frame)
        elif "diagram" in getattr(shape._element, "xml", "")[:5000]:
            yield _diagram(shape)


def _is_furniture(shape: Any) -> bool:
    """Dates and slide numbers, which say nothing about the slide."""
    from pptx.enum.shapes import PP_PLACEHOLDER

    return shape.is_placeholder and shape.placeholder_format.type in (
        PP_PLACEHOLDER.DATE,
        PP_PLACEHOLDER.SLIDE_NUMBER,
    )


def _diagram(shape: Any) -> str:
    """The words of a SmartArt drawing, which python-pptx does not know."""
    texts: list[str] = []
    wanted = {value for element in shape._element.iter() for value in element.attrib.values()}
    for name, relation in shape.part.rels.items():
        if name in wanted and relation.reltype.endswith("/diagramData") and not relation.is_external:
            for point in parse_xml(relation.target_part.blob).iter():
                if local(point) == "t" and local(point.getparent()) == "r":
                    texts.append(one_line(point.text or ""))
    return "\n".join(f"- {text}" for text in texts if text)


def _paragraphs(frame: Any) -> str:
    texts = [(paragraph.level, one_line(paragraph.text)) for paragraph in frame.paragraphs]
    several = sum(bool(text) for _, text in texts) > 1
    return "\n".join(f"{'  ' * level}- {text}" if several else text for level, text in texts if text)


def _chart(chart: Any) -> str:
    title = chart.chart_title.text_frame.text if chart.has_title and chart.chart_title.has_text_frame else ""
    rows: list[list[str]] = []
    for plot in chart.plots:
        names = [series.name or "" for series in plot.series]
        rows.append(["", *names])
        for n, category in enumerate(plot.categories):
            values = [series.values[n] if n < len(series.values) else None for series in plot.series]
            rows.append([str(category), *("" if value is None else f"{value:g}" for value in values)])
    return f"{title}\n{tables.render(rows, header=True)}".strip()
