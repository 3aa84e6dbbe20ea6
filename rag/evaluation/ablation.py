"""What each choice in retrieval is worth: all variants on all question sets, each measured once."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rag.embedding import load_embedder
from rag.errors import InputNotFound, UsageError
from rag.evaluation.alternatives import Remembering, WithNeighbours, open_index
from rag.evaluation.corpus import INDEXING_CODE, READING_CODE, code_fingerprint
from rag.evaluation.datasets import Dataset, Question, load_dataset
from rag.evaluation.measure import Values, measure_ranking
from rag.evaluation.run import judge_of
from rag.evaluation.variants import DEFAULT, SETS, Variant, settings_of, variants
from rag.reranking import Reranker, load_reranker
from rag.retrieval import Retriever
from rag.settings import Settings

MEASURING_CODE = (
    *INDEXING_CODE,
    READING_CODE,
    "bundled.py",
    "duplicates.py",
    "filters.py",
    "naming.py",
    "reading.py",
    "reranking.py",
    "retrieval.py",
    "evaluation/alternatives.py",
    "evaluation/datasets.py",
    "evaluation/folder.py",
    "evaluation/judge.py",
    "evaluation/measure.py",
    "evaluation/metrics.py",
)
"""When one of these changes, what was measured before is measured again."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure: `sets` in `folder`, at most `sample` questions of each, drawn with `seed`.

    `only` names groups or labels of variants; empty: all.
    """

    folder: Path
    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    sample: int = 300
    seed: int = 0

    def present(self) -> list[str]:
        """The sets asked for, or all that the folder has. Raises InputNotFound."""
        found = [name for name in SETS if (self.folder / SETS[name][0]).exists()]
        if missing := [name for name in self.sets if name not in found]:
            place = self.folder / SETS[missing[0]][0]
            raise InputNotFound(f"there is no {place}", "Leave that set out with --sets, or put it there.")
        if not found:
            places = ", ".join(place for place, _ in SETS.values())
            raise InputNotFound(f"{self.folder} has none of {places}", "Name the folder that holds them.")
        return [name for name in found if not self.sets or name in self.sets]

    def chosen(self) -> list[Variant]:
        """The default first. Raises UsageError for a name that is neither a group's nor a label."""
        offered = variants()
        known = {name.lower() for each in offered for name in (each.group, each.label)}
        for name in self.only:
            if name.lower() not in known:
                groups = ", ".join(dict.fromkeys(each.group for each in offered))
                raise UsageError(f"no variant or group is called '{name}'", f"Groups: {groups}.")
        wanted = {name.lower() for name in self.only}
        return [
            DEFAULT,
            *(
                each
                for each in offered
                if not wanted or each.group.lower() in wanted or each.label.lower() in wanted
            ),
        ]


class Results:
    """What was measured, one JSON object a line; a line that an interruption cut off does not count."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, dict[str, Any]] = {}
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                result = json.loads(line)
                self._found[result["key"]] = result
            except (ValueError, KeyError, TypeError):
                continue

    def get(self, key: str) -> dict[str, Any] | None:
        return self._found.get(key)

    def add(self, result: dict[str, Any]) -> None:
        """Keep a result, on disk when this returns."""
        with self._file.open("a", encoding="utf-8") as out:
            out.write("\n" * self._torn + json.dumps(result) + "\n")
        self._torn = False
        self._found[result["key"]] = result


Measured = tuple[Values, tuple[str, ...]]
"""Values per question, and notes on what was left out."""


class Ablation:
    """Variants x sets: what is measured already is taken from the results."""

    def __init__(
        self,
        options: Options,
        results: Results,
        measure: Callable[[Variant, Dataset, Sequence[Question]], Measured] | None = None,
    ) -> None:
        self.options = options
        self.results = results
        self.sets = options.present()
        self.variants = options.chosen()
        self._measure = measure or Measurer()
        self._datasets = {name: load_dataset(options.folder / SETS[name][0]) for name in self.sets}
        self._fingerprints = {name: _fingerprint(dataset) for name, dataset in self._datasets.items()}

    def run(self) -> None:
        """Measure what is missing, set by set. Raises EvaluationError, StoreError, ModelError."""
        missing = self.missing()
        for number, (name, variant) in enumerate(missing, start=1):
            print(f"[{number}/{len(missing)}] {name}: {variant.label}", file=sys.stderr, flush=True)
            if self.result(variant, name) is None:  # one choice may have two names
                dataset = self._datasets[name]
                questions = dataset.sample(self.options.sample, self.options.seed, answerable=True)
                self._keep(variant, name, self._measure(variant, dataset, questions))

    def missing(self) -> list[tuple[str, Variant]]:
        """Each set with each variant that is to be measured on it and is not yet."""
        return [
            (name, variant)
            for name in self.sets
            for variant in self.variants
            if name in variant.sets and self.result(variant, name) is None
        ]

    def result(self, variant: Variant, name: str) -> dict[str, Any] | None:
        """What was measured of a variant on a set; None: nothing yet."""
        return self.results.get(self._key(variant, name))

    def _key(self, variant: Variant, name: str) -> str:
        decides = (
            variant.choice,
            settings_of(variant).model_dump(mode="json"),
            self._fingerprints[name],
            _code(),
            self.options.sample,
            self.options.seed,
        )
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def _keep(self, variant: Variant, name: str, measured: Measured) -> None:
        values, notes = measured
        self.results.add(
            {
                "key": self._key(variant, name),
                "set": name,
                "group": variant.group,
                "label": variant.label,
                **variant.choice,
                "sample": self.options.sample,
                "seed": self.options.seed,
                "notes": notes,
                "per_question": {figure: values[figure] for figure in SETS[name][1]},
            }
        )


class Measurer:
    """Measures a variant on a set; models stay loaded, and no pair is read twice."""

    def __init__(self) -> None:
        self._embedder = cache(load_embedder)
        self._rerankers: dict[str, Reranker | None] = {}

    def __call__(self, variant: Variant, dataset: Dataset, questions: Sequence[Question]) -> Measured:
        settings = settings_of(variant)
        retrieval, embedder = settings.retrieval, self._embedder(settings.embedding)
        with open_index(dataset, embedder, settings, variant.indexing) as generation:
            retriever = Retriever(
                generation,
                embedder,
                self._reranker(settings),
                retrieval,
                variant.fusion,
                variant.alike,
            )
            searcher = WithNeighbours(retriever, variant.grown) if variant.grown else retriever
            judge = judge_of(dataset, generation)
            values = measure_ranking(questions, lambda q, depth: searcher.search(q.text, depth), judge)
            return values, (*dataset.notes, *judge.notes)

    def _reranker(self, settings: Settings) -> Reranker | None:
        name = settings.retrieval.rerank
        if name not in self._rerankers:
            loaded = load_reranker(settings.retrieval)
            self._rerankers[name] = Remembering(loaded) if loaded else None
        return self._rerankers[name]


@cache
def _code() -> str:
    return code_fingerprint(MEASURING_CODE)


def _fingerprint(dataset: Dataset) -> str:
    """Changes with the questions, and with the corpus or the folder's files."""
    digest = hashlib.sha256(f"{dataset.fingerprint}\n{dataset.questions}".encode("utf-8", "surrogatepass"))
    if dataset.folder:
        for file in sorted(path for path in dataset.folder.rglob("*") if path.is_file()):
            digest.update(file.name.encode("utf-8", "surrogatepass") + file.read_bytes())
    return digest.hexdigest()
