"""NVIDIA's GPUs as nvidia-smi lists them, without loading a library that could fail."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import subprocess
from collections.abc import Mapping

from rag.loader.records import Gpu

MIB = 1 << 20
TIMEOUT_S = 5.0
"""A driver that hangs answers never; a healthy one needs up to 2 s when no other program holds it awake."""

FIELDS = ("index", "uuid", "name", "memory.total", "memory.free", "driver_version", "mig.mode.current")
CAPABILITY = "compute_cap"  # drivers before 510 refuse the whole question because of it

Row = dict[str, str]


def gpus(
    environ: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs that this process may use, in CUDA's order, and warnings in words; never raises.

    `Gpu.index` is nvidia-smi's number. CUDA_VISIBLE_DEVICES in `environ` chooses and orders. Where there is
    no nvidia-smi on PATH nothing is started.
    """
    environ = os.environ if environ is None else environ
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None or _hidden(environ):
        return (), ()
    rows, problem = _query(program, environ, (*FIELDS, CAPABILITY), timeout_s)
    if CAPABILITY in problem:
        rows, problem = _query(program, environ, FIELDS, timeout_s)
    if problem:
        return (), (f"the GPUs cannot be listed: {problem}",)
    chosen, warnings = _visible(rows, environ.get("CUDA_VISIBLE_DEVICES"))
    found = tuple(gpu for row in chosen if (gpu := _gpu(row)) is not None)
    return found, (*warnings, *_remarks(chosen))


def _hidden(environ: Mapping[str, str]) -> bool:
    """Whether CUDA_VISIBLE_DEVICES hides every GPU: it is empty, or begins with an index that none has."""
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    return wanted is not None and wanted.split(",")[0].strip() in {"", "-1", "NoDevFiles"}


def _query(
    program: str, environ: Mapping[str, str], fields: tuple[str, ...], timeout_s: float
) -> tuple[list[Row], str]:
    """One row per GPU, and what went wrong instead."""
    command = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        status, output = _run(command, environ, timeout_s)
    except subprocess.TimeoutExpired:
        return [], f"nvidia-smi did not answer within {timeout_s:g} s"
    except OSError as error:
        return [], f"nvidia-smi cannot be started: {error}"
    if status:
        return [], _first_line(output) or f"nvidia-smi ended with status {status}"
    lines = csv.reader(output.splitlines(), skipinitialspace=True)
    return [dict(zip(fields, line)) for line in lines if len(line) == len(fields)], ""


def _run(command: list[str], environ: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Exit status and output, the error stream's included. Raises TimeoutExpired, OSError.

    Unlike subprocess.run it does not wait for a program that was killed: one that is stuck in a driver
    cannot end.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=dict(environ),
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        if process.stdout:
            process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        raise
    return process.returncode, output


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _visible(rows: list[Row], wanted: str | None) -> tuple[list[Row], list[str]]:
    """The rows that CUDA_VISIBLE_DEVICES names, by index or by the beginning of a UUID, in its order.

    CUDA stops at the first name that fits no GPU; so does this, and says so.
    """
    if wanted is None:
        return rows, []
    chosen: list[Row] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name.startswith("MIG-"):
            return chosen, [f"CUDA_VISIBLE_DEVICES names {name}, a slice of a GPU; its memory is not known"]
        match = [row for row in rows if name and (row["index"] == name or row["uuid"].startswith(name))]
        if len(match) != 1:
            return chosen, [f"CUDA_VISIBLE_DEVICES names {name!r}, which is no GPU here; CUDA stops there"]
        chosen += match
    return chosen, []


def _gpu(row: Row) -> Gpu | None:
    try:
        total, free = int(row["memory.total"]) * MIB, int(row["memory.free"]) * MIB
    except ValueError:
        return None
    major, _, minor = row.get(CAPABILITY, "").partition(".")
    capability = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
    return Gpu(int(row["index"]), row["name"], total, free, capability, row["driver_version"])


def _remarks(rows: list[Row]) -> list[str]:
    remarks = []
    for row in rows:
        name = f"GPU {row['index']} ({row['name']})"
        if _gpu(row) is None:
            remarks.append(f"{name} does not tell its memory and is left out")
        if row["mig.mode.current"] == "Enabled":
            remarks.append(
                f"{name} is split by MIG: a program gets one slice, which has less memory than shown"
            )
    return remarks
