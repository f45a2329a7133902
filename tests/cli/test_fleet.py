"""What `failoverctl status` prints of several applications."""

from __future__ import annotations

from dataclasses import replace

from controller.cli.fleet import fleet_lines
from controller.cli.observe import judge
from controller.policy.model import Mode, Route
from tests.policy.support import shortage
from tests.support.applications import NOW, alert_of, memory, snapshot


def test_each_application_has_a_line_and_what_needs_a_person_comes_first() -> None:
    """Sixty lines of one application each hid the one that was short."""
    quiet = judge(snapshot(), memory())
    short = judge(replace(shortage(), application=replace(shortage().application, route=Route("b", "live"))), memory(mode_since=NOW - 3600))
    away = judge(snapshot(mode=Mode.CAPACITY), memory(Mode.CAPACITY))
    alerting = replace(quiet, known=(alert_of("fighting", "critical", "two"),))
    lines = [line for _, line in fleet_lines([quiet, short, away, alerting])]
    table = [line.split() for line in lines[:5]]
    assert table[0] == ["APPLICATION", "MODE", "SINCE", "SHORT", "ALERTS", "REASON"]
    assert [row[0] for row in table[1:]] == ["✖", "⚠", "⚠", "✔"]
    assert "sd21-inf2" in next(row for row in table if "shop/b" in row)
    assert lines[-1] == "one of them whole: failoverctl status APPLICATION"
