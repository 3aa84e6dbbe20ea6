"""What kind of file is this? Content first, extension second."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from rag.ingest.readers.decoding import looks_wide

HEAD_BYTES = 8192
BINARY = "application/octet-stream"
TEXT = "text/plain"
CODE = "text/x-code"
ARCHIVE = "application/x-archive"
LEGACY = "application/x-legacy-office"
ENCRYPTED = "application/x-encrypted-office"

PDF = "application/pdf"
RTF = "application/rtf"
EPUB = "application/epub+zip"
EML = "message/rfc822"
MBOX = "application/mbox"
MSG = "application/vnd.ms-outlook"
HTML, XML, CSV, TSV = "text/html", "application/xml", "text/csv", "text/tab-separated-values"
MARKDOWN, RST = "text/markdown", "text/x-rst"
JSON, JSONL, NOTEBOOK = "application/json", "application/jsonl", "application/x-ipynb+json"
_OOXML = "application/vnd.openxmlformats-officedocument."
DOCX = _OOXML + "wordprocessingml.document"
PPTX = _OOXML + "presentationml.presentation"
XLSX = _OOXML + "spreadsheetml.sheet"
XLSB = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
XLS = "application/vnd.ms-excel"
_ODF = "application/vnd.oasis.opendocument."
ODT, ODS, ODP = _ODF + "text", _ODF + "spreadsheet", _ODF + "presentation"

_TEXT_KINDS = {
    "htm html xhtml xht shtml": HTML,
    "xml rss atom opml rdf xsd dita docbook tei svg": XML,
    "md markdown mdown mkd mdx rmd qmd": MARKDOWN,
    "rst rest": RST,
    "csv": CSV,
    "tsv tab": TSV,
    "json geojson webmanifest": JSON,
    "jsonl ndjson jsonlines": JSONL,
    "ipynb": NOTEBOOK,
    "eml mht mhtml": EML,
    "mbox": MBOX,
    "txt text log srt vtt sub tex adoc asciidoc org": TEXT,
    "py pyi js mjs cjs ts tsx jsx c h cc cpp cxx hpp hh cs java kt kts scala go rs rb php pl pm lua r jl "
    "swift m mm sh bash zsh fish ps1 bat cmd sql toml ini cfg conf yaml yml properties gradle cmake css "
    "scss sass less vue svelte hs ml mli ex exs erl clj lisp el vim tf proto graphql diff patch": CODE,
}
_BINARY_KINDS = {
    "pdf": PDF,
    "docx docm dotx": DOCX,
    "pptx pptm ppsx potx": PPTX,
    "xlsx xlsm xltx": XLSX,
    "xlsb": XLSB,
    "xls": XLS,
    "odt ott": ODT,
    "ods": ODS,
    "odp": ODP,
    "rtf": RTF,
    "epub": EPUB,
    "msg": MSG,
    "doc dot ppt pps": LEGACY,
    "zip tar gz tgz bz2 tbz xz txz 7z rar zst lz4 jar war": ARCHIVE,
}


def _by_extension(kinds: dict[str, str]) -> dict[str, str]:
    return {"." + extension: kind for names, kind in kinds.items() for extension in names.split()}


TEXT_EXTENSIONS = _by_extension(_TEXT_KINDS)
BINARY_EXTENSIONS = _by_extension(_BINARY_KINDS)

_ARCHIVE_MAGIC = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"Rar!",
    b"\x28\xb5\x2f\xfd",
    b"PK\x05\x06",
)
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MEDIA_MAGIC = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\0\0|RIFF|II\*\0|MM\0\*|ID3|\xff\xfb|\xff\xf3|OggS|fLaC|.{4}ftyp|"
    rb"\x7fELF|MZ|\xca\xfe\xba\xbe|SQLite format 3|\0asm|wOF[F2]|%!PS",
    re.DOTALL,
)
_HTML_START = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.I | re.S
)
_PDF_OBJECT = re.compile(r"^\d+ \d+ obj\b", re.M)
_XML_START = re.compile(r"\s*<\?xml\s", re.I)
_MAIL_START = re.compile(
    r"(?:(?:Return-Path|Received|Delivered-To|Message-ID|MIME-Version|X-[\w-]+|From|To|Date|Subject|Content-Type)"
    r": .*\n(?:[ \t].*\n)*){3}",
    re.I,
)


def sniff(path: Path) -> str:
    """Media type of the file at `path`; `BINARY` for a binary of unknown kind. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = sniff_head(head, path.suffix.lower())
    if kind == ARCHIVE and head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if kind == LEGACY and head.startswith(_OLE_MAGIC):
        return _ole_kind(path)
    return kind


def sniff_head(head: bytes, extension: str) -> str:
    """The same from the file's first bytes alone; zip and OLE containers stay unopened."""
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith(b"PK\x03\x04") or head.startswith(_ARCHIVE_MAGIC) or head[257:262] == b"ustar":
        return ARCHIVE
    if head.startswith(_OLE_MAGIC):
        return LEGACY
    if head.startswith(b"{\\rtf"):
        return RTF
    if not is_text(head):
        known = BINARY_EXTENSIONS.get(extension)
        return BINARY if known is None or _MEDIA_MAGIC.match(head) else known
    return _text_kind(head, extension)


def is_text(head: bytes) -> bool:
    """Whether bytes look like text in some encoding."""
    if head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return True
    if _MEDIA_MAGIC.match(head) and sum(byte < 9 for byte in head):
        return False
    if b"\0" in head and looks_wide(head):
        return True
    odd = sum(byte < 32 and byte not in (9, 10, 12, 13, 26, 27) for byte in head)
    return odd <= len(head) * 0.01


def _text_kind(head: bytes, extension: str) -> str:
    if b"\0" in head:
        head = head.replace(b"\0", b"")  # UTF-16 and UTF-32, well enough for markup
    start = head.decode("latin-1").lstrip("\xef\xbb\xbf\xff\xfe")
    named = TEXT_EXTENSIONS.get(extension)
    if named not in (None, TEXT, XML):
        return named
    if _HTML_START.match(start):
        return HTML
    if named == XML or _XML_START.match(start):
        return XML
    if (
        named is None
        and extension not in BINARY_EXTENSIONS
        and _MAIL_START.match(start.replace("\r\n", "\n"))
    ):
        return EML
    if extension == ".pdf" and _PDF_OBJECT.search(start):
        return PDF  # without its first line; never a text to be read
    if extension == ".xls":
        return TSV if "\t" in start else CSV  # many programs call their CSV so
    return named or TEXT


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            declared = archive.read("mimetype")[:100].decode("latin-1").strip() if "mimetype" in names else ""
    except Exception:  # damaged, so the name is all there is
        return BINARY_EXTENSIONS.get(path.suffix.lower(), ARCHIVE)
    for kind in (ODT, ODS, ODP, EPUB):
        if declared.startswith(kind):
            return kind
    if "META-INF/container.xml" in names:
        return EPUB
    lowered = {name.lower().replace("\\", "/") for name in names}
    if "[content_types].xml" in lowered:
        for folder, kind in (("word/", DOCX), ("ppt/", PPTX), ("xl/", XLSX)):
            if any(name.startswith(folder) for name in lowered):
                return XLSB if "xl/workbook.bin" in lowered else kind
    return ARCHIVE


def _ole_kind(path: Path) -> str:
    import olefile  # type: ignore[import-untyped]

    try:
        with olefile.OleFileIO(str(path)) as ole:
            names = {entry[0].lower() for entry in ole.listdir()}
    except Exception:
        return BINARY_EXTENSIONS.get(path.suffix.lower(), LEGACY)
    if "encryptedpackage" in names:
        return ENCRYPTED
    if names & {"workbook", "book"}:
        return XLS
    return MSG if "__properties_version1.0" in names else LEGACY
