"""How many processor cores this process may really use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

from rag.cgroups import ROOT, Group, ancestry

UNLIMITED = float("inf")


@cache
def usable_cores() -> int:
    """Cores left after CPU affinity and a container's CPU quota, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return within(cores, cpu_quota())


def within(cores: int, quota: float) -> int:
    """Whole cores that a quota leaves of `cores`, at least 1: a part of one can still run a thread."""
    return max(1, math.ceil(min(cores, quota)))


def cpu_quota(root: Path = ROOT) -> float:
    """Cores that the tightest quota among the process's control groups amounts to; infinite without one."""
    return min((_quota(group) for group in ancestry("cpu", root=root)), default=UNLIMITED)


def _quota(group: Group) -> float:
    if group.version == 2:  # "max 100000" or "150000 100000", in microseconds
        quota, _, period = group.read("cpu.max").partition(" ")
    else:
        quota, period = group.read("cpu.cfs_quota_us"), group.read("cpu.cfs_period_us")
    try:
        share = float(quota) / float(period)
    except ValueError:  # no such file, as in a root group, or the quota is the word "max"
        return UNLIMITED
    return share if share > 0 else UNLIMITED  # version 1 writes -1 for no quota
