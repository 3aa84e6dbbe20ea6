"""Processor, GPUs, the probe and the machine as a whole."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rag.loader.machine import measure
from rag.loader.machine.cpu import parse_cpuinfo, parse_sysctl
from rag.loader.machine.gpus import gpus
from rag.loader.machine.hardware import describe, machine
from rag.loader.machine.installed import TORCH_CUDA
from rag.loader.machine.probe import cached_probe, probe
from rag.loader.records import EngineState, Gpu, Limit, Machine, Probe

# --- processor ------------------------------------------------------------------------------------

XEON = """processor	: 0
model name	: Intel(R) Xeon(R) Platinum 8480+
flags		: fpu avx avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni amx_bf16 amx_tile

processor	: 1
model name	: another
flags		: fpu
"""
CORE = "model name\t: 12th Gen Intel(R) Core(TM) i7-1260P\nflags\t\t: fpu avx avx2 avx_vnni\n"
ATOM = "model name\t: Intel(R) Celeron(R) N4000\nflags\t\t: fpu sse4_2 avx512f\n"
NEOVERSE = """processor	: 0
BogoMIPS	: 2100.00
Features	: fp asimd evtstrm aes crc32 atomics fphp asimdhp asimddp sve i8mm bf16
CPU implementer	: 0x41
CPU architecture: 8
CPU part	: 0xd40
"""
RASPBERRY = """Features	: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4
CPU implementer	: 0x41
CPU part	: 0xd08
Hardware	: BCM2711
Model		: Raspberry Pi 4 Model B Rev 1.4
"""


@pytest.mark.parametrize(
    ("text", "name", "features"),
    [
        (XEON, "Intel(R) Xeon(R) Platinum 8480+", {"avx2", "avx512", "vnni", "bf16", "amx"}),
        (CORE, "12th Gen Intel(R) Core(TM) i7-1260P", {"avx2", "vnni"}),
        (ATOM, "Intel(R) Celeron(R) N4000", set()),
        (NEOVERSE, "ARM (implementer 0x41, part 0xd40)", {"neon", "bf16"}),
        (RASPBERRY, "Raspberry Pi 4 Model B Rev 1.4 (implementer 0x41, part 0xd08)", {"neon"}),
    ],
)
def test_linux_tells_name_and_features(text, name, features):
    assert parse_cpuinfo(text) == (name, features)


def test_macos_tells_name_and_features():
    apple = (
        "machdep.cpu.brand_string: Apple M2\nhw.optional.arm64: 1\n"
        "hw.optional.arm.FEAT_BF16: 1\nhw.optional.floatingpoint: 1\n"
    )
    assert parse_sysctl(apple) == ("Apple M2", {"neon", "bf16"})
    intel = "machdep.cpu.brand_string: Intel Core i5\nhw.optional.avx2_0: 1\nhw.optional.avx512bw: 0\n"
    assert parse_sysctl(intel) == ("Intel Core i5", {"avx2"})


# --- GPUs -----------------------------------------------------------------------------------------

ROWS = {
    "0": "0, GPU-1a2b3c, NVIDIA GeForce RTX 4090, 24564, 23028, 550.54.15, [N/A], 8.9",
    "1": "1, GPU-1affff, Tesla P40, 24576, 24451, 550.54.15, [N/A], 6.1",
}
RTX = Gpu(0, "NVIDIA GeForce RTX 4090", 24564 << 20, 23028 << 20, (8, 9), "550.54.15")
P40 = Gpu(1, "Tesla P40", 24576 << 20, 24451 << 20, (6, 1), "550.54.15")
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running."
)


@pytest.fixture
def nvidia_smi(tmp_path):
    """Puts a program of that name on a PATH of its own, and returns the environment."""
    if sys.platform == "win32":
        pytest.skip("Windows starts no script by its first line")

    def install(code: str, **environ: str) -> dict[str, str]:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
        program.chmod(0o755)
        return {"PATH": str(tmp_path), **environ}

    return install


def two(**rows: str) -> str:
    return f"print({chr(10).join({**ROWS, **rows}.values())!r})"


def test_two_gpus_are_listed(nvidia_smi):
    assert gpus(nvidia_smi(two())) == ((RTX, P40), ())


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0", (RTX,)),
        ("1,0", (P40, RTX)),
        ("GPU-1aff", (P40,)),
        ("GPU-1a2b3c, 1", (RTX, P40)),
        ("", ()),
        ("-1", ()),
    ],
)
def test_cuda_visible_devices_chooses_and_orders(nvidia_smi, visible, expected):
    assert gpus(nvidia_smi(two(), CUDA_VISIBLE_DEVICES=visible)) == (expected, ())


@pytest.mark.parametrize("name", ["7", "GPU-1a", "GPU-dead"])
def test_cuda_stops_at_a_device_that_is_not_there_or_not_unique(nvidia_smi, name):
    found, (warning,) = gpus(nvidia_smi(two(), CUDA_VISIBLE_DEVICES=f"1,{name},0"))
    assert found == (P40,)
    assert repr(name) in warning


def test_nothing_is_started_when_every_gpu_is_hidden(nvidia_smi, tmp_path):
    started = tmp_path / "started"
    environ = nvidia_smi(f"open({str(started)!r}, 'w')", CUDA_VISIBLE_DEVICES="-1")
    assert gpus(environ) == ((), ())
    assert not started.exists()


def test_a_gpu_split_by_mig_is_noted(nvidia_smi):
    row = "0, GPU-77, NVIDIA A100-SXM4-80GB, 81920, 81000, 550.54.15, Enabled, 8.0"
    found, (warning,) = gpus(nvidia_smi(f"print({row!r})"))
    assert found[0].total_bytes == 80 << 30
    assert "MIG" in warning
    assert gpus(nvidia_smi(f"print({row!r})", CUDA_VISIBLE_DEVICES="MIG-5c89"))[0] == ()


def test_an_old_driver_is_asked_again_without_the_capability(nvidia_smi):
    code = (
        "if 'compute_cap' in ' '.join(sys.argv):\n"
        "    print('Field \"compute_cap\" is not a valid field to query.')\n    sys.exit(2)\n"
        "print('0, GPU-1, Tesla V100-SXM2-16GB, 16160, 16000, 418.87, [N/A]')"
    )
    assert gpus(nvidia_smi(code)) == (
        (Gpu(0, "Tesla V100-SXM2-16GB", 16160 << 20, 16000 << 20, None, "418.87"),),
        (),
    )


def test_memory_that_is_not_told_leaves_the_gpu_out(nvidia_smi):
    row = "0, GPU-1, NVIDIA Thor, [N/A], [N/A], 580.00, [N/A], 11.0"
    found, (warning,) = gpus(nvidia_smi(f"print({row!r})"))
    assert found == ()
    assert "NVIDIA Thor" in warning


def test_a_driver_error_is_a_warning(nvidia_smi):
    found, (warning,) = gpus(nvidia_smi(f"print({NO_DRIVER!r}); sys.exit(9)"))
    assert found == ()
    assert "couldn't communicate with the NVIDIA driver" in warning


def test_a_driver_that_hangs_is_a_warning(nvidia_smi):
    found, (warning,) = gpus(nvidia_smi("import time; time.sleep(60)"), timeout_s=0.3)
    assert found == ()
    assert "did not answer within 0.3 s" in warning


def test_a_program_that_does_not_run_is_a_warning(nvidia_smi, tmp_path):
    environ = nvidia_smi("")
    (tmp_path / "nvidia-smi").write_bytes(b"\x7fELF, but cut off")
    found, (warning,) = gpus(environ)
    assert found == ()
    assert "cannot be started" in warning


def test_no_program_means_no_gpu(tmp_path):
    assert gpus({"PATH": str(tmp_path)}) == ((), ())


# --- probe ----------------------------------------------------------------------------------------


def test_the_probe_measures_once_and_remembers(tmp_path):
    environ = {"FOOTNOTE_CACHE": str(tmp_path / "cache")}
    assert cached_probe(environ) is None
    measured = probe(environ=environ)
    assert set(measured.matmul) == set(measure.DTYPES)
    assert all(1e8 < speed < 1e15 for speed in measured.matmul.values())
    assert 1e8 < measured.bandwidth < 1e13
    assert cached_probe(environ) == measured
    assert probe(environ=environ) == measured  # a second measurement never has the same digits
    assert machine(environ).probe == measured

    (file,) = (tmp_path / "cache").iterdir()
    kept = json.loads(file.read_text())
    for change in (
        {"time": time.time() - 40 * 86400},
        {"key": {**kept["key"], "cores": 4096}},
        {"time": "x"},
    ):
        file.write_text(json.dumps({**kept, **change}))
        assert cached_probe(environ) is None
    file.write_text("{")
    assert cached_probe(environ) is None


def test_a_broken_torch_leaves_the_bandwidth(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    environ = {"FOOTNOTE_CACHE": str(tmp_path / "cache")}
    measured = probe(environ=environ)
    assert measured.matmul == {}
    assert measured.bandwidth > 1e8
    assert cached_probe(environ) is None  # torch is installed, so it may be mended by the next time


def test_without_numpy_copying_tells_the_bandwidth():
    with ThreadPoolExecutor(1) as pool:
        copied = measure._copied(32 << 20, 1, pool)
    assert 1e8 < copied < 1e13


# --- the machine ----------------------------------------------------------------------------------


def test_this_machine_is_described():
    found = machine()
    assert found.system in {"Linux", "Darwin", "Windows"}
    assert found.cores >= 1
    assert 0 < found.memory_available <= found.memory_total
    assert found.memory_available == min(limit.free_bytes for limit in found.limits)
    assert found.disk_free > 0
    assert set(found.engines) == {"llamacpp", "transformers", "vllm", "remote"}
    assert found.cpu in dict(describe(found))["Processor"]


def test_looking_at_the_machine_needs_no_package(tmp_path):
    for name in ("psutil", "torch", "numpy", "packaging", "httpx", "transformers", "xllamacpp"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('broken')")
    code = (
        "import sys; from rag.loader.machine.hardware import describe, machine; lines = describe(machine())\n"
        "assert not {'torch', 'numpy', 'psutil', 'httpx'} & set(sys.modules)\nprint(len(lines))"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stderr == ""
    assert int(done.stdout) >= 8


def test_a_gpu_that_torch_cannot_use_is_told(nvidia_smi):
    found = machine({**nvidia_smi(two()), "FOOTNOTE_CACHE": "/nowhere"})
    assert found.gpus == (RTX, P40)
    cuda = TORCH_CUDA in found.engines["transformers"].packages
    told = [warning for warning in found.warnings if "is built for the CPU and cannot use the GPU" in warning]
    assert len(told) == (0 if cuda else 1)


def test_people_read_what_bounds_the_memory_and_what_is_not_known():
    described = Machine(
        system="Windows",
        cpu="Some Processor",
        cpu_features=frozenset({"avx2"}),
        cores=1,
        memory_total=int(16e9),
        memory_available=int(3e9),
        limits=(
            Limit("physical memory", int(16e9), int(9e9)),
            Limit("commit limit", int(20e9), int(3e9)),
        ),
        gpus=(RTX,),
        engines={
            "vllm": EngineState("vllm", None, "vllm is not installed", "Run it."),
            "remote": EngineState("remote", "0.28", packages={"httpx": "0.28"}),
        },
        probe=Probe(12.3e9, {"float32": 50e9}),
        disk_free=int(5e9),
        warnings=("the GPU is warm",),
    )
    assert describe(described) == [
        ("System", "Windows"),
        ("Processor", "Some Processor; 1 core usable; AVX2; not told by Windows: VNNI, BF16, AMX"),
        ("Memory", "16.0 GB, of which 3.0 GB are available; the least is set by commit limit (20.0 GB)"),
        (
            "GPU",
            "0: NVIDIA GeForce RTX 4090; 24.1 GB of 25.8 GB free; compute capability 8.9; driver 550.54.15",
        ),
        ("Engine vllm", "vllm is not installed. Run it."),
        ("Engine remote", "httpx 0.28"),
        ("Speed", "float32 50 GFLOP/s, memory 12.3 GB/s"),
        ("Disk", "5.0 GB free for models"),
        ("Note", "the GPU is warm"),
    ]
