"""Passages by their words, ranked by BM25. The only module that knows tantivy."""

from __future__ import annotations

import math
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rag.errors import IndexDamaged
from rag.store.files import link_or_copy, write_failed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = Sequence[int] | NDArray[np.int64]

HEAP_BYTES = 20_000_000
"""The indexing buffer, emptied into a segment when full; tantivy wants 15 MB at least."""

MAX_QUERY_TERMS = 256
FEW_ALLOWED = 1000
"""Up to here the ids that may be found are part of the query, which costs 1.5 to 3 ms a thousand; more are
picked out of an unfiltered search as deep as it takes: 0.7 ms for 30,000 of 60,000, not 46 (2.4 for none)."""
MAX_TOKEN_BYTES = 64
LOCKS = frozenset({".tantivy-writer.lock", ".tantivy-meta.lock"})
"""Empty files that tantivy creates next to an index, also when it only reads."""

MUTABLE = frozenset({"meta.json", ".managed.json"})
"""What a new version of the index changes; every other file is final once it is written."""

_WORD = r"[\p{Alphabetic}\p{M}\p{N}]+"  # with marks, or Hindi and Thai words fall apart at them
_UNSPACED = re.compile(
    "[\u0e00-\u0e4e\u0e80-\u0ece\u1000-\u104f\u1780-\u17d3\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""Runs of Thai, Lao, Burmese, Khmer, Chinese, Japanese and Korean script."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


@dataclass(frozen=True, slots=True)
class LexicalSettings:
    """How words are compared; fixed when an index is created."""

    stemmer: Literal["english", "none"] = "english"
    stop_words: bool = False


def analyse(text: str) -> str:
    """Prepare text or a question for the word index.

    Composed characters are normalised ("ﬁ" becomes "fi"), soft hyphens go, and in scripts
    without spaces between words every two neighbouring characters become a word.
    """
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return _UNSPACED.sub(_bigrams, text)


def _bigrams(run: re.Match[str]) -> str:
    text = run.group()
    pairs = [text[n : n + 2] for n in range(len(text) - 1)] or [text]
    return f" {' '.join(pairs)} "


class LexicalIndex:
    """A folder of immutable segments. Readers see it as it was when they opened it."""

    def __init__(self, path: Path, settings: LexicalSettings, index: Any) -> None:
        self._path = path
        self._analyzer = _analyzer(settings)
        index.register_tokenizer("footnote", self._analyzer)
        index.config_reader("manual", 0)  # a published index never changes, so nothing is to be watched
        self._index = index
        self._schema = index.schema
        self._searcher = index.searcher()
        self._writer: Any = None

    @classmethod
    def create(cls, path: Path, settings: LexicalSettings) -> LexicalIndex:
        """An empty index in the new folder `path`. Raises IndexWriteFailed."""
        import tantivy

        with _writing(path):
            path.mkdir()
            return cls(path, settings, tantivy.Index(_schema(), str(path)))

    @classmethod
    def open(cls, path: Path, settings: LexicalSettings) -> LexicalIndex:
        """Open with the settings that it was created with. Raises IndexDamaged."""
        import tantivy

        def unreadable(error: BaseException) -> IndexDamaged:
            return IndexDamaged(f"{path} is not a readable word index: {error}", "Run ingest.py --rebuild.")

        with _third_party(unreadable), _lockable(path) as folder:
            return cls(path, settings, tantivy.Index.open(str(folder)))

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def ids(self) -> NDArray[np.int64]:
        """All ids, in no particular order."""
        import numpy as np
        import tantivy

        found = self._searcher.search(tantivy.Query.all_query(), max(len(self), 1), count=False).hits
        return np.array(self._ids_of(found), np.int64)

    def words(self, text: str) -> list[str]:
        """The index terms of a text, in order, as search and indexing see them."""
        return self._analyzer.analyze(analyse(_clean(text)))

    def search(self, question: str, k: int, allowed: Ids | None = None) -> list[tuple[int, float]]:
        """Ids and BM25 scores of the `k` passages that share the rarest words with the question, best first.

        Every character of the question is plain text. With `allowed` only those ids compete.
        """
        terms = list(dict.fromkeys(self.words(question)))[:MAX_QUERY_TERMS]
        k = min(k, len(self))
        if not terms or k <= 0 or (allowed is not None and not len(allowed)):
            return []
        if allowed is not None and len(allowed) > FEW_ALLOWED:
            return self._pick(self._query(terms, None), k, allowed)
        return self._best(self._query(terms, allowed), k)

    def _best(self, query: Any, k: int) -> list[tuple[int, float]]:
        hits = self._searcher.search(query, k, count=False).hits
        return list(zip(self._ids_of(hits), (score for score, _ in hits)))

    def _pick(self, query: Any, k: int, allowed: Ids) -> list[tuple[int, float]]:
        """The `k` best of `allowed`: the order and the scores are those of the unfiltered search."""
        import numpy as np

        depth = min(2 * k * len(self) // len(allowed) + 1, len(self))
        while True:
            best = self._best(query, depth)
            inside = np.isin(np.array([id for id, _ in best], np.int64), np.asarray(allowed, np.int64))
            found = [pair for pair, is_in in zip(best, inside) if is_in]
            if len(found) >= k or len(best) < depth or depth == len(self):
                return found[:k]
            depth = min(4 * depth, len(self))

    def idf(self, word: str) -> float:
        """ln((passages + 1) / (passages with the word + 0.5)), at least 0; 0 for what holds no word.

        Of several index terms in `word` the rarest counts.
        """
        found = [self._searcher.doc_freq("body", term) for term in self.words(word)]
        return max(0.0, math.log((len(self) + 1) / (min(found) + 0.5))) if found else 0.0

    def add(self, id: int, text: str) -> None:
        """Add one passage; visible after `commit`. Raises IndexWriteFailed."""
        import tantivy

        document = tantivy.Document()
        document.add_integer("id", id)
        document.add_text("body", analyse(_clean(text)))
        with _writing(self._path):
            self._open_writer().add_document(document)

    def remove(self, ids: Sequence[int]) -> None:
        """Remove these ids, unknown ones being ignored; visible after `commit`."""
        with _writing(self._path):
            for id in ids:
                self._open_writer().delete_documents_by_term("id", int(id))

    def commit(self) -> None:
        """Write what was added and removed, and let merges finish. Raises IndexWriteFailed."""
        if self._writer is None:
            return
        with _writing(self._path):
            self._writer.commit()
            self._release_writer()
            self._index.reload()
            self._searcher = self._index.searcher()

    def close(self) -> None:
        """Drop what was not committed, and let go of the folder's files."""
        self._writer = self._searcher = self._index = None

    def link_to(self, target: Path) -> None:
        """Make folder `target` a second index of the same content, sharing the segments' bytes."""
        target.mkdir()
        for file in self._path.iterdir():
            if file.name in MUTABLE:
                (target / file.name).write_bytes(file.read_bytes())
            elif file.name not in LOCKS:
                link_or_copy(file, target / file.name)

    def _open_writer(self) -> Any:
        if self._writer is None:
            self._writer = self._index.writer(HEAP_BYTES, 1)
        return self._writer

    def _release_writer(self) -> None:
        writer, self._writer = self._writer, None
        writer.wait_merging_threads()
        for name in LOCKS:
            (self._path / name).unlink(missing_ok=True)

    def _query(self, terms: list[str], allowed: Ids | None) -> Any:
        from tantivy import Occur, Query

        words = Query.boolean_query(
            [(Occur.Should, Query.term_query(self._schema, "body", term, "freq")) for term in terms]
        )
        if allowed is None:
            return words
        members = Query.term_set_query(self._schema, "id", [int(id) for id in allowed])
        return Query.boolean_query([(Occur.Must, words), (Occur.Must, Query.const_score_query(members, 0.0))])

    def _ids_of(self, hits: list[Any]) -> list[int]:
        return self._searcher.fast_field_values("id", [address for _, address in hits])


@contextmanager
def _lockable(path: Path) -> Iterator[Path]:
    """The folder, or a passing one with links to its files where nothing may be written.

    tantivy takes a lock next to an index even to read it. What it has opened stays mapped.
    """
    if os.access(path, os.W_OK) or not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="footnote-") as passing:
        for file in path.iterdir():
            Path(passing, file.name).symlink_to(file.resolve())
        yield Path(passing)


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("id", indexed=True, fast=True)
    builder.add_text_field("body", tokenizer_name="footnote", index_option="freq")  # no phrases, no positions
    return builder.build()


def _analyzer(settings: LexicalSettings) -> Any:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    filters = [Filter.remove_long(MAX_TOKEN_BYTES), Filter.ascii_fold(), Filter.lowercase()]
    if settings.stop_words:
        filters.append(Filter.stopword("english"))
    if settings.stemmer != "none":
        filters.append(Filter.stemmer(settings.stemmer))
    builder = TextAnalyzerBuilder(Tokenizer.regex(_WORD))
    for each in filters:
        builder = builder.filter(each)
    return builder.build()


def _clean(text: str) -> str:
    """Without the halves of surrogate pairs that a JSON file may hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _writing(path: Path) -> Any:
    return _third_party(lambda error: write_failed(path, error))


@contextmanager
def _third_party(translate: Callable[[BaseException], Exception]) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        raise translate(error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what a panic in Rust becomes; it is not an Exception
            raise
        raise translate(error) from error
