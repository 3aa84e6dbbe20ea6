"""Which control groups a process is in, version 1 or 2, and where their files lie."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Group:
    """One control group: `path` as the kernel names it, `folder` with its files, `version` 1 or 2."""

    path: str
    folder: Path
    version: int

    def read(self, file: str) -> str:
        """The text of one of its files; empty where there is none, as in a root group."""
        return read_text(self.folder / file)

    def stat(self, file: str = "memory.stat") -> dict[str, int]:
        """A file of "name number" lines."""
        pairs = (line.split() for line in self.read(file).splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def ancestry(controller: str, pid: int | str = "self", root: Path = ROOT) -> tuple[Group, ...]:
    """The process's group and its ancestors, innermost first, in the hierarchy that has `controller`.

    Ancestors that a namespace hides are missing. Empty where there are no groups or the process is gone.
    `root` is where the file system begins. Formats: cgroups(7), proc_pid_cgroup(5), proc_pid_mountinfo(5).
    """
    memberships = [line.split(":", 2) for line in read_text(root / f"proc/{pid}/cgroup").splitlines()]
    for version in (1, 2):  # in a hybrid set-up the controllers are in version 1
        for _, names, path in memberships:
            member = controller in names.split(",") if version == 1 else names == ""
            if member and (mounts := _mounts(root, version, controller)):
                # one mount may show another container's groups only; the shortest root shows most
                mount_root, mount_point = min(mounts, key=lambda at: (not _shows(at[0], path), len(at[0])))
                return _upwards(mount_root, root / mount_point.lstrip("/"), path, version, pid)
    return ()


def _shows(mount_root: str, path: str) -> bool:
    return path == mount_root or path.startswith(mount_root.rstrip("/") + "/")


def _mounts(root: Path, version: int, controller: str) -> list[tuple[str, str]]:
    """Root and mount point of each mount of the hierarchy."""
    found = []
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, options = after.split(" ")[0], after.split(" ")[-1].split(",")
        if (version, kind) == (2, "cgroup2") or ((version, kind) == (1, "cgroup") and controller in options):
            fields = before.split(" ")
            found.append((_unescaped(fields[3]), _unescaped(fields[4])))
    return found


def _upwards(
    mount_root: str, mount_point: Path, path: str, version: int, pid: int | str
) -> tuple[Group, ...]:
    folder = _folder(mount_root, mount_point, path, pid)
    names = list(folder.relative_to(mount_point).parts)
    groups = []
    for depth in range(len(names), -1, -1):
        name = mount_root.rstrip("/") + "".join(f"/{part}" for part in names[:depth])
        groups.append(Group(name or "/", mount_point.joinpath(*names[:depth]), version))
    return tuple(groups)


def _folder(mount_root: str, mount_point: Path, path: str, pid: int | str) -> Path:
    """Where the group's files lie: at the mount point itself when its place below is not to be known."""
    beyond = mount_root.split("/").count("..")
    if beyond and not _shows(mount_root, path):
        # the mount begins above this namespace, which does not tell the names in between
        number = str(os.getpid() if pid == "self" else pid)
        for procs in mount_point.glob("*/" * beyond + path.strip("/") + "/cgroup.procs"):
            if number in read_text(procs).split():
                return procs.parent
        return mount_point
    if _shows(mount_root, path):
        folder = mount_point / path[len(mount_root) :].strip("/")
        if ".." not in folder.parts and folder.is_dir():
            return folder
    return mount_point


def read_text(path: Path) -> str:
    """A small file's text; empty when it is not there, not readable, or its process has ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
