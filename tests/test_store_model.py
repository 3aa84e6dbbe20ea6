"""Any sequence of changes, publishes and rollbacks gives what a dictionary would give."""

import copy
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rag.store.generation import Collection
from tests.store_samples import chunks_of, document, put, vector, writer_of

TEXTS = [f"word{n} is common\nshared passage" if n % 2 else f"word{n} stands alone" for n in range(6)]
PATHS = [f"/docs/{letter}" for letter in "abcd"]


class StoreAgreesWithADictionary(RuleBasedStateMachine):
    """The model maps each path to its text; `published` are the states that can be live, newest last."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.collection = Collection(Path(self.folder.name), "model")
        self.model, self.published, self.writer = {}, [], None

    def teardown(self):
        if self.writer:
            self.writer.close()
        self.folder.cleanup()

    def _open_writer(self):
        self.writer = self.writer or writer_of(self.collection)
        return self.writer

    @rule(text=st.sampled_from(TEXTS), path=st.sampled_from(PATHS))
    def put_file(self, text, path):
        self.model[path] = text
        holders = sorted(each for each, held in self.model.items() if held == text)
        put(self._open_writer(), document(text, "title"), *holders)

    @rule(path=st.sampled_from(PATHS))
    def remove_file(self, path):
        text = self.model.pop(path, None)
        writer = self._open_writer()
        writer.remove_ledger(path)
        if text is not None:
            holders = sorted(each for each, held in self.model.items() if held == text)
            writer.set_paths(document(text).id, holders)

    @rule(text=st.sampled_from(TEXTS))
    def remove_document(self, text):
        self.model = {path: held for path, held in self.model.items() if held != text}
        self._open_writer().remove_document(document(text).id)

    @rule()
    def publish(self):
        self._open_writer().publish().close()
        self.writer = None
        self.published = [*self.published, copy.deepcopy(self.model)][-3:]

    @precondition(lambda self: self.writer)
    @rule()
    def discard(self):
        self.writer.close()
        self.writer = None
        self.model = copy.deepcopy(self.published[-1]) if self.published else {}

    @precondition(lambda self: self.writer is None and len(self.published) > 1)
    @rule()
    def roll_back(self):
        self.collection.rollback().close()
        self.published.pop()
        self.model = copy.deepcopy(self.published[-1])

    @precondition(lambda self: self.published)
    @invariant()
    def readers_see_what_was_published(self):
        live = self.published[-1]
        assert self.collection.verify().problems == ()
        with self.collection.open() as generation:
            found = {path: d.id for d in generation.documents() for path in d.paths}
            assert found == {path: document(text).id for path, text in live.items()}
            assert {row.path for row in generation.ledger()} >= set(live)
            stored = generation.chunks(generation.chunk_ids().tolist())
            expected = [
                chunk for text in sorted(set(live.values())) for chunk in chunks_of(document(text, "title"))
            ]
            assert sorted(c.id for c in stored.values()) == sorted(c.id for c in expected)
            for row, chunk in stored.items():
                vectors = generation.vectors.reconstruct([row])
                assert vectors[0].tolist() == vector(chunk.searchable).tolist()
                words = [id for id, _ in generation.lexical.search(chunk.text, len(stored))]
                assert row in words


StoreAgreesWithADictionary.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=14,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestStore = StoreAgreesWithADictionary.TestCase
