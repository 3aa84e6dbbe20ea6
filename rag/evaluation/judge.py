"""Which retrieved passages are right, and how many right ones the index holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rag.evaluation.datasets import Dataset, Question
from rag.evaluation.metrics import Place, find_span, holds_answer, holds_reference, overlap
from rag.types import Chunk


class Judge:
    """Grades results for one dataset and one index.

    `paths` maps each document's id to all files that hold it; `chunks` are all of the index. `text_of` gives
    a document's text by its id.
    """

    def __init__(
        self,
        dataset: Dataset,
        paths: Mapping[str, Sequence[str]],
        chunks: Iterable[Chunk],
        text_of: Callable[[str], str] = lambda document_id: "",
    ) -> None:
        self._dataset = dataset
        self._paths = paths
        self._text_of = text_of
        self._missed: set[str] = set()
        self.by_document = dataset.relevant == "document"
        self._by_document: dict[str, list[Chunk]] = {}
        if not self.by_document:
            for chunk in chunks:
                self._by_document.setdefault(chunk.document_id, []).append(chunk)

    def gains(self, question: Question, chunks: Sequence[Chunk]) -> list[float]:
        """The grade of each result, best first; 0 is wrong.

        A result is a chunk, or a document where documents are judged: then the chunks after its first
        do not count.
        """
        if self.by_document:
            return [
                self._grade(question, document) for document in dict.fromkeys(c.document_id for c in chunks)
            ]
        return [float(self._holds(question, chunk)) for chunk in chunks]

    def ideal(self, question: Question) -> list[float]:
        """The grades of everything right that could have been found.

        A right answer that chunking has torn apart is in no chunk: it still counts as one to find.
        """
        if self.by_document:
            return list(question.documents.values())
        inside = (
            chunk
            for document, chunks in self._by_document.items()
            if self._grade(question, document)
            for chunk in chunks
        )
        return [1.0 for chunk in inside if self._holds(question, chunk)] or [1.0]

    def has_all_documents(self, question: Question, chunks: Sequence[Chunk]) -> bool | None:
        """Whether each right file has a passage among the results; None where files are not judged.

        Files of equal text are one document, and one of them is as good as the other.
        """
        if not self.by_document or not self._dataset.folder:
            return None
        found = {path for chunk in chunks for path in self._paths.get(chunk.document_id, ())}
        return set(question.documents) <= found

    def overlap(self, question: Question, chunks: Sequence[Chunk]) -> tuple[float, float, float] | None:
        """Recall, precision and IoU of the chunks' text against the reference passages.

        None where references are not judged, or none of them stands in a document.
        """
        places = self._places(question) if self._dataset.relevant == "reference" else []
        return overlap([(c.document_id, c.start, c.end) for c in chunks], places) if places else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of `overlap` so far, in words."""
        missed = len(self._missed)
        return (f"references left out, since they stand in no document: {missed}",) if missed else ()

    def _places(self, question: Question) -> list[Place]:
        """Where the references stand, each in the first right document that has it."""
        documents = {each: self._text_of(each) for each in self._paths if self._grade(question, each)}
        places = []
        for reference in question.references:
            found = ((each, find_span(text, reference)) for each, text in documents.items())
            place = next(((each, *span) for each, span in found if span), None)
            if place:
                places.append(place)
            else:
                self._missed.add(reference)
        return places

    def _grade(self, question: Question, document_id: str) -> float:
        if not question.documents:
            return 1.0  # any document may hold the answer
        return max(
            (question.documents.get(path, 0.0) for path in self._paths.get(document_id, ())), default=0.0
        )

    def _holds(self, question: Question, chunk: Chunk) -> bool:
        if not self._grade(question, chunk.document_id):
            return False
        if self._dataset.relevant == "reference":
            return holds_reference(chunk.text, question.references)
        return holds_answer(chunk.text, question.answers)
