"""Why a worker ended, in words: what the system says of it, how far it had come, what was left."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

from rag.child import ChildGone
from rag.errors import DoesNotFit, ModelDied, ModelError, ModelLoadFailed, RagError
from rag.loader.machine.limits import cgroup_of, oom_kills, process_limits
from rag.loader.process.watch import Sample
from rag.loader.records import Limit, Plan
from rag.loader.units import size

STDERR_LINES = 3
OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "enomem",
)
"""What libraries say, in lower case, when an allocation is refused: torch, the C library, C++, the kernel."""


@dataclass(slots=True)
class Reached:
    """How far loading had come: the last tensor event, and the memory last seen."""

    event: dict[str, Any] = field(default_factory=dict)
    sample: Sample = field(default_factory=Sample)

    def words(self) -> str:
        """As in "at shard 2/3, model.layers.18.mlp.up_proj.weight, 6.9 GB resident, 0.4 GB left"."""
        parts = []
        if "tensor" in self.event:
            about = "about " if self.event.get("estimated") else ""
            parts.append(f"at {about}shard {self.event['shard_number']}/{self.event['shards']}")
            parts.append(self.event["tensor"])
        if self.sample.resident:
            parts.append(f"{size(self.sample.resident)} resident")
            parts.append(f"{size(self.sample.left)} left")
        return ", ".join(parts)


class Kills:
    """The kernel's counts of processes killed for want of memory, taken while a worker still lives."""

    def __init__(self, pid: int) -> None:
        self._groups = cgroup_of(pid)
        self._before = oom_kills(groups=self._groups)

    def since(self) -> list[str]:
        """Whose counts have risen, innermost control group first."""
        now = oom_kills(groups=self._groups)
        risen = [name for name, count in now.items() if count > self._before.get(name, 0)]
        return sorted(risen, key=lambda name: not name.startswith("cgroup"))


def explain(
    plan: Plan,
    gone: ChildGone,
    refusal: RagError | None,
    reached: Reached,
    loading: bool,
    stderr: str,
    kills: Kills,
) -> RagError:
    """The error for a worker that ended: its own reason first, then the system's, then its last words."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    place = reached.words() if loading else ""
    if refusal:
        return _refused(refusal, lines, reached if loading and "tensor" in reached.event else None)
    doing = " while loading" if loading else ""
    where = f" {place}" if place else ""
    cause = _cause(gone, lines, kills)
    kind = ModelDied
    last = "".join(f"\n  {line}" for line in lines[-STDERR_LINES:] if not _is_noise(line))
    return kind(f"the process of {plan.name} {cause}{doing}{where}{last}", _fix(plan, gone, lines))


def over_cap(plan: Plan, used: int, cap: int) -> RagError:
    """The error for a worker that was ended because it went over --max-memory."""
    return DoesNotFit(
        f"{plan.name} used {used / 1e6:,.0f} MB of memory, over the cap of {cap / 1e6:,.0f} MB",
        "Raise --max-memory, shorten the context (--context), or choose a smaller model.",
    )


def starved(plan: Plan, limit: Limit) -> RagError:
    """The error for a worker that was ended because the system left it no memory to go on with."""
    return DoesNotFit(
        f"{plan.name} ran out of memory while loading: {size(limit.free_bytes)} were left"
        f" at the limit of {limit.source}, {size(limit.limit_bytes)}",
        "Close other programs, raise the limit, or choose fewer bits or a smaller model.",
    )


def _refused(refusal: RagError, lines: list[str], reached: Reached | None) -> RagError:
    told = [line.partition("error ")[2] for line in lines if "error loading model: " in line]
    detail = f" ({told[-1].partition(': ')[2]})" if told else ""
    where = f", {reached.words()}" if reached and isinstance(refusal, DoesNotFit) else ""
    return type(refusal)(refusal.message + detail + where, refusal.fix)


def _cause(gone: ChildGone, lines: list[str], kills: Kills) -> str:
    if gone.returncode == -signal.SIGABRT and _out_of_memory(lines):
        return f"ran out of memory ({_limit_words()})" if _limit_words() else "ran out of memory"
    if gone.returncode != -getattr(signal, "SIGKILL", 9):
        return gone.explanation
    if where := kills.since():
        groups = [name for name in where if name.startswith("cgroup")]
        bound = f" at the memory limit of {groups[0]}" if groups else ""
        return f"was killed by the kernel's OOM killer{bound}"
    return "was killed (SIGKILL) by another program or a person; the kernel notes no lack of memory"


def _fix(plan: Plan, gone: ChildGone, lines: list[str]) -> str:
    if gone.returncode == -signal.SIGILL:
        return "The processor lacks an instruction that this build uses; choose another engine with --engine."
    if gone.returncode == -getattr(signal, "SIGBUS", 7):
        return "A file changed or shrank while it was read, or the disk failed; check the model's files."
    if gone.returncode == -signal.SIGSEGV:
        return (
            "The engine crashed; the usual causes are a damaged model file and a bug. Try another --engine."
        )
    shorter = "--context, " if plan.engine != "remote" else ""
    return f"Close other programs, or use less: {shorter}a smaller quantization, or a smaller model."


def out_of_memory(error: BaseException) -> bool:
    """Whether a library's error means that an allocation was refused."""
    return isinstance(error, MemoryError) or _out_of_memory([f"{type(error).__name__}: {error}"])


def _out_of_memory(lines: list[str]) -> bool:
    return any(word in line.lower() for line in lines for word in OUT_OF_MEMORY)


def _limit_words() -> str:
    return ", ".join(f"{limit.source} is {size(limit.limit_bytes)}" for limit in process_limits())


def _is_noise(line: str) -> bool:
    return line.startswith(("Fatal Python error", "Extension modules", "<no Python frame>"))


def memory_refused(plan: Plan, detail: str) -> ModelLoadFailed:
    """The error that a worker sends when an allocation fails while it loads."""
    bound = f" ({_limit_words()})" if _limit_words() else ""
    return DoesNotFit(
        f"memory ran out while {plan.name} was loading{bound}{': ' + detail if detail else ''}",
        "Close other programs, raise the limit, or choose fewer bits or a smaller model.",
    )


def rebuilt(error: dict[str, str]) -> RagError:
    """The error that travelled as its code, message and fix."""
    kinds: list[type[RagError]] = [ModelError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    named = {kind.code: kind for kind in kinds}
    return named.get(error["code"], ModelError)(error["message"], error["fix"])
