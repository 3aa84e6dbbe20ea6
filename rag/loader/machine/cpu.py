"""The processor: its name, and the instructions that decide how fast a model runs on it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Mapping

from rag.cgroups import ROOT, read_text

LINUX: Mapping[str, tuple[frozenset[str], ...]] = {
    "avx2": (frozenset({"avx2"}),),
    "avx512": (frozenset({"avx512f", "avx512bw", "avx512vl"}),),
    "vnni": (frozenset({"avx512_vnni"}), frozenset({"avx_vnni"})),
    "bf16": (frozenset({"avx512_bf16"}), frozenset({"amx_bf16"}), frozenset({"bf16"})),
    "amx": (frozenset({"amx_tile", "amx_int8"}), frozenset({"amx_tile", "amx_bf16"})),
    "neon": (frozenset({"asimd"}), frozenset({"neon"})),
}
"""Our word, and the sets of the kernel's flags of which one has to be complete."""

MACOS = {
    "avx2": "hw.optional.avx2_0",
    "avx512": "hw.optional.avx512bw",
    "bf16": "hw.optional.arm.FEAT_BF16",
    "neon": "hw.optional.arm64",
}
WINDOWS = {"neon": 19, "avx2": 40, "avx512": 41}
"""Arguments of IsProcessorFeaturePresent, from winnt.h."""

UNKNOWN = {"Windows": ("vnni", "bf16", "amx"), "Darwin": ("vnni", "amx")}
"""What a system does not tell; no Mac has AMX, and VNNI matters on Intel only."""


def cpu() -> tuple[str, frozenset[str]]:
    """Name of the processor, and which of LINUX's words it has; see UNKNOWN for what is left open."""
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "darwin":
        return parse_sysctl(_sysctl())
    return parse_cpuinfo(read_text(ROOT / "proc/cpuinfo"))


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """Name and features in Linux' /proc/cpuinfo, of x86 ("flags") or ARM ("Features")."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip().lower(), value.strip())
    flags = set((facts.get("flags") or facts.get("features") or "").split())
    features = frozenset(word for word, sets in LINUX.items() if any(flags >= one for one in sets))
    return facts.get("model name") or _arm_name(facts) or platform.machine(), features


def _arm_name(facts: Mapping[str, str]) -> str:
    if "cpu part" not in facts:
        return ""
    board = facts.get("model") or facts.get("hardware") or "ARM"
    return f"{board} (implementer {facts.get('cpu implementer', '?')}, part {facts['cpu part']})"


def parse_sysctl(text: str) -> tuple[str, frozenset[str]]:
    """Name and features in the "key: value" lines of macOS' sysctl."""
    facts = dict(re.findall(r"^([\w.]+): (.*)$", text, re.MULTILINE))
    features = frozenset(word for word, key in MACOS.items() if facts.get(key) == "1")
    return facts.get("machdep.cpu.brand_string", platform.machine()), features


def _sysctl() -> str:
    command = ["sysctl", "machdep.cpu.brand_string", "hw.optional"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _windows() -> tuple[str, frozenset[str]]:
    import ctypes

    present = ctypes.windll.kernel32.IsProcessorFeaturePresent  # type: ignore[attr-defined]
    features = frozenset(word for word, number in WINDOWS.items() if present(number))
    return _windows_name(), features


def _windows_name() -> str:
    import winreg

    key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:  # type: ignore[attr-defined]
            return str(winreg.QueryValueEx(opened, "ProcessorNameString")[0]).strip()  # type: ignore[attr-defined]
    except OSError:
        return platform.processor()
