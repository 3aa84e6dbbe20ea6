"""A language model in a process of its own, whatever engine runs it."""

from rag.loader.base import LanguageModel, Plan, Sampling, Usage
from rag.loader.choose import choose, parse_bytes
from rag.loader.supervise import WorkerModel, start

__all__ = ["LanguageModel", "Plan", "Sampling", "Usage", "WorkerModel", "choose", "parse_bytes", "start"]
