"""The page of what people see: it has the shape that sinks and commands have now. `python -m tools.captures` writes it anew."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest

from controller.cli.main import _COMMANDS
from controller.notifiers.document import message_document
from controller.notifiers.topics import DETAIL_TYPE, SOURCE
from failover_testbed.slack import _fault
from tests.notifiers.support import a_message
from tools.captures_page import IMAGES, PAGE

TEXT: Final = PAGE.read_text()
BLOCKS: Final = re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ADD: Final = "run python -m tools.captures"


def _documents() -> list[dict[str, Any]]:
    return [json.loads(block) for block in BLOCKS]


def test_documents_have_the_fields_of_today() -> None:
    """Those of the webhook, and of the detail of EventBridge's event."""
    fields = set(message_document(a_message()))
    shown = [one for one in _documents() if "schema" in one]
    assert [one["kind"] for one in shown] == ["failover", "fallback", "alert", "resolved"], ADD
    (event,) = [one for one in _documents() if "detail-type" in one]
    assert (event["source"], event["detail-type"]) == (SOURCE, DETAIL_TYPE), ADD
    assert all(set(one) == fields for one in (*shown, event["detail"])), ADD


def test_a_failover_and_its_end_are_one_incident_and_an_alert_and_its_end_another() -> None:
    failover, fallback, alert, resolved = (one for one in _documents() if "schema" in one)
    assert failover["incident"] == fallback["incident"] != alert["incident"] == resolved["incident"]
    assert [one["status"] for one in (failover, fallback, alert, resolved)] == ["open", "resolved", "open", "resolved"]


def test_slack_would_take_every_body() -> None:
    """And the reply and the update name the thread."""
    bodies = [one for one in _documents() if "channel" in one]
    assert len(bodies) == 3, ADD
    assert not [one for one in bodies if isinstance(one["blocks"], list) and _fault(one)]
    assert bodies[1]["thread_ts"] == bodies[2]["ts"]


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_the_page_has_its_pictures(moment: str) -> None:
    assert f"images/page-{moment}.png" in TEXT
    assert (IMAGES / f"page-{moment}.png").stat().st_size > 10_000


def test_every_command_line_is_one_and_its_output_has_its_labels() -> None:
    """Those that people read first."""
    commands = re.findall(r"^\$ failoverctl (\S+)", TEXT, re.MULTILINE)
    assert set(commands) == {"status", "explain", "history"} <= set(_COMMANDS), ADD
    for label in ("Now     ", "Next    ", "Holds   ", "Force   ", "Stop    ", "next: ", "UNIT", "SET", "ACTUAL", "NEED", "mode change(s)"):
        assert label in TEXT, f"{label}: {ADD}"
    assert "Traceback" not in TEXT
