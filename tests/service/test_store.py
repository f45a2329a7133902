"""Stored memory: one ConfigMap an application, written with compare-and-swap and the leader's epoch, never guessed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clients.kube import KubeSession, connect
from controller.errors import Conflict, Forbidden, StateError, Unavailable
from controller.policy.model import Cause, Memory, Mode, ModeChange, UnitMemory
from controller.policy.reasons import Reason
from controller.ports import StoredMemory
from controller.recording.stored import encode
from controller.service.election import EPOCH_LIMIT
from controller.service.store import ConfigMapStore, ReadOnlyStore, record_name
from failover_testbed.kube_api import READ_ONLY, EmulatedKubeApi, Identity
from tests.support.applications import NOW, memory

KEY = "shop/sd21"
NAME = record_name(KEY)
NAMESPACE = "failoverctl"
FULL = memory(
    Mode.CAPACITY,
    mode_changes=(ModeChange(NOW, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "inf2"),),
    hold_level=2,
    units={"sd21-inf2": UnitMemory(NOW, Cause.CAPACITY, 2, NOW)},
    changed_at=NOW,
)
NOTHING = StoredMemory(Memory(), "", 0)


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """A server with a writer and a reader."""
    with EmulatedKubeApi(tokens={"admin": Identity("admin"), "reader": Identity("reader", READ_ONLY)}) as running:
        yield running


def session(api: EmulatedKubeApi, folder: Path, token: str = "admin") -> KubeSession:
    """A session as one of them."""
    return connect(kubeconfig=str(api.kubeconfig(token, folder / token)))


@pytest.fixture
def store(api: EmulatedKubeApi, tmp_path: Path) -> ConfigMapStore:
    """The writer's store."""
    return ConfigMapStore(session(api, tmp_path), NAMESPACE)


def stored(api: EmulatedKubeApi) -> dict[str, Any]:
    """The ConfigMap."""
    return api.store.get("ConfigMap", NAME, namespace=NAMESPACE)


def test_nothing_is_stored_yet(store: ConfigMapStore) -> None:
    """An empty memory, no version, no epoch."""
    assert store.load(KEY) == NOTHING


def test_what_is_saved_is_loaded(store: ConfigMapStore, api: EmulatedKubeApi) -> None:
    """Created, then replaced; each over what the one before returned."""
    first = store.save(KEY, FULL, over=NOTHING, epoch=3)
    assert store.load(KEY) == first
    assert (first.memory, first.epoch) == (FULL, 3)
    second = store.save(KEY, Memory(), over=first, epoch=3)
    assert second.version != first.version
    assert store.load(KEY).memory == Memory()
    obj = stored(api)
    assert obj["metadata"]["labels"] == {"app.kubernetes.io/name": "failoverctl", "app.kubernetes.io/component": "state"}
    assert obj["metadata"]["annotations"] == {"failoverctl.dev/application": KEY}
    assert {entry["manager"] for entry in obj["metadata"]["managedFields"]} == {"failoverctl"}


def test_the_second_writer_is_refused(store: ConfigMapStore) -> None:
    """Compare-and-swap: on creation and on replacement; the first one's memory stays."""
    first = store.save(KEY, FULL, over=NOTHING, epoch=1)
    with pytest.raises(Conflict):
        store.save(KEY, Memory(), over=NOTHING, epoch=1)
    second = store.save(KEY, memory(Mode.COST), over=first, epoch=1)
    with pytest.raises(Conflict):
        store.save(KEY, FULL, over=first, epoch=1)
    assert store.load(KEY) == second


def test_a_later_epoch_refuses_an_earlier_leader(store: ConfigMapStore) -> None:
    """Even over the right version: a leader of the past must not write."""
    kept = store.save(KEY, FULL, over=NOTHING, epoch=7)
    with pytest.raises(Conflict, match="epoch 7, ours is 6"):
        store.save(KEY, Memory(), over=kept, epoch=6)
    assert store.load(KEY) == kept
    store.save(KEY, Memory(), over=kept, epoch=8)
    assert store.load(KEY).epoch == 8


@pytest.mark.parametrize("epoch", [2**31 - 1, EPOCH_LIMIT + 1, -1])
def test_an_epoch_that_no_election_led_to_is_an_error_of_this_record(store: ConfigMapStore, api: EmulatedKubeApi, epoch: int) -> None:
    """To begin a later one would use up the count for all applications. The error says how to go on."""
    kept = store.save(KEY, FULL, over=NOTHING, epoch=EPOCH_LIMIT)
    assert store.load(KEY) == kept
    api.store.patch("ConfigMap", NAME, {"data": {"epoch": str(epoch)}}, namespace=NAMESPACE)
    with pytest.raises(StateError, match=f"epoch {epoch} is not within 0 to {EPOCH_LIMIT}, .* delete it to start again"):
        store.load(KEY)


def test_a_later_leaders_stamp_refuses_what_an_earlier_one_sends_late(store: ConfigMapStore) -> None:
    """The next leader writes the same memory under its own epoch; what was read before it can no longer be replaced."""
    read_before = store.save(KEY, FULL, over=NOTHING, epoch=7)
    store.save(KEY, FULL, over=read_before, epoch=8)
    with pytest.raises(Conflict):
        store.save(KEY, Memory(), over=read_before, epoch=7)
    assert (store.load(KEY).memory, store.load(KEY).epoch) == (FULL, 8)


def test_a_record_that_was_deleted_is_a_conflict(store: ConfigMapStore, api: EmulatedKubeApi) -> None:
    """A process that holds memory reads again, finds none, and starts again; it must not fail for ever on a version that is gone."""
    kept = store.save(KEY, FULL, over=NOTHING, epoch=1)
    api.store.delete("ConfigMap", NAME, namespace=NAMESPACE)
    with pytest.raises(Conflict, match="deleted"):
        store.save(KEY, FULL, over=kept, epoch=1)
    assert store.load(KEY) == NOTHING
    assert store.save(KEY, FULL, over=NOTHING, epoch=1).version


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"memory": ""},
        {"memory": "not json"},
        {"memory": "[]"},
        {"memory": '{"version":99}'},
        {"memory": '{"version":1,"mode":"warp"}'},
        {"memory": '{"version":1,"mode_since":"yesterday"}'},
        {"memory": "[" * 100_000},
        {"memory": " " * 300_000},
        {"memory": encode(FULL), "epoch": "three"},
        {"memory": encode(FULL), "epoch": "1.5"},
    ],
)
def test_content_that_cannot_be_read_names_the_config_map(data: dict[str, str] | None, store: ConfigMapStore, api: EmulatedKubeApi) -> None:
    """Unknown state is never taken for no state; the error says where it is and what to do."""
    api.store.create("ConfigMap", {"metadata": {"name": NAME, "namespace": NAMESPACE}, **({"data": data} if data is not None else {})})
    with pytest.raises(StateError, match=f"ConfigMap {NAMESPACE}/{NAME}: .*delete it to start again"):
        store.load(KEY)


def test_a_record_without_an_epoch_is_of_the_first(store: ConfigMapStore, api: EmulatedKubeApi) -> None:
    """As written by a version that had none."""
    api.store.create("ConfigMap", {"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {"memory": encode(FULL)}})
    assert (store.load(KEY).memory, store.load(KEY).epoch) == (FULL, 0)


def test_a_server_in_trouble_is_not_an_empty_store(store: ConfigMapStore, api: EmulatedKubeApi) -> None:
    """500 and 403 are errors, only 404 is emptiness."""
    api.fail_next(1, status=500)
    with pytest.raises(Unavailable):
        store.load(KEY)
    api.fail_next(1, status=403)
    with pytest.raises(Forbidden):
        store.load(KEY)


def test_a_lost_answer_is_found_out_by_the_next_writer(store: ConfigMapStore) -> None:
    """A write that succeeded although its answer was lost: the old version no longer fits, so it is read again."""
    held = store.save(KEY, Memory(), over=NOTHING, epoch=1)
    store.save(KEY, FULL, over=held, epoch=1)  # its answer is lost: the caller still holds `held`
    with pytest.raises(Conflict):
        store.save(KEY, FULL, over=held, epoch=1)


def test_the_read_only_store_writes_nothing(api: EmulatedKubeApi, tmp_path: Path, store: ConfigMapStore) -> None:
    """It reads what is stored, with permission to read only, and asks for nothing else."""
    store.save(KEY, FULL, over=NOTHING, epoch=1)
    before = stored(api)
    api.audit.clear()
    reader = ReadOnlyStore(ConfigMapStore(session(api, tmp_path, "reader"), NAMESPACE))
    loaded = reader.load(KEY)
    assert loaded.memory == FULL
    assert reader.save(KEY, Memory(), over=loaded, epoch=2).version == loaded.version
    assert reader.save("other/app", Memory(), over=NOTHING, epoch=2).version == ""
    assert stored(api) == before
    assert {record.access.verb for record in api.audit.records()} == {"get"}


def test_names_are_kept_apart() -> None:
    """`a/b-c` and `a-b/c`, `a/b.c` and `a.b/c` are four applications."""
    assert len({record_name(key) for key in ("a/b-c", "a-b/c", "a/b.c", "a.b/c")}) == 4


@given(
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?){0,4}", fullmatch=True),
)
def test_every_name_is_a_valid_one(namespace: str, name: str) -> None:
    """Whatever namespace and Ingress are called: a DNS subdomain of at most 253 characters, the same each time."""
    made = record_name(f"{namespace}/{name[:253].rstrip('-.')}")
    assert len(made) <= 253
    assert all(part and part[0] != "-" and part[-1] != "-" for part in made.split("."))
    assert made == record_name(f"{namespace}/{name[:253].rstrip('-.')}")
