"""The chat page beside the engine below it: opening, drawing anew, first words, and twenty tabs at once."""

from __future__ import annotations

import html
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.cores import usable_cores
from rag.errors import EvaluationError
from rag.evaluation import page_browser, page_script
from rag.evaluation.page_figures import LONG, Reruns, record
from rag.evaluation.page_server import Place, Server, serving
from rag.evaluation.progress import counted
from rag.page.conversations import Conversations
from rag.page.safe import answer_html
from rag.page.saved import saved
from rag.places import CHECKOUT
from rag.settings import DEFAULT_COLLECTION
from rag.store.generation import Collection
from rag.types import Done, Sources, Token

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from rag.engine import Engine

QUESTIONS = CHECKOUT / "tests" / "data" / "guide_questions.json"
DETAILS = "a[data-do=details] >> nth=-1"
EARLIER = ".st-key-earlier button"

Record = Mapping[str, Any]
Firsts = dict[str, float]
"""Seconds from a question to its first `source` and first `word`."""


def compare_page(runs: int, sessions: int) -> dict[str, Any]:
    """Measure a page of its own in a temporary folder; `runs` times what is short.

    Raises EvaluationError, EngineMissing, StoreError, ModelError.
    """
    asked = questions(max(runs, sessions))
    with ExitStack() as stack:
        place = Place(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="footnote-page-"))))
        place.read_guide()
        browser = stack.enter_context(page_browser.browser())
        server = stack.enter_context(serving(place))
        engine = stack.enter_context(open_engine(place))
        load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
        answers = {question: ask(engine, question)[0] for question in counted(asked, "answers")}
        with page_browser.visit(browser, server.address) as visit:
            answered(visit, asked[0])  # all is loaded now, here as there
        tabs = together(browser, server, asked[:sessions], answers)
        visits = [
            _visit(browser, server, engine, question, engine_first=bool(n % 2))
            for n, question in enumerate(counted(asked[:runs], "visits"))
        ]
        reruns = _reruns(browser, server, fill(place, list(answers.values())), runs)
    return record(visits, reruns, tabs, {"cores": usable_cores(), "load": load})


def questions(count: int) -> list[str]:
    """So many questions that the guide answers. Raises EvaluationError."""
    found = [each["question"] for each in json.loads(QUESTIONS.read_text(encoding="utf-8"))]
    if count > len(found):
        raise EvaluationError(f"there are {len(found)} questions about the guide", "Ask for no more.")
    return found[:count]


@contextmanager
def open_engine(place: Place) -> Iterator[Engine]:
    """What the command line answers with, on the same index as the page."""
    from rag.embedding import load_embedder
    from rag.engine import Engine, window
    from rag.evidence import EvidenceFinder
    from rag.loader.load import open_model
    from rag.reranking import load_reranker
    from rag.retrieval import Retriever

    settings = place.settings()
    reranker = load_reranker(settings.retrieval)
    with (
        Collection(place.index, DEFAULT_COLLECTION).open() as generation,
        closing(open_model(settings.model, window(settings.answer, settings.model))) as model,
    ):
        retriever = Retriever(generation, load_embedder(settings.embedding), reranker, settings.retrieval)
        yield Engine(retriever, EvidenceFinder(reranker), model, settings.answer)


def ask(engine: Engine, question: str) -> tuple[dict[str, Any], Firsts]:
    """The answer as the page keeps it, and when its first source and word came."""
    began, firsts = time.perf_counter(), {}
    for event in engine.ask(question):
        match event:
            case Sources():
                firsts["source"] = time.perf_counter() - began
            case Token():
                firsts.setdefault("word", time.perf_counter() - began)
            case Done(answer):
                kept = saved(answer)
    return kept, firsts


def answered(visit: page_browser.Visit, question: str) -> Firsts:
    """Ask one question and wait for the whole answer. Raises EvaluationError."""
    visit.type(question)
    visit.enter()
    seen = visit.answered()
    if "failed" in seen:
        raise EvaluationError(f"the page shows an error: {question}", "Ask it yourself to see more.")
    return {name: seen[name] - seen["asked"] for name in ("source", "word")}


def _visit(
    browser: Browser, server: Server, engine: Engine, question: str, engine_first: bool
) -> dict[str, Any]:
    """One question to a fresh tab and to the engine, which take turns in being the first."""
    before = ask(engine, question)[1] if engine_first else None
    with page_browser.visit(browser, server.address) as visit:
        page = answered(visit, question)
    return {"opened": visit.opened_s, "page": page, "engine": before or ask(engine, question)[1]}


def together(
    browser: Browser, server: Server, asked: Sequence[str], answers: Mapping[str, Record]
) -> dict[str, Any]:
    """Each question in a tab of its own, all at once; what each tab shows has to be its question's answer."""
    with ExitStack() as stack:
        visits = [stack.enter_context(page_browser.visit(browser, server.address)) for _ in asked]
        for visit, question in zip(visits, asked):
            visit.type(question)
        for visit in visits:
            visit.enter()
        loads, seen = len(server.workers()), []
        for visit in visits:
            seen.append(visit.answered())
            loads = max(loads, len(server.workers()))
        shown = [visit.messages() for visit in visits]
    return {
        "sessions": len(asked),
        "seconds": max(max(each.values()) for each in seen) - min(each["asked"] for each in seen),
        "first_words": max((each["word"] - each["asked"] for each in seen if "word" in each), default=None),
        "model_loads": loads,
        "errors": sum("failed" in each for each in seen),
        "mixed_up": sum(not shows(texts, q, answers[q]) for texts, q in zip(shown, asked)),
    }


def shows(messages: Sequence[str], question: str, answer: Record) -> bool:
    """Whether the texts of a tab's messages are this question and this answer, but for blanks."""
    written = answer_html(answer["answer"], str)
    wanted = html.unescape(re.sub(r"<[^>]*>", "", written))
    return (
        len(messages) == 2
        and _dense(messages[0]).endswith(_dense(question))  # in front of it stands the name of an icon
        and _dense(messages[1]) == _dense(wanted)
    )


def _dense(text: str) -> str:
    return "".join(text.split())


def fill(place: Place, answers: Sequence[Record]) -> int:
    """Keep a long conversation of these answers; returns its number."""
    kept = Conversations(place.conversations)
    number = kept.start(DEFAULT_COLLECTION, answers[0]["question"], answers[0]).conversation_id
    for n in range(1, LONG):
        answer = answers[n % len(answers)]
        kept.append(number, answer["question"], answer)
    return number


def _reruns(browser: Browser, server: Server, number: int, runs: int) -> Reruns:
    """What a click costs in a long conversation, with the last answers shown and then with all of them."""
    address, query = server.address, f"chat={number}"
    with (
        page_script.script(address, query) as script,
        page_browser.visit(browser, f"{address}/?{query}") as tab,
    ):
        script.run()
        last = [script.run() for _ in range(runs)], _toggled(tab, runs)
        while script.earlier:
            script.run(script.earlier)
        while tab.page.locator(EARLIER).count():
            tab.show_more(EARLIER)
        return {"last": last, "all": ([script.run() for _ in range(runs)], _toggled(tab, runs))}


def _toggled(tab: page_browser.Visit, runs: int) -> list[float]:
    """Open and close what lies beside the last answer; the first two are for warming up."""
    outcomes = ["opened", "closed"] * ((runs + 3) // 2)
    return [tab.click(DETAILS, outcome) for outcome in outcomes][2:]
