"""The model: what answers now, what fits on this machine and why not, and how another one is loaded."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import Any, get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from rag.errors import RagError
from rag.loader.hub.presets import presets, user_presets
from rag.loader.load import request_of
from rag.loader.planning.ladder import CPU_DTYPES
from rag.loader.records import Candidate, title
from rag.loader.survey import URL, survey
from rag.loader.units import parse_bytes, size
from rag.page.advice import FIELDS, in_fields, told
from rag.page.desk import Desk
from rag.page.export import escaped
from rag.page.models import Load
from rag.settings import ModelSettings

AUTO = "auto"
NEAR = 0.9
"""Share of the cap from which on the gauge warns."""
MARKS = {
    "fits": "✓ fits",
    "does not fit": "✗ does not fit",
    "refused": "✗ refused",
    "unavailable": "– not here",
}


def draw(desk: Desk) -> None:
    """The whole model page."""
    st.header("Language model")
    _now(desk)
    st.subheader("Another model")
    settings = _choice(desk.settings.model)
    if settings is None:
        return
    look, use = st.columns(2)
    if look.button("What fits here?", key="look", width="stretch"):
        st.session_state.plan_for = settings
    room = st.checkbox(
        "Let go of the present model first, to have its memory; it comes back if the new one fails",
        key="room",
    )
    busy = desk.models.load is not None
    if use.button("Use this model", key="use", type="primary", width="stretch", disabled=busy):
        desk.models.choose(settings, room)
        st.rerun()
    if st.session_state.get("plan_for") == settings:
        _plans(settings)


@st.fragment(run_every=1)
def _now(desk: Desk) -> None:
    """What answers, what is being loaded, and what failed; renewed every second."""
    models = desk.models
    if info := models.info:
        st.html(f"<p><strong>{html.escape(info.name)}</strong> answers.</p>{_table(_facts(desk))}")
        for note in info.notes:
            st.text(f"Note: {in_fields(note)}")
    elif not models.load:
        st.text("No model answers: what you get are quotes from your documents.")
    if load := models.load:
        _loading(load, answering=models.info is not None)
        st.button("Stop loading it", key="stop-loading", on_click=models.give_up)
    if failed := models.failed:
        _failed(failed)
        if models.info:
            st.button("Understood", key="understood", on_click=models.forget_failure)
    now = (models.load is not None, models.info)
    if st.session_state.get("model_seen", now) != now:
        st.session_state.model_seen = now
        st.rerun()
    st.session_state.model_seen = now


def _facts(desk: Desk) -> dict[str, str]:
    info, loaded, models = desk.models.info, desk.models.loaded, desk.models
    assert info is not None
    facts = {
        "Engine": info.engine,
        "Weights": info.quantization,
        "Parameters": f"{info.parameters / 1e6:,.0f} million" if info.parameters else "not known",
        "Context": f"{info.context_tokens} tokens",
        "Memory": size(models.resident_bytes()) if models.resident_bytes() else "elsewhere",
    }
    if loaded:
        facts["Loaded in"] = f"{loaded.seconds:.1f} s, at most {size(loaded.peak_bytes)}"
        facts["Checked"] = _sanity(loaded.sanity)
    if rate := desk.tokens_per_s:
        facts["Speed"] = f"{rate:.0f} tokens a second in the last answer"
    return facts


def _sanity(found: dict[str, Any]) -> str:
    perplexity = found.get("perplexity")
    return f"says sensible things (perplexity {perplexity:.1f})" if perplexity else "loaded without a fault"


def _loading(load: Load, answering: bool) -> None:
    """Shard by shard, with the memory against its cap."""
    state = load.state
    with st.container(border=True, key="loading"):
        share = state.done / state.total if state.total else 0.0
        step = f"{state.title or 'Starting'}: {state.facts or 'looking at the files'}"
        st.progress(min(1.0, share), escaped(step))
        cap = state.resident + state.left
        if state.resident and state.left:
            used = state.resident / cap
            near = " near" if used > NEAR else ""
            st.html(
                f'<div class="gauge{near}"><div style="width:{used:.0%}"></div></div>'
                f'<span class="path">{size(state.resident)} of {size(cap)} that it may take</span>'
            )
        for setback in load.setbacks:
            st.text(f"That way failed: {in_fields(setback)}. Trying the next one.")
        for note in load.notes:
            st.text(in_fields(note))
        if answering:
            st.caption("The present model goes on answering until this one is ready.")


def _failed(failed: Load) -> None:
    with st.container(border=True, key="failed"):
        st.text(f"{failed.settings.model} was not loaded.")
        for setback in failed.setbacks:
            st.text(f"Tried, and failed: {in_fields(setback)}")
        if failed.error:
            st.text(told(failed.error))


def _choice(base: ModelSettings) -> ModelSettings | None:
    """The model that the fields describe; None while something in them makes no sense."""
    names = list(dict.fromkeys([base.model, "bundled", *sorted(presets(user_presets(os.environ)))]))
    name = st.selectbox(FIELDS["model"], names, key="model-name", accept_new_options=True)
    st.caption("A preset, or the path of a GGUF file or model folder, a hub id, or a server's address.")
    left, middle, right = st.columns(3)
    engine = _select(left, "engine", _choices("engine"), base.engine)
    quantization = middle.text_input(FIELDS["quantization"], base.quantization, key="model-quantization")
    most = right.text_input(
        FIELDS["max-memory"], base.max_memory or "", placeholder="8GB", key="model-memory"
    )
    memory = most.strip() or None
    with st.expander("More"):
        left, middle, right = st.columns(3)
        context = left.number_input(FIELDS["context"], 0, value=base.context, key="model-context")
        dtype = _select(middle, "dtype", (AUTO, *CPU_DTYPES), base.dtype)
        device = _select(right, "device", _choices("device"), base.device)
        st.caption("A context of 0 is what answers need.")
    try:
        if memory:
            parse_bytes(memory)
        changes = {
            "model": (name or "bundled").strip(),
            "engine": engine,
            "quantization": quantization.strip() or AUTO,
            "max_memory": memory,
            "context": context,
            "dtype": dtype,
            "device": device,
        }
        return ModelSettings.model_validate({**base.model_dump(), **changes})
    except (RagError, ValueError) as error:
        st.text(told(error) if isinstance(error, RagError) else str(error))
        return None


def _select(place: DeltaGenerator, setting: str, choices: Sequence[str], now: str) -> str:
    """A field that begins with what the settings say."""
    choices = list(dict.fromkeys([*choices, now]))
    return place.selectbox(FIELDS[setting], choices, choices.index(now), key=f"model-{setting}")


def _choices(setting: str) -> tuple[str, ...]:
    """What a setting of the model may be, the default first."""
    return get_args(ModelSettings.model_fields[setting].annotation)


def _plans(settings: ModelSettings) -> None:
    """Every way to run the model here, best first, with what stands against the others."""
    if URL.match(settings.model) or settings.engine == "remote":
        st.text("A model on a server needs no room here.")
        return
    try:
        found = survey(settings.model, request_of(settings))
    except RagError as error:
        st.text(told(error))
        return
    st.html(f'<div class="wide">{plan_table(found.candidates)}</div>')


def plan_table(candidates: Sequence[Candidate]) -> str:
    """The ways as a table, everything in it escaped."""
    head = "".join(f"<th>{name}</th>" for name in ("Way", "Verdict", "Tokens a second", "Why"))
    return f'<table class="plans"><tr>{head}</tr>{"".join(map(_way, candidates))}</table>'


def _way(way: Candidate) -> str:
    rate = f"{way.tokens_per_s:.0f}" if way.tokens_per_s else "-"
    why = in_fields(". ".join(filter(None, [way.reason.rstrip("."), way.fix])))
    cells = (title(way.plan), MARKS.get(way.verdict, way.verdict), rate, why)
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _table(facts: dict[str, str]) -> str:
    rows = "".join(f"<tr><th>{key}</th><td>{html.escape(value)}</td></tr>" for key, value in facts.items())
    return f'<table class="plans">{rows}</table>'
