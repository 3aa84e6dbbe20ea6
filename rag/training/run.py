"""From SQuAD-shaped files to a reader in int8 and its figures."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag import bundled
from rag.embedding import load_embedder
from rag.errors import EvaluationError, InputNotFound
from rag.reading import Reader
from rag.reranking import BundledReranker
from rag.settings import load_settings
from rag.training import examples
from rag.training.assess import assess
from rag.training.encoding import Encoder
from rag.training.examples import Example
from rag.training.export import export
from rag.training.learning import Recipe, learn
from rag.training.network import from_cross_encoder

TOLD_EVERY = 20
MODEL, TOKENIZER, FIGURES = "model.onnx", "tokenizer.json", "figures.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What to train on, what to keep for measuring, and where to put things."""

    data: tuple[Path, ...]
    held_out: tuple[str, ...]
    output: Path
    work: Path
    layers: int = 12
    epochs: float = 3.0
    seed: int = 0
    steps: int | None = None
    stop_at: int | None = None
    questions: int | None = None

    @property
    def checkpoint(self) -> Path:
        """Named after all that decides the weights: no other run goes on from it."""
        names = sorted(path.name for path in self.data), sorted(self.held_out)
        decides = (*names, self.layers, self.epochs, self.seed, self.steps, self.questions)
        return self.work / f"checkpoint-{hashlib.sha256(repr(decides).encode()).hexdigest()[:12]}.pt"


def train(job: Job) -> dict[str, Any]:
    """Gather examples, learn, export, measure; each step is kept in `work` and not done twice.

    Raises InputNotFound, EvaluationError.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    job.output.mkdir(parents=True, exist_ok=True)
    known = _examples(job)
    told = [example for example in known if example.article not in job.held_out]
    kept = [example for example in known if example.article in job.held_out]
    tokenizer = bundled.path(bundled.CROSS_ENCODER).parent / TOKENIZER
    network = from_cross_encoder(bundled.path(bundled.CROSS_ENCODER), job.layers, job.seed)
    recipe = Recipe(job.epochs, seed=job.seed, steps=job.steps)
    learn(network, told, Encoder(tokenizer), recipe, job.checkpoint, _tell, job.stop_at)
    sha256 = export(network, job.output / MODEL)
    shutil.copyfile(tokenizer, job.output / TOKENIZER)
    figures = {"sha256": sha256, "examples": len(told), "epochs": job.epochs, "layers": job.layers}
    if kept:
        reader = Reader(job.output / MODEL, job.output / TOKENIZER)
        figures |= {name: round(value, 4) for name, value in assess(reader, kept).items()}
    (job.output / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _examples(job: Job) -> list[Example]:
    titles: list[str] = []
    found: list[Example] = []
    for path in job.data:
        if not path.is_file():
            raise InputNotFound(f"there is no file {path}", "Name SQuAD-shaped .json files.")
        titles += examples.articles(path)
        found += _gathered(path, job)
    if unknown := [title for title in job.held_out if title not in titles]:
        raise EvaluationError(f"no article is called {unknown[0]}", f"There are: {', '.join(titles)}.")
    return found


def _gathered(path: Path, job: Job) -> Sequence[Example]:
    part = f"-{job.questions}" if job.questions else ""
    file = job.work / f"{path.stem}{part}.jsonl"
    if not file.exists():
        settings = load_settings()
        embedder = load_embedder(settings.embedding)
        examples.save(examples.gather(path, embedder, BundledReranker(), settings, job.questions), file)
    return examples.load(file)


def _tell(step: int, steps: int, loss: float) -> None:
    if step % TOLD_EVERY == 0 or step == steps:
        print(f"step {step} of {steps}, loss {loss:.3f}", file=sys.stderr, flush=True)
