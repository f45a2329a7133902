"""The defaults in docs/notifications.md are those of the settings and of the dispatcher that the service makes from them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from controller.notifiers.dispatcher import Dispatcher
from controller.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
SETTINGS = Settings()
OF_DISPATCHER = {name: one.default for name, one in inspect.signature(Dispatcher).parameters.items()}


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ("`dedup_window_s`", (SETTINGS.notifications.dedup_window_s,)),
        ("`queue_size`", (SETTINGS.notifications.queue,)),
        ("`attempts`", (SETTINGS.slack.attempts,)),
        ("`retry_base_s`, `retry_max_s`", (OF_DISPATCHER["retry_base_s"], SETTINGS.slack.retry_max_s)),
        ("`max_age_s`", (OF_DISPATCHER["max_age_s"],)),
        ("`dead_after`", (OF_DISPATCHER["dead_after"],)),
        ("`stuck_after_s`", (OF_DISPATCHER["stuck_after_s"],)),
        ("Slack and webhook `timeout_s`", (SETTINGS.slack.timeout_s,)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_default_in_the_docs_is_the_default(row: str, values: tuple[float, ...]) -> None:
    """Three of them disagreed with the settings once."""
    found = re.search(rf"^\| {re.escape(row)} \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert found is not None, row
    assert [float(number) for number in re.findall(r"[0-9.]+", found[1])] == [float(value) for value in values]
    assert SETTINGS.webhook.timeout_s == SETTINGS.slack.timeout_s
