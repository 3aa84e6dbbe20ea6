"""A document that was read, as tests compare it."""


def outline(document):
    """Page, headings and text of each section."""
    return [(section.page, section.heading, section.text) for section in document.sections]
