"""Writes the table of situations in docs/decision.md from what the controller does in them: ``python -m tools.situation_docs``."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

import structlog

from tests.situations.catalogue import SITUATIONS
from tests.situations.situation import Situation
from tests.situations.stage import Played, play
from tests.situations.table import table
from tools.policy_docs import DECISION

_PART = re.compile(r"(<!-- generated: situations -->\n).*?(\n<!-- end -->)", re.DOTALL)


def page(present: str, played: Iterable[tuple[Situation, Played]]) -> str:
    """docs/decision.md with its table of situations replaced.

    Args:
        present: The page.
        played: Each situation with what the controller did in it.

    Raises:
        ValueError: The part's markers are missing.
    """
    if not _PART.search(present):
        raise ValueError("docs/decision.md has no generated part situations")
    body = table(played)
    return _PART.sub(lambda match: match[1] + body + match[2], present)


def main() -> None:
    """Plays all situations and writes the page."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    DECISION.write_text(page(DECISION.read_text(), [(one, play(one)) for one in SITUATIONS]))


if __name__ == "__main__":
    main()
