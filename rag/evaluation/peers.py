"""Footnote beside what a person writes after a library's quick start: the same texts, the same questions."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rag import bundled
from rag.errors import EvaluationError
from rag.evaluation.corpus import code_fingerprint
from rag.evaluation.datasets import Dataset, load_dataset, read_text
from rag.evaluation.peer_environment import ensure
from rag.evaluation.peer_judge import Asked, figures
from rag.evaluation.peer_process import Finished, run
from rag.evaluation.plain_model import plain_folder
from rag.places import CHECKOUT, cache_root

TORCH = "torch==2.13.0"
PEERS: Mapping[str, tuple[str, ...]] = {
    "langchain": (
        TORCH,
        "transformers==5.24.0",
        "langchain==1.5.2",
        "langchain-core==1.8.3",
        "langchain-text-splitters==1.1.3",
        "langchain-huggingface==1.2.3",
        "sentence-transformers==6.2.0",
        "numpy==2.4.6",
    ),
    "txtai": (TORCH, "transformers==5.24.0", "txtai==9.14.0", "faiss-cpu==1.15.1", "numpy==2.4.6"),
}
"""Each peer's packages, as its quick start needs them; its script is scripts/baselines/NAME_qa.py."""
Run = Callable[[str, Sequence[str], Path, Mapping[str, str]], Finished]
"""A name to tell, a command, its log, variables of its own -> what it printed."""
FOOTNOTE, QUOTES = "Footnote", "Footnote --no-llm"


@dataclass(frozen=True, slots=True)
class Options:
    """What to compare: `sample` questions of each of three kinds are answered, `searches` are searched for.

    `foreign` is another set, whose questions the texts do not answer. What is made lies in `work`.
    """

    dataset: Path
    foreign: Path | None = None
    sample: int = 100
    searches: int = 300
    seed: int = 0
    peers: tuple[str, ...] = tuple(PEERS)
    work: Path | None = None


def compare(options: Options, run: Run = run) -> dict[str, Any]:
    """Measure all sides, one after the other. Raises EvaluationError, BundledModelMissing.

    A side that was measured already is not measured again while questions and code stay.
    """
    work = options.work or cache_root() / "peers"
    work.mkdir(parents=True, exist_ok=True)
    bench = _Bench(options, work, run)
    sides = {FOOTNOTE: bench.footnote(), QUOTES: bench.footnote("--no-llm")}
    sides |= {name: bench.peer(name) for name in options.peers}
    return {
        "dataset": str(options.dataset),
        "foreign": str(options.foreign) if options.foreign else None,
        "seed": options.seed,
        "paragraphs": len(bench.documents),
        "counts": bench.asked.counts,
        "packages": {name: PEERS[name] for name in options.peers},
        "sides": sides,
    }


class _Bench:
    """The texts and questions, written down for the sides' processes, and each side measured on them."""

    def __init__(self, options: Options, work: Path, run: Run) -> None:
        load_dataset(options.dataset)  # says in words what is wrong with a file that is none
        squad = json.loads(read_text(options.dataset))
        self._work, self._run = work, run
        self._set = _written(work / "paragraphs-as-documents.json", apart(squad))
        self._dataset = load_dataset(self._set)
        self.asked = draw(self._dataset, options)
        self._questions = _written(work / "questions.json", self.asked.as_json())
        self.documents = list(self._dataset.documents()) if self._dataset.documents else []

    def footnote(self, *flags: str) -> dict[str, Any]:
        name = "footnote" + "".join(flag[1:] for flag in flags)
        environment = {"FOOTNOTE_INDEX": str(self._work / f"{name}-index"), "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-P", "-m", "rag.evaluation.peer_footnote"]
        ingest, ask = ["ingest", str(self._set)], ["ask", str(self._questions), *flags]
        return self._figures(name, command, ingest, ask, code_fingerprint((".",)), environment)

    def peer(self, name: str) -> dict[str, Any]:
        embedder = str(bundled.path(bundled.MINILM).parent)
        # Many processors read a prompt in float16 several times as slowly.
        model = plain_folder(self._work / f"{bundled.SMOLLM2.name}-float32", "float32")
        python = ensure(self._work / name, PEERS[name])
        script = CHECKOUT / "scripts" / "baselines" / f"{name}_qa.py"
        texts = [{"id": document.path, "text": document.text} for document in self.documents]
        paragraphs = _written(self._work / "paragraphs.json", texts)
        index = str(self._work / f"{name}-index")
        ingest = ["ingest", embedder, str(paragraphs), index]
        ask = ["ask", embedder, index, str(model), str(self._questions)]
        code = f"{PEERS[name]}{hashlib.sha256(script.read_bytes()).hexdigest()}"
        return self._figures(name, [str(python), str(script)], ingest, ask, code, {})

    def _figures(
        self,
        name: str,
        command: Sequence[str],
        ingest: Sequence[str],
        ask: Sequence[str],
        code: str,
        environment: Mapping[str, str],
    ) -> dict[str, Any]:
        """From the last time, where the same was measured: `code` changes with what a side runs."""
        inputs = [read_text(Path(word)) for word in (*ingest, *ask) if word.endswith(".json")]
        key = hashlib.sha256(f"{code}{inputs}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
        kept = self._work / f"{name}-{key}.result.json"
        if not kept.exists():
            both = [
                self._run(
                    f"{name}, {what}",
                    [*command, what, *words],
                    self._work / f"{name}-{what}.log",
                    environment,
                )
                for what, *words in (ingest, ask)
            ]
            _written(kept, [asdict(each) for each in both])
        ingested, answered = (Finished(**each) for each in json.loads(kept.read_text(encoding="utf-8")))
        return figures(self._dataset, self.asked, ingested, answered)


def apart(squad: Mapping[str, Any]) -> dict[str, Any]:
    """The same set with an article for each paragraph: a document whose questions only it answers.

    Raises EvaluationError where it is not SQuAD-shaped.
    """
    try:
        paragraphs = [paragraph for article in squad["data"] for paragraph in article["paragraphs"]]
    except (KeyError, TypeError) as error:
        raise EvaluationError("the dataset is not SQuAD-shaped", "Use a .json file like SQuAD's.") from error
    return {
        "data": [{"title": f"{at:05}", "paragraphs": [each]} for at, each in enumerate(paragraphs, start=1)]
    }


def draw(dataset: Dataset, options: Options) -> Asked:
    """The questions of each kind, drawn with the seed."""
    foreign = load_dataset(options.foreign).sample(options.sample, options.seed) if options.foreign else []
    return Asked(
        tuple(dataset.sample(options.searches, options.seed, answerable=True)),
        tuple(dataset.sample(options.sample, options.seed, answerable=True)),
        tuple(dataset.sample(options.sample, options.seed, answerable=False)),
        tuple(foreign),
    )


def _written(file: Path, content: Any) -> Path:
    """Aside first, so that a file which is there is whole."""
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(content), encoding="utf-8")
    return aside.replace(file)
