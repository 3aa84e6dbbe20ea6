"""Footnote: answers from a person's own documents, each with a footnote to the page it came from."""
