"""One list at the beginning of a term answers the first load of every application; everything else is read alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.clients.kube import connect
from controller.errors import Unavailable
from controller.foreign import MAX_VALUE
from controller.policy.model import Cause, Memory, UnitMemory
from controller.ports import StoredMemory
from controller.recording.stored import encode
from controller.service.listed_store import FRESH_S, LISTS, ListedStore
from controller.service.store import ConfigMapStore, record_name
from controller.service.terms import TermRecord
from failover_analysis.simulation.leadership import Lease, SimulatedLeadership
from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.support.applications import NOW

NAMESPACE = "failover-system"
KEYS = [f"shop/app-{number}" for number in range(5)]
NOTHING = StoredMemory(Memory(), "", 0)


class Bench:
    """A server with a record of each application, of term 1, and the store of the replica that leads next."""

    def __init__(self, api: EmulatedKubeApi, folder: Path) -> None:
        self.api, self.clock, lease = api, ManualClock(NOW), Lease()
        self.direct = ConfigMapStore(connect(kubeconfig=str(api.kubeconfig("admin", folder / "kubeconfig"))), NAMESPACE)
        for level, key in enumerate(KEYS):
            self.direct.save(key, Memory(hold_level=level), over=NOTHING, epoch=1)
        self.leadership = SimulatedLeadership(lease, 1)
        self.leadership.outrank(1)
        lease.take(1)
        self.store = ListedStore(self.direct, self.leadership, self.clock)

    def requests(self) -> list[str]:
        """The verbs on ConfigMaps since the last call."""
        records = self.api.audit.records()
        self.api.audit.clear()
        return [record.access.verb for record in records if record.access.resource == "configmaps"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """See `Bench`."""
    with EmulatedKubeApi(tokens={"admin": Identity("admin")}) as api:
        made = Bench(api, tmp_path)
        made.requests()
        yield made


def levels(bench: Bench) -> list[int]:
    """What each application's first load of the term gives."""
    return [TermRecord(bench.store, bench.leadership, key).load().hold_level for key in KEYS]


def test_a_term_begins_with_one_list(bench: Bench) -> None:
    assert levels(bench) == [0, 1, 2, 3, 4]
    assert bench.requests() == ["list"]


def test_a_long_memory_comes_whole_out_of_the_list(bench: Bench) -> None:
    """It is longer than any text of a stranger may be, and its list says once that it holds ConfigMaps. It was cut, and then not valid."""
    long = Memory(units={f"unit-{number}": UnitMemory(NOW + number, Cause.CAPACITY) for number in range(200)})
    assert len(encode(long)) > 2 * MAX_VALUE
    bench.direct.save(KEYS[0], long, over=bench.direct.load(KEYS[0]), epoch=1)
    bench.requests()
    assert bench.store.load(KEYS[0]).memory == long
    assert bench.requests() == ["list"]


def test_another_load_in_the_same_term_reads_what_is_stored_now(bench: Bench) -> None:
    """After a conflict, and of an application that was removed and added again: this process may have written in between."""
    held = bench.store.load(KEYS[0])
    bench.store.save(KEYS[0], Memory(hold_level=7), over=held, epoch=2)
    assert bench.store.load(KEYS[0]).memory == Memory(hold_level=7)
    assert bench.requests() == ["list", "update", "get"]


def test_a_new_term_begins_with_another_list(bench: Bench) -> None:
    """In between another replica may have led."""
    bench.store.load(KEYS[0])
    bench.direct.save(KEYS[1], Memory(hold_level=9), over=bench.direct.load(KEYS[1]), epoch=2)
    bench.leadership.outrank(2)
    bench.requests()
    assert bench.store.load(KEYS[1]).memory == Memory(hold_level=9)
    assert bench.requests() == ["list"]


def test_an_old_list_is_not_used(bench: Bench) -> None:
    """An application that is added hours later is read alone."""
    bench.store.load(KEYS[0])
    bench.clock.advance(FRESH_S)
    bench.store.load(KEYS[1])
    assert bench.requests() == ["list", "get"]


def test_a_record_that_is_not_in_the_list_is_not_an_empty_memory(bench: Bench) -> None:
    """Somebody removed its labels: it is read by name."""
    bench.api.store.patch("ConfigMap", record_name(KEYS[3]), {"metadata": {"labels": None}}, namespace=NAMESPACE)
    assert levels(bench) == [0, 1, 2, 3, 4]
    assert bench.requests().count("get") == 1


def test_without_the_list_each_record_is_read_alone(bench: Bench) -> None:
    """It is not tried again for every application; a record that cannot be read either is unknown, never empty."""
    bench.api.fail_next(1, status=403)
    assert levels(bench) == [0, 1, 2, 3, 4]
    bench.api.fail_next(1, status=503)
    with pytest.raises(Unavailable):
        bench.store.load(KEYS[0])
    assert bench.requests() == ["list", *["get"] * 6]


@pytest.mark.parametrize(
    ("asked", "requests"),
    [
        pytest.param("1", ["list"] * 4, id="for a moment"),
        pytest.param("30", [*["list"] * 2, *["get"] * 5], id="for longer"),
    ],
)
def test_a_page_that_is_turned_away(bench: Bench, asked: str, requests: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A takeover is when the API server is busy: one 429 made a request of each application out of ten pages."""
    monkeypatch.setattr("controller.signals.watch._PAGE", 2)
    session, failing = bench.direct._session, iter([asked])
    request = session.request

    def turned_away_once(method: str, path: str, *, query: Any = (), **others: Any) -> Any:
        if "continue" in dict(query) and (after := next(failing, None)):
            bench.api.fail_next(1, status=429, retry_after_s=int(after))
        return request(method, path, query=query, **others)

    monkeypatch.setattr(session, "request", turned_away_once)
    assert levels(bench) == [0, 1, 2, 3, 4]
    assert bench.requests() == requests


def test_terms_that_follow_each_other_do_not_make_a_list_each(bench: Bench) -> None:
    """After a reset Lease every application may begin a term."""
    for epoch in range(2, 2 + LISTS + 3):
        bench.store.load(KEYS[0])
        bench.leadership.outrank(epoch)
    assert bench.requests() == [*["list"] * LISTS, *["get"] * 3]
