"""Model folders through transformers and torch; the only module that imports either for generation."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from rag.errors import EngineMissing, ModelError, ModelLoadFailed, PromptTooLong
from rag.loader.base import TOP_P, Report, Sampling, Usage, defuse
from rag.loader.records import Plan
from rag.types import Message, ModelInfo

BATCH_TOKENS = 256
"""Prompt tokens read at a time, so that a cancelled prompt ends soon."""


def load(plan: Plan, report: Report) -> Transformers:
    """Load a folder of safetensors. Raises EngineMissing, ModelLoadFailed."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise EngineMissing(
            f"{plan.name} needs torch and transformers, which do not import: {error}",
            "Run `python scripts/run.py shell` once to install them, or use a GGUF file.",
        ) from error
    torch.set_num_threads(plan.threads)
    report({"event": "loading", "engine": "transformers", "name": plan.name})
    trusted: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(plan.model, **trusted)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            plan.model,
            dtype=getattr(torch, plan.dtype or "float32"),
            use_safetensors=True,
            output_loading_info=True,
            **trusted,
        )
    except Exception as error:  # a model's own code and files can raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelLoadFailed(
            f"transformers cannot load {plan.name}: {reason}",
            "Download the folder again, or choose another model with --model.",
        ) from error
    model, found = loaded
    _check(plan, tokenizer, found)
    return Transformers(model.eval(), tokenizer, plan)


def _check(plan: Plan, tokenizer: Any, found: dict[str, Any]) -> None:
    wrong = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in found.get(kind) or ())
    if wrong:
        raise ModelLoadFailed(
            f"{plan.name} lacks {len(wrong)} of its weights, first of them {wrong[0]}",
            "The model would answer nonsense. Download the folder again.",
        )
    if not tokenizer.chat_template:
        raise ModelLoadFailed(
            f"{plan.name} has no chat template: it continues texts and does not answer questions",
            "Choose the model's instruct or chat variant.",
        )


class Transformers:
    """One model, answering one request at a time."""

    def __init__(self, model: Any, tokenizer: Any, plan: Plan) -> None:
        self._model = model
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        self._control = [token.content for token in added if token.special and len(token.content) > 1]
        self._ends = _ids(model.generation_config.eos_token_id) | _ids(tokenizer.eos_token_id)
        self._busy = threading.Lock()
        parameters = model.num_parameters()
        self.info = ModelInfo(plan.name, "transformers", plan.quantization, parameters, plan.context_tokens)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, cancel: threading.Event | None = None
    ) -> Generator[str, None, Usage]:
        cancel = cancel or threading.Event()
        prompt = self._encode(messages)
        room = self.info.context_tokens - len(prompt)
        if room < 1:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens, the model reads {self.info.context_tokens}",
                "Ask with fewer passages (--top-k) or a shorter question.",
            )
        tokens: list[int] = []
        limit = min(sampling.max_tokens, room)
        with self._busy:
            ids = self._tokens(prompt, sampling, limit, cancel, tokens)
            stopped = yield from _until_stop(self._texts(ids), sampling.stop)
        ended = stopped or (bool(tokens) and tokens[-1] in self._ends)
        finish = "cancelled" if cancel.is_set() else "stop" if ended else "length"
        return Usage(len(prompt), len(tokens), finish)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return len(self._encode(messages))

    def close(self) -> None:
        self._model = None

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        turns = defuse(messages, self._control)
        text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def _tokens(
        self,
        prompt: list[int],
        sampling: Sampling,
        limit: int,
        cancel: threading.Event,
        tokens: list[int],
    ) -> Iterator[int]:
        """Yield the answer's tokens without the end token; all of them are noted in `tokens`."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        dice = torch.Generator().manual_seed(sampling.seed)
        logits = None
        for start in range(0, len(prompt), BATCH_TOKENS):
            if cancel.is_set():
                return
            logits = self._step(prompt[start : start + BATCH_TOKENS], cache)
        while True:
            token = _pick(logits, sampling.temperature, dice)
            tokens.append(token)
            if token in self._ends:
                return
            yield token
            if cancel.is_set() or len(tokens) >= limit:
                return
            logits = self._step([token], cache)

    def _step(self, ids: list[int], cache: Any) -> Any:
        """Logits of shape (vocabulary,) after reading `ids`."""
        import torch

        with torch.inference_mode():
            output = self._model(torch.tensor([ids]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[0, -1].float()

    def _texts(self, tokens: Iterable[int]) -> Iterator[str]:
        """Whole characters as they become complete; a character may span several tokens.

        The tokens of the last piece are decoded again with the new ones, because some tokenizers
        drop a space at the beginning of what they decode.
        """
        seen: list[int] = []
        fresh: list[int] = []
        for token in tokens:
            fresh.append(token)
            before, whole = self._decode(seen), self._decode(seen + fresh)
            if len(whole) > len(before) and not whole.endswith("\ufffd"):
                yield whole[len(before) :]
                seen, fresh = fresh, []

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _pick(logits: Any, temperature: float, dice: Any) -> int:
    import torch

    if not torch.isfinite(logits).all():
        raise ModelError(
            "the model computed numbers that are not finite", "Choose another dtype or another model file."
        )
    if temperature <= 0:
        return int(logits.argmax())
    chances, order = (logits / temperature).softmax(-1).sort(descending=True)
    likely = chances.cumsum(-1) - chances < TOP_P
    return int(order[torch.multinomial(chances * likely, 1, generator=dice)])


def _until_stop(pieces: Iterable[str], stop: Sequence[str]) -> Generator[str, None, bool]:
    """Pass pieces on up to the first stop string; returns whether one was met.

    What might be the beginning of a stop string is held back until the next piece decides.
    """
    held = ""
    for piece in pieces:
        held += piece
        cuts = [at for at in (held.find(end) for end in stop) if at >= 0]
        if cuts:
            if held[: min(cuts)]:
                yield held[: min(cuts)]
            return True
        keep = max((n for end in stop for n in range(1, len(end)) if held.endswith(end[:n])), default=0)
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held
    return False


def _ids(value: int | list[int] | None) -> set[int]:
    return set() if value is None else {value} if isinstance(value, int) else set(value)
