"""What a generation says about itself, and which generations are live: MANIFEST.json and CURRENT."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rag.errors import IndexDamaged, IndexMismatch, IndexMissing
from rag.settings import ChunkSettings, EmbeddingSettings
from rag.store import files
from rag.store.lexical import LOCKS, LexicalSettings

SCHEMA_VERSION = 1
MANIFEST = "MANIFEST.json"
CURRENT = "CURRENT"
VECTORS = "vectors.faiss"
CHUNKS = "chunks.sqlite"
LEXICAL = "lexical"
_CURRENT_LINE = re.compile(r"(gen-(\d{6,}))[ ]([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class EmbedderIdentity:
    """Which model made the vectors. Name, revision and dimension decide whether two spaces are one.

    `source` is what to write as `embedding.model` to load it again.
    """

    name: str
    revision: str
    dimension: int
    max_tokens: int = 0
    query_prefix: str = ""
    passage_prefix: str = ""
    source: str = ""

    @classmethod
    def of(cls, embedder: Any) -> EmbedderIdentity:
        """The identity of anything that follows the Embedder protocol."""
        return cls(
            embedder.name,
            embedder.revision,
            embedder.dimension,
            embedder.max_tokens,
            getattr(embedder, "query_prefix", ""),
            getattr(embedder, "passage_prefix", ""),
            getattr(embedder, "source", ""),
        )

    @property
    def space(self) -> tuple[str, str, int]:
        return self.name, self.revision, self.dimension

    def preferred(self, settings: EmbeddingSettings) -> EmbeddingSettings:
        """The settings, with this embedder unless they name one themselves."""
        if "model" in settings.model_fields_set or not self.source:
            return settings
        return settings.model_copy(update={"model": self.source})

    def __str__(self) -> str:
        known_as = self.name if self.source in ("", "bundled") else self.source
        return f"{known_as} (revision {self.revision}, {self.dimension} dimensions)"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size in bytes and sha256, in hex, of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a generation holds."""

    documents: int = 0
    chunks: int = 0
    vectors: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """A generation's own description; `files` are all its files but this one."""

    embedder: EmbedderIdentity
    chunking: ChunkSettings
    lexical: LexicalSettings
    counts: Counts = Counts()
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    created: str = ""
    footnote: str = ""
    schema: int = SCHEMA_VERSION

    @property
    def size_bytes(self) -> int:
        return sum(entry.size for entry in self.files.values())

    def describing(self, folder: Path, counts: Counts, known: Mapping[str, FileEntry]) -> Manifest:
        """This manifest for the files in `folder`; only those without an entry in `known` are hashed."""
        sizes = _content(folder)
        sums = files.digests(folder, [name for name in sizes if name not in known])
        entries = {
            name: known.get(name) or FileEntry(size, sums[name]) for name, size in sorted(sizes.items())
        }
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(self, counts=counts, files=entries, created=now, footnote=_footnote_version())

    def to_json(self) -> str:
        fields = asdict(replace(self, chunking=self.chunking.model_dump()))  # type: ignore[arg-type]
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, place: Path) -> Manifest:
        """Raises IndexMismatch for another schema, IndexDamaged for anything that is no manifest."""
        rebuild = fix("--rebuild", place.parent.parent.name)
        try:
            fields = json.loads(text)
            if fields["schema"] != SCHEMA_VERSION:
                found = fields["schema"]
                raise IndexMismatch(
                    f"{place} has schema {found}, this version reads {SCHEMA_VERSION}", rebuild
                )
            fields["embedder"] = EmbedderIdentity(**fields["embedder"])
            fields["chunking"] = ChunkSettings(**fields["chunking"])
            fields["lexical"] = LexicalSettings(**fields["lexical"])
            fields["counts"] = Counts(**fields["counts"])
            fields.pop("tokens", None)  # once there were token vectors, which nothing reads any more
            fields["files"] = {name: FileEntry(**entry) for name, entry in fields["files"].items()}
            return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise IndexDamaged(f"{place} is not a manifest: {error}", rebuild) from error

    def check_sizes(self, folder: Path) -> None:
        """Compare the files in `folder` with this manifest, by name and size alone. Raises IndexDamaged."""
        sizes = _content(folder)
        for name, entry in self.files.items():
            if name not in sizes:
                raise damaged(folder / name, "is missing")
            if sizes[name] != entry.size:
                raise damaged(folder / name, f"has {sizes[name]} bytes instead of {entry.size}")
        for name in sizes:
            if name not in self.files:
                raise damaged(folder / name, "does not belong there")

    def check_files(self, folder: Path) -> None:
        """Compare every byte in `folder` with this manifest. Raises IndexDamaged naming the file."""
        self.check_sizes(folder)
        largest_first = sorted(self.files, key=lambda name: -self.files[name].size)
        for name, sha256 in files.digests(folder, largest_first).items():
            if sha256 != self.files[name].sha256:
                raise damaged(folder / name, "differs from what was written")


@dataclass(frozen=True, slots=True)
class Pointer:
    """A line of CURRENT: a generation and the sha256 of its manifest."""

    number: int
    sha256: str

    @classmethod
    def to(cls, number: int, manifest: str) -> Pointer:
        return cls(number, hashlib.sha256(manifest.encode()).hexdigest())

    def __str__(self) -> str:
        return f"{folder_name(self.number)} {self.sha256}"


def folder_name(number: int) -> str:
    return f"gen-{number:06d}"


def read_current(collection: Path) -> list[Pointer]:
    """The live generation and those that it may be rolled back to, newest first; [] where there is none.

    Raises IndexDamaged when CURRENT holds anything else.
    """
    path = collection / CURRENT
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise IndexDamaged(f"{path} cannot be read: {error}", fix("--rebuild", collection.name)) from error
    lines = [_CURRENT_LINE.fullmatch(line) for line in text.splitlines()]
    if not lines or not all(lines):
        raise IndexDamaged(f"{path} does not name a generation", fix("--rebuild", collection.name))
    return [Pointer(int(match[2]), match[3]) for match in lines if match]


def read_manifest(collection: Path, pointer: Pointer) -> Manifest:
    """The manifest that `pointer` vouches for. Raises IndexDamaged, IndexMismatch."""
    path = collection / folder_name(pointer.number) / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise damaged(path, "is missing" if isinstance(error, FileNotFoundError) else str(error)) from error
    if hashlib.sha256(content).hexdigest() != pointer.sha256:
        raise damaged(path, "differs from what was written")
    return Manifest.from_json(content.decode(), path)


def missing(collection: Path) -> IndexMissing:
    """The error for a collection's folder without an index."""
    return IndexMissing(
        f"there is no index '{collection.name}' in {collection.parent}", fix("", collection.name)
    )


def damaged(path: Path, how: str) -> IndexDamaged:
    """The error for a file somewhere in a generation's folder."""
    collection = next((p.parent.name for p in path.parents if p.name.startswith("gen-")), "")
    command = fix("--rollback", collection).rstrip(".")
    return IndexDamaged(
        f"the index is damaged: {path} {how}", f"{command}, or --rebuild to read all documents again."
    )


def fix(option: str, collection: str) -> str:
    """The command for the user to run."""
    folder = [] if option == "--rollback" else ["FOLDER"]
    named = [] if collection in ("", "default") else ["--collection", collection]
    return " ".join(["Run: python scripts/ingest.py", *folder, *filter(None, [option]), *named]) + "."


def _content(folder: Path) -> dict[str, int]:
    """Sizes of the files that a manifest must list."""
    uncounted = {MANIFEST} | {f"{LEXICAL}/{name}" for name in LOCKS}
    return {name: size for name, size in files.list_files(folder).items() if name not in uncounted}


def _footnote_version() -> str:
    try:
        return version("footnote-rag")
    except PackageNotFoundError:
        return "unknown"
