"""One side of the comparison in rag.evaluation.overhead, in a process of its own.

Started as `python -m rag.evaluation.overhead_child JOB`; prints one JSON object with what it measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

CONTEXT_TOKENS = 1024
LINES, ANSWER_TOKENS = 90, 48
"""About 500 tokens of prompt: an ordinary question with its passages; and an ordinary answer."""

PROMPTS, ANSWERS = 3, 15
"""Measurements in one process, after one that is not counted; their median counts."""

Answer = Callable[[list[dict[str, str]], int], tuple[list[float], int, int]]
"""Messages and a limit in; out when each piece came (seconds since 1970), and the tokens read and written."""


def main() -> None:
    job = json.loads(sys.argv[1])
    figures = SIDES[job["engine"], job["side"]](job)
    print(json.dumps(figures))


def prompt(number: int, lines: int = LINES) -> list[dict[str, str]]:
    """A question that no cached prefix helps with: the `number` stands in front."""
    words = " ".join(f"line {number * 1000 + at}" for at in range(lines))
    return [{"role": "user", "content": f"{number}. Repeat: {words}"}]


def _ours(job: dict[str, Any], requantize: str | None = None) -> dict[str, float]:
    from rag.loader.base import Sampling
    from rag.loader.process.supervise import start
    from rag.types import Message

    with start(_plan(job, requantize)) as model:

        def answer(messages: list[dict[str, str]], tokens: int) -> tuple[list[float], int, int]:
            turns = [Message(turn["role"], turn["content"]) for turn in messages]
            pieces = model.stream(turns, Sampling(tokens))
            times: list[float] = []
            while True:
                try:
                    next(pieces)
                except StopIteration as end:
                    return times, end.value.prompt_tokens, end.value.answer_tokens
                times.append(time.time())

        return _figures(answer, job)


def _plan(job: dict[str, Any], requantize: str | None) -> Any:
    """The plan as the program makes it for the user, but for the copy, which is a side of its own."""
    from rag.cores import usable_cores
    from rag.loader.records import Plan

    cores = job["threads"] or usable_cores()
    kinds = {"llamacpp": ("gguf", None), "transformers": ("none", "float32")}
    stored, dtype = kinds[job["engine"]]
    plan = Plan(job["model"], "model", job["engine"], "none", dtype, CONTEXT_TOKENS, cores, stored=stored)
    return replace(plan, requantize=requantize)


def _bare_llamacpp(job: dict[str, Any], spare: int = 0) -> dict[str, float]:
    """xllamacpp as its documentation uses it, on all cores but `spare`, without its warm-up."""
    import xllamacpp  # type: ignore[import-untyped]

    from rag.cores import usable_cores

    cores = job["threads"] or usable_cores()
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers = job["model"], CONTEXT_TOKENS, 0
    params.warmup = params.ui = False
    params.verbosity = 0
    params.cpuparams.n_threads = max(1, cores - spare)
    params.cpuparams_batch.n_threads = cores
    server = xllamacpp.Server(params)

    def answer(messages: list[dict[str, str]], tokens: int) -> tuple[list[float], int, int]:
        times: list[float] = []
        counts: dict[str, int] = {}

        def receive(chunk: dict[str, Any]) -> None:
            if any(choice["delta"].get("content") for choice in chunk.get("choices", ())):
                times.append(time.time())
            counts.update(chunk.get("usage") or {})

        request = {"messages": messages, "max_tokens": tokens, "temperature": 0, "stream": True}
        server.handle_chat_completions({**request, "stream_options": {"include_usage": True}}, receive)
        return times, counts["prompt_tokens"], counts["completion_tokens"]

    return _figures(answer, job)


def _figures(answer: Answer, job: dict[str, Any]) -> dict[str, float]:
    """Start to first token, then prompts alone, then answers; of transformers the prompts only."""
    first = answer([{"role": "user", "content": "Count to a hundred."}], 1)[0][0] - job["began"]
    brief = job["brief"]
    lines, tokens = (5, 3) if brief else (LINES, ANSWER_TOKENS)
    prefill, decode = [], []
    for number in range(1 if brief else PROMPTS + 1):
        start = time.time()
        times, read, _ = answer(prompt(number, lines), 1)
        prefill.append(read / (times[0] - start))
    if job["engine"] == "transformers":
        return {"prefill_tokens_per_s": median(prefill[-PROMPTS:])}
    for number in range(1 if brief else ANSWERS + 1):
        times, _, written = answer([{"role": "user", "content": f"Count to {number + 1}00."}], tokens)
        decode.append((written - 1) / (times[-1] - times[0]))
    return {
        "first_token_s": first,
        "prefill_tokens_per_s": median(prefill[-PROMPTS:]),
        "decode_tokens_per_s": median(decode[-ANSWERS:]),
    }


def _bare_transformers(job: dict[str, Any]) -> dict[str, float]:
    """One call of the model over the whole prompt, logits of its last token only, as generate() does."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rag.cores import usable_cores

    torch.set_num_threads(job["threads"] or usable_cores())
    tokenizer = AutoTokenizer.from_pretrained(job["model"], local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32, local_files_only=True)
    rates = []
    lines, repeats = (LINES, PROMPTS + 1) if not job["brief"] else (5, 1)
    for number in range(repeats):
        text = tokenizer.apply_chat_template(
            prompt(number, lines), add_generation_prompt=True, tokenize=False
        )
        start = time.time()
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.inference_mode():
            logits: Any = model(ids, use_cache=True, logits_to_keep=1).logits
            int(logits[0, -1].argmax())
        rates.append(ids.shape[1] / (time.time() - start))
    return {"prefill_tokens_per_s": median(rates[-PROMPTS:])}


SIDES: dict[tuple[str, str], Callable[[dict[str, Any]], dict[str, float]]] = {
    ("llamacpp", "ours"): lambda job: _ours(job, "none"),
    ("llamacpp", "ours, copied"): lambda job: _ours(job, "Q8_0"),
    ("llamacpp", "bare"): _bare_llamacpp,
    ("llamacpp", "bare, a core less"): lambda job: _bare_llamacpp(job, 1),
    ("transformers", "ours"): _ours,
    ("transformers", "bare"): _bare_transformers,
}


if __name__ == "__main__":
    main()
