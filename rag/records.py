"""The JSON form of an answer, the same for the command line and every server."""

from __future__ import annotations

from typing import Any

from rag.types import Answer, Citation, Hit, Unsupported


def answer_record(answer: Answer) -> dict[str, Any]:
    """The object that `rag_query.py --json` prints."""
    model, timings = answer.model, answer.timings
    return {
        "question": answer.question,
        "answer": answer.text,
        "abstained": answer.abstained,
        "citations": [citation_record(citation) for citation in answer.citations],
        "hits": [hit_record(hit) for hit in answer.hits],
        "model": {
            "name": model.name if model else None,
            "engine": model.engine if model else None,
            "quantization": model.quantization if model else None,
            **({"notes": list(model.notes)} if model and model.notes else {}),
        },
        "timings": {
            "retrieval_s": timings.retrieval_s,
            "first_token_s": timings.first_token_s,
            "total_s": timings.total_s,
            "prompt_tokens": timings.prompt_tokens,
            "answer_tokens": timings.answer_tokens,
        },
        **({"standalone": answer.standalone} if answer.continues else {}),
        **({"disputed": True} if answer.disputed else {}),
        **(
            {"unsupported": [unsupported_record(each) for each in answer.unsupported]}
            if answer.unsupported
            else {}
        ),
    }


def citation_record(citation: Citation) -> dict[str, Any]:
    chunk = citation.hit.chunk
    return {
        "number": citation.number,
        "path": chunk.path,
        "page": chunk.page,
        "line": chunk.line,
        "quote": citation.quote,
        "exact": citation.exact,
        "verified": citation.verified,
    }


def unsupported_record(unsupported: Unsupported) -> dict[str, Any]:
    """A sentence that was not found; `nearest` is the place to look at, None where nothing comes near."""
    nearest = None
    if unsupported.hit and unsupported.span:
        chunk, (start, end) = unsupported.hit.chunk, unsupported.span
        nearest = {"path": chunk.path, "page": chunk.page, "line": chunk.line, "quote": chunk.text[start:end]}
    return {"sentence": unsupported.sentence, "problem": unsupported.problem, "nearest": nearest}


def hit_record(hit: Hit) -> dict[str, Any]:
    stages = {stage: {"rank": rank.rank, "score": rank.score} for stage, rank in hit.how.items()}
    chunk = hit.chunk
    return {
        "path": chunk.path,
        "page": chunk.page,
        "line": chunk.line,
        "score": hit.score,
        "text": chunk.text,
        "stages": stages,
    }
