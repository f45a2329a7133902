"""Writes the table of situations in docs/situations.md from what the controller does in them: ``python -m tools.situation_docs``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import structlog

from tests.situations.catalogue import SITUATIONS
from tests.situations.situation import Situation
from tests.situations.stage import Played, play
from tests.situations.table import table
from tools.generated import replaced
from tools.policy_docs import DOCS

PAGE: Final = DOCS / "situations.md"


def page(present: str, played: Iterable[tuple[Situation, Played]]) -> str:
    """docs/situations.md with its table of situations replaced.

    Args:
        present: The page.
        played: Each situation with what the controller did in it.

    Raises:
        ValueError: The part's markers are missing.
    """
    return replaced("docs/situations.md", present, "situations", table(played))


def main() -> None:
    """Plays all situations and writes the page."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    PAGE.write_text(page(PAGE.read_text(), [(one, play(one)) for one in SITUATIONS]))


if __name__ == "__main__":
    main()
