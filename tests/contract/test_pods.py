"""Pods: deletion with grace, generation, what a terminating one looks like."""

from __future__ import annotations

from tests.contract.support import PODS, Client, pod

P1 = f"{PODS}/p1"


def test_a_new_pod_is_pending_with_the_defaults_that_selectors_see(client: Client) -> None:
    """A new pod is Pending and has its restart policy, scheduler and grace period by default."""
    made = client.create(PODS, pod()).json
    assert made["status"]["phase"] == "Pending"
    assert (made["spec"]["restartPolicy"], made["spec"]["schedulerName"]) == ("Always", "default-scheduler")
    assert made["spec"]["terminationGracePeriodSeconds"] == 30
    assert made["metadata"]["generation"] == 1


def test_a_bound_pod_terminates_within_its_grace_period(client: Client) -> None:
    """A DELETE of a pod on a node leaves it, terminating, with its grace period."""
    client.create(PODS, pod(node="n1"))
    answer = client.delete(P1)
    assert answer.code == 200
    assert answer.json["kind"] == "Pod"
    assert answer.metadata["deletionTimestamp"]
    assert answer.metadata["deletionGracePeriodSeconds"] == 30
    assert client.get(P1).metadata["deletionTimestamp"] == answer.metadata["deletionTimestamp"]


def test_a_grace_period_may_be_asked_for(client: Client) -> None:
    """`gracePeriodSeconds` in the query or in the body sets the grace period."""
    client.create(PODS, pod("p1", node="n1"))
    client.create(PODS, pod("p2", node="n1"))
    assert client.delete(f"{P1}?gracePeriodSeconds=7").metadata["deletionGracePeriodSeconds"] == 7
    assert client.delete(f"{PODS}/p2", {"gracePeriodSeconds": 9}).metadata["deletionGracePeriodSeconds"] == 9


def test_a_second_delete_does_not_prolong(client: Client) -> None:
    """Deleting a terminating pod again with a longer grace changes nothing, with a shorter one it shortens."""
    client.create(PODS, pod(node="n1"))
    client.delete(f"{P1}?gracePeriodSeconds=20")
    assert client.delete(f"{P1}?gracePeriodSeconds=25").metadata["deletionGracePeriodSeconds"] == 20
    assert client.delete(f"{P1}?gracePeriodSeconds=5").metadata["deletionGracePeriodSeconds"] == 5


def test_a_terminating_pod_is_removed_with_grace_zero(client: Client) -> None:
    """A DELETE with grace 0 removes a pod at once, as its kubelet does at the end."""
    client.create(PODS, pod(node="n1"))
    client.delete(P1)
    client.delete(f"{P1}?gracePeriodSeconds=0")
    assert client.get(P1).code == 404


def test_an_unscheduled_pod_is_removed_at_once(client: Client) -> None:
    """A pod on no node is removed at once."""
    client.create(PODS, pod())
    assert client.delete(P1).json["kind"] == "Pod"
    assert client.get(P1).code == 404


def test_a_finished_pod_is_removed_at_once(client: Client) -> None:
    """A pod that has Succeeded or Failed is removed at once, although it is on a node."""
    client.create(PODS, pod(node="n1"))
    assert client.merge_patch(f"{P1}/status", {"status": {"phase": "Failed"}}).code == 200
    client.delete(P1)
    assert client.get(P1).code == 404


def test_a_terminating_pod_has_a_new_generation(client: Client) -> None:
    """The generation of a pod grows when it begins to terminate."""
    client.create(PODS, pod(node="n1"))
    assert client.delete(P1).metadata["generation"] == 2
