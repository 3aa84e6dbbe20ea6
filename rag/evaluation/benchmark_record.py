"""The quantization table for programs: one object in JSON's types."""

from __future__ import annotations

from typing import Any

from rag.evaluation.perplexity import SOURCE
from rag.evaluation.quantizations import CANARY, Comparison, Row


def record(found: Comparison) -> dict[str, Any]:
    """The whole comparison in JSON's types."""
    options = found.options
    return {
        "benchmark": "quantizations",
        "date": found.date,
        "machine": _machine(found),
        "settings": {
            "prompt_tokens": options.prompt_tokens,
            "answer_tokens": options.answer_tokens,
            "context_tokens": options.context_tokens,
            "max_memory_bytes": options.max_memory_bytes,
            "dummy_weights": options.dummy,
            "perplexity_text": None if options.dummy else SOURCE,
            "question": None if options.dummy else CANARY,
        },
        "rows": [_flat(row) for row in found.rows],
    }


def _machine(found: Comparison) -> dict[str, Any]:
    machine = found.machine
    versions = {
        name: version for state in machine.engines.values() for name, version in state.packages.items()
    }
    return {
        "system": machine.system,
        "cpu": machine.cpu,
        "cpu_features": sorted(machine.cpu_features),
        "cores": machine.cores,
        "memory_total_bytes": machine.memory_total,
        "memory_available_bytes": machine.memory_available,
        "gpus": [
            {
                "name": card.name,
                "total_bytes": card.total_bytes,
                "capability": ".".join(map(str, card.capability or ())) or None,
                "driver": card.driver,
            }
            for card in machine.gpus
        ],
        "versions": {"python": found.python, **versions},
    }


def _flat(row: Row) -> dict[str, Any]:
    speeds, scored = row.speeds, row.perplexity
    return {
        "model": row.model,
        "way": row.way,
        "engine": row.engine,
        "quantization": row.quantization,
        "dtype": row.dtype,
        "device": row.device,
        "status": row.status,
        "reason": row.reason,
        "load_s": row.load_s,
        "predicted_peak_bytes": row.predicted_peak_bytes,
        "peak_bytes": row.peak_bytes,
        "prompt_tokens": speeds.prompt_tokens,
        "prefill_tokens_per_s": _rounded(speeds.prefill_tokens_per_s, 2),
        "answer_tokens": speeds.answer_tokens,
        "tokens_per_s": _rounded(speeds.tokens_per_s, 2),
        "first_token_s": _rounded(speeds.first_token_s, 4),
        "perplexity": _rounded(scored.value if scored else None, 4),
        "perplexity_tokens": scored.tokens if scored else None,
        "perplexity_ratio": _rounded(row.perplexity_ratio, 4),
        "answer": row.answer,
        "notes": list(row.notes),
        "kept_back": row.kept_back,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
