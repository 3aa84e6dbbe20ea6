"""Footnote beside what a person writes after a library's quick start: the same texts, the same questions."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
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


def compare(options: Options) -> dict[str, Any]:
    """Measure all sides, one after the other. Raises EvaluationError, BundledModelMissing.

    A side that was measured already is not measured again while questions and code stay.
    """
    work = options.work or cache_root() / "peers"
    work.mkdir(parents=True, exist_ok=True)
    file = work / "paragraphs-as-documents.json"
    file.write_text(json.dumps(apart(json.loads(read_text(options.dataset)))), encoding="utf-8")
    dataset = load_dataset(file)
    asked = draw(dataset, options)
    sides = {FOOTNOTE: _footnote(dataset, asked, work), QUOTES: _footnote(dataset, asked, work, "--no-llm")}
    sides |= {name: _peer(name, dataset, asked, work) for name in options.peers}
    return {
        "dataset": str(options.dataset),
        "foreign": str(options.foreign) if options.foreign else None,
        "seed": options.seed,
        "paragraphs": len(list(dataset.documents())) if dataset.documents else 0,
        "counts": {kind: len(questions) for kind, questions in asdict(asked).items()},
        "packages": {name: PEERS[name] for name in options.peers},
        "sides": sides,
    }


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


def _footnote(dataset: Dataset, asked: Asked, work: Path, *flags: str) -> dict[str, Any]:
    name = "footnote" + "".join(flag[1:] for flag in flags)
    environment = {"FOOTNOTE_INDEX": str(work / f"{name}-index"), "PYTHONPATH": str(CHECKOUT)}
    module = [sys.executable, "-P", "-m", "rag.evaluation.peer_footnote"]
    questions = _written(work / f"{name}-questions.json", asked.as_json())
    ingest = [*module, "ingest", str(work / "paragraphs-as-documents.json")]
    ask = [*module, "ask", str(questions), *flags]
    finished = _measured(name, ingest, ask, work, code_fingerprint((".",)), environment)
    return figures(dataset, asked, *finished)


def _peer(name: str, dataset: Dataset, asked: Asked, work: Path) -> dict[str, Any]:
    embedder = bundled.path(bundled.MINILM).parent
    # This processor and most desktops' read a prompt in float16 several times as slowly.
    model = plain_folder(work / f"{bundled.SMOLLM2.name}-float32", "float32")
    python = ensure(work / name, PEERS[name])
    script = CHECKOUT / "scripts" / "baselines" / f"{name}_qa.py"
    assert dataset.documents is not None
    texts = [{"id": document.path, "text": document.text} for document in dataset.documents()]
    paragraphs = _written(work / "paragraphs.json", texts)
    questions = _written(work / f"{name}-questions.json", asked.as_json())
    index = work / f"{name}-index"
    command = [str(python), str(script)]
    ingest = [*command, "ingest", str(embedder), str(paragraphs), str(index)]
    ask = [*command, "ask", str(embedder), str(index), str(model), str(questions)]
    code = f"{PEERS[name]}{hashlib.sha256(script.read_bytes()).hexdigest()}"
    return figures(dataset, asked, *_measured(name, ingest, ask, work, code, {}))


def _measured(
    name: str, ingest: list[str], ask: list[str], work: Path, code: str, environment: Mapping[str, str]
) -> tuple[Finished, Finished]:
    """Both processes' output, from the last time where the same was measured."""
    inputs = "".join(read_text(Path(word)) for word in {*ingest, *ask} if word.endswith(".json"))
    key = hashlib.sha256(f"{code}{inputs}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    kept = work / f"{name}-{key}.result.json"
    if not kept.exists():
        both = [
            run(f"{name}, {part}", command, work / f"{name}-{part}.log", environment)
            for part, command in (("ingest", ingest), ("ask", ask))
        ]
        _written(kept, [asdict(each) for each in both])
    first, second = (Finished(**each) for each in json.loads(kept.read_text(encoding="utf-8")))
    return first, second


def _written(file: Path, content: Any) -> Path:
    """Aside first, so that a file which is there is whole."""
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(content), encoding="utf-8")
    return aside.replace(file)
