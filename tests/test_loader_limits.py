"""Memory and processor limits: recorded trees of Linux' files, then real limits on real processes."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rag import cores
from rag.cgroups import ancestry
from rag.loader.machine import limits
from rag.loader.records import Limit

GIB = 1 << 30
NO_LIMIT_V1 = 9223372036854771712
MEMINFO = "MemTotal:       24684084 kB\nMemFree:        1000000 kB\nMemAvailable:   23068672 kB\n"
V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime shared:15 - cgroup cgroup rw,memory"
V1_STAT = (
    "cache 1\ntotal_inactive_file {inactive}\ntotal_active_file {active}\nhierarchical_memory_limit {limit}\n"
)


def machine(root: Path, files: dict[str, object]) -> Path:
    """A file system that holds `files` and an ordinary /proc/meminfo."""
    for name, content in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def v1(folder: str, limit: int, used: int = 0, inactive: int = 0, active: int = 0, above: int = NO_LIMIT_V1):
    return {
        f"{folder}/memory.limit_in_bytes": limit,
        f"{folder}/memory.usage_in_bytes": used,
        f"{folder}/memory.stat": V1_STAT.format(inactive=inactive, active=active, limit=above),
    }


def groups_in(found: tuple[Limit, ...]) -> list[Limit]:
    return [limit for limit in found if limit.source.startswith("cgroup")]


# --- recorded machines ----------------------------------------------------------------------------


def test_without_groups_memavailable_is_the_limit(tmp_path):
    found = limits.linux_limits(machine(tmp_path, {}))
    assert found[0] == Limit("MemAvailable", 24684084 * 1024, 22 * GIB)
    assert limits.available_bytes(found[:1]) == 22 * GIB
    assert groups_in(found) == []


def test_a_nested_v2_limit_below_host_memory_counts_what_cannot_be_reclaimed(tmp_path):
    slice_ = "sys/fs/cgroup/user.slice"
    files = {
        "proc/self/mountinfo": V2_MOUNT,
        "proc/self/cgroup": "0::/user.slice/app.scope",
        f"{slice_}/memory.max": 4 * GIB,
        f"{slice_}/memory.current": 3 * GIB,
        f"{slice_}/memory.stat": f"anon {GIB}\nfile {2 * GIB}\nshmem {GIB}\ninactive_file {GIB // 2}\n"
        f"active_file {GIB // 4}\nslab_reclaimable {GIB // 4}\nslab_unreclaimable 5",
        f"{slice_}/app.scope/memory.max": "max",
        f"{slice_}/app.scope/memory.current": 2 * GIB,
    }
    found = limits.linux_limits(machine(tmp_path, files))
    assert groups_in(found) == [Limit("cgroup /user.slice", 4 * GIB, 2 * GIB)]
    assert limits.available_bytes(found) == 2 * GIB


def test_a_v2_group_is_also_bound_by_the_mark_above_which_it_is_slowed_down(tmp_path):
    files = {
        "proc/self/mountinfo": V2_MOUNT,
        "proc/self/cgroup": "0::/job",
        "sys/fs/cgroup/job/memory.max": 4 * GIB,
        "sys/fs/cgroup/job/memory.high": 3 * GIB,
        "sys/fs/cgroup/job/memory.current": GIB,
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == [
        Limit("cgroup /job", 4 * GIB, 3 * GIB),
        Limit("cgroup /job (memory.high)", 3 * GIB, 2 * GIB),
    ]


def test_a_v1_limit_on_a_hybrid_machine_and_none_on_its_ancestors(tmp_path):
    memory = "sys/fs/cgroup/memory"
    files = {
        "proc/self/mountinfo": V1_MOUNT.format(root="/")
        + "\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/jobs/one\n1:cpu,cpuacct:/\n0::/",
        **v1(memory, NO_LIMIT_V1, 9 * GIB),
        **v1(f"{memory}/jobs", NO_LIMIT_V1, 5 * GIB),
        **v1(f"{memory}/jobs/one", 8 * GIB, 5 * GIB, inactive=2 * GIB, active=GIB, above=8 * GIB),
    }
    found = limits.linux_limits(machine(tmp_path, files))
    assert groups_in(found) == [Limit("cgroup /jobs/one", 8 * GIB, 6 * GIB)]


def test_an_unlimited_v1_machine_has_no_group_limit(tmp_path):
    files = {
        "proc/self/mountinfo": V1_MOUNT.format(root="/"),
        "proc/self/cgroup": "4:memory:/a",
        **v1("sys/fs/cgroup/memory", NO_LIMIT_V1, GIB),
        **v1("sys/fs/cgroup/memory/a", NO_LIMIT_V1, GIB),
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == []


def test_a_container_without_namespace_sees_its_own_group_at_the_mount_point(tmp_path):
    files = {
        "proc/self/mountinfo": V1_MOUNT.format(root="/docker/4f2a"),
        "proc/self/cgroup": "4:memory:/docker/4f2a",
        **v1("sys/fs/cgroup/memory", 2 * GIB, GIB, above=2 * GIB),
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == [
        Limit("cgroup /docker/4f2a", 2 * GIB, GIB)
    ]


def test_of_several_mounts_the_one_that_shows_the_own_group_counts(tmp_path):
    other = V1_MOUNT.format(root="/x").replace("/sys/fs/cgroup/memory", "/other")
    files = {
        "proc/self/mountinfo": f"{other}\n{V1_MOUNT.format(root='/docker/4f2a')}",
        "proc/self/cgroup": "4:memory:/docker/4f2a",
        **v1("other", GIB),
        **v1("sys/fs/cgroup/memory", 2 * GIB, GIB, above=2 * GIB),
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == [
        Limit("cgroup /docker/4f2a", 2 * GIB, GIB)
    ]


def test_a_v1_limit_above_the_container_is_known_from_the_statistics(tmp_path):
    files = {
        "proc/self/mountinfo": V1_MOUNT.format(root="/docker/4f2a"),
        "proc/self/cgroup": "4:memory:/docker/4f2a",
        **v1("sys/fs/cgroup/memory", NO_LIMIT_V1, GIB, above=3 * GIB),
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == [
        Limit("cgroup above /docker/4f2a", 3 * GIB, 2 * GIB)
    ]


def test_in_a_namespace_the_container_is_the_root(tmp_path):
    files = {
        "proc/self/mountinfo": V2_MOUNT,
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/memory.max": 2 * GIB,
        "sys/fs/cgroup/memory.current": GIB,
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == [Limit("cgroup /", 2 * GIB, GIB)]


def test_a_mount_from_above_the_namespace_is_searched_for_the_own_group(tmp_path):
    own = "sys/fs/cgroup/docker/4f2a"
    files = {
        "proc/self/mountinfo": V2_MOUNT.replace(" / /sys", " /../.. /sys"),
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/docker/other/cgroup.procs": 1,
        "sys/fs/cgroup/docker/other/memory.max": GIB,
        f"{own}/cgroup.procs": os.getpid(),
        f"{own}/memory.max": 2 * GIB,
        f"{own}/memory.current": GIB,
    }
    (limit,) = groups_in(limits.linux_limits(machine(tmp_path, files)))
    assert (limit.limit_bytes, limit.free_bytes) == (2 * GIB, GIB)


@pytest.mark.parametrize("path", ["/../elsewhere", "/gone/away"])
def test_a_group_that_the_mount_does_not_show_falls_back_to_the_mount_point(tmp_path, path):
    files = {
        "proc/self/mountinfo": V2_MOUNT,
        "proc/self/cgroup": f"0::{path}",
        "sys/fs/cgroup/memory.max": GIB,
        "sys/fs/cgroup/memory.current": 0,
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == [Limit("cgroup /", GIB, GIB)]


def test_mount_points_and_groups_may_have_spaces(tmp_path):
    files = {
        "proc/self/mountinfo": V2_MOUNT.replace("/sys/fs/cgroup", r"/my\040groups"),
        "proc/self/cgroup": "0::/a b",
        "my groups/a b/memory.max": GIB,
        "my groups/a b/memory.current": 0,
    }
    assert groups_in(limits.linux_limits(machine(tmp_path, files))) == [Limit("cgroup /a b", GIB, GIB)]


def test_a_full_group_leaves_nothing_rather_than_less(tmp_path):
    files = {
        "proc/self/mountinfo": V2_MOUNT,
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/memory.max": GIB,
        "sys/fs/cgroup/memory.current": GIB + 4096,
    }
    assert limits.available_bytes(limits.linux_limits(machine(tmp_path, files))) == 0


@pytest.mark.parametrize(
    ("mode", "sources"), [("0", ["MemAvailable"]), ("2", ["MemAvailable", "CommitLimit"])]
)
def test_the_commit_limit_counts_only_where_the_kernel_is_strict(tmp_path, mode, sources):
    files = {
        "proc/meminfo": f"{MEMINFO}CommitLimit:  8388608 kB\nCommitted_AS:  6291456 kB\n",
        "proc/sys/vm/overcommit_memory": mode,
    }
    found = [limit for limit in limits.linux_limits(machine(tmp_path, files)) if "RLIMIT" not in limit.source]
    assert [limit.source for limit in found] == sources
    if mode == "2":
        assert found[1] == Limit("CommitLimit", 8 * GIB, 2 * GIB)


def test_kills_are_counted_for_the_kernel_and_for_each_group(tmp_path):
    files = {
        "proc/vmstat": "nr_free_pages 12\noom_kill 7",
        "proc/self/mountinfo": V2_MOUNT,
        "proc/self/cgroup": "0::/a",
        "proc/42/cgroup": "0::/a/b",
        "sys/fs/cgroup/a/memory.events": "low 0\noom 4\noom_kill 3",
        "sys/fs/cgroup/a/b/memory.events": "low 0\noom 2\noom_kill 2",
    }
    root = machine(tmp_path, files)
    both = {"kernel": 7, "cgroup /a/b": 2, "cgroup /a": 3}
    assert limits.oom_kills(42, root=root) == both
    assert limits.oom_kills(groups=limits.cgroup_of(42, root), root=root) == both
    assert limits.oom_kills(43, root=root) == {"kernel": 7, "cgroup /a": 3}  # gone: this process's groups


def test_macos_counts_the_pages_that_can_be_had():
    vm_stat = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               65536.
Pages active:                            500000.
Pages inactive:                          131072.
Pages speculative:                        65536.
Pages purgeable:                          12345.
"""
    assert limits._macos("17179869184\n", vm_stat) == Limit("physical memory", 16 * GIB, 4 * GIB)


# --- processors -----------------------------------------------------------------------------------


def test_the_tightest_v2_quota_of_all_ancestors_counts(tmp_path):
    files = {
        "proc/self/mountinfo": V2_MOUNT,
        "proc/self/cgroup": "0::/pod/app",
        "sys/fs/cgroup/pod/cpu.max": "150000 100000",
        "sys/fs/cgroup/pod/app/cpu.max": "max 100000",
    }
    quota = cores.cpu_quota(machine(tmp_path, files))
    assert quota == 1.5
    assert [cores.within(count, quota) for count in (1, 2, 8)] == [1, 2, 2]


def test_a_v1_quota_is_found_in_the_own_group(tmp_path):
    cpu = "sys/fs/cgroup/cpu,cpuacct"
    files = {
        "proc/self/mountinfo": f"32 31 0:30 / /{cpu} rw,relatime - cgroup cgroup rw,cpu,cpuacct",
        "proc/self/cgroup": "1:cpu,cpuacct:/job",
        f"{cpu}/job/cpu.cfs_quota_us": 50000,
        f"{cpu}/job/cpu.cfs_period_us": 100000,
        f"{cpu}/cpu.cfs_quota_us": -1,
        f"{cpu}/cpu.cfs_period_us": 100000,
    }
    assert cores.cpu_quota(machine(tmp_path, files)) == 0.5
    assert cores.within(4, 0.5) == 1


def test_without_a_quota_all_cores_count(tmp_path):
    assert cores.within(6, cores.cpu_quota(machine(tmp_path, {}))) == 6


# --- real limits ----------------------------------------------------------------------------------

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux' own limits")
SHOW = """
from rag.loader.machine.limits import memory_limits
print([(limit.source, limit.limit_bytes, limit.free_bytes) for limit in memory_limits()])
"""


def python(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options)


@on_linux
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_resource_limit_is_seen_with_what_is_left_of_it(name):
    code = f"import resource; resource.setrlimit(resource.{name}, (4 << 30, 4 << 30)){SHOW}"
    found = {source: (limit, free) for source, limit, free in eval(python(code).stdout)}
    limit, free = found[name]
    assert limit == 4 * GIB
    assert 3 * GIB < free < 4 * GIB - (1 << 20)  # a Python uses some megabytes


@on_linux
def test_a_process_bound_to_one_core_uses_one():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from rag.cores import usable_cores; print(usable_cores())"
    )
    assert python(code).stdout.strip() == "1"


@contextlib.contextmanager
def real_group(controller: str, settings: dict[str, dict[int, object]]):
    """A control group of our own at the top of the hierarchy; skips where none can be made."""
    above = ancestry(controller)
    if not above:
        pytest.skip(f"this machine has no {controller} control groups")
    folder = above[-1].folder / f"footnote-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        for file, values in settings.items():
            if above[-1].version in values:
                (folder / file).write_text(str(values[above[-1].version]))
        yield folder
    except FileNotFoundError as error:
        pytest.skip(f"the controller {controller} is not handed down to new groups: {error}")
    finally:
        folder.rmdir()


def join(folder: Path) -> str:
    return f"open({str(folder / 'cgroup.procs')!r}, 'w').write('0'); "


READ_TWICE = """
import os
with open({!r}, 'rb') as file:
    os.fsync(file.fileno())  # pages belong to the group that brought them in, so they are dropped first
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    for _ in range(2):  # the second time makes them active
        file.seek(0)
        while file.read(1 << 20):
            pass
"""
MEMORY_200M = {"memory.limit_in_bytes": {1: 200 << 20}, "memory.max": {2: 200 << 20}}


@on_linux
def test_a_real_memory_group_is_found_and_its_file_pages_count_as_free(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(os.urandom(1 << 20) * 120)
    with real_group("memory", MEMORY_200M) as folder:
        done = python(join(folder) + READ_TWICE.format(str(big)) + SHOW)
        found = [item for item in eval(done.stdout) if folder.name in item[0]]
        used = folder.joinpath("memory.usage_in_bytes" if "memory" in folder.parts else "memory.current")
        cached = int(used.read_text())
    ((source, limit, free),) = found
    assert source == f"cgroup /{folder.name}"
    assert limit == 200 << 20
    assert cached > 100 << 20  # the file is in the group's account
    assert 150 << 20 < free <= 200 << 20  # and can be dropped


@on_linux
def test_a_real_kill_is_counted_for_the_group_that_was_full():
    with real_group("memory", MEMORY_200M) as folder:
        code = "import sys; print('in', flush=True); sys.stdin.read(1); x = b'x' * (600 << 20)"
        with subprocess.Popen(
            [sys.executable, "-c", join(folder) + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout.readline() == b"in\n"
            groups = limits.cgroup_of(child.pid)
            before = limits.oom_kills(groups=groups)
            child.communicate(b"\n", timeout=60)
        after = limits.oom_kills(groups=groups)
    name = f"cgroup /{folder.name}"
    assert child.returncode == -9
    assert after[name] == before[name] + 1
    assert after["kernel"] > before["kernel"]


@on_linux
def test_a_real_processor_quota_is_obeyed():
    settings = {
        "cpu.cfs_period_us": {1: 100000},
        "cpu.cfs_quota_us": {1: 60000},
        "cpu.max": {2: "60000 100000"},
    }
    with real_group("cpu", settings) as folder:
        code = "from rag.cores import cpu_quota, usable_cores; print(cpu_quota(), usable_cores())"
        assert python(join(folder) + code).stdout.split() == ["0.6", "1"]
