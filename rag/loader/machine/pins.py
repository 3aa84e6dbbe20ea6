"""Whether installed packages have the versions that others want, from their metadata alone."""

from __future__ import annotations

import re
from importlib import metadata

TIED = ("torch", "transformers", "tokenizers", "huggingface-hub", "safetensors", "accelerate", "numpy")
"""Beginnings of the packages whose versions decide whether an engine runs.

vLLM pins the parts of its web server as narrowly, and runs with other versions of them.
"""


def version(package: str) -> str | None:
    """The installed version of a distribution; None when there is none."""
    return next(iter(_header(package, "Version")), None)


def _header(package: str, field: str) -> list[str]:
    """All values of a field in a distribution's metadata; the long description behind them is not parsed."""
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return []
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    return re.findall(rf"^{field}: *(.+?)\s*$", text.partition("\n\n")[0], re.MULTILINE)


def conflicts(package: str, extra: str = "") -> list[tuple[str, str]]:
    """What of TIED an installed distribution wants in another version, as in ("torch==2.13.0", "2.14.1").

    What it wants and is missing altogether is not told: `import_problems` finds out whether it matters.
    """
    wrong = []
    for requirement in _header(package, "Requires-Dist"):
        if not requirement.lower().replace("_", "-").startswith(TIED):
            continue
        name, specifier, applies = _parsed(requirement, extra)
        found = version(name) if applies and specifier else None
        if found and not _satisfies(found, specifier):
            wrong.append((f"{name}{specifier}", found))
    return wrong


def _parsed(requirement: str, extra: str) -> tuple[str, str, bool]:
    """Name, version specifier, and whether the requirement applies here."""
    try:
        from packaging.requirements import Requirement

        parsed = Requirement(requirement)
    except (ImportError, ValueError):  # not installed, or a requirement in an older form
        return _parsed_plainly(requirement)
    applies = parsed.marker is None or parsed.marker.evaluate({"extra": extra})
    return parsed.name, str(parsed.specifier), applies


def _parsed_plainly(requirement: str) -> tuple[str, str, bool]:
    """Without `packaging`: requirements that hold under a condition only are passed over."""
    text, _, marker = requirement.partition(";")
    match = re.match(r"\s*([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?([^()]*)\)?", text)
    name, specifier = match.groups() if match else (text, "")
    return name, specifier.strip(), not marker


def _satisfies(found: str, specifier: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(specifier).contains(found, prereleases=True)
    except (ImportError, ValueError):  # not installed, or a version in an older form
        return all(_satisfies_plainly(found, part) for part in specifier.split(",") if part.strip())


def _satisfies_plainly(found: str, part: str) -> bool:
    match = re.fullmatch(r"\s*(===|==|!=|>=|<=|~=|>|<)\s*([^\s]+)\s*", part)
    if match is None:
        return True
    operator, wanted = match.groups()
    if operator in {"==", "===", "!="}:
        equal = _equal(found, wanted)
        return not equal if operator == "!=" else equal
    have, want = _numbers(found), _numbers(wanted)
    if operator == "~=":
        return have >= want and _equal(found, wanted.rpartition(".")[0] + ".*")
    return {">=": have >= want, "<=": have <= want, ">": have > want, "<": have < want}[operator]


def _equal(found: str, wanted: str) -> bool:
    if wanted.endswith(".*"):
        length = wanted.count(".")
        return _numbers(found)[:length] == _numbers(wanted)[:length]
    return found == wanted or ("+" not in wanted and _numbers(found) == _numbers(wanted))


def _numbers(text: str) -> tuple[int, ...]:
    """The release's numbers, filled up with zeros so that 2.0 equals 2.0.0; suffixes are dropped."""
    release = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in release.group().split(".")] if release else []
    return tuple((numbers + [0] * 6)[:6])
