"""Leases, and the ConfigMaps that keep state: what leader election and memory rest on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.support import CONFIG_MAPS, LEASES, Client, config_map, lease

L = f"{LEASES}/l"


def test_a_lease_keeps_its_times_to_the_microsecond(client: Client) -> None:
    """A Lease gives its microsecond times back as they were written."""
    body = lease()
    body["spec"] |= {"renewTime": "2026-09-21T14:13:20.123456Z"}
    client.create(LEASES, body)
    assert client.get(L).json["spec"] == body["spec"]


@pytest.mark.parametrize(
    "time",
    [
        pytest.param("2026-09-21T14:13:20Z", id="seconds"),
        pytest.param("2026-09-21T14:13:20.123Z", id="milliseconds"),
        pytest.param("2026-09-21T14:13:20.123456789Z", id="nanoseconds"),
        pytest.param("nonsense", id="no time"),
    ],
)
def test_a_lease_takes_microseconds_only(client: Client, time: str) -> None:
    """A Lease whose time has not exactly six decimals is 400."""
    body = lease()
    body["spec"]["renewTime"] = time
    answer = client.post(LEASES, body)
    assert answer.refusal == (400, "BadRequest")
    assert f'parsing time "{time}" as "2006-01-02T15:04:05.000000Z07:00"' in answer.message


def test_a_lease_is_taken_under_compare_and_swap(client: Client) -> None:
    """Of two PUTs of a Lease with the same version the second is 409."""
    seen = client.create(LEASES, lease()).json
    ours, theirs = (seen | {"spec": seen["spec"] | {"holderIdentity": holder}} for holder in ("b", "c"))
    assert client.put(L, ours).code == 200
    assert client.put(L, theirs).refusal == (409, "Conflict")
    assert client.get(L).json["spec"]["holderIdentity"] == "b"


def test_put_of_a_lease_needs_a_resource_version(client: Client) -> None:
    """A PUT of a Lease without a version is 422: it cannot be overwritten blindly."""
    client.create(LEASES, lease())
    answer = client.put(L, lease(holder="b"))
    assert answer.refusal == (422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in answer.message


def test_put_of_an_absent_lease_creates_it(client: Client) -> None:
    """A PUT of a Lease that does not exist creates it: take it with POST, which does not hide that it was gone."""
    assert client.put(L, lease()).code == 201


def test_put_of_a_deleted_lease_conflicts(client: Client) -> None:
    """A PUT of a Lease that was deleted since it was read is 409, because of its uid."""
    seen = client.create(LEASES, lease()).json
    client.delete(L)
    answer = client.put(L, seen)
    assert answer.refusal == (409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.message
    assert client.get(L).code == 404


def test_put_of_another_incarnation_of_a_lease_conflicts(client: Client) -> None:
    """A PUT of a Lease that was deleted and created anew since it was read is 409."""
    first = client.create(LEASES, lease()).json
    client.delete(L)
    client.create(LEASES, lease())
    answer = client.put(L, first)
    assert answer.refusal == (409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.message


def test_only_one_creator_of_a_lease_wins(client: Client) -> None:
    """Of many that create the same Lease at once, one gets 201 and the others 409 AlreadyExists."""
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: client.post(LEASES, lease(holder=str(number))), range(8)))
    assert sorted(answer.code for answer in answers) == [201, *[409] * 7]
    assert {answer.refusal for answer in answers if answer.code == 409} == {(409, "AlreadyExists")}


def test_a_lease_can_be_let_go(client: Client) -> None:
    """A Lease can be released by an empty holder under compare-and-swap."""
    seen = client.create(LEASES, lease()).json
    answer = client.put(L, seen | {"spec": seen["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}})
    assert (answer.code, answer.json["spec"]["holderIdentity"]) == (200, "")


def test_of_many_writers_of_a_config_map_one_wins_each_round(client: Client) -> None:
    """Of many PUTs of a ConfigMap with the same version exactly one is stored."""
    client.create(CONFIG_MAPS, config_map("state", holder="nobody"))
    for attempt in range(5):
        seen = client.get(f"{CONFIG_MAPS}/state").json
        bodies = [seen | {"data": {"holder": f"{attempt}-{number}"}} for number in range(6)]
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda body: client.put(f"{CONFIG_MAPS}/state", body), bodies))
        (winner,) = [answer for answer in answers if answer.code == 200]
        assert {answer.refusal for answer in answers if answer.code != 200} == {(409, "Conflict")}
        assert client.get(f"{CONFIG_MAPS}/state").json["data"] == winner.json["data"]


def test_a_config_map_keeps_its_text(client: Client) -> None:
    """The text of a ConfigMap comes back character for character."""
    text = '{"at": 1.5,\n "why": "ü · \\u0000 \'quoted\'"}\n'
    client.create(CONFIG_MAPS, config_map("state", json=text))
    assert client.get(f"{CONFIG_MAPS}/state").json["data"] == {"json": text}


def test_a_config_map_with_data_that_is_no_text_is_refused(client: Client) -> None:
    """A ConfigMap whose data is a number is 400."""
    body = config_map("state") | {"data": {"a": 1}}
    assert client.post(CONFIG_MAPS, body).refusal == (400, "BadRequest")
