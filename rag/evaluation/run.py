"""From a dataset to figures: index it, ask it, sum up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.embedding import load_embedder
from rag.evaluation.corpus import open_corpus
from rag.evaluation.datasets import Dataset, load_dataset
from rag.evaluation.judge import Judge
from rag.evaluation.measure import Values, measure_answers, measure_retrieval
from rag.reranking import load_reranker
from rag.retrieval import Retriever
from rag.settings import Settings
from rag.store.generation import Generation

if TYPE_CHECKING:
    from rag.engine import Engine


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure: at most `sample` questions of each kind, drawn with `seed`."""

    dataset: Path
    sample: int = 300
    seed: int = 0
    split: str | None = None
    retrieval_only: bool = False
    with_model: bool = True
    foreign: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Values per question of everything that was measured; `answers` is empty where none was asked for."""

    options: Options
    settings: dict[str, Any]
    retrieval: Values
    answers: Values = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def evaluate(options: Options, settings: Settings) -> Outcome:
    """Measure retrieval, then answers. Raises EvaluationError, StoreError, ModelError."""
    dataset = load_dataset(options.dataset, options.split)
    foreign = load_dataset(options.foreign) if options.foreign else None
    questions = dataset.sample(options.sample, options.seed, answerable=True)
    answers: Values = {}
    with _retriever(dataset, settings) as retriever:
        used = {**settings.model_dump(mode="json"), "embedder": retriever.embedder.name, "llm": None}
        judge = judge_of(dataset, retriever.generation)
        retrieval = measure_retrieval(questions, retriever, judge)
        if not options.retrieval_only:
            with _engine(retriever, settings, options.with_model) as engine:
                used["llm"] = engine.model.info.name if engine.model else None
                answers = measure_answers(
                    engine,
                    questions,
                    dataset.sample(options.sample, options.seed, answerable=False),
                    foreign.sample(options.sample, options.seed) if foreign else [],
                )
    return Outcome(options, used, retrieval, answers, (*dataset.notes, *judge.notes))


@contextmanager
def open_dataset_engine(dataset: Dataset, settings: Settings, with_model: bool = True) -> Iterator[Engine]:
    """The engine that users get, on the dataset's own index."""
    with _retriever(dataset, settings) as retriever, _engine(retriever, settings, with_model) as engine:
        yield engine


@contextmanager
def _retriever(dataset: Dataset, settings: Settings) -> Iterator[Retriever]:
    embedder = load_embedder(settings.embedding)
    with open_corpus(dataset, embedder, settings) as generation:
        yield Retriever(generation, embedder, load_reranker(settings.retrieval), settings.retrieval)


@contextmanager
def _engine(retriever: Retriever, settings: Settings, with_model: bool) -> Iterator[Engine]:
    """The engine that users get, on the dataset's index."""
    from rag.engine import Engine
    from rag.evidence import EvidenceFinder

    evidence = EvidenceFinder(retriever.reranker)
    if not with_model:
        yield Engine(retriever, evidence, None, settings.answer)
        return
    from rag.loader.load import open_model

    with closing(open_model(settings.model)) as model:
        yield Engine(retriever, evidence, model, settings.answer)


def judge_of(dataset: Dataset, generation: Generation) -> Judge:
    """Grades what is found in this index of the dataset."""
    paths = {document.id: document.paths for document in generation.documents()}
    judged_by_document = dataset.relevant == "document"  # then the texts need not be read
    chunks = {} if judged_by_document else generation.chunks(generation.chunk_ids().tolist())
    return Judge(dataset, paths, chunks.values(), generation.document_text)
