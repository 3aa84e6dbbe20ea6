"""How much memory is really available: every bound that the system sets, each with its source."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rag.cgroups import ROOT, Group, ancestry, read_text
from rag.loader.records import Limit

UNLIMITED = 1 << 60
"""Version 1 of control groups writes the largest page-aligned 64-bit number where no limit is set."""


def memory_limits() -> tuple[Limit, ...]:
    """All bounds on this process's memory; the first is the computer's own."""
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "darwin":
        return (_macos(_output("sysctl", "-n", "hw.memsize"), _output("vm_stat")),)
    return linux_limits()


def linux_limits(root: Path = ROOT) -> tuple[Limit, ...]:
    """The same from Linux' files; `root` is where they are read from, so that recorded ones can be."""
    return (*_meminfo(root), *_groups(root), *process_limits(root))


def available_bytes(limits: Iterable[Limit] | None = None) -> int:
    """The least of the limits' free bytes, by default of those that hold now."""
    return min(limit.free_bytes for limit in (memory_limits() if limits is None else limits))


def tightest(limits: Iterable[Limit] | None = None) -> Limit:
    """The bound with the fewest free bytes among those that the machine and its groups set.

    Those of a process are left out: an allocation beyond them is refused at once, and starves nobody.
    """
    found = memory_limits() if limits is None else limits
    shared = (limit for limit in found if not limit.source.startswith("RLIMIT"))
    return min(shared, key=lambda limit: limit.free_bytes)


def process_limits(root: Path = ROOT) -> tuple[Limit, ...]:
    """The bounds that RLIMIT_AS (address space) and RLIMIT_DATA (private writable memory) set, if any.

    On Linux only: elsewhere the system does not hold to them. Their use is in proc_pid_status(5).
    """
    if sys.platform != "linux":
        return ()
    import resource

    kib = _fields(read_text(root / "proc/self/status"))
    limits = []
    for name, used in (("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")):
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY:
            limits.append(Limit(name, limit, max(0, limit - kib.get(used, 0) * 1024)))
    return tuple(limits)


def cgroup_of(pid: int | str = "self", root: Path = ROOT) -> tuple[Group, ...]:
    """The memory control groups that a living process is in, innermost first; empty where there are none."""
    return ancestry("memory", pid, root)


def oom_kills(
    pid: int | str = "self", groups: Iterable[Group] | None = None, root: Path = ROOT
) -> dict[str, int]:
    """How many processes were killed so far for want of memory: by "kernel", and by "cgroup /..." of `pid`.

    Taken before and after, the difference explains a death. The groups of a process that is gone are not to
    be known: give `groups`, from `cgroup_of(pid)` while it lived, or those of this process are looked at.
    Empty where nothing is counted.
    """
    counts = {"kernel": _fields(read_text(root / "proc/vmstat")).get("oom_kill")}
    for group in groups or cgroup_of(pid, root) or cgroup_of("self", root):
        file = "memory.events" if group.version == 2 else "memory.oom_control"
        counts[f"cgroup {group.path}"] = group.stat(file).get("oom_kill")
    return {source: count for source, count in counts.items() if count is not None}


# --- Linux ----------------------------------------------------------------------------------------


def _meminfo(root: Path) -> Iterator[Limit]:
    """MemAvailable is the kernel's estimate without swapping; commit limits count in strict mode only."""
    kib = _fields(read_text(root / "proc/meminfo"))
    if "MemTotal" not in kib:
        page = os.sysconf("SC_PAGE_SIZE")
        yield Limit(
            "physical memory", page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        )
        return
    free = kib.get("MemAvailable", kib.get("MemFree", 0) + kib.get("Cached", 0))
    yield Limit("MemAvailable", kib["MemTotal"] * 1024, free * 1024)
    if read_text(root / "proc/sys/vm/overcommit_memory").strip() == "2":
        limit, used = kib.get("CommitLimit", 0) * 1024, kib.get("Committed_AS", 0) * 1024
        yield Limit("CommitLimit", limit, max(0, limit - used))


def _groups(root: Path) -> Iterator[Limit]:
    groups = cgroup_of(root=root)
    for group in groups:
        yield from _group_v2(group) if group.version == 2 else _group_v1(group)
    if groups and groups[0].version == 1:
        yield from _hidden_v1(groups)


def _group_v2(group: Group) -> Iterator[Limit]:
    """A group's hard limit, and the one above which the kernel slows its processes down to a crawl.

    File pages on the LRU lists are clean or can be written back; shared memory and tmpfs are on the
    anonymous lists and locked pages on none, so neither is among them. Source: the kernel's cgroup-v2.rst.
    """
    stat = group.stat()
    names = ("inactive_file", "active_file", "slab_reclaimable")
    used = _number(group.read("memory.current")) - sum(stat.get(name, 0) for name in names)
    for file, note in (("memory.max", ""), ("memory.high", " (memory.high)")):
        if limit := _number(group.read(file)):
            yield Limit(f"cgroup {group.path}{note}", limit, max(0, limit - max(0, used)))


def _group_v1(group: Group) -> Iterator[Limit]:
    limit = _number(group.read("memory.limit_in_bytes"))
    if not 0 < limit < UNLIMITED:
        return
    used = max(0, _number(group.read("memory.usage_in_bytes")) - _file_pages_v1(group))
    yield Limit(f"cgroup {group.path}", limit, max(0, limit - used))


def _hidden_v1(groups: tuple[Group, ...]) -> Iterator[Limit]:
    """The limit of an ancestor above the mount point, which only the statistics tell."""
    limit = groups[0].stat().get("hierarchical_memory_limit", UNLIMITED)
    shown = [_number(group.read("memory.limit_in_bytes")) or UNLIMITED for group in groups]
    if limit < min(UNLIMITED, *shown):
        top = groups[-1]  # what the ancestor's other children use is not to be seen
        used = max(0, _number(top.read("memory.usage_in_bytes")) - _file_pages_v1(top))
        yield Limit(f"cgroup above {top.path}", limit, max(0, limit - used))


def _file_pages_v1(group: Group) -> int:
    stat = group.stat()  # "total_" includes the groups below, as the usage does
    return stat.get("total_inactive_file", 0) + stat.get("total_active_file", 0)


def _fields(text: str) -> dict[str, int]:
    """Numbers of "Name:  123 kB" or "name 123" lines, in the file's own unit."""
    return {name: int(number) for name, number in re.findall(r"^(\w+):?\s+(\d+)\b", text, re.MULTILINE)}


def _number(text: str) -> int:
    """A file's number of bytes; 0 for "max" and where there is no such file."""
    return int(text) if text.strip().isdigit() else 0


# --- macOS ----------------------------------------------------------------------------------------


def _macos(memsize: str, vm_stat: str) -> Limit:
    """Free, speculative and inactive pages; purgeable ones are on the active and inactive lists already."""
    page = re.search(r"page size of (\d+) bytes", vm_stat)
    free = 0
    for kind in ("free", "speculative", "inactive"):
        if pages := re.search(rf"Pages {kind}:\s+(\d+)", vm_stat):
            free += int(pages.group(1)) * (int(page.group(1)) if page else 4096)
    return Limit("physical memory", _number(memsize), free)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


# --- Windows --------------------------------------------------------------------------------------


def _windows() -> tuple[Limit, ...]:
    """Physical memory and the commit limit (memory plus page file), by GlobalMemoryStatusEx."""
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("dwLength", ctypes.c_uint32),
            ("dwMemoryLoad", ctypes.c_uint32),
            *((name, ctypes.c_uint64) for name in WINDOWS_FIELDS),
        )

    status = Status(dwLength=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return (
        Limit("physical memory", status.ullTotalPhys, status.ullAvailPhys),
        Limit("commit limit", status.ullTotalPageFile, status.ullAvailPageFile),
    )


WINDOWS_FIELDS = (
    *("ullTotalPhys", "ullAvailPhys", "ullTotalPageFile", "ullAvailPageFile"),
    *("ullTotalVirtual", "ullAvailVirtual", "ullAvailExtendedVirtual"),
)
