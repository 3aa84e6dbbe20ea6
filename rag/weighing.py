"""How well a language model reads, on a handful of fixed questions: one that reads worse than the reader
does not get the last word."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rag.families import family_of, without_thoughts
from rag.loader.base import LanguageModel, Sampling
from rag.measured import keep, recall
from rag.prompt import build_prompt
from rag.types import Chunk, Hit
from rag.wording import content_words

READS = 0.8
"""Share of right answers below which a model only supports the quotes; the reader has no less."""
ANSWER_TOKENS = 48
PROMPT_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """A question, a passage that answers it, words of the answer, and words that a careless reader takes."""

    question: str
    passage: str
    right: str
    wrong: str


SAMPLES = (
    Sample(
        "When does the library close on Saturdays?",
        "The library opens at 9 every day. On weekdays it closes at 20 hours, on Saturdays at 14.",
        "14",
        "20",
    ),
    Sample(
        "Who repaired the organ of the church?",
        "Martha Keller paid for the new roof of the church. Its organ was repaired by Jonas Brandt, "
        "and Peter Lind painted the doors.",
        "Brandt",
        "Keller Lind",
    ),
    Sample(
        "What colour is the notebook that was found in Lund?",
        "The notebook that was found in Oslo is green. The one from Lund is red, and a blue one was sold.",
        "red",
        "green blue",
    ),
    Sample(
        "How much does a child pay for the ferry?",
        "The ferry takes 25 minutes. Adults pay 8 euros, and children under twelve pay 3 euros.",
        "3",
        "8 25",
    ),
    Sample(
        "Why was the concert moved to the hall?",
        "The concert in the park began late last year because a singer was ill. This year it was moved to "
        "the hall because of a storm.",
        "storm",
        "ill",
    ),
    Sample(
        "Which town did the expedition reach first?",
        "The expedition set out from Porto in April. It came to Lagos in June, having reached Evora in May.",
        "Evora",
        "Lagos Porto",
    ),
)


def reads(model: LanguageModel) -> float:
    """Share of SAMPLES that a model answers rightly: with all the right words, and none of the wrong ones.

    Known from an earlier time on this machine, or measured now. Raises ModelError.
    """
    info = model.info
    samples = [asdict(sample) for sample in SAMPLES]
    key = {"name": info.name, "engine": info.engine, "quantization": info.quantization, "samples": samples}
    kept = recall("reads", key)
    if isinstance(kept, float):
        return kept
    share = sum(_is_right(model, sample) for sample in SAMPLES) / len(SAMPLES)
    keep("reads", key, share, busy=False)
    return share


def _is_right(model: LanguageModel, sample: Sample) -> bool:
    family = family_of(model.info.name)
    prompt = build_prompt(sample.question, [hit_of(sample)], PROMPT_TOKENS, model.count_tokens)
    pieces = model.stream(prompt.messages, Sampling(ANSWER_TOKENS + family.thought_tokens))
    return is_right("".join(without_thoughts(pieces, family.begins_thinking)), sample)


def is_right(said: str, sample: Sample) -> bool:
    """Whether an answer to a sample is right."""
    words = content_words(said)
    return content_words(sample.right) <= words and not words & content_words(sample.wrong)


def hit_of(sample: Sample) -> Hit:
    """The sample's passage as a search would have found it."""
    text = sample.passage
    return Hit(Chunk("", "", text, 0, len(text), "sample.txt", ""), 1.0)
