"""Whether one way fits, and with which context: against the computer's memory, or against its GPUs'."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rag.loader.planning import memory
from rag.loader.records import Candidate, Machine, ModelFacts, Need, Plan, Request
from rag.loader.units import size

TIGHT = 0.9
"""Above this share of what is available the reason says "tight": predictions err by some per cent."""


def fit(plan: Plan, facts: ModelFacts, machine: Machine, request: Request) -> Candidate:
    """Judge a way that nothing else stands against; its context is shortened before it is said not to fit."""
    found = _gpus_and_context if plan.device == "cuda" else _memory_and_context
    return found(plan, facts, machine, request)


def way_of(plan: Plan) -> dict[str, Any]:
    """The plan's part that `memory.estimate` wants."""
    return {
        "engine": plan.engine,
        "quantization": plan.quantization,
        "dtype": plan.dtype,
        "device": plan.device,
        "threads": plan.threads,
        "gpus": plan.tensor_parallel * plan.pipeline_parallel,
    }


def _memory_and_context(plan: Plan, facts: ModelFacts, machine: Machine, request: Request) -> Candidate:
    """Judge a way that lives in the computer's own memory, with a shorter context where only that fits."""
    room, bound = _room(machine, request)
    way = way_of(plan)
    if plan.device == "disk":
        kept = memory.offload_budget(facts, room, context_tokens=plan.context_tokens, **way)
        way["resident_bytes"] = kept
    need = memory.estimate(facts, context_tokens=plan.context_tokens, **way)
    asked = plan.context_tokens
    if _wanted(need, plan) > room and not request.context_forced:
        mapped = _wanted(need, plan) - need.peak
        shorter = memory.largest_context(facts, room - mapped, asked, **way)
        if shorter and shorter < asked:
            plan = _shortened(plan, asked, shorter)
            need = memory.estimate(facts, context_tokens=shorter, **way)
    plan = replace(plan, must_have_bytes=need.must_have, peak_bytes=need.peak)
    if plan.device == "disk" and need.disk > machine.disk_free:
        reason = f"needs {size(need.disk)} of disk, {size(machine.disk_free)} are free"
        return Candidate(plan, "does not fit", reason, "Free some space.", need)
    if _wanted(need, plan) > room:
        return Candidate(plan, "does not fit", _too_much(need, plan, room, bound), _smaller(request), need)
    shortened = asked if plan.context_tokens < asked else None
    return Candidate(plan, "fits", _fitting(need, plan, room), "", need, context_shortened=shortened)


def _gpus_and_context(plan: Plan, facts: ModelFacts, machine: Machine, request: Request) -> Candidate:
    """Judge a way on GPUs: as few of them as hold it, unless their number is asked for."""
    asked = plan.context_tokens
    judged: Candidate | None = None
    for count in _gpu_counts(facts, machine, request):
        tried = replace(plan, tensor_parallel=count)
        way = way_of(tried)
        room = _gpu_room(tried, machine, count)
        need = memory.estimate(facts, context_tokens=asked, **way)
        if need.peak > room and not request.context_forced:
            shorter = memory.largest_context(facts, room, asked, **way)
            if shorter and shorter < asked:
                tried = _shortened(tried, asked, shorter)
                need = memory.estimate(facts, context_tokens=shorter, **way)
        judged = _gpu_verdict(tried, need, room, asked, machine)
        if judged.verdict == "fits" and judged.context_shortened is None:
            return judged
    assert judged is not None
    return judged


def _gpu_counts(facts: ModelFacts, machine: Machine, request: Request) -> list[int]:
    """How many GPUs to try to share the layers among: powers of two that divide the heads."""
    if request.tensor_parallel:
        return [request.tensor_parallel]
    heads = facts.config.get("num_attention_heads") or 1
    counts = [
        1 << power for power in range(8) if (1 << power) * request.pipeline_parallel <= len(machine.gpus)
    ]
    return [count for count in counts if heads % count == 0] or [1]


def _gpu_room(plan: Plan, machine: Machine, count: int) -> int:
    """Bytes of the fullest of the GPUs that may be taken; vLLM takes a share of the whole card."""
    cards = sorted(machine.gpus, key=lambda card: -card.free_bytes)[:count]
    if not cards:
        return 0
    if plan.engine == "vllm":
        return min(
            min(card.free_bytes, int(card.total_bytes * plan.gpu_memory_utilization)) for card in cards
        )
    return min(card.free_bytes for card in cards)


def _gpu_verdict(plan: Plan, need: Need, room: int, asked: int, machine: Machine) -> Candidate:
    plan = replace(plan, must_have_bytes=need.must_have, peak_bytes=need.peak)
    cards = "the GPU" if plan.tensor_parallel == 1 else f"each of {plan.tensor_parallel} GPUs"
    if (
        plan.tensor_parallel * plan.pipeline_parallel > len(machine.gpus)
        and plan.distributed_executor != "ray"
    ):
        want = plan.tensor_parallel * plan.pipeline_parallel
        reason = f"wants {want} GPUs, and {len(machine.gpus)} are here"
        return Candidate(plan, "does not fit", reason, "Lower model.tensor_parallel.", need)
    if need.peak > room:
        reason = f"needs {size(need.peak)} on {cards}, {size(room)} may be used"
        return Candidate(
            plan, "does not fit", reason, "Close what else uses the GPU, or take fewer bits.", need
        )
    if need.host > machine.memory_available:
        reason = (
            f"needs {size(need.host)} of memory beside the GPU, {size(machine.memory_available)} are free"
        )
        return Candidate(plan, "does not fit", reason, "Close other programs.", need)
    if plan.engine == "vllm" and machine.gpus:
        plan = replace(plan, gpu_memory_utilization=_utilization(plan, machine))
    shortened = asked if plan.context_tokens < asked else None
    reason = f"needs {size(need.peak)} of {size(room)} on {cards}"
    return Candidate(plan, "fits", reason, "", need, context_shortened=shortened)


def _utilization(plan: Plan, machine: Machine) -> float:
    """vLLM refuses to start when less is free than the share that it is told to take."""
    cards = sorted(machine.gpus, key=lambda card: -card.free_bytes)[: plan.tensor_parallel]
    free = min(card.free_bytes / card.total_bytes for card in cards)
    return round(min(plan.gpu_memory_utilization, int(free * 100) / 100), 2)


def _room(machine: Machine, request: Request) -> tuple[int, str]:
    """Bytes that may be used, and what sets that bound."""
    room, bound = machine.memory_available, "available"
    if least := min(machine.limits, key=lambda limit: limit.free_bytes, default=None):
        bound = (
            "available" if least.source in ("MemAvailable", "physical memory") else f"left by {least.source}"
        )
    if request.max_memory_bytes is not None and request.max_memory_bytes < room:
        return request.max_memory_bytes, "allowed by --max-memory"
    return room, bound


def _wanted(need: Need, plan: Plan) -> int:
    """What has to stay in memory: mapped weights too, as every token reads them, unless from the disk."""
    return need.peak + (0 if plan.device == "disk" else need.reclaimable)


def _too_much(need: Need, plan: Plan, room: int, bound: str) -> str:
    moment = " while loading" if need.loading_peak > need.must_have else ""
    return f"needs {size(_wanted(need, plan))}{moment}, {size(room)} are {bound}"


def _fitting(need: Need, plan: Plan, room: int) -> str:
    wanted = _wanted(need, plan)
    tight = "; tight" if wanted > TIGHT * room else ""
    return f"needs {size(wanted)} of {size(room)}{tight}"


def _smaller(request: Request) -> str:
    first = "Raise --max-memory" if request.max_memory_bytes else "Close other programs"
    return f"{first}, take fewer bits (--quantization bnb-4bit, or a Q4_K_M file) or a smaller model."


def _shortened(plan: Plan, asked: int, context: int) -> Plan:
    note = f"the context was shortened from {asked:,} to {context:,} tokens, so that it fits into memory"
    return replace(plan, context_tokens=context, notes=(*plan.notes, note))
