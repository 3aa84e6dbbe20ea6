"""Model folders through vLLM, for NVIDIA cards; on a processor only in its CPU build, which the tests use.

The engine works inside this process, stepped by one thread, so that requests are batched and still: nothing
of vLLM's outlives this process, an error arrives as itself and not as "see the log of the engine's process",
every tensor can be told before it is read, and starting takes one import of torch instead of two or three.
Only several GPUs need a process each. Checked against vLLM 0.32; 0.26 has the same calls.
"""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from rag.errors import EngineMissing, ModelError, ModelLoadFailed, PromptTooLong
from rag.loader.base import TOP_P, Report, Sampling, Usage, defuse
from rag.loader.engines.vllm_build import ANSWERS_AT_ONCE, bind_children, build, environment
from rag.loader.engines.vllm_failures import explain, first_line
from rag.loader.engines.vllm_kernels import kernel_notes
from rag.loader.engines.vllm_progress import stored_tensors
from rag.loader.engines.vllm_stepper import Stepper
from rag.loader.machine.installed import installed_engines
from rag.loader.records import Plan
from rag.types import Message, ModelInfo

POLL_S = 0.02
"""How often a waiting answer looks at its cancel event."""


def load(plan: Plan, report: Report) -> Vllm:
    """Load a folder of safetensors. Raises EngineMissing, ModelLoadFailed, DoesNotFit."""
    state = installed_engines()["vllm"]
    if not state.usable:
        raise EngineMissing(f"{plan.name} cannot be run by vLLM: {state.problem}", state.fix)
    os.environ.update(environment(plan))
    # Counts in whole GB, and would overrule the size that is computed from the context.
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)
    bind_children()
    total = {"total_bytes": plan.weight_bytes} if plan.weight_bytes else {}
    report({"event": "loading", "engine": "vllm", "name": plan.name, **total})
    tokenizer = _tokenizer(plan)
    try:
        stepper = Stepper(lambda: build(plan, report))
    except (EngineMissing, ModelLoadFailed):
        raise
    except Exception as error:  # vLLM raises whatever its many parts raise
        raise explain(plan, error) from error
    notes = tuple(kernel_notes(plan, stepper.engine))
    for note in notes:
        report({"event": "note", "message": note})
    return Vllm(stepper, tokenizer, plan, notes)


def _tokenizer(plan: Plan) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            plan.model, local_files_only=True, trust_remote_code=plan.trust_remote_code
        )
    except Exception as error:  # a damaged tokenizer file can raise anything
        raise ModelLoadFailed(
            f"the tokenizer of {plan.name} cannot be read: {first_line(error)}",
            "Download the folder again, or choose another model with --model.",
        ) from error
    if not tokenizer.chat_template:
        raise ModelLoadFailed(
            f"{plan.name} has no chat template: it continues texts and does not answer questions",
            "Choose the model's instruct or chat variant.",
        )
    return tokenizer


class Vllm:
    """One model, answering many requests at once."""

    answers_at_once = ANSWERS_AT_ONCE

    def __init__(self, stepper: Stepper, tokenizer: Any, plan: Plan, notes: tuple[str, ...] = ()) -> None:
        self._stepper = stepper
        self._tokenizer = tokenizer
        self._tokenizing = threading.Lock()  # the fast tokenizers refuse to be used by two threads at once
        added = tokenizer.added_tokens_decoder.values()
        self._control = [token.content for token in added if token.special and len(token.content) > 1]
        count = plan.parameters or _parameters(plan)
        context = stepper.engine.model_config.max_model_len
        self.info = ModelInfo(plan.name, "vllm", plan.quantization, count, context, notes)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        cancel = cancel or threading.Event()
        prompt = self._encode(messages)
        room = self._room(prompt, "Ask with fewer passages (--top-k) or a shorter question.")
        tokens, finish = 0, "cancelled"
        with self._stepper.request(prompt, _sampling_params(sampling, room)) as answers:
            while not cancel.is_set():
                try:
                    output = answers.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                _raise_failure(output)
                [piece] = output.outputs
                tokens += len(piece.token_ids)
                if piece.text:
                    yield piece.text
                if output.finished:
                    finish = "length" if piece.finish_reason == "length" else "stop"
                    break
        return Usage(len(prompt), tokens, finish)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return len(self._encode(messages))

    def token_logprobs(self, text: str) -> list[float]:
        """See `LoadedModel.token_logprobs`. Raises PromptTooLong too."""
        from vllm import SamplingParams

        with self._tokenizing:
            ids = self._tokenizer(text, verbose=False)["input_ids"]
        self._room(ids, "Examine a shorter text.")
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        with self._stepper.request(ids, params) as answers:
            while not _raise_failure(output := answers.get()).finished:
                continue
        found = [at[token].logprob for token, at in zip(ids, output.prompt_logprobs or [], strict=True) if at]
        if not all(map(math.isfinite, found)):
            raise ModelError(
                "the model computed numbers that are not finite",
                "Choose another dtype or another model file.",
            )
        return found

    def close(self) -> None:
        self._stepper.close()

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        turns = defuse(messages, self._control)
        with self._tokenizing:
            text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            return self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def _room(self, prompt: Sequence[int], fix: str) -> int:
        """Tokens left for an answer. Raises PromptTooLong."""
        room = self.info.context_tokens - len(prompt)
        if room < 1:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens, the model reads {self.info.context_tokens}", fix
            )
        return room


def _sampling_params(sampling: Sampling, room: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    drawn = {"top_p": TOP_P, "seed": sampling.seed} if sampling.temperature > 0 else {}
    return SamplingParams(
        max_tokens=min(sampling.max_tokens, room),
        temperature=max(0.0, sampling.temperature),
        stop=list(sampling.stop),
        output_kind=RequestOutputKind.DELTA,
        **drawn,
    )


def _parameters(plan: Plan) -> int | None:
    """Weights in the files; unknown where several are packed into one number, or there are no files.

    The loaded model does not tell: on a processor vLLM keeps its weights in another form.
    """
    if plan.stored != "none":
        return None
    return sum(tensor.elements for tensor in stored_tensors(Path(plan.model)).values()) or None


def _raise_failure(output: Any) -> Any:
    if isinstance(output, Exception):
        raise ModelError(
            f"vLLM failed: {first_line(output)}", "Ask again; if it fails again, start it anew."
        ) from output
    return output
