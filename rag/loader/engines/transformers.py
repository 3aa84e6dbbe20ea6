"""Model folders through transformers and torch, also in 4 and 8 bits through bitsandbytes."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from rag.errors import DoesNotFit, EngineMissing, ModelError, ModelLoadFailed, PromptTooLong
from rag.heap import trim
from rag.loader.base import BATCH_TOKENS, TOP_P, Report, Sampling, Usage, defuse
from rag.loader.engines import placing, weights
from rag.loader.engines.texts import texts, until_stop
from rag.loader.records import ModelFacts, Plan
from rag.types import Message, ModelInfo

SCORED_TOKENS = 64
"""Read at a time where a row of logits is kept for each token: 150,000 numbers in large vocabularies."""


def load(plan: Plan, report: Report) -> Transformers:
    """Load a folder of safetensors. Raises EngineMissing, ModelLoadFailed, ModelRefused, DoesNotFit."""
    facts = weights.examined(plan)
    weights.need_packages(plan)
    # With threads of its own, transformers would be ahead of what is reported.
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
    try:
        import torch
        import transformers
    except ImportError as error:
        raise EngineMissing(
            f"{plan.name} needs torch and transformers, which do not import: {error}",
            "Run `python scripts/run.py shell` once to install them, or use a GGUF file.",
        ) from error
    torch.set_num_threads(plan.threads)
    report(
        {
            "event": "loading",
            "engine": "transformers",
            "name": plan.name,
            "total_bytes": facts.weight_bytes,
        }
    )
    placed = placing.arguments(plan, facts)
    folder = placed.get("offload_folder")
    try:
        model, tokenizer = _read(transformers, plan, facts, placed, report)
        _refuse_overflow(plan, model)
    except BaseException:
        _remove(folder)
        raise
    trim()
    return Transformers(model, tokenizer, plan, folder)


def _read(
    transformers: Any, plan: Plan, facts: ModelFacts, placed: dict[str, Any], report: Report
) -> tuple[Any, Any]:
    trusted: dict[str, Any] = {"local_files_only": True, "trust_remote_code": plan.trust_remote_code}
    tensors = {tensor.name: tensor for tensor in facts.tensors}
    shards = [shard.name for shard in facts.shards]
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(plan.model, **trusted)
        _refuse_silent(plan, tokenizer)
        with weights.told(tensors, shards, report):
            model, found = transformers.AutoModelForCausalLM.from_pretrained(
                plan.model, use_safetensors=True, output_loading_info=True, **placed, **trusted
            )
    except ModelError:
        raise
    except Exception as error:  # a model's own code and files can raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelLoadFailed(
            f"transformers cannot load {plan.name}: {reason}",
            "Download the folder again, or choose another model with --model.",
        ) from error
    weights.refuse_incomplete(plan, found)
    return model.eval(), tokenizer


def _refuse_silent(plan: Plan, tokenizer: Any) -> None:
    if not tokenizer.chat_template:
        raise ModelLoadFailed(
            f"{plan.name} has no chat template: it continues texts and does not answer questions",
            "Choose the model's instruct or chat variant.",
        )


def _refuse_overflow(plan: Plan, model: Any) -> None:
    """A GPU plan whose layers spilled over would answer a hundred times slower than planned."""
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    if plan.device == "cuda" and places & {"cpu", "disk"}:
        raise DoesNotFit(
            f"{plan.name} does not fit on its GPUs", "Close what else uses them, or take fewer bits."
        )


def _remove(folder: str | None) -> None:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


class Transformers:
    """One model, answering one request at a time."""

    def __init__(self, model: Any, tokenizer: Any, plan: Plan, offload_folder: str | None = None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._folder = offload_folder
        places = (weight.device for weight in model.parameters() if weight.device.type != "meta")
        self._device = next(
            places, "cpu"
        )  # what is offloaded lies on "meta" and is computed on the processor
        added = tokenizer.added_tokens_decoder.values()
        self._control = [token.content for token in added if token.special and len(token.content) > 1]
        self._ends = _ids(model.generation_config.eos_token_id) | _ids(tokenizer.eos_token_id)
        self._busy = threading.Lock()
        self._cancel = threading.Event()
        for layer in _layers(model):
            layer.register_forward_pre_hook(self._stop_if_cancelled)
        parameters = plan.parameters or model.num_parameters()
        self.info = ModelInfo(plan.name, "transformers", plan.quantization, parameters, plan.context_tokens)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        cancel = cancel or threading.Event()
        prompt = self._encode(messages)
        self._refuse_long(len(prompt), self.info.context_tokens - 1)
        tokens: list[int] = []
        stopped = False
        limit = min(sampling.max_tokens, self.info.context_tokens - len(prompt))
        with self._busy, self._heeding(cancel), contextlib.suppress(_Cancelled):
            ids = self._tokens(prompt, sampling, limit, tokens)
            stopped = yield from until_stop(texts(ids, self._decode), sampling.stop)
        ended = stopped or (bool(tokens) and tokens[-1] in self._ends)
        finish = "cancelled" if cancel.is_set() else "stop" if ended else "length"
        return Usage(len(prompt), len(tokens), finish)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return len(self._encode(messages))

    def token_logprobs(self, text: str) -> list[float]:
        """See `LoadedModel`."""
        import torch

        ids = self._tokenizer(text, verbose=False)["input_ids"]
        self._refuse_long(len(ids), self.info.context_tokens)
        found: list[float] = []
        with self._busy:
            cache = self._new_cache()
            for start in range(0, len(ids) - 1, SCORED_TOKENS):
                read = ids[start : start + SCORED_TOKENS]
                logits = self._step(read, cache, rows=len(read))
                following = torch.tensor(ids[start + 1 : start + 1 + len(read)])
                chances = logits[: len(following)].log_softmax(-1)
                _refuse_infinite(chances)
                found += chances.gather(-1, following[:, None])[:, 0].tolist()
        return found

    def close(self) -> None:
        self._model = None
        _remove(self._folder)

    def _refuse_long(self, tokens: int, most: int) -> None:
        if tokens > most:
            raise PromptTooLong(
                f"the prompt has {tokens} tokens, the model reads {self.info.context_tokens}",
                "Ask with fewer passages (--top-k) or a shorter question.",
            )

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        turns = defuse(messages, self._control)
        text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def _tokens(
        self,
        prompt: list[int],
        sampling: Sampling,
        limit: int,
        tokens: list[int],
    ) -> Iterator[int]:
        """Yield the answer's tokens without the end token; all of them are noted in `tokens`.

        Raises _Cancelled.
        """
        import torch

        cache = self._new_cache()
        dice = torch.Generator().manual_seed(sampling.seed)
        logits = None
        batch = BATCH_TOKENS["transformers"]
        for start in range(0, len(prompt), batch):
            logits = self._step(prompt[start : start + batch], cache)[-1]
        while True:
            token = _pick(logits, sampling.temperature, dice)
            tokens.append(token)
            if token in self._ends:
                return
            yield token
            if len(tokens) >= limit:
                return
            logits = self._step([token], cache)[-1]

    @contextlib.contextmanager
    def _heeding(self, cancel: threading.Event) -> Iterator[None]:
        self._cancel = cancel
        try:
            yield
        finally:
            self._cancel = threading.Event()

    def _stop_if_cancelled(self, *_: Any) -> None:
        """Called before each layer: a long prompt takes minutes on a processor."""
        if self._cancel.is_set():
            raise _Cancelled

    def _new_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self._model.config)

    def _step(self, ids: list[int], cache: Any, rows: int = 1) -> Any:
        """Logits of shape (rows, vocabulary) for the last `rows` of the tokens, on the processor."""
        import torch

        read = torch.tensor([ids], device=self._device)
        with torch.inference_mode():
            output = self._model(read, past_key_values=cache, use_cache=True, logits_to_keep=rows)
            return output.logits[0, -rows:].float().cpu()

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class _Cancelled(Exception):
    """The reader gave up while the prompt was being read."""


def _layers(model: Any) -> Any:
    """The decoder layers: the outermost list of modules."""
    from torch.nn import ModuleList

    return next((module for module in model.modules() if isinstance(module, ModuleList)), ())


def _pick(logits: Any, temperature: float, dice: Any) -> int:
    import torch

    _refuse_infinite(logits)
    if temperature <= 0:
        return int(logits.argmax())
    chances, order = (logits / temperature).softmax(-1).sort(descending=True)
    likely = chances.cumsum(-1) - chances < TOP_P
    return int(order[torch.multinomial(chances * likely, 1, generator=dice)])


def _refuse_infinite(numbers: Any) -> None:
    if not numbers.isfinite().all():
        raise ModelError(
            "the model computed numbers that are not finite", "Choose another dtype or another model file."
        )


def _ids(value: int | list[int] | None) -> set[int]:
    return set() if value is None else {value} if isinstance(value, int) else set(value)
