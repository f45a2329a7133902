"""Fail static: for 24 hours of bad signals nothing changes, people are alerted within two passes, and one pass after it works again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from controller.policy.decision import Conclusion
from controller.policy.model import Mode, Snapshot
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.outages import Outage
from failover_analysis.simulation.replica import Replica
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.simulated_view import KINDS, SimulatedView
from tests.analysis.simulation.support import HOUR, outage, setup

DAY: Final = 24 * HOUR
BEGIN: Final = 1 * HOUR
_BUDGET_S: Final = 300.0  # how old the last word of a source may be, and CloudWatch's period and lag
_LATE_S: Final = 120.0  # the pass that has begun

Bad = Callable[[Engine, bool], None]


def _stale(engine: Engine, on: bool) -> None:
    """Every watch delivers nothing and reports no error; AWS does not answer."""
    engine.fault_state.stalled = set(KINDS) if on else set()
    _aws(engine, on)


def _aws(engine: Engine, on: bool) -> None:
    """CloudWatch and ELBv2 do not answer."""
    engine.fault_state.cloudwatch_throttled = engine.fault_state.elbv2_throttled = on


def _api_server(engine: Engine, on: bool) -> None:
    """No watch, no write, no stored memory."""
    engine.fault_state.stalled = set(KINDS) if on else set()
    engine.fault_state.writes_fail = "connection refused" if on else ""
    engine.fault_state.state_unreadable = on


RUNS: Final[Mapping[str, tuple[Bad, bool]]] = {
    "all signals stale": (_stale, True),
    "AWS down": (_aws, False),
    "API server down": (_api_server, True),
}
"""What is bad, and whether the watches are part of it: with them no decision is possible, without AWS some are."""


class Day:
    """What the controller does and says in a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.written: list[tuple[float, str]] = []
        self.said: list[tuple[float, set[str], str]] = []  # each pass: when, which alerts, the reason

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """See `ReplicaObserver`."""
        keys = {alert.key for alert in conclusion.decision.alerts} | set(conclusion.decision.degraded)
        self.said.append((self._engine.elapsed(), keys, str(conclusion.decision.reason)))

    def acted(self, replica: Replica, conclusion: Conclusion, action: Any, error: object) -> None:
        """See `ReplicaObserver`."""
        if error is None:
            self.written.append((self._engine.elapsed(), f"{action.kind} {action.name} {action.after}"))

    def passed(self, *_: object) -> None:
        """See `ReplicaObserver`."""


def _played(bad: Bad, outages: tuple[Outage, ...], more_s: float = BEGIN + DAY + 600) -> tuple[Day, Any]:
    """A day of it, from the first hour on, during outages of a unit."""
    made = setup(
        seconds=BEGIN + DAY + 2 * HOUR, demand=lambda at: 900.0 if at < more_s else 2400.0, outages=outages, interval_s=120.0
    )  # fmt: skip
    simulation = Simulation(made, 1)
    engine, day = simulation.engine, Day(simulation.engine)
    engine.observers.append(day)
    engine.event_queue.at(made.start + BEGIN, lambda: bad(engine, True))
    engine.event_queue.at(made.start + BEGIN + DAY, lambda: bad(engine, False))
    return day, simulation.run()


@pytest.mark.parametrize("name", RUNS)
def test_a_day_of_bad_signals_changes_nothing(name: str) -> None:
    """No weight, no replica; people learn of it within two passes of the age that counts; the shortage after it is acted on.

    Without CloudWatch floors rise to the replicas that there are, once, so that KEDA takes none away.
    """
    bad, blind = RUNS[name]
    day, result = _played(bad, (outage(6.0, 20.0), outage(25.0, 30.0)))
    assert result.violations == ()
    end = BEGIN + DAY
    written = [what for at, what in day.written if BEGIN + _LATE_S < at < end]
    assert [one for one in written if blind or not one.startswith("raise-floor")] == []
    assert len(written) <= len(setup().application.units)
    due = BEGIN + _BUDGET_S
    after = [said for at, said, _ in day.said if at > due][:2]
    assert any(said for said in after), "nobody was notified"
    if blind:
        assert {reason for at, _, reason in day.said if due < at < end} == {"SignalsStale"}
        assert next(reason for at, _, reason in day.said if at > end) != "SignalsStale", "one pass after it, it decides again"
    assert [one for one in result.mode_changes if one.at - result_start(result) < end] == []
    assert result.mode_changes != (), "the shortage after the day is acted on"


def result_start(result: Any) -> float:
    """When a run began, seconds since the Unix epoch."""
    return setup().start


def _contradicting(snapshot: Snapshot) -> Snapshot:
    """Each Deployment has ready replicas and its Service has no ready endpoint, while a unit is proven short."""
    return replace(snapshot, units={name: replace(one, ready=0, endpoints_ready=0) for name, one in snapshot.units.items()})


def _garbage(snapshot: Snapshot) -> Snapshot:
    """What the boundary makes of an object whose every field is garbage: nothing is known of anything."""
    units = {
        name: replace(
            one, ready=None, deployment_ready=None, endpoints_ready=None, desired=None, pending=(), demand=None, latency=None, scaler=None,
            service_exists=None, waiting_since=None, pool=replace(one.pool, exists=False, failures=(), launches=()),
        )
        for name, one in snapshot.units.items()
    }  # fmt: skip
    routing = replace(snapshot.routing, action="garbage", targets=(), stickiness_s=0, problem="the action is not JSON", marker="garbage")
    return replace(snapshot, units=units, routing=routing, error_ratio=None)


WRONG: Final[Mapping[str, Callable[[Snapshot], Snapshot]]] = {"contradictory sources": _contradicting, "garbage in every field": _garbage}


def _seen_changed(change: Callable[[Snapshot], Snapshot], monkeypatch: pytest.MonkeyPatch) -> Bad:
    """Makes the controller see changed snapshots while it is on."""
    whole, on = SimulatedView.snapshot, False

    def snapshot(self: SimulatedView, *arguments: Any, **named: Any) -> Snapshot:
        seen = whole(self, *arguments, **named)
        return change(seen) if on else seen

    def bad(_: Engine, active: bool) -> None:
        nonlocal on
        on = active

    monkeypatch.setattr(SimulatedView, "snapshot", snapshot)
    return bad


@pytest.mark.parametrize("name", WRONG)
def test_a_day_of_wrong_signals_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is wrong and not old: neither weights nor floors nor targets change, and people are alerted."""
    bad = _seen_changed(WRONG[name], monkeypatch)
    if name == "contradictory sources":
        day, result = _played(bad, (outage(6.0, 30.0),), 8 * HOUR)
    else:
        day, result = _played(bad, (outage(6.0, 20.0), outage(25.0, 30.0)))
    assert [what for at, what in day.written if BEGIN < at < BEGIN + DAY] == []
    begun = next(at for at, _, reason in day.said if at > BEGIN and reason in {"SignalsContradict", "OtherSideShort", "RoutingUnknown"})
    assert any(said for at, said, _ in [one for one in day.said if one[0] >= begun][:2]), "nobody was notified"
    assert result.mode_changes != (), "the shortage after the day is acted on"


@pytest.mark.parametrize("name", [*RUNS, *WRONG])
def test_a_day_of_it_in_capacity_mode_lowers_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capacity returns early in the day. Neither the weights nor the raised floors go back before the signals are right again."""
    bad = _seen_changed(WRONG[name], monkeypatch) if name in WRONG else RUNS[name][0]
    day, result = _played(bad, (outage(0.2, 2.0),), BEGIN / 2)
    end = BEGIN + DAY
    assert [change.to for change in result.mode_changes if change.at - setup().start < BEGIN] == [Mode.CAPACITY]
    written = [what for at, what in day.written if BEGIN + _LATE_S < at < end]
    assert [one for one in written if not one.startswith("raise-floor")] == []
    assert written == [] or name == "AWS down"
    assert [change.to for change in result.mode_changes if change.at - setup().start > end] == [Mode.COST], "capacity has returned"
