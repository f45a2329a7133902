"""The parts of pages that tools write, each between ``<!-- generated: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

from typing import Final

_END: Final = "<!-- end -->"


def replaced(page: str, present: str, name: str, body: str) -> str:
    """A page with one of its generated parts replaced.

    Args:
        page: Its path in the repository, for the error.
        present: Its text.
        name: The part's.
        body: What the part becomes, without a line break at its end.

    Raises:
        ValueError: The part's markers are missing.
    """
    head, begin, rest = present.partition(f"<!-- generated: {name} -->\n")
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page} has no generated part {name}")
    return f"{head}{begin}{body}\n{end}{tail}"
