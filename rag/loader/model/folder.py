"""Which files of a model folder hold its weights, and what is missing or damaged among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from rag.loader.model.files import DOWNLOAD_AGAIN, Files, damaged_json, read_json
from rag.loader.model.safetensors import read_shard
from rag.loader.records import Problem, Shard, Tensor

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
NOT_THE_MODEL = re.compile(r"(consolidated|adapter_model|training_args)")
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
PICKLED_WEIGHTS = re.compile(r"(pytorch_model|model|consolidated|adapter_model|gptq|.*\d{5}-of-\d{5})", re.I)


@dataclass
class Weights:
    """What the weight files of a folder hold; `contradictions` and `warnings` are sentences."""

    shards: list[Shard] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_weights(files: Files, sizes: Mapping[str, int]) -> Weights:
    """Read the headers of all shards that a loader would read, and check them against the index."""
    weights = Weights()
    index = _Index.read(files, sizes, weights)
    if index and SINGLE in sizes and SINGLE not in index.shards:
        weights.contradictions.append(
            f"{SINGLE} is there, and so is {INDEX}, which names other files: transformers reads the one, "
            "vLLM the others"
        )
        index = None
    names = index.shards if index else _shards_without_index(sizes, weights)
    for name in names:
        if name in sizes:
            shard, tensors, problem = read_shard(files, name, sizes[name])
            weights.shards.append(shard)
            weights.tensors.extend(tensors)
            weights.problems.extend([problem] if problem else [])
    if index:
        _check_index(index, sizes, weights)
    if not names and not weights.problems:
        weights.problems.append(_no_weights(sizes))
    return weights


@dataclass(frozen=True)
class _Index:
    shard_of: Mapping[str, str]
    total_size: int | None

    @property
    def shards(self) -> list[str]:
        return sorted(set(self.shard_of.values()))

    @classmethod
    def read(cls, files: Files, sizes: Mapping[str, int], weights: Weights) -> _Index | None:
        if INDEX not in sizes:
            return None
        content, problem = read_json(files, INDEX)
        table = content.get("weight_map")
        if not problem and not (
            isinstance(table, dict) and table and all(isinstance(name, str) for name in table.values())
        ):
            problem = damaged_json(INDEX, "it has no weight_map from tensors to files")
        if problem:
            weights.problems.append(problem)
            return None
        metadata = content.get("metadata")
        total = metadata.get("total_size") if isinstance(metadata, dict) else None
        return cls(
            dict(table or {}), int(total) if isinstance(total, int | float) and 0 < total < 1e15 else None
        )


def _shards_without_index(sizes: Mapping[str, int], weights: Weights) -> list[str]:
    """What a loader finds by itself: model.safetensors, else a numbered set, else whatever is there."""
    if SINGLE in sizes:
        return [SINGLE]
    names = [
        name
        for name in sorted(sizes)
        if name.endswith(".safetensors") and "/" not in name and not NOT_THE_MODEL.match(name)
    ]
    numbered = [match for name in names if (match := NUMBERED.fullmatch(name))]
    if numbered:
        return _numbered(numbered, sizes, weights)
    if names:
        weights.warnings.append(f"the weights are in {names[0]}; transformers looks for {SINGLE} only")
    return names


def _numbered(found: Sequence[re.Match[str]], sizes: Mapping[str, int], weights: Weights) -> list[str]:
    stem, total = found[0][1], int(found[0][3])
    names = [f"{stem}-{number:05}-of-{total:05}.safetensors" for number in range(1, total + 1)]
    absent = [name for name in names if name not in sizes]
    if absent:
        weights.problems.append(_missing(absent, f"the others are numbered up to {total}", sizes))
    if total > 1 and INDEX not in sizes:
        weights.problems.append(
            Problem(
                "index_missing",
                f"{INDEX} is not there, which says in which of the {total} weight files each tensor lies",
                f"Download {INDEX} into the same folder.",
            )
        )
    return names


def _missing(absent: Sequence[str], why: str, sizes: Mapping[str, int]) -> Problem:
    partial = next((name for name in sizes for one in absent if name.startswith(f"{one}.")), None)
    started = f"; {partial} looks like a download that did not end" if partial else ""
    what = f"{absent[0]} is" if len(absent) == 1 else f"{len(absent)} weight files ({', '.join(absent)}) are"
    fix = f"Download {'it' if len(absent) == 1 else 'them'} into the same folder."
    return Problem("shard_missing", f"{what} not there: {why}{started}", fix)


def _check_index(index: _Index, sizes: Mapping[str, int], weights: Weights) -> None:
    unlisted = [
        name
        for name in sorted(sizes)
        if name.endswith(".safetensors") and "/" not in name and name not in index.shards
    ]
    unlisted = [name for name in unlisted if not NOT_THE_MODEL.match(name)]
    weights.problems.extend(_not_there(index, unlisted, sizes))
    whole = {shard.name for shard in weights.shards if not shard.problem}
    weights.problems.extend(_absent_tensors(index, whole, weights.tensors))
    if len(whole) == len(index.shards):
        weights.contradictions.extend(_against_total(index, weights.tensors))


def _not_there(index: _Index, unlisted: Sequence[str], sizes: Mapping[str, int]) -> list[Problem]:
    absent = [name for name in index.shards if name not in sizes]
    outside = next((name for name in absent if _leaves_folder(name)), None)
    if outside:
        message = f"{INDEX} names {outside}, which lies outside the model's folder"
        fix = f"Do not use this folder. {DOWNLOAD_AGAIN.format(name=INDEX)}"
        return [Problem("index_unknown_file", message, fix)]
    if absent and unlisted:
        message = f"{INDEX} names {absent[0]}, which is not there; it does not name {unlisted[0]}, which is"
        fix = f"Give the files the names in {INDEX}, or download all of them again from the same place."
        return [Problem("index_unknown_file", message, fix)]
    if not absent:
        return []
    count = sum(1 for shard in index.shard_of.values() if shard in absent)
    return [
        _missing(absent, f"{INDEX} says that {count} of {len(index.shard_of)} tensors are in there", sizes)
    ]


def _leaves_folder(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or PureWindowsPath(name).is_absolute()


def _absent_tensors(index: _Index, whole: set[str], tensors: Sequence[Tensor]) -> list[Problem]:
    """Tensors that an undamaged shard should hold and does not."""
    there = {(tensor.shard, tensor.name) for tensor in tensors}
    absent: dict[str, list[str]] = {}
    for name, shard in index.shard_of.items():
        if shard in whole and (shard, name) not in there:
            absent.setdefault(shard, []).append(name)
    return [_absent(shard, names) for shard, names in absent.items()]


def _absent(shard: str, names: Sequence[str]) -> Problem:
    are, them = ("is", "it") if len(names) == 1 else (f"and {len(names) - 1} more are", "them")
    return Problem(
        "tensor_missing",
        f"{INDEX} says that {names[0]} {are} in {shard}, which does not hold {them}",
        f"{INDEX} and {shard} are from different versions of the model: download both again.",
    )


def _against_total(index: _Index, tensors: Sequence[Tensor]) -> list[str]:
    held = sum(tensor.bytes for tensor in tensors)
    # Some writers count tied or buffered tensors that are not stored, so small differences mean nothing.
    if index.total_size is None or abs(index.total_size - held) <= 0.01 * held:
        return []
    return [f"{INDEX} declares {index.total_size:,} bytes of weights, but the files hold {held:,}"]


def _no_weights(sizes: Mapping[str, int]) -> Problem:
    pickles = [
        name
        for name in sorted(sizes)
        if name.endswith(PICKLES) and "/" not in name and PICKLED_WEIGHTS.match(name)
    ]
    if pickles:
        more = f" and {len(pickles) - 1} more" if len(pickles) > 1 else ""
        return Problem(
            "pickle_only",
            f"the weights are pickles only ({pickles[0]}{more}), which can run programs and are not read",
            "Download the model's .safetensors files, or another copy of the model that has them.",
        )
    return Problem(
        "shard_missing",
        "there is no file with weights (.safetensors)",
        "Download the model's .safetensors files into the same folder.",
    )
