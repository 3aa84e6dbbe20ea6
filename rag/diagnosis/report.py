"""The support report: one text file that its sender can read through, without secrets or names.

It is Markdown: the sections as they were shown, versions, what happened while loading, and the JSON record.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rag.diagnosis import record as records
from rag.diagnosis.records import Diagnosis, Options
from rag.errors import RagError, UsageError

TITLE = "# Footnote support report"
COLUMNS = 100
REMOVED, USER = "<removed>", "<user>"
SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
TELLING = re.compile(
    r"(FOOTNOTE|HF|HUGGINGFACE|TRANSFORMERS|TORCH|CUDA|NVIDIA|VLLM|RAY|OMP|GOMP|MKL|GGML)_|PYTHON"
)
"""Variables that change how models load; the values stay out, for nobody can know what is in them."""
LEAST_SECRET = 4
"""A shorter value is no secret, and removing it would tear the text apart."""
PATTERNS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), f"{REMOVED}@"),
    (re.compile(r"\b(hf|sk|ghp|glpat|xox[a-z])[_-][A-Za-z0-9_-]{8,}"), REMOVED),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {REMOVED}"),
    (
        re.compile(
            r"(?i)\b([\w-]*(?:token|api[_-]?key|secret|password|passwd))([\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;]+"
        ),
        rf"\1\2{REMOVED}",
    ),
)
GENERAL = {"root", "user", "home", "admin", "users", "ubuntu"}
"""Account names that name nobody, and are words of their own."""


class Scrubber:
    """Takes secrets, the home folder and the user's name out of texts and records."""

    def __init__(self, environ: Mapping[str, str] | None = None, home: Path | None = None) -> None:
        environ = os.environ if environ is None else environ
        values = {value.strip() for name, value in environ.items() if SECRET_NAME.search(name)}
        self._secrets = sorted(
            (value for value in values if len(value) >= LEAST_SECRET), key=len, reverse=True
        )
        homes = {str(home or Path.home()), str((home or Path.home()).resolve()), environ.get("HOME", "")}
        homes |= {each.replace("\\", "/") for each in homes}
        self._homes = sorted((each for each in homes if len(each.strip("/\\")) > 1), key=len, reverse=True)
        self._names = {
            name for name in (Path(each).name for each in self._homes) if name.lower() not in GENERAL
        }
        self._names |= {name for name in (_account(),) if name and name.lower() not in GENERAL}

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, REMOVED)
        for pattern, instead in PATTERNS:
            text = pattern.sub(instead, text)
        for home in self._homes:
            text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
        for name in self._names:
            text = re.sub(rf"(?i)(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", USER, text)
        return text

    def record(self, value: Any) -> Any:
        """The same in all texts of a record, before it becomes JSON and its backslashes are doubled."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.record(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.record(inner) for inner in value]
        return value


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the report goes; `replaces` when an older report lies there."""

    file: Path
    replaces: bool

    @classmethod
    def checked(cls, file: Path) -> Target:
        """Raises UsageError where the file cannot be written, or is something else than a report of ours."""
        file = file.expanduser()
        if file.is_dir():
            raise UsageError(f"{file} is a folder", f"Name a file in it: {file / 'report.md'}")
        try:
            there = file.exists()
            if there and file.stat().st_size and not _is_report(file):
                raise UsageError(f"{file} is there already, and is no support report", "Name another file.")
            with file.open("a", encoding="utf-8"):
                pass
            if not there:
                file.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(
                f"the report {file} cannot be written: {reason}",
                "Name a file in a folder that you may write to.",
            ) from error
        return cls(file, there)

    def write(self, diagnosis: Diagnosis) -> str:
        """Write the report, and say so. Raises UsageError."""
        return self._write("".join(_report(diagnosis)))

    def write_error(self, options: Options, error: RagError) -> str:
        """The report of a diagnosis that did not get beyond its first look."""
        from rag.loader.machine.hardware import machine

        known = {**error.as_dict(), "model": options.model, "machine": records.machine(machine())}
        return self._write("".join(_failed_early(known, error)))

    def _write(self, text: str) -> str:
        try:
            self.file.write_text(Scrubber().text(text), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"the report cannot be written: {error}", "Name another file.") from error
        again = " (it replaces the report that was there)" if self.replaces else ""
        return f"Report written to {self.file}{again}. Read it through before you send it."


def _is_report(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(TITLE)) == TITLE.encode()


def _report(diagnosis: Diagnosis) -> Iterator[str]:
    from rag.diagnosis.sections import everything

    yield from _head()
    if diagnosis.error:
        yield from _error(diagnosis.error)
    for name, lines in everything(diagnosis, COLUMNS):
        yield _block(name, "\n".join(lines))
    yield _block("Versions", "\n".join(_versions()))
    yield _block("Environment variables that are set", "\n".join(_variables()))
    yield _block("What happened", "\n".join(_line(event) for event in diagnosis.events))
    yield _block("The process's last words", diagnosis.log)
    yield _block("Record", _json(records.record(diagnosis)), "json")


def _failed_early(known: dict[str, Any], error: RagError) -> Iterator[str]:
    yield from _head()
    yield from _error(error)
    yield _block("Versions", "\n".join(_versions()))
    yield _block("Environment variables that are set", "\n".join(_variables()))
    yield _block("Record", _json(known), "json")


def _head() -> Iterator[str]:
    when = time.strftime("%Y-%m-%d %H:%M")
    yield f"{TITLE}\n\nWritten {when} by scripts/diagnose_load.py. Keys, passwords and "
    yield "the user's name were taken out; the home folder is written `~`. Names of files are in it.\n\n"


def _error(error: RagError) -> Iterator[str]:
    yield _block("Error", f"{error.code}: {error.message}\n{error.fix}".rstrip())


def _block(name: str, text: str, kind: str = "") -> str:
    return f"## {name}\n\n```{kind}\n{text.replace('```', chr(0x2019) * 3)}\n```\n\n" if text else ""


def _json(value: Any) -> str:
    return json.dumps(Scrubber().record(value), indent=1)


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(Scrubber().record(event))


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()} ({sys.implementation.name}), {platform.platform()}"
    found = {name: one.version for one in metadata.distributions() if (name := one.metadata["Name"])}
    yield from (f"{name} {found[name]}" for name in sorted(found, key=str.lower))


def _variables() -> Iterator[str]:
    yield from sorted(name for name in os.environ if TELLING.match(name) and not SECRET_NAME.search(name))
