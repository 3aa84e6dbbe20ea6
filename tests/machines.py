"""Machines to plan for: recorded figures, so that every machine gives the same plans."""

from rag.loader.records import EngineState, Gpu, Limit, Machine, Probe

GB = 10**9


def engine(name, version="1.0", **packages):
    return EngineState(name, version, packages=packages)


ALL_ENGINES = {
    "llamacpp": engine("llamacpp"),
    "transformers": engine("transformers", torch="2.13.0", **{"torch-cuda": "13.0"}, bitsandbytes="0.50.2"),
    "vllm": engine("vllm", "0.32.0", vllm="0.32.0"),
    "remote": engine("remote"),
}
CPU_ENGINES = {
    **ALL_ENGINES,
    "transformers": engine("transformers", torch="2.13.0+cpu", bitsandbytes="0.50.2"),
    "vllm": EngineState("vllm"),
}
AVX2 = frozenset({"avx2"})
PROBED = Probe(13.7e9, {"float32": 60e9, "float16": 11e9, "bfloat16": 9e9})
"""Two cores with AVX2 and without AVX-512: 16-bit products are computed five times slower."""


def laptop(memory=16 * GB, free=None, probe=PROBED, engines=CPU_ENGINES, **more):
    free = memory * 3 // 4 if free is None else free
    limits = (Limit("MemAvailable", memory, free), *more.pop("limits", ()))
    free = min(limit.free_bytes for limit in limits)
    return Machine("Linux", "CPU", AVX2, 2, memory, free, limits, (), engines, probe, 100 * GB, **more)


def workstation(
    cards=1, memory=80 * GB, capability=(9, 0), name="NVIDIA H100 80GB HBM3", engines=ALL_ENGINES
):
    gpus = tuple(Gpu(n, name, memory, memory - GB, capability, "580.00") for n in range(cards))
    limits = (Limit("MemAvailable", 128 * GB, 120 * GB),)
    return Machine("Linux", "CPU", AVX2, 16, 128 * GB, 120 * GB, limits, gpus, engines, PROBED, 500 * GB)
