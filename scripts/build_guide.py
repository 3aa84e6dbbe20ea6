"""Build the guide's PDF and DOCX in data/ from docs/guide/*.md; the same input gives the same bytes.

Settings are filled in from rag/settings.py, so run it after a default or a source has changed:
`python scripts/build_guide.py`. Needs the packages of the extra "dev".
"""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import argparse
import datetime
import html
import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rag.settings import Settings  # noqa: E402  (the line above makes it importable)

SOURCES = ROOT / "docs" / "guide"
EPOCH = datetime.datetime(2026, 1, 1)
AUTHOR = "The Footnote authors"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a page: `kind` is "h1" to "h4", "paragraph", "item", "code" or "table"."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


# --- source ---------------------------------------------------------------------------------------


def fill(source: str, settings: Settings) -> str:
    """Replace `{{settings}}` by the tables of all settings, `{{ingest.workers}}` by its default."""
    source = source.replace("{{settings}}", "\n".join(_settings_tables(settings)))
    return re.sub(r"\{\{(\w+)\.(\w+)\}\}", lambda m: _shown(getattr(getattr(settings, m[1]), m[2])), source)


def _settings_tables(settings: Settings) -> Iterator[str]:
    for section in Settings.model_fields:
        group = getattr(settings, section)
        purpose = (type(group).__doc__ or "").split(";")[0].strip().rstrip(".").replace("\n", " ")
        yield f"### Settings of the section {section}\n\n{purpose}.\n"
        yield "| Setting | Default | Allowed | Meaning |\n|---|---|---|---|"
        for key, field in type(group).model_fields.items():
            meaning = (field.description or "").replace("|", "or")
            yield f"| {section}.{key} | {_shown(getattr(group, key))} | {_allowed(field)} | {meaning} |"
        yield ""


def _shown(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()  # as footnote.toml writes it
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    if field.annotation is bool:
        return "true or false"
    limits = {
        name: getattr(m, name) for m in field.metadata for name in ("ge", "gt", "le") if hasattr(m, name)
    }
    if "le" in limits:
        low = f"{limits['ge']:g}" if "ge" in limits else f"more than {limits['gt']:g}"
        return f"{low} to {limits['le']:g}"
    if "ge" in limits:
        return f"{limits['ge']:g} or more"
    if "gt" in limits:
        return f"more than {limits['gt']:g}"
    return "a number" if field.annotation is float else "text"


def parse(source: str) -> list[Block]:
    """Markdown to blocks; the guide uses headings, paragraphs, lists, code and tables, no inline marks."""
    from markdown_it import MarkdownIt

    blocks: list[Block] = []
    kind, in_list = "paragraph", 0
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(source):
        match token.type:
            case "heading_open":
                kind = token.tag
            case "paragraph_open":
                kind = "item" if in_list else "paragraph"
            case "bullet_list_open" | "bullet_list_close":
                in_list += token.nesting
            case "code_block" | "fence":
                blocks.append(Block("code", token.content.rstrip("\n")))
            case "table_open":
                rows = []
            case "tr_open":
                rows.append([])
            case "th_open" | "td_open":
                kind = "cell"
            case "table_close":
                blocks.append(Block("table", rows=tuple(tuple(row) for row in rows)))
            case "inline" if kind == "cell":
                rows[-1].append(token.content)
            case "inline":
                blocks.append(Block(kind, " ".join(token.content.split("\n"))))
    return blocks


# --- DOCX -----------------------------------------------------------------------------------------


def build_docx(blocks: list[Block]) -> bytes:
    """A Word file with real headings and tables, its clock set to `EPOCH`."""
    import docx

    document = docx.Document()
    document.styles["Normal"].font.name = "Calibri"
    for block in blocks:
        if block.kind == "table":
            _docx_table(document, block.rows)
        elif block.kind.startswith("h"):
            document.add_heading(block.text, level=int(block.kind[1]) - 1)  # level 0 is the title
        else:
            document.add_paragraph(block.text, style="List Bullet" if block.kind == "item" else None)
    properties = document.core_properties
    properties.title, properties.author = blocks[0].text, AUTHOR
    properties.created = properties.modified = EPOCH
    properties.last_modified_by, properties.comments = AUTHOR, ""
    buffer = io.BytesIO()
    document.save(buffer)
    return _same_bytes(buffer.getvalue())


def _docx_table(document: Any, rows: tuple[tuple[str, ...], ...]) -> None:
    table = document.add_table(rows=len(rows), cols=len(rows[0]), style="Light Grid Accent 1")
    for row, texts in zip(table.rows, rows):
        for cell, text in zip(row.cells, texts):
            cell.text = text
    document.add_paragraph()


def _same_bytes(archive: bytes) -> bytes:
    """The same zip with one fixed date: python-docx stamps each member with the current time."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name, EPOCH.timetuple()[:6])
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, 3
            new.writestr(member, old.read(name))
    return out.getvalue()


# --- PDF ------------------------------------------------------------------------------------------


def build_pdf(blocks: list[Block]) -> bytes:
    """An A4 file with metadata, an outline of its headings, and page numbers."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    class Template(SimpleDocTemplate):
        def afterFlowable(self, flowable: Any) -> None:
            level = getattr(flowable, "outline_level", None)
            if level is not None:
                key = f"heading-{flowable.number}"
                self.canv.bookmarkPage(key)
                self.canv.addOutlineEntry(flowable.getPlainText(), key, level, closed=level > 0)

        def afterPage(self) -> None:
            self.canv.setFont("Helvetica", 8)
            self.canv.drawCentredString(self.pagesize[0] / 2, 34, str(self.page))

    buffer = io.BytesIO()
    template = Template(
        buffer,
        pagesize=A4,
        invariant=1,  # no clock and no random id in the file
        title=blocks[0].text,
        author=AUTHOR,
        subject="The guide to Footnote",
        lang="en",
        leftMargin=62,
        rightMargin=62,
        topMargin=62,
        bottomMargin=68,
    )
    template.build(list(_flowables(blocks, template.width)))
    return buffer.getvalue()


def _flowables(blocks: list[Block], width: float) -> Iterator[Any]:
    from reportlab.platypus import Paragraph, Preformatted, Spacer

    class Whole(Paragraph):
        def split(self, *_: Any) -> list[Any]:
            return []  # a page's foot must not tear a sentence: it could not be quoted any more

    styles = _styles()
    for number, block in enumerate(blocks):
        if block.kind == "table":
            yield _pdf_table(block.rows, styles, width)
            yield Spacer(1, 8)
        elif block.kind == "code":
            yield Preformatted(block.text, styles["code"])
        else:
            paragraph = Whole(
                html.escape(block.text, quote=False),
                styles[block.kind],
                bulletText="\u2022" if block.kind == "item" else None,
            )
            if blocks[number + 1 : number + 2] and blocks[number + 1].kind == "table":
                paragraph.keepWithNext = 1
            if block.kind.startswith("h"):
                paragraph.outline_level, paragraph.number = int(block.kind[1]) - 1, number
            yield paragraph


def _styles() -> dict[str, Any]:
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle

    body = ParagraphStyle("paragraph", fontName="Helvetica", fontSize=10, leading=14.5, spaceAfter=6)
    styles = {
        "paragraph": body,
        "item": ParagraphStyle("item", body, leftIndent=14, bulletIndent=4),
        "code": ParagraphStyle("code", body, fontName="Courier", fontSize=9, leading=12, leftIndent=14),
        "cell": ParagraphStyle("cell", body, fontSize=8.5, leading=11, spaceAfter=0),
        "head": ParagraphStyle(
            "head", body, fontName="Helvetica-Bold", fontSize=8.5, leading=11, spaceAfter=0
        ),
    }
    for kind, size, before in (("h1", 20, 0), ("h2", 14, 14), ("h3", 11, 8)):
        styles[kind] = ParagraphStyle(
            kind,
            body,
            fontName="Helvetica-Bold",
            fontSize=size,
            leading=size * 1.3,
            spaceBefore=before,
            textColor=HexColor(0x1F3A5F),
            keepWithNext=1,
        )
    return styles


def _pdf_table(rows: tuple[tuple[str, ...], ...], styles: dict[str, Any], width: float) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Paragraph, Table

    shares = {2: (0.18, 0.82), 4: (0.3, 0.13, 0.22, 0.35)}[len(rows[0])]
    cells = [
        [Paragraph(html.escape(text, quote=False), styles["cell" if n else "head"]) for text in row]
        for n, row in enumerate(rows)
    ]
    lines = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor(0xC4CCD6)),
        ("BACKGROUND", (0, 0), (-1, 0), HexColor(0xEEF2F7)),
        ("NOSPLIT", (0, 0), (-1, -1)),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 5),  # rows so far apart that readers keep them apart
        ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
    ]
    return Table(
        cells, colWidths=[share * width for share in shares], style=lines, hAlign="LEFT", repeatRows=1
    )


# --- both -----------------------------------------------------------------------------------------

BUILDERS: dict[str, tuple[str, Callable[[list[Block]], bytes]]] = {
    "privacy-and-formats.docx": ("privacy-and-formats.md", build_docx),
    "tuning-and-memory.pdf": ("tuning-and-memory.md", build_pdf),
}


def blocks_of(name: str) -> list[Block]:
    """The filled and parsed source of one built file, as in `blocks_of("tuning-and-memory.pdf")`."""
    source = (SOURCES / BUILDERS[name][0]).read_text(encoding="utf-8")
    return parse(fill(source, Settings()))


def build(folder: Path) -> list[Path]:
    """Write every built file of the guide into `folder`."""
    written = []
    for name, (_, builder) in BUILDERS.items():
        path = folder / name
        path.write_bytes(builder(blocks_of(name)))
        written.append(path)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the guide's PDF and DOCX from docs/guide.")
    parser.add_argument(
        "--into", type=Path, default=ROOT / "data", help="folder to write to (default: data/)"
    )
    for path in build(parser.parse_args().into):
        print(path)


if __name__ == "__main__":
    main()
