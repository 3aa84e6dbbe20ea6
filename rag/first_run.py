"""The first question needs an index: build one from the guide in `data/`, and make the model quick."""

from __future__ import annotations

import sys
import time

from rag.console import is_terminal
from rag.errors import IndexLocked
from rag.places import CHECKOUT, index_root
from rag.settings import DEFAULT_COLLECTION, Settings
from rag.store.generation import Collection

GUIDE = CHECKOUT / "data"


def ensure_index(collection: str, settings: Settings, with_model: bool = True) -> None:
    """Index the built-in guide if the default collection does not exist yet, and prepare the model then."""
    target = Collection(index_root(), collection)
    if collection != DEFAULT_COLLECTION or target.exists():
        return
    from rag.embedding import load_embedder
    from rag.ingest.pipeline import ingest
    from rag.ingest.progress import shown

    print("No index yet: reading the built-in guide in data/ first.", file=sys.stderr)
    print("Your own documents: python scripts/ingest.py FOLDER", file=sys.stderr)
    while not target.exists():
        try:
            with shown(sys.stderr, is_terminal(sys.stderr)) as tell:
                embedder = load_embedder(settings.embedding)
                ingest(GUIDE, target, embedder, settings, tell)
        except IndexLocked:  # another copy was started at the same time; it builds the same index
            time.sleep(1)
    if with_model:
        _prepare_model(settings)


def _prepare_model(settings: Settings) -> None:
    from rag.loader.load import prepare
    from rag.loader.progress import shown

    with shown(sys.stderr, is_terminal(sys.stderr)) as tell:
        prepare(settings.model, tell)
