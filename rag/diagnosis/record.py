"""The diagnosis as the one JSON object that `--json` prints and the support report ends with."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from rag.diagnosis.records import Diagnosis, Outcome
from rag.loader.records import Candidate, Machine, ModelFacts


def record(diagnosis: Diagnosis) -> dict[str, Any]:
    """Of JSON's types only; with "error" where the model cannot be used."""
    facts = diagnosis.found
    return {
        **(diagnosis.error.as_dict() if diagnosis.error else {}),
        "model": diagnosis.model,
        "found": found(facts) if facts else None,
        "machine": machine(diagnosis.machine),
        "plans": [plan(candidate) for candidate in diagnosis.candidates],
        "loaded": loaded(diagnosis.outcome, diagnosis.chosen) if diagnosis.outcome else None,
        "published": dict(diagnosis.siblings),
        "import_problems": None if diagnosis.imports is None else dict(diagnosis.imports),
    }


def found(facts: ModelFacts) -> dict[str, Any]:
    stored = facts.quantization
    return {
        "name": facts.name,
        "kind": facts.kind,
        "place": str(facts.place) if facts.place else None,
        "repo": facts.repo,
        "architecture": facts.architecture,
        "model_type": facts.model_type,
        "parameters": facts.parameters,
        "quantization": stored.label,
        "quantization_detail": stored.detail,
        "bits": stored.bits,
        "legacy": stored.legacy,
        "evidence": list(stored.evidence),
        "contradictions": list(facts.contradictions),
        "warnings": list(facts.warnings),
        "problems": [asdict(problem) for problem in facts.problems],
        "context_tokens": facts.context_tokens,
        "dtypes": dict(facts.dtypes),
        "weight_bytes": facts.weight_bytes,
        "shards": [asdict(shard) for shard in facts.shards],
        "chat_template": facts.chat_template,
        "tokenizer": facts.tokenizer,
        "remote_code": facts.remote_code,
    }


def machine(found: Machine) -> dict[str, Any]:
    return {
        "system": found.system,
        "cpu": found.cpu,
        "cpu_features": sorted(found.cpu_features),
        "cores": found.cores,
        "memory_total_bytes": found.memory_total,
        "memory_available_bytes": found.memory_available,
        "limits": [asdict(limit) for limit in found.limits],
        "gpus": [asdict(gpu) for gpu in found.gpus],
        "engines": {
            name: {**asdict(state), "packages": dict(state.packages), "usable": state.usable}
            for name, state in found.engines.items()
        },
        "probe": {"bandwidth": found.probe.bandwidth, "matmul": dict(found.probe.matmul)}
        if found.probe
        else None,
        "disk_free_bytes": found.disk_free,
        "warnings": list(found.warnings),
    }


def plan(candidate: Candidate) -> dict[str, Any]:
    way = candidate.plan
    return {
        "engine": way.engine,
        "quantization": way.quantization,
        "dtype": way.dtype,
        "device": way.device,
        "verdict": candidate.verdict,
        "reason": candidate.reason,
        "fix": candidate.fix,
        "must_have_bytes": candidate.need.must_have if candidate.need else None,
        "peak_bytes": candidate.need.peak if candidate.need else None,
        "need": asdict(candidate.need) if candidate.need else None,
        "tokens_per_s": _rounded(candidate.tokens_per_s),
        "prefill_tokens_per_s": _rounded(candidate.prefill_tokens_per_s),
        "load_s": _rounded(candidate.load_seconds),
        "context_tokens": way.context_tokens,
        "context_shortened": candidate.context_shortened,
        "notes": list(way.notes),
        "model": os.fspath(way.model),
        "download": way.repo is not None,
    }


def loaded(outcome: Outcome, candidate: Candidate | None) -> dict[str, Any]:
    back, speed = outcome.given_back, outcome.speed
    return {
        "plan": asdict(outcome.plan),
        "seconds": outcome.seconds,
        "peak_bytes": outcome.peak_bytes,
        "predicted_peak_bytes": outcome.plan.peak_bytes,
        "resident_bytes": outcome.resident_bytes,
        "tokens_per_s": _rounded(speed.tokens_per_s),
        "predicted_tokens_per_s": _rounded(candidate.tokens_per_s if candidate else None),
        "prefill_tokens_per_s": _rounded(speed.prefill_tokens_per_s),
        "predicted_prefill_tokens_per_s": _rounded(candidate.prefill_tokens_per_s if candidate else None),
        "prompt_tokens": speed.prompt_tokens,
        "answer_tokens": speed.answer_tokens,
        "sanity": dict(outcome.sanity),
        "given_back": asdict(back) if back else None,
        "failed": [dict(error) for error in outcome.failed],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
