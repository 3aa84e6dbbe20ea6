"""Short names for models: what ships in presets.toml, and the user's own tables in footnote.toml."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import ModelNotFound, SettingsError
from rag.places import CHECKOUT

if TYPE_CHECKING:
    from rag.loader.records import ModelFacts

PUBLISHED = Path(__file__).with_name("presets.toml")
FORMS = ("awq", "gptq", "fp8", "gguf")
"""The forms in which a model is published beside its own."""
FIGURES = (
    "parameters",
    "architecture",
    "hidden",
    "layers",
    "heads",
    "kv_heads",
    "head_dim",
    "intermediate",
    "vocab",
)
"""What an estimate of memory needs to know."""
USUAL_ENDINGS = {"awq": "-AWQ", "gptq": "-GPTQ-Int4", "fp8": "-FP8", "gguf": "-GGUF"}


@dataclass(frozen=True, slots=True)
class Preset:
    """A model under a short name; presets.toml explains the fields.

    `prefer` are forms, best first; empty leaves it to the plan. `stored` is the method of `repo`'s own
    weights.
    Figures are 0 or empty where a user's own table does not give them.
    """

    name: str
    repo: str
    note: str = ""
    family: str = ""
    licence: str = ""
    gated: bool = False
    parameters: int = 0
    further_parameters: int = 0
    context: int = 0
    architecture: str = ""
    hidden: int = 0
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    intermediate: int = 0
    vocab: int = 0
    tied: bool = False
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    stored: str = "none"
    config: Mapping[str, Any] = field(default_factory=dict)
    awq: str = ""
    gptq: str = ""
    fp8: str = ""
    gguf: str = ""
    gguf_file: str = "Q4_K_M"
    prefer: tuple[str, ...] = ()
    own: bool = False

    @property
    def siblings(self) -> dict[str, str]:
        """Repositories of the same model in other forms, by method."""
        return {form: repo for form in FORMS if (repo := getattr(self, form))}

    @property
    def variants(self) -> tuple[str, ...]:
        """What `facts` can describe: "none" stands for `repo` itself."""
        return ("none", *self.siblings) if all(getattr(self, name) for name in FIGURES) else ()

    def repo_of(self, variant: str) -> str:
        return self.repo if variant == "none" else self.siblings[variant]

    def facts(self, variant: str = "none") -> ModelFacts:
        """What inspecting this variant would find, as far as memory depends on it; KeyError for others."""
        from rag.loader.hub.sketch import sketch

        if variant not in self.variants:
            raise KeyError(variant)
        return sketch(self, variant)


def presets(user: Mapping[str, Preset] | None = None) -> dict[str, Preset]:
    """All presets by name, the user's own first, and instead of a published one of the same name."""
    user = user or {}
    return {**user, **{name: preset for name, preset in _published().items() if name not in user}}


def find_preset(name: str, user: Mapping[str, Preset] | None = None) -> Preset:
    """The preset of that name, whatever its case. Raises ModelNotFound with the nearest names."""
    known = presets(user)
    by_name = {key.lower(): preset for key, preset in known.items()}
    if preset := by_name.get(name.lower()):
        return preset
    near = _near(name.lower(), by_name, 3, 0.6)
    fix = f"Did you mean {' or '.join(near)}?" if near else f"Known names: {', '.join(known)}."
    raise ModelNotFound(f"there is no preset {name!r}", fix)


def user_presets(environ: Mapping[str, str], file: Path | None = None) -> dict[str, Preset]:
    """The [presets.NAME] tables of footnote.toml; none where there is no such file.

    `file` defaults to FOOTNOTE_CONFIG, else footnote.toml in the checkout. Raises SettingsError.
    """
    named = file or (Path(environ["FOOTNOTE_CONFIG"]) if environ.get("FOOTNOTE_CONFIG") else None)
    path = named or CHECKOUT / "footnote.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("presets", {})
    except FileNotFoundError:
        return {}  # a named file that is missing is told where the settings are read
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "Correct the file or remove it.") from error
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise SettingsError(
            f"{path}: presets must be tables", 'Write [presets.my-model] and below it repo = "...".'
        )
    return _read(tables, _published(), str(path), own=True)


def siblings_of(repo: str, user: Mapping[str, Preset] | None = None) -> tuple[dict[str, str], bool]:
    """(method -> repository with the same model in that form, whether these are known to exist).

    Of a repository that is no preset's they are guesses: the usual endings, to look for on the hub.
    """
    base = repo.lower()
    for preset in presets(user).values():
        if base == preset.repo.lower() or base in (sibling.lower() for sibling in preset.siblings.values()):
            return {form: name for form, name in preset.siblings.items() if name.lower() != base}, True
    stem = repo
    for ending in USUAL_ENDINGS.values():
        stem = stem.removesuffix(ending)
    return {form: stem + ending for form, ending in USUAL_ENDINGS.items() if stem + ending != repo}, False


def nearest(name: str) -> list[str]:
    """Repositories and short names of presets that look like `name`, likeliest first."""
    known = {}
    for preset in presets().values():
        for word in (preset.name, preset.repo, *preset.siblings.values()):
            known[word.lower()] = word
    return [known[word] for word in _near(name.lower(), known, 2, 0.8)]


def _near(name: str, known: Mapping[str, object], count: int, cutoff: float) -> list[str]:
    """Names that go on where this one ends, then those that look like it."""
    longer = sorted((word for word in known if name and word.startswith(name)), key=len)
    return list(dict.fromkeys([*longer, *difflib.get_close_matches(name, known, count, cutoff)]))[:count]


@cache
def _published() -> dict[str, Preset]:
    return _read(tomllib.loads(PUBLISHED.read_text(encoding="utf-8")), {}, PUBLISHED.name)


def _read(
    tables: Mapping[str, Mapping[str, Any]], others: Mapping[str, Preset], source: str, own: bool = False
) -> dict[str, Preset]:
    found: dict[str, Preset] = {}
    for name, table in tables.items():
        values = dict(table)
        like = values.pop("like", None)
        if like is not None and like not in {**others, **found}:
            near = difflib.get_close_matches(str(like), [*others, *found], n=1)
            raise _wrong(
                source, name, f"like = {like!r} names no preset", near and f"Did you mean '{near[0]}'?"
            )
        model = {**others, **found}.get(like) if like else None
        _check(source, name, values, model is not None)
        base = {f.name: getattr(model, f.name) for f in fields(Preset)} if model else {}
        if "prefer" in values:
            values["prefer"] = tuple(values["prefer"])
        found[name] = Preset(**{**base, **values, "name": name, "own": own})
    return found


def _check(source: str, name: str, values: Mapping[str, Any], has_model: bool) -> None:
    known = {f.name: f for f in fields(Preset) if f.name not in ("name", "own")}
    for key, value in values.items():
        if key not in known and isinstance(value, dict):
            fix = f'A name with a dot needs quotes: [presets."{name}.{key}"].'
            raise _wrong(source, name, f"no table '{key}'", fix)
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1) or difflib.get_close_matches(
                key.lower(), known, n=1
            )
            raise _wrong(source, name, f"no key '{key}'", near and f"Did you mean '{near[0]}'?")
        kind = KINDS.get(key) or (str if known[key].default is MISSING else type(known[key].default))
        # bool is an int, and true parameters are none
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _wrong(source, name, f"{key} = {value!r} is no {WORDS[kind]}")
        if isinstance(value, int) and value < 0:
            raise _wrong(source, name, f"{key} = {value} is below zero")
    if "repo" not in values and not has_model:
        raise _wrong(source, name, "it names no model", 'Add repo = "owner/name".')
    if wrong := [form for form in values.get("prefer", ()) if form not in ("none", *FORMS)]:
        raise _wrong(
            source, name, f"prefer names the unknown form {wrong[0]!r}", f"Forms: none, {', '.join(FORMS)}."
        )


KINDS: Mapping[str, type] = {"config": dict, "prefer": list}
WORDS = {str: "text", int: "whole number", bool: "true or false", list: "list", dict: "table"}


def _wrong(source: str, name: str, problem: str, fix: str | list[str] = "") -> SettingsError:
    known = ", ".join(f.name for f in fields(Preset) if f.name not in ("name", "own"))
    return SettingsError(f"{source}: [presets.{name}]: {problem}", str(fix or f"Known keys: like, {known}."))
