"""How many processor cores this process may really use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path


@cache
def usable_cores() -> int:
    """Cores left after CPU affinity and a container's CPU quota, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, _cgroup_quota()))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that the container's quota amounts to; a huge number where there is none."""
    unlimited = 1 << 16
    try:
        if (root / "cpu.max").exists():  # cgroup v2: "max 100000" or "150000 100000"
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        share = float(quota) / float(period)
    except (OSError, ValueError):  # no cgroups here, or the quota is the word "max"
        return unlimited
    return math.ceil(share) if share > 0 else unlimited
