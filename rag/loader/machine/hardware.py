"""What is this machine? Everything that decides which models it can run, in one record."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from rag.cores import usable_cores
from rag.loader.machine.cpu import UNKNOWN, cpu
from rag.loader.machine.gpus import gpus
from rag.loader.machine.installed import TORCH_CUDA, bitsandbytes, how_to_install, installed_engines
from rag.loader.machine.limits import available_bytes, memory_limits
from rag.loader.machine.probe import cached_probe
from rag.loader.records import EngineState, Gpu, Machine, Probe
from rag.places import cache_root

GB = 1e9
FEATURE_NAMES = {
    **{"avx2": "AVX2", "avx512": "AVX-512", "vnni": "VNNI", "bf16": "BF16"},
    **{"amx": "AMX", "neon": "NEON"},
}


def machine(environ: Mapping[str, str] | None = None) -> Machine:
    """Look at this computer; nothing is measured and nothing heavy imported.

    `environ` (by default the process's own) may hold CUDA_VISIBLE_DEVICES and FOOTNOTE_CACHE. The record's
    `probe` is the cached one, None before one was made. What could not be found out is in `warnings`.
    """
    environ = os.environ if environ is None else environ
    name, features = cpu()
    limits = memory_limits()
    engines = installed_engines()
    found, warnings = gpus(environ)
    return Machine(
        system=platform.system(),
        cpu=name,
        cpu_features=features,
        cores=usable_cores(),
        memory_total=limits[0].limit_bytes,
        memory_available=available_bytes(limits),
        limits=limits,
        gpus=found,
        engines=engines,
        probe=cached_probe(environ),
        disk_free=disk_free(cache_root(environ)),
        warnings=(*warnings, *_shortcomings(engines, found)),
    )


def _shortcomings(engines: Mapping[str, EngineState], found: tuple[Gpu, ...]) -> Iterator[str]:
    """What a working engine lacks, with the command that adds it."""
    if not engines["transformers"].usable:
        return
    reducer = bitsandbytes()
    if reducer.problem:
        yield f"{reducer.problem}. {reducer.fix}"
    packages = engines["transformers"].packages
    if found and TORCH_CUDA not in packages:
        fix = how_to_install("--force-reinstall", "torch")
        yield f"torch {packages['torch']} is built for the CPU and cannot use the GPU. {fix}"


def disk_free(folder: Path) -> int:
    """Bytes free where `folder` is or would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def describe(machine: Machine) -> list[tuple[str, str]]:
    """Label and value of each line about the machine, for people."""
    return [
        ("System", machine.system),
        ("Processor", _processor(machine)),
        ("Memory", _memory(machine)),
        *(("GPU", _gpu(gpu)) for gpu in machine.gpus),
        *([] if machine.gpus else [("GPU", "none that can be used")]),
        *_engines(machine),
        ("Speed", _speed(machine.probe)),
        ("Disk", f"{_gb(machine.disk_free)} free for models"),
        *(("Note", warning) for warning in machine.warnings),
    ]


def _processor(machine: Machine) -> str:
    have = [label for word, label in FEATURE_NAMES.items() if word in machine.cpu_features]
    unknown = [FEATURE_NAMES[word] for word in UNKNOWN.get(machine.system, ())]
    parts = [machine.cpu, "1 core usable" if machine.cores == 1 else f"{machine.cores} cores usable"]
    parts.append(", ".join(have) or "no vector instructions that matter")
    if unknown:
        parts.append(f"not told by {machine.system}: {', '.join(unknown)}")
    return "; ".join(parts)


def _memory(machine: Machine) -> str:
    text = f"{_gb(machine.memory_total)}, of which {_gb(machine.memory_available)} are available"
    tightest = min(machine.limits, key=lambda limit: limit.free_bytes, default=None)
    if tightest is None or tightest is machine.limits[0]:
        return text
    return f"{text}; the least is set by {tightest.source} ({_gb(tightest.limit_bytes)})"


def _gpu(gpu: Gpu) -> str:
    parts = [f"{gpu.index}: {gpu.name}", f"{_gb(gpu.free_bytes)} of {_gb(gpu.total_bytes)} free"]
    if gpu.capability:
        parts.append("compute capability {}.{}".format(*gpu.capability))
    if gpu.driver:
        parts.append(f"driver {gpu.driver}")
    return "; ".join(parts)


def _engines(machine: Machine) -> Iterator[tuple[str, str]]:
    for state in machine.engines.values():
        if state.version is None:
            text = state.problem or "not installed"
        else:
            others = [f"{name} {version}" for name, version in state.packages.items()]
            text = ", ".join(others) + (f"; {state.problem}" if state.problem else "")
        yield f"Engine {state.name}", f"{text}. {state.fix}" if state.fix else text


def _speed(probe: Probe | None) -> str:
    if probe is None:
        return "not measured yet"
    parts = [f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in probe.matmul.items()]
    if probe.bandwidth:
        parts.append(f"memory {_gb(probe.bandwidth)}/s")
    return ", ".join(parts) or "cannot be measured"


def _gb(amount: float) -> str:
    return f"{amount / GB:,.1f} GB"
