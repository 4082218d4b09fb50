"""Parts of a document that a program writes."""

from __future__ import annotations


def with_block(text: str, name: str, content: str) -> str:
    """A document with new content between its marks ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    The blank lines are there because Markdown takes a table that follows a comment at once for a part of it.

    Raises:
        ValueError: the document has no such marks.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(start)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"no block {name}")
    return f"{before}{start}\n\n{content}\n\n{end}{after}"
