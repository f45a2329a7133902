"""What the end of a run says of its tests, also where xdist's workers run them: only the process that started them prints anything."""

from __future__ import annotations

from typing import Any, Final

import pytest

_said = pytest.StashKey[dict[str, tuple[str, bool]]]()  # text, and whether it is a warning, by title
_SENT: Final = "closing"


def say(config: pytest.Config, title: str, text: str, *, warning: bool = False) -> None:
    """Has the end of the run show a text once.

    Args:
        config: Of the run.
        title: Of its section; what is said later under the same title takes its place.
        text: One or more lines.
        warning: Whether it is shown as one.
    """
    config.stash.setdefault(_said, {})[title] = text, warning


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker sends what its tests said."""
    sent: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent[_SENT] = session.config.stash.get(_said, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over what a worker sent; one that died sent nothing."""
    node.config.stash.setdefault(_said, {}).update(getattr(node, "workeroutput", {}).get(_SENT, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Shows everything."""
    for title, (text, warning) in sorted(config.stash.get(_said, {}).items()):
        terminalreporter.section(title, red=warning, bold=warning)
        terminalreporter.write_line(text)
