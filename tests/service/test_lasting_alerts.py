"""Alerts outlive the process that raised them, and one that comes and goes is one alert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.policy.model import Alert, Application, Memory, Override, Snapshot, Source
from controller.ports import EMPTY, Message, MessageKind, StoredMemory
from controller.service import messages
from controller.service.controller import Controller
from controller.service.known_alerts import ALERTS, alerts_text, stored_alerts
from controller.service.store import record_name
from controller.service.telemetry import Telemetry
from controller.signals.cluster import ClusterView
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.fault_state import FaultState
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock, ManualClock
from tests.service.test_terms import Leader
from tests.support.applications import NOW, alert_of, application, routing, snapshot
from tests.support.cluster import NAMESPACE, Cluster, Collector, make_service, running

PAUSED = "failoverctl.dev/paused-until"
KEY = "held/OverrideUnreadable"


def _pause_until(cluster: Cluster, when: str | None) -> None:
    cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": {PAUSED: when}}}, namespace=NAMESPACE)


def _about(collector: Collector, kind: MessageKind) -> list[Message]:
    return [one for one in collector.messages if one.kind is kind and one.dedup_key == f"{NAMESPACE}/sd21/{KEY}"]


def _stored(cluster: Cluster) -> dict[str, Any]:
    found = cluster.store.list("ConfigMap", namespace="failover-system")
    records = [one for one in found if one["metadata"]["name"] == record_name(f"{NAMESPACE}/sd21")]
    return dict(json.loads(records[0]["data"][ALERTS])) if records else {}


def test_an_alert_that_ends_while_no_controller_runs_is_resolved_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an incident stays open wherever the alert was sent. While it lasts, the next controller sends it, and nothing else."""
    monkeypatch.setattr(messages, "RECALLED_S", 60.0)  # three seconds of this clock
    cluster = Cluster(AcceleratedClock(20))
    try:
        _pause_until(cluster, "tomorrow")
        first, second, third = Collector(), Collector(), Collector()
        with running(make_service(cluster, tmp_path, sinks=(first,))):
            wait_for("the alert", lambda: bool(_about(first, MessageKind.ALERT)))
            wait_for("the stored alert", lambda: KEY in _stored(cluster))
        with running(make_service(cluster, tmp_path, sinks=(second,))):
            wait_for("the same alert", lambda: bool(_about(second, MessageKind.ALERT)))
        assert not _about(first, MessageKind.RESOLVED) + _about(second, MessageKind.RESOLVED)
        _pause_until(cluster, None)
        with running(make_service(cluster, tmp_path, sinks=(third,))):
            wait_for("its end", lambda: bool(_about(third, MessageKind.RESOLVED)))
            wait_for("the stored end", lambda: KEY not in _stored(cluster))
        assert not _about(third, MessageKind.ALERT)
    finally:
        cluster.close()


class Passes:
    """A controller over one application whose override cannot be read, or can; its leadership and its clock are set by hand."""

    def __init__(self, store: Store | None = None) -> None:
        self.clock, self.leader, self.broken = ManualClock(NOW), Leader(1), True
        self.override = Override()
        self.reported: list[MessageKind] = []
        self.overrides: list[str] = []
        self.forgotten = 0
        self.meanwhile: list[Mapping[str, Application]] = []  # the applications are these, one after the other, during the next pass
        view = ClusterView(self.clock, lambda: None)
        itself: Any = self
        store = store or Store(FaultState())
        self.controller = Controller(view, itself, store, None, self.leader, itself, Telemetry(), self.clock, interval_s=15.0)
        self.controller.configure({"shop/sd21": application()})

    def configure(self, applications: object) -> None:
        """See `ClusterObserver.configure`."""

    def ask(self, application: str, probes: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """See `controller.service.application_pass.Observer.ask`: there is no EC2."""

    def snapshot(self, app: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """See `controller.service.application_pass.Observer.snapshot`."""
        problem = "paused-until: found 'tomorrow'" if self.broken else ""
        while self.meanwhile:
            self.controller.configure(self.meanwhile.pop(0))
        made = snapshot(app, routing=routing(override=replace(self.override, problem=problem)))
        return replace(made, now=self.clock.now(), leader=leader, epoch=epoch, sources=())

    def publish(self, message: Message) -> None:
        """See `Dispatcher.publish`."""
        if message.dedup_key == f"{NAMESPACE}/sd21/{KEY}" and not message.again:
            self.reported.append(message.kind)
        if message.reason == "Override":
            self.overrides.append(message.title)

    def forget(self) -> None:
        """See `Dispatcher.forget`."""
        self.forgotten += 1

    def go_on(self, seconds: float) -> None:
        """Passes for a while."""
        for _ in range(int(seconds // 15)):
            self.clock.advance(15.0)
            self.controller.run_due()


def test_an_alert_that_ends_while_nobody_can_lead_is_resolved_by_the_same_leader() -> None:
    """The API server is away for a minute, and no other replica could take the Lease: the term goes on."""
    passes = Passes()
    passes.go_on(60)
    passes.leader.sure = False
    passes.go_on(60)
    passes.broken, passes.leader.sure = False, True
    passes.go_on(120)
    assert passes.reported == [MessageKind.ALERT, MessageKind.RESOLVED]


def test_what_was_reported_in_an_earlier_term_counts_no_longer() -> None:
    """Another leader may have resolved it meanwhile: this one reports it once more, and no sink takes that for a repetition."""
    passes = Passes()
    passes.go_on(60)
    passes.leader.sure = False
    passes.go_on(60)
    assert passes.forgotten == 1
    passes.leader.now, passes.leader.sure = 3, True
    passes.go_on(60)
    assert passes.reported == [MessageKind.ALERT, MessageKind.ALERT]
    assert passes.forgotten == 2


def test_what_was_said_of_an_override_in_an_earlier_term_counts_no_longer() -> None:
    """Another leader has said meanwhile that it was removed."""
    passes = Passes()
    passes.broken = False
    passes.go_on(30)
    passes.override = Override(paused_until=NOW + 9e5, paused_why="drill", paused_by="ann")
    passes.go_on(30)
    passes.leader.sure, passes.override = False, Override()
    passes.go_on(3600)
    passes.leader.now, passes.leader.sure = 3, True
    passes.go_on(60)
    assert len(passes.overrides) == 1, "the beginning of the pause"


def test_people_hear_that_a_pause_ended_by_itself() -> None:
    """Its annotations stay on the Ingress, so that nothing there changes; from then on the controller acts again."""
    passes = Passes()
    passes.broken = False
    passes.go_on(30)
    passes.override = Override(paused_until=NOW + 90, paused_why="drill", paused_by="ann")
    passes.go_on(600)
    assert [title.partition(" until")[0] for title in passes.overrides] == ["sd21: paused", "sd21: the pause has ended"]
    passes.override = Override()
    passes.go_on(60)
    assert len(passes.overrides) == 2, "that somebody cleared what had ended is no news"


def test_a_pause_that_becomes_unreadable_was_not_removed() -> None:
    """It still counts as one, and has an alert. What stands once it can be read again is compared with what stood before."""
    passes = Passes()
    passes.broken = False
    passes.go_on(30)
    passes.override = Override(paused_until=NOW + 9e5, paused_why="drill", paused_by="ann")
    passes.go_on(30)
    passes.override, passes.broken = Override(), True
    passes.go_on(60)
    assert len(passes.overrides) == 1, "the beginning of the pause"
    passes.broken = False
    passes.go_on(60)
    assert passes.overrides[1:] == ["sd21: the pause was removed"]


class Kept(Store):
    """A store that keeps the alerts beside the memory, as the real one does."""

    beside = ""

    def load(self, application: str) -> StoredMemory:
        return replace(super().load(application), alerts=stored_alerts(self.beside))

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        stored = super().save(application, memory, over=over, epoch=epoch, beside=beside)
        self.beside = beside.get(ALERTS, "")
        return stored


@pytest.mark.parametrize("after_s", [120.0, 200.0])
def test_an_application_that_comes_back_does_not_end_its_alerts_again(after_s: float) -> None:
    """They ended when it was removed, whatever was stored at its last pass."""
    store = Kept(FaultState())
    passes = Passes(store)
    passes.go_on(after_s)
    assert stored_alerts(store.beside)
    passes.controller.configure({})
    assert not stored_alerts(store.beside)
    passes.go_on(3600)
    passes.broken = False
    passes.controller.configure({"shop/sd21": application()})
    passes.go_on(1200)
    assert passes.reported == [MessageKind.ALERT, MessageKind.RESOLVED]


def test_an_application_that_is_removed_during_a_pass_ends_its_alerts_after_it() -> None:
    """The pass stores the alerts that people know of. They must not be resolved again once the application comes back."""
    store = Kept(FaultState())
    passes = Passes(store)
    passes.go_on(120)
    passes.meanwhile = [{}]
    passes.go_on(30)
    assert passes.reported == [MessageKind.ALERT, MessageKind.RESOLVED]
    assert not stored_alerts(store.beside)


def test_an_application_that_is_removed_and_comes_back_during_a_pass_keeps_its_state() -> None:
    """Nothing has ended: its alert is neither resolved nor sent again."""
    passes = Passes()
    passes.go_on(120)
    passes.meanwhile = [{}, {"shop/sd21": application()}]
    passes.go_on(120)
    assert passes.reported == [MessageKind.ALERT]
    passes.broken = False
    passes.go_on(120)
    assert passes.reported == [MessageKind.ALERT, MessageKind.RESOLVED]


def test_an_application_that_is_removed_during_its_first_pass_is_removed_all_the_same() -> None:
    """Nothing was reported of it."""
    passes = Passes()
    passes.meanwhile = [{}]
    passes.go_on(60)
    assert not passes.controller.applications()
    assert passes.reported == []


def test_an_application_that_comes_back_begins_no_term() -> None:
    """A term is of all applications: each would be loaded again, and its alerts reported once more."""
    passes = Passes()
    passes.go_on(60)
    passes.controller.configure({})
    passes.controller.configure({"shop/sd21": application()})
    passes.go_on(60)
    assert passes.leader.now == 1
    assert passes.forgotten == 1, "sinks still know what they have delivered"


@pytest.mark.parametrize("error", ["503", ""])
def test_an_application_whose_end_cannot_be_stored_is_removed_all_the_same(error: str) -> None:
    """The files are read again as always."""
    faults = FaultState()
    passes = Passes(Store(faults))
    passes.go_on(120)
    faults.writes_fail, faults.save_conflicts = error, 0 if error else 1
    passes.controller.configure({})
    assert not passes.controller.applications()
    assert passes.reported == [MessageKind.ALERT, MessageKind.RESOLVED]


TWO = (alert_of("held/Dwell", "warning", "words"), alert_of("max/sd21-inf2", "critical", "others"))


def test_stored_alerts_are_read_as_they_were() -> None:
    assert stored_alerts(alerts_text(TWO)) == TWO
    assert stored_alerts("") == ()


@pytest.mark.parametrize(
    ("found", "read"),
    [
        pytest.param("[]", (), id="another kind"),
        pytest.param("{", (), id="no JSON"),
        pytest.param("[" * 100_000, (), id="nested too deeply"),
        pytest.param({"a": 1, "b": {}, "c": {"severity": "loud", "text": "x"}}, (), id="other fields"),
        pytest.param(
            {"new/a": {"severity": "warning", "text": "x"}, "held/New": {"severity": "warning"}}, (), id="rows of another version"
        ),
        pytest.param({"max/a": {"severity": "warning", "text": "x"}}, (alert_of("max/a", "warning", "x"),), id="as it is written"),
        pytest.param(
            {"max/a\n": {"severity": "warning", "text": "x" * 9000}}, (alert_of("max/a ", "warning", "x" * 999 + "…"),), id="long and odd"
        ),
        pytest.param(
            {f"max/{n}": {"severity": "warning"} for n in range(9)}, tuple(alert_of(f"max/{n}", "warning", "") for n in range(9)), id="many"
        ),
    ],
)
def test_whatever_is_stored_is_bounded(found: object, read: tuple[Alert, ...]) -> None:
    """Anyone who may edit the ConfigMap may write anything."""
    assert stored_alerts(found if isinstance(found, str) else json.dumps(found)) == read


def test_too_many_stored_alerts_are_cut() -> None:
    assert len(stored_alerts(json.dumps({f"max/{n}": {"severity": "warning"} for n in range(5000)}))) == 100
