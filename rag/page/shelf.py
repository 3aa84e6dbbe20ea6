"""Open indexes, shared by all tabs: each is opened once, and again when a new generation is live."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rag.embedding import Embedder, load_embedder
from rag.evidence import EvidenceFinder
from rag.reranking import Reranker, load_reranker
from rag.retrieval import Retriever
from rag.settings import EmbeddingSettings, Settings
from rag.store.generation import Collection, Generation


@dataclass(slots=True)
class _Open:
    retriever: Retriever
    readers: int = 0
    outdated: bool = False

    @property
    def generation(self) -> Generation:
        return self.retriever.generation


class Shelf:
    """The collections in folder `root`; embedders and the reader are loaded once, when first needed.

    Who reads a generation keeps it until he is done, also when another one has become live since.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self._settings = settings
        self._lock = threading.RLock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._open: dict[str, _Open] = {}
        self._evidence: EvidenceFinder | None = None
        self._embedders: dict[EmbeddingSettings, Embedder] = {}

    def collection(self, name: str) -> Collection:
        return Collection(self.root, name)

    @contextmanager
    def reading(self, name: str) -> Iterator[Retriever]:
        """The retriever of the live generation. Raises StoreError, UsageError."""
        with self._opening[name]:  # to look at every byte takes a while, which others need not wait for
            held = self._live(name)
        try:
            yield held.retriever
        finally:
            with self._lock:
                held.readers -= 1
                self._close_if_done(held)

    def put_away(self, name: str) -> None:
        """Let go of a collection that is renamed or deleted, once nobody reads it."""
        with self._lock:
            if held := self._open.pop(name, None):
                held.outdated = True
                self._close_if_done(held)

    @property
    def reranker(self) -> Reranker | None:
        return self.evidence.reranker

    @property
    def evidence(self) -> EvidenceFinder:
        with self._lock:
            if self._evidence is None:
                self._evidence = EvidenceFinder(load_reranker(self._settings.retrieval))
            return self._evidence

    def embedder(self, settings: EmbeddingSettings) -> Embedder:
        """The one embedder of these settings."""
        with self._lock:
            if settings not in self._embedders:
                self._embedders[settings] = load_embedder(settings)
            return self._embedders[settings]

    def _live(self, name: str) -> _Open:
        """What is open of the live generation, with one reader more."""
        collection = self.collection(name)
        live = collection.live_number()
        with self._lock:
            held = self._open.get(name)
            if held and held.generation.number == live:
                held.readers += 1
                return held
        generation = collection.open()
        embedder = self.embedder(generation.manifest.embedder.preferred(self._settings.embedding))
        opened = _Open(Retriever(generation, embedder, self.reranker, self._settings.retrieval), readers=1)
        with self._lock:
            self.put_away(name)
            self._open[name] = opened
        return opened

    def _close_if_done(self, held: _Open) -> None:
        if held.outdated and not held.readers:
            held.generation.close()
