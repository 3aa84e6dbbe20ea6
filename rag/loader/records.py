"""The loader's records, in the order in which they come to exist: facts -> machine -> need -> plans.

Standard library only, as everything up to the plan: the diagnosis has to work where packages are broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# --- what is this model? --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as a header names it.

    `dtype` is safetensors' or GGUF's own word ("BF16", "F8_E4M3", "I32", "Q4_K"); `shape` is outermost first
    (GGUF stores it reversed); `bytes` is what it takes in the file `shard`, where it begins at `offset`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    shard: str
    offset: int = 0

    @property
    def elements(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True, slots=True)
class Shard:
    """A file with weights and its size in bytes; `problem` says in words what is wrong with it."""

    name: str
    bytes: int
    tensors: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a model from being loaded; `kind` is for programs ("shard_truncated")."""

    kind: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the weights are stored.

    `method` is one of METHODS; `detail` is for people ("4-bit, group 128", "Q4_K_M"); `bits` are those of
    one weight, scales left out; `evidence` says which tensors and files show it. `declared` is the method
    that config.json claims: engines believe it, so where it is another they read wrong weights.
    """

    method: str = "none"
    detail: str = ""
    bits: float | None = None
    evidence: tuple[str, ...] = ()
    legacy: bool = False
    declared: str = ""

    @property
    def label(self) -> str:
        """The short name for tables and JSON: a GGUF file's own type, else the method."""
        return self.detail if self.method == "gguf" and self.detail else self.method


METHODS = (
    *("none", "awq", "gptq", "bnb-4bit", "bnb-8bit", "fp8", "compressed-tensors", "modelopt", "mxfp4"),
    *("torchao", "auto-round", "quark", "hqq", "squeezellm", "exl2", "exl3", "mlx", "gguf", "other"),
)


@dataclass(frozen=True)
class ModelFacts:
    """What the files themselves say of a model; nothing in it is guessed from its name.

    `target` is what the user typed, `place` a folder or GGUF file on disk (None while it is only on the hub),
    `repo` the hub id it comes from. `kind` is "folder" or "gguf". `architecture` is the class or family
    ("Qwen2ForCausalLM", "llama"), `model_type` the config's own word. `dtypes` maps a dtype to the number of
    elements stored in it. `parameters` counts weights, unpacked where a quantization packs several into one
    element. `config` is config.json, or for a GGUF file the same facts under the same names.
    `problems` keep it from loading; `contradictions` and `warnings` are only told.
    """

    target: str
    name: str
    kind: Literal["folder", "gguf"]
    place: Path | None = None
    repo: str | None = None
    architecture: str = ""
    model_type: str = ""
    parameters: int | None = None
    dtypes: Mapping[str, int] = field(default_factory=dict)
    quantization: Quantization = Quantization()
    context_tokens: int | None = None
    chat_template: bool = False
    tokenizer: bool = False
    shards: tuple[Shard, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    remote_code: bool = False

    @property
    def weight_bytes(self) -> int:
        """Size of all tensors as they are stored."""
        return sum(tensor.bytes for tensor in self.tensors)


# --- what is this machine? ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on memory: `source` names it ("cgroup /user.slice", "RLIMIT_DATA"), in bytes.

    `free_bytes` is the limit minus what is used below it and cannot be reclaimed.
    """

    source: str
    limit_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; bytes of its memory; `capability` is NVIDIA's compute capability, as in (8, 9)."""

    index: int
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None = None
    driver: str = ""


@dataclass(frozen=True, slots=True)
class EngineState:
    """An engine as it is installed here: `version` of its main package, None where that is missing.

    `problem` says why it cannot be used ("vllm 0.32.0 wants torch 2.13.0, and 2.14.1 is installed"),
    `fix` what to do; both empty where it can.
    """

    name: str
    version: str | None = None
    problem: str = ""
    fix: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        return self.version is not None and not self.problem


@dataclass(frozen=True, slots=True)
class Probe:
    """What a second of measuring found; None or absent where it could not be measured.

    `bandwidth` is memory read in bytes a second, all cores at once; `matmul` maps "float32", "float16",
    "bfloat16" to floating-point operations a second of a matrix product shaped like a prompt's.
    """

    bandwidth: float | None = None
    matmul: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Machine:
    """What can be used of this computer.

    `cpu_features` holds those of "avx2", "avx512", "vnni", "bf16", "amx", "neon" that are there; `cores` are
    the usable ones. `memory_available` is the least of all `limits`' free bytes, and what MemAvailable says.
    `warnings` say what could not be found out or is lacking, with the fix.
    """

    system: str
    cpu: str
    cpu_features: frozenset[str]
    cores: int
    memory_total: int
    memory_available: int
    limits: tuple[Limit, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    engines: Mapping[str, EngineState] = field(default_factory=dict)
    probe: Probe | None = None
    disk_free: int = 0
    warnings: tuple[str, ...] = ()

    def engine(self, name: str) -> EngineState:
        return self.engines.get(name, EngineState(name))


# --- what does it need? ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Need:
    """Memory of one way to run a model, in bytes; see `rag.loader.planning.memory` for each figure's formula.

    `weights`, `kv_cache`, `activations` and `runtime` are must-have: anonymous memory that nothing can take
    back (for a GPU: its own memory). `reclaimable` are mapped file pages that the kernel may drop and read
    again. `loading_peak` is the most must-have memory at any moment, loading included. `host` is what a
    GPU plan needs of the computer's own memory, `disk` what is written there. `rough` says what had to be
    assumed, in words, and is empty where nothing had.
    """

    weights: int
    kv_cache: int
    activations: int
    runtime: int
    reclaimable: int = 0
    loading_peak: int = 0
    host: int = 0
    disk: int = 0
    rough: str = ""

    @property
    def must_have(self) -> int:
        return self.weights + self.kv_cache + self.activations + self.runtime

    @property
    def peak(self) -> int:
        return max(self.must_have, self.loading_peak)


# --- how can it be run? ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for; "auto" and None leave it to the plan. Bytes, tokens, seconds."""

    engine: str = "auto"
    quantization: str = "auto"
    dtype: str = "auto"
    device: str = "auto"
    context_tokens: int = 2048
    context_forced: bool = False
    max_memory_bytes: int | None = None
    threads: int = 0
    load_seconds: float = 600.0
    tensor_parallel: int = 0
    pipeline_parallel: int = 1
    distributed_executor: str = "auto"
    gpu_memory_utilization: float = 0.9
    trust_remote_code: bool = False
    requantize: str = "auto"

    @property
    def forced(self) -> bool:
        """Whether one rung is asked for, so that no other is tried when it fails."""
        return (self.engine, self.quantization, self.dtype, self.device) != ("auto",) * 4


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to run one model, as the worker gets it; every field is of JSON's types.

    `model` is a file, a folder, or for the remote engine a URL. `quantization` is that of the weights in
    memory, `stored` the files' own method: they differ where weights are reduced on load. `device` is "cpu",
    "cuda" or "disk" (CPU with an offload folder). `max_memory_bytes` caps the worker's memory; loading is
    given up after `load_seconds`. `must_have_bytes` and `peak_bytes` are predicted. `repo`, and for a GGUF
    file its name there, say from where on the hub it has to be downloaded first. With
    `least_memory` vLLM takes room for one context only, where it would fill the GPU.
    """

    model: str
    name: str
    engine: str
    quantization: str
    dtype: str | None
    context_tokens: int
    threads: int
    device: str = "cpu"
    stored: str = "none"
    max_memory_bytes: int | None = None
    load_seconds: float = 600.0
    parameters: int | None = None
    must_have_bytes: int = 0
    peak_bytes: int = 0
    weight_bytes: int = 0
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    distributed_executor: str | None = None
    gpu_memory_utilization: float = 0.9
    trust_remote_code: bool = False
    requantize: str | None = None
    load_format: str = "auto"
    repo: str | None = None
    file: str | None = None
    sanity: bool = True
    least_memory: bool = False
    notes: tuple[str, ...] = ()


def title(plan: Plan) -> str:
    """A way in a few words, as in "transformers bnb-4bit float32 on cpu"."""
    return " ".join(filter(None, [plan.engine, plan.quantization, plan.dtype, f"on {plan.device}"]))


Verdict = Literal["fits", "does not fit", "refused", "unavailable"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One rung of the ladder: a plan with its verdict and the reason for it, in words.

    "unavailable": its engine or device is not here. "refused": it would be wrong. Speeds are tokens a second,
    predicted; None where nothing is known. `context_shortened` is the context that was asked for, where the
    plan has a shorter one.
    """

    plan: Plan
    verdict: Verdict
    reason: str
    fix: str = ""
    need: Need | None = None
    load_seconds: float | None = None
    prefill_tokens_per_s: float | None = None
    tokens_per_s: float | None = None
    context_shortened: int | None = None
