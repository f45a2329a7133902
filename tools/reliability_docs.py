"""Writes the table of crash points in docs/laboratory/reliability.md: ``python -m tools.reliability_docs``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.analysis.simulation.crash_runs import SCENARIOS
from tools.generated import replaced

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "laboratory" / "reliability.md"
_KINDS: Final = ("load", "confirm", "apply", "save")


def page(present: str) -> str:
    """The page with its table replaced.

    Raises:
        ValueError: The part's markers are missing.
    """
    return replaced("docs/laboratory/reliability.md", present, "crash points", "\n".join(_rows()))


def _rows() -> Iterator[str]:
    yield "| run | reads of the memory | checks of the Lease | writes to Ingress and ScaledObjects | saves | cases |"
    yield "|---|---|---|---|---|---|"
    whole = 0
    for name, scenario in SCENARIOS.items():
        simulation, _, watched = scenario.play()
        calls = simulation.engine.calls.made[: watched.calls]
        counts = Counter(call.name.split()[0] for call in calls)
        whole += 2 * len(calls)
        yield f"| {name} | {' | '.join(str(counts[kind]) for kind in _KINDS)} | {2 * len(calls)} |"
    yield f"| all | | | | | {whole} |"


def main() -> None:
    """Plays each run once and writes the page."""
    DOCUMENT.write_text(page(DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
