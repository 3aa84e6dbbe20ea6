"""What vLLM says on a GPU, put into words, and which kernels it runs: without vLLM and without a GPU."""

import dataclasses

import pytest

from rag.errors import DoesNotFit, ModelLoadFailed
from rag.loader.engines.vllm_failures import explain
from rag.loader.engines.vllm_kernels import kernel_notes
from rag.loader.records import Plan

PLAN = Plan(
    model="",
    name="SmolLM2",
    engine="vllm",
    quantization="none",
    dtype="float32",
    context_tokens=512,
    threads=1,
)


class OutOfMemoryError(RuntimeError):
    """Stands for torch's error of that name, which only a GPU raises."""


SAID_ON_A_GPU = [
    (
        OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 270.00 MiB. GPU 0 has a total capacity of 79.18 GiB of "
            "which 96.56 MiB is free."
        ),
        DoesNotFit,
        "(Tried to allocate 270.00 MiB, total capacity of 79.18 GiB, of which 96.56 MiB is free)",
        "lower model.gpu_memory_utilization (now 0.9)",
    ),
    (
        ValueError(
            "Free memory on device cuda:0 (3.20/79.18 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 71.26 GiB). Decrease GPU memory utilization or reduce GPU memory used by "
            "other processes."
        ),
        DoesNotFit,
        "cuda:0 has 3.20 of 79.18 GiB free, and SmolLM2 is to have 90% of it",
        "`nvidia-smi` lists it",
    ),
    (
        ValueError(
            "The quantization method awq is not supported for the current GPU. Minimum capability: 75. "
            "Current capability: 70."
        ),
        ModelLoadFailed,
        "it needs compute capability 7.5, and this one has 7.0",
        "float16 or GGUF sibling",
    ),
    (
        RuntimeError("Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL`"),
        ModelLoadFailed,
        "this vLLM is the build for CUDA, and it finds no GPU",
        "--engine llamacpp",
    ),
    (
        RuntimeError("a new ailment\nwith details"),
        ModelLoadFailed,
        "vLLM cannot load SmolLM2: a new ailment",
        "",
    ),
]


@pytest.mark.parametrize(("error", "kind", "message", "fix"), SAID_ON_A_GPU)
def test_what_only_a_gpu_says_is_understood_however_deep(error, kind, message, fix):
    outer = RuntimeError("Engine core initialization failed. See root cause above.")
    outer.__cause__ = error
    for raised in (error, outer):
        told = explain(PLAN, raised)
        assert type(told) is kind
        assert message in told.message
        assert fix in told.fix


class Layer:
    def __init__(self, method):
        self.quant_method = method


@pytest.mark.parametrize(
    ("method", "kernel", "said"),
    [
        ("AWQMarlinLinearMethod", None, ["quantized weights (awq) run on AWQMarlinLinearMethod"]),
        ("AutoAWQLinearMethod", "MarlinLinearKernel", ["quantized weights (awq) run on MarlinLinearKernel"]),
        (
            "AWQLinearMethod",
            None,
            [
                "quantized weights (awq) run on AWQLinearMethod",
                "these are not the Marlin kernels: expect about a sixth of the float16 speed",
            ],
        ),
    ],
)
def test_the_kernels_of_quantized_weights_are_told(method, kernel, said):
    quantized = type(method, (), {"kernel": type(kernel, (), {})() if kernel else None})()
    plain = type("UnquantizedEmbeddingMethod", (), {})()

    class Engine:
        def apply_model(self, function):
            return [function(self)]

        def modules(self):
            return [object(), Layer(quantized), Layer(plain)]

    plan = dataclasses.replace(PLAN, quantization="awq", stored="awq", device="cuda")
    assert kernel_notes(plan, Engine()) == said
