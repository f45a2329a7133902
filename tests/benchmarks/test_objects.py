"""The benchmark of applications as objects runs to its end on a real API server, with a few of them."""

from __future__ import annotations

import math

import pytest

from benchmarks import objects, requests_seen
from benchmarks.markdown import markdown
from failover_harness.control_plane.binaries import Unavailable
from tests.conftest import skip_loudly


def test_it_measures_both_forms(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure comes from what the servers and the controller logged; one that found nothing would be zero or missing."""
    monkeypatch.setattr(requests_seen, "_QUIET_S", 2.0)
    try:
        result = objects.measure(4, 1, 2.0, print)
    except Unavailable as error:
        skip_loudly(pytestconfig, "THE BENCHMARK OF OBJECTS", str(error))
    for leg in (result.objects, result.files):
        assert (len(leg.reaction), leg.lost) == (1, 0)
        assert leg.start_s > 0
    assert result.first_writes >= 4
    assert result.full > result.bare > 1000
    assert result.storm.sent_s > 0
    assert 0 < result.storm.in_force_s < math.inf
    forms, rest = (markdown(table) for table in objects.tables(result))
    assert "| files |" in forms
    assert f"| {result.bare:,} and {result.full:,} bytes |" in rest
