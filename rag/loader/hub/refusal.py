"""What a hub means by refusing, in words for the user; statuses and headers as huggingface_hub reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rag.errors import DownloadFailed, ModelNotFound, RagError

if TYPE_CHECKING:
    import httpx2

PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Statuses that a second attempt may not meet."""
LONGEST_WAIT_S = 60.0


class Interrupted(DownloadFailed):
    """A failure that a second attempt may not meet; `wait_s` is how long the server asks to wait."""

    wait_s: float | None = None


def refusal(response: httpx2.Response, endpoint: str, repo: str, revision: str) -> RagError:
    """The error for an answer with a status of 400 or more."""
    code = response.headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        return _gated(response, f"{endpoint}/{repo}", repo)
    if code == "RevisionNotFound":
        return ModelNotFound(
            f"{repo} has no revision {revision}", f"See {endpoint}/{repo} for its branches and tags."
        )
    if code == "EntryNotFound":
        return ModelNotFound(
            f"a file of {repo} is no longer there", "Start again, to see what the model holds now."
        )
    if response.status_code == 401 and _with_token(response):
        return DownloadFailed(
            f"{host_of(endpoint)} does not accept your token, or {repo} does not exist",
            "Correct HF_TOKEN or unset it, and check the model's name.",
        )
    if response.status_code in (401, 404):  # 401 also for what does not exist, lest it tell what is private
        return ModelNotFound(
            f"there is no model {repo} on {host_of(endpoint)}, or it is private",
            did_you_mean(repo) or f"Check the name on {endpoint}; for a private model, set HF_TOKEN.",
        )
    if response.status_code in PASSING:
        return _passing(response, endpoint)
    said = response.headers.get("X-Error-Message") or response.reason_phrase
    return DownloadFailed(
        f"{host_of(endpoint)} refuses {repo} ({response.status_code} {said})",
        f"See whether {endpoint}/{repo} opens in a browser, and whether your token may read it.",
    )


def did_you_mean(repo: str) -> str:
    """A question with the names of presets that look like `repo`; empty where none does."""
    from rag.loader.hub.presets import nearest

    near = nearest(repo)
    return f"Did you mean {' or '.join(near)}?" if near else ""


def host_of(endpoint: str) -> str:
    return urlsplit(endpoint).netloc or endpoint


def _gated(response: httpx2.Response, page: str, repo: str) -> DownloadFailed:
    account = "with the account of your token"
    if not _with_token(response):
        account = "and set HF_TOKEN to a token of your account"
    return DownloadFailed(
        f"{repo} is gated: it is given only to people who have accepted its licence",
        f"Accept the licence on {page} {account}.",
    )


def _passing(response: httpx2.Response, endpoint: str) -> Interrupted:
    error = Interrupted(
        f"{host_of(endpoint)} is busy or out of order ({response.status_code} {response.reason_phrase})",
        "Try again later; what has arrived is kept.",
    )
    after = response.headers.get("Retry-After", "")
    error.wait_s = min(float(after), LONGEST_WAIT_S) if after.isdigit() else None
    return error


def _with_token(response: httpx2.Response) -> bool:
    return "Authorization" in response.request.headers
