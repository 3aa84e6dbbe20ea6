"""The diagnostic from the first look to the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rag import console
from rag.diagnosis import sections
from rag.diagnosis.examine import examine
from rag.diagnosis.loading import load
from rag.diagnosis.record import record
from rag.diagnosis.records import Diagnosis, Options
from rag.diagnosis.report import Target
from rag.diagnosis.text import width, wrapped
from rag.errors import RagError, UsageError

if TYPE_CHECKING:
    from rag.loader.process.supervise import WorkerModel

Ask = Callable[["WorkerModel"], None]


def diagnose(options: Options, light: bool = False, ask: Ask | None = None) -> int:
    """Look, load unless only a plan is asked for, and tell; returns the exit code.

    `light` says that Footnote's packages are missing here; `ask` has the loaded model last. Raises RagError
    where there is nothing to tell but the error.
    """
    if not options.model:
        raise UsageError(
            "which model?",
            "Name a GGUF file, a model folder, a hub id, a preset or `bundled`; --recommend lists presets.",
        )
    target = Target.checked(options.report) if options.report else None
    tell = say if not options.plan_only else nothing
    if light:
        say("Footnote's packages are not installed for this Python; going on with what needs none")
    try:
        diagnosis = examine(options, light, tell)
    except RagError as error:
        if target:
            say(target.write_error(options, error))
        raise error if options.as_json else _wrapped(error) from error
    if not options.as_json:
        show(diagnosis, sections.LOOKED_AT)
    if not options.plan_only and not diagnosis.error:

        def use(done: Diagnosis, model: WorkerModel) -> None:
            if not options.as_json:
                show(done, sections.TRIED)
            if ask and not done.error:
                ask(model)

        diagnosis = load(diagnosis, console.is_terminal(sys.stderr), use)
    return _ended(diagnosis, options.as_json, target)


def _ended(diagnosis: Diagnosis, as_json: bool, target: Target | None) -> int:
    if as_json:
        console.print_json(record(diagnosis))
    else:
        show(diagnosis, sections.AT_LAST)
    if target:
        say(target.write(diagnosis))
    if diagnosis.error and not as_json:
        console.print_error(_wrapped(diagnosis.error), False)
    return diagnosis.error.exit_code if diagnosis.error else console.OK


def show(diagnosis: Diagnosis, chosen: Iterable[tuple[str, sections.Section]]) -> None:
    """Print sections under their titles; one that has nothing to say is left out."""
    columns = width()
    for name, section in chosen:
        print_section(name, section(diagnosis, columns))


def print_section(name: str, lines: Sequence[str]) -> None:
    if lines:
        print(console.paint(name, "1", sys.stdout))
        print("\n".join(console.clean(line) for line in lines) + "\n", flush=True)


def _wrapped(error: RagError) -> RagError:
    """The error in lines that fit the terminal."""
    lines = [line for part in error.message.splitlines() for line in wrapped(part, width() - 2, rest="  ")]
    fix = [line for part in error.fix.splitlines() for line in wrapped(part, width() - 2, rest="  ")]
    return type(error)("\n".join(lines), "\n".join(fix))


def say(text: str) -> None:
    print(console.clean(text), file=sys.stderr, flush=True)


def nothing(text: str) -> None:
    """A plan says nothing but the plan."""
