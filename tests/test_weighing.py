"""Fixed questions that tell a model that reads from one that does not, once a machine."""

from contextlib import closing

import pytest

from rag.loader.base import Usage
from rag.loader.load import open_model
from rag.reading import BundledReader
from rag.settings import Settings
from rag.types import ModelInfo
from rag.weighing import READS, SAMPLES, hit_of, is_right, reads


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTNOTE_CACHE", str(tmp_path))


class Answering:
    """Answers each sample with its right words, or with all of its passage."""

    def __init__(self, name, reads_well):
        self.info = ModelInfo(name, "fake", "none", 7_000_000_000, 4096)
        self.reads_well, self.asked = reads_well, 0

    def count_tokens(self, messages):
        return 10

    def stream(self, messages, sampling, cancel=None):
        self.asked += 1
        sample = next(s for s in SAMPLES if s.question in messages[-1].content)
        yield "It is " + (sample.right if self.reads_well else sample.passage)
        return Usage(1, 1, "stop")

    def close(self):
        return


def test_a_model_is_asked_once_a_machine():
    model = Answering("good", True)
    assert (reads(model), model.asked) == (1.0, len(SAMPLES))
    assert (reads(model), model.asked) == (1.0, len(SAMPLES))


def test_who_repeats_the_passage_has_not_read_it():
    assert reads(Answering("parrot", False)) == 0.0


def test_the_reader_reads_as_well_as_it_asks_of_models():
    reader, right = BundledReader(), []
    for sample in SAMPLES:
        span = reader.read(sample.question, [hit_of(sample).chunk])[0].spans[0]
        right.append(is_right(sample.passage[span.start : span.end], sample))
    assert sum(right) / len(right) >= READS


def test_the_bundled_model_reads_worse_than_the_reader():
    with closing(open_model(Settings().model)) as model:
        assert reads(model) < READS
