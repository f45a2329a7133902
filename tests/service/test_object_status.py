"""How often the status of an object is written: a fleet must not load the API server with what nobody waits for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast
from unittest.mock import Mock

import pytest

from controller.clients.kube import KubeSession
from controller.errors import Unavailable
from controller.service import object_status
from controller.service.application_objects import Acceptance, Verdict
from controller.service.object_status import ACCOUNT_S, CHANGED_S, SOONEST_S, StatusWriter
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW

TURN_S = 5.0  # between two turns


class Fleet:
    """Refused objects, and an API server that keeps the statuses that are sent.

    Args:
        size: How many objects.
    """

    def __init__(self, size: int) -> None:
        self.clock = ManualClock(NOW)
        self.verdicts = {
            ("shop", f"app-{number}"): Verdict(("shop", f"app-{number}"), f"u{number}", 1, Acceptance.INVALID, "", "", {})
            for number in range(size)
        }
        self.writes: list[tuple[float, tuple[str, str]]] = []
        self.down = False
        self._writer = StatusWriter(cast("KubeSession", self), self.clock)

    def request(self, method: str, path: str, *, body: str, **_other: Any) -> Mapping[str, Any]:
        """What the writer sends, in place of `KubeSession.request`."""
        assert (method, path.endswith("/status")) == ("PATCH", True)
        namespace, _, name = path.split("/")[-4:-1]
        self.writes.append((self.clock.monotonic(), (namespace, name)))
        self.clock.advance(0.002)
        if self.down:
            raise Unavailable("no answer")
        key = (namespace, name)
        self.verdicts[key] = replace(self.verdicts[key], status=json.loads(body)[1]["value"])
        return {}

    def edit(self) -> None:
        """Each object gets another fault."""
        now = self.clock.now()
        self.verdicts = {name: replace(one, generation=one.generation + 1, problem=f"at {now}") for name, one in self.verdicts.items()}

    def turns(self, seconds: float, *, edited: bool = False, leads: bool = True, views: tuple[Mock, ...] = ()) -> None:
        """Takes turns for that long."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            if edited:
                self.edit()
            for view in views:
                view.snapshot.now = self.clock.now()  # a pass
            self._writer.write(self.verdicts.values(), views, may=lambda _: leads)
            self.clock.advance(TURN_S)

    def shown(self, name: str = "app-0") -> str:
        """The fault that a person reads in the object."""
        return str(self.verdicts["shop", name].status["conditions"][0]["message"])


def test_an_object_that_changes_all_the_time_is_written_once_a_minute() -> None:
    fleet = Fleet(1)
    fleet.turns(600, edited=True)
    times = [at for at, _ in fleet.writes]
    assert len(times) >= 9, "what changed is written as soon as it may be"
    assert min(later - earlier for earlier, later in pairwise(times)) >= SOONEST_S


def test_an_object_that_stays_as_it_is_is_never_written_again() -> None:
    fleet = Fleet(3)
    fleet.turns(3600)
    assert Counter(name for _, name in fleet.writes) == dict.fromkeys(fleet.verdicts, 1)


def test_a_change_after_a_quiet_time_is_written_in_the_next_turn() -> None:
    fleet = Fleet(1)
    fleet.turns(600)
    fleet.edit()
    changed = fleet.clock.monotonic()
    fleet.turns(TURN_S)
    assert [at for at, _ in fleet.writes][1:] == [changed]


def test_a_large_fleet_in_which_all_change_writes_no_more_than_a_small_one() -> None:
    fleet = Fleet(1000)
    fleet.turns(120)
    fleet.writes.clear()
    fleet.turns(1800, edited=True)
    assert len(fleet.writes) <= 1800 / CHANGED_S + 1000
    times = {name: [at for at, one in fleet.writes if one == name] for name in fleet.verdicts}
    assert min(later - earlier for found in times.values() for earlier, later in pairwise(found)) >= CHANGED_S * 1000
    assert min(len(found) for found in times.values()) >= 1800 / (CHANGED_S * 1000) - 1, "none is left out"


def test_what_alone_the_account_changes_is_a_thousand_writes_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet of any size: each pass makes another account, and nobody waits for it."""
    size = 100
    fleet = Fleet(size)
    fleet.verdicts = {name: replace(one, key="/".join(name)) for name, one in fleet.verdicts.items()}
    views = tuple(Mock() for _ in range(size))
    for view, name in zip(views, fleet.verdicts, strict=True):
        view.application.key = "/".join(name)
    monkeypatch.setattr(object_status, "object_status", lambda _, view, __: {"mode": "cost", "details": {"at": view.snapshot.now}})
    fleet.turns(600, views=views)
    fleet.writes.clear()
    fleet.turns(3600, views=views)
    assert 0.9 * 3600 / ACCOUNT_S <= len(fleet.writes) <= 3600 / ACCOUNT_S + size


def test_a_write_that_fails_is_tried_again_a_minute_later_with_what_is_true_then() -> None:
    fleet = Fleet(1)
    fleet.down = True
    fleet.turns(SOONEST_S - TURN_S)
    assert len(fleet.writes) == 1, "an API server without an answer is not asked in every turn"
    fleet.edit()
    now = fleet.clock.now()
    fleet.down = False
    fleet.turns(3 * TURN_S)
    assert len(fleet.writes) == 2
    assert fleet.shown() == f"at {now}"


def test_a_replica_that_does_not_lead_writes_nothing() -> None:
    fleet = Fleet(2)
    fleet.turns(600, edited=True, leads=False)
    assert fleet.writes == []
