"""What is this model? Headers and small files only: no tensor is read and no package is imported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rag.errors import ModelNotFound
from rag.loader.model import model_config
from rag.loader.model.declared import SIDE_FILES
from rag.loader.model.files import DOWNLOAD_AGAIN, Files, LocalFiles, lfs_pointer, read_json
from rag.loader.model.folder import read_weights
from rag.loader.model.gguf_facts import PART, gguf_facts
from rag.loader.model.quantization import detect
from rag.loader.model.storage import parameters
from rag.loader.records import ModelFacts, Problem

TOKENIZERS = (
    *("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tekken.json"),
    *("qwen.tiktoken", "tiktoken.model", "vocab.json", "vocab.txt"),
)
TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates/default.jinja")


def inspect_local(path: Path) -> ModelFacts:
    """The facts of a model folder or GGUF file. Raises ModelNotFound where there is no model."""
    target, path = str(path), path.expanduser()
    if path.is_dir():
        place = path.resolve()
        return inspect_files(LocalFiles(place), target, _folder_name(place), place=place)
    if not path.exists():
        raise ModelNotFound(
            f"there is no file or folder {target}",
            "Correct the path; or download the model, then name its GGUF file or its folder.",
        )
    if path.suffix.lower() == ".gguf":
        place = path.resolve() if path.resolve().suffix.lower() == ".gguf" else path.absolute()
        return inspect_files(LocalFiles(place.parent), target, place.stem, place=place, gguf=place.name)
    fix = f"Name the folder that holds it: {path.parent}" if (path.parent / "config.json").exists() else ""
    raise ModelNotFound(
        f"{target} is not a model that can be read",
        fix or "Name a GGUF file, or the folder that holds config.json and the .safetensors files.",
    )


def _folder_name(folder: Path) -> str:
    """The folder's own name, or the model's where the folder is a revision in Hugging Face's cache."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.rpartition("--")[2]
    return folder.name


def inspect_files(
    files: Files,
    target: str,
    name: str,
    place: Path | None = None,
    repo: str | None = None,
    gguf: str | None = None,
) -> ModelFacts:
    """The facts of a model whose files are here or elsewhere; `gguf` names one of its files.

    `place` is the folder, or the GGUF file, on disk. Raises ModelNotFound where there is no model; what is
    wrong with a model is among its facts.
    """
    sizes = files.sizes()
    if not gguf and (gguf := _only_gguf(sizes, target)) and place:
        name, place = PurePosixPath(gguf).stem, place / gguf
    if gguf:
        return gguf_facts(files, gguf, target, name, place, repo)
    if "config.json" not in sizes:
        problem = _no_config(files, sizes, target)
        return ModelFacts(target, name, "folder", place, repo, problems=(problem,))
    return _Folder(files, sizes, name, repo).facts(target, place)


def _only_gguf(sizes: Mapping[str, int], target: str) -> str | None:
    """The one model of a folder that holds GGUF files and nothing else to load."""
    found = sorted(name for name in sizes if name.lower().endswith(".gguf"))
    if not found or any(name.endswith(".safetensors") and "/" not in name for name in sizes):
        return None
    first_parts = [name for name in found if not (match := PART.fullmatch(name)) or match[2] == "00001"]
    models = [name for name in first_parts if "mmproj" not in name.lower()] or first_parts or found[:1]
    if len(models) == 1:
        return models[0]
    raise ModelNotFound(f"{target} holds {len(models)} GGUF files", f"Name one of them: {', '.join(models)}")


def _no_config(files: Files, sizes: Mapping[str, int], target: str) -> Problem:
    if "model_index.json" in sizes:
        message = "this is a pipeline for images (diffusers: model_index.json), which writes no text"
        return Problem("diffusers", message, "Choose a chat model.")
    if "adapter_config.json" in sizes:
        settings, _ = read_json(files, "adapter_config.json")
        base = settings.get("base_model_name_or_path") or "its base model"
        message = (
            f"this is a LoRA adapter (adapter_config.json), without the weights of {base} that it changes"
        )
        fix = f"Use {base}, or a version of it into which the adapter is merged."
        return Problem("adapter_only", message, fix)
    inner = sorted(name.partition("/")[0] for name in sizes if name.endswith("/config.json"))
    weights = any(name.endswith((".safetensors", ".bin", ".pth")) for name in sizes)
    if weights and not inner:
        message = "config.json is not there, without which the weights cannot be read"
        return Problem("config_missing", message, "Download config.json into the same folder.")
    fix = (
        f"Name the folder that does: {', '.join(inner)}" if inner else "Name a folder that holds config.json."
    )
    raise ModelNotFound(f"{target} holds no config.json and no GGUF file", fix)


@dataclass
class _Folder:
    """Reads a folder's small files and headers, and collects what is wrong with them."""

    files: Files
    sizes: Mapping[str, int]
    name: str
    repo: str | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def facts(self, target: str, place: Path | None) -> ModelFacts:
        config = self._json("config.json")
        sides = {name: self._json(name) for name in SIDE_FILES if name in self.sizes}
        weights = read_weights(self.files, self.sizes)
        self.problems += weights.problems
        self.warnings += weights.warnings
        tensors = tuple(weights.tensors)
        named = self.repo or self.name
        found, contradictions = detect(tensors, config, sides, named)
        dtypes: Counter[str] = Counter()
        for tensor in tensors:
            dtypes[tensor.dtype] += tensor.elements
        tokenizer = self._tokenizer()
        words = self._json("tokenizer_config.json") if "tokenizer_config.json" in self.sizes else {}
        template = self._template(words)
        self.warnings += model_config.window_notes(config)
        remote = self._programs({"config.json": config, "tokenizer_config.json": words}, config)
        self._kind(config)
        return ModelFacts(
            target=target,
            name=self.name,
            kind="folder",
            place=place,
            repo=self.repo,
            architecture=model_config.architecture(config),
            model_type=str(config.get("model_type", "")),
            parameters=parameters(tensors, found.bits, model_config.tied(config)),
            dtypes=dict(dtypes),
            quantization=found,
            context_tokens=model_config.context_tokens(config),
            chat_template=template,
            tokenizer=tokenizer,
            shards=tuple(weights.shards),
            tensors=tensors,
            config=config,
            contradictions=(*contradictions, *weights.contradictions),
            warnings=tuple(self.warnings),
            problems=tuple(self.problems),
            remote_code=remote,
        )

    def _json(self, name: str) -> dict[str, Any]:
        content, problem = read_json(self.files, name)
        self.problems += [problem] if problem else []
        return content

    def _tokenizer(self) -> bool:
        for name in TOKENIZERS:
            if name not in self.sizes:
                continue
            # A large one is no pointer; whether it is whole shows when it is used.
            start = self.files.read(name, 0, 200) if self.sizes[name] < 1000 else b"large"
            if pointer := lfs_pointer(name, start):
                self.problems.append(pointer)
            elif not start:
                fix = DOWNLOAD_AGAIN.format(name=name)
                self.problems.append(Problem("tokenizer_missing", f"{name} is empty: it has 0 bytes", fix))
            return True
        message = (
            "there is no tokenizer (tokenizer.json or tokenizer.model), so text cannot be turned into tokens"
        )
        fix = "Download tokenizer.json and tokenizer_config.json into the same folder."
        self.problems.append(Problem("tokenizer_missing", message, fix))
        return False

    def _template(self, settings: Mapping[str, Any]) -> bool:
        if settings.get("chat_template") or any(name in self.sizes for name in TEMPLATES):
            return True
        where = "tokenizer_config.json or chat_template.jinja"
        message = f"there is no chat template ({where}): {model_config.BASE_MODEL}"
        fix = "Choose the model's Instruct or Chat variant; or add its chat_template.jinja to the folder."
        self.problems.append(Problem("no_chat_template", message, fix))
        return False

    def _programs(self, settings: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> bool:
        wanted = {name: model_config.remote_code(content) for name, content in settings.items()}
        file, programs = next(((name, files) for name, files in wanted.items() if files), ("", []))
        if not programs:
            return False
        kind = str(config.get("model_type"))
        if kind in model_config.BUILT_IN:
            self.warnings.append(f"{programs[0]} is not run: transformers knows {kind} itself")
            return False
        message = f"{file} wants programs of the model's own to be run ({', '.join(programs)})"
        fix = "Read them; if you trust them, set model.trust_remote_code = true. Else choose another model."
        self.problems.append(Problem("remote_code", message, fix))
        return True

    def _kind(self, config: Mapping[str, Any]) -> None:
        if problem := model_config.not_a_generator(config, self.sizes):
            # A template is not to be expected of such a model, so its absence says nothing.
            self.problems = [one for one in self.problems if one.kind != "no_chat_template"]
            self.problems.append(problem)
