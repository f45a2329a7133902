"""Applications as objects: one team's mistake must not stop another team's failover, nor its own."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from controller.clients.kube import FAILOVER_APPLICATIONS, KubeSession
from controller.service.application_objects import Acceptance, CatalogChange, ObjectCatalog, Verdict
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW
from tests.support.cluster import application_document


def made(name: str, *, namespace: str = "shop", age: int = 0, generation: int = 1, uid: str = "", **policy: Any) -> dict[str, Any]:
    """An object; a larger `age` means an older one."""
    document = application_document(**policy)
    document["spec"]["ingress"] = name
    for unit in document["spec"]["units"]:
        unit.pop("scaledObject")
    document["metadata"] = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"{namespace}-{name}",
        "generation": generation,
        "creationTimestamp": f"20{50 - age:02d}-01-01T00:00:00Z",
    }
    return document


class Cluster:
    """A catalog, and the objects that its watch delivers."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.catalog = ObjectCatalog(cast("KubeSession", None), ManualClock(NOW))
        self.relist(*objects)

    def relist(self, *objects: dict[str, Any]) -> CatalogChange | None:
        self.catalog.listed(FAILOVER_APPLICATIONS, None, objects)
        return self.catalog.poll()

    def change(self, obj: dict[str, Any], kind: str = "MODIFIED") -> CatalogChange | None:
        self.catalog.changed(FAILOVER_APPLICATIONS, None, kind, obj)
        return self.catalog.poll()

    def verdict(self, name: str, namespace: str = "shop") -> Verdict:
        return next(one for one in self.catalog.verdicts() if one.name == (namespace, name))

    @property
    def running(self) -> list[str]:
        return sorted(self.catalog.applications)


def test_a_faulty_edit_keeps_the_last_accepted_generation_and_touches_no_other() -> None:
    cluster = Cluster(made("one"), made("two"))
    faulty = made("one", generation=2, patienceSeconds="soon")
    change = cluster.change(faulty)
    assert change is not None
    assert "FailoverApplication shop/one: spec.policy.patienceSeconds: found" in change.error
    assert not change.differs
    assert cluster.running == ["shop/one", "shop/two"]
    verdict = cluster.verdict("one")
    assert (verdict.acceptance, verdict.generation, verdict.key) == (Acceptance.INVALID, 2, "shop/one")
    other = cluster.change(made("two", generation=2, patienceSeconds=7))
    assert other is not None
    assert (other.differs, other.error) == (True, ""), "another team's edit counts all the same, and repeats no alert"
    assert cluster.catalog.applications["shop/two"].policy.patience_s == 7
    assert cluster.change(made("one", generation=3, patienceSeconds=9)) is not None
    assert cluster.catalog.error == ""
    assert cluster.catalog.applications["shop/one"].policy.patience_s == 9


def test_a_faulty_object_that_never_was_accepted_does_not_run() -> None:
    cluster = Cluster(made("one", patienceSeconds="soon"), made("two"))
    assert cluster.running == ["shop/two"]
    assert not cluster.catalog.partial, "nobody ran it, so that no replica is worth keeping for it"


def test_a_replica_that_lacks_what_another_runs_is_not_ready() -> None:
    """A rollout would replace the one process that still has the last accepted generation."""
    faulty = made("one", generation=2, patienceSeconds="soon") | {"status": {"mode": "capacity"}}
    assert Cluster(faulty).catalog.partial


@pytest.mark.parametrize("first", [True, False])
def test_the_older_of_two_that_claim_a_route_has_it(*, first: bool) -> None:
    """Two teams in two namespaces must not write to one route, in whatever order their objects arrive."""

    def routed(namespace: str, age: int) -> dict[str, Any]:
        document = made("sd21", namespace=namespace, age=age)
        document["spec"] |= {"route": {"name": "sd21", "namespace": "gateway"}}
        del document["spec"]["ingress"], document["spec"]["action"]
        return document

    older, younger = routed("team-b", 2), routed("team-a", 1)
    cluster = Cluster(older, younger) if first else Cluster(younger, older)
    assert [one.namespace for one in cluster.catalog.applications.values()] == ["team-b"]
    verdict = cluster.verdict("sd21", "team-a")
    assert (verdict.acceptance, verdict.key) == (Acceptance.CONFLICTED, "")
    assert "HTTPRoute gateway/sd21, which the older FailoverApplication team-b/sd21 has too" in verdict.problem
    assert cluster.change(older, "DELETED") is not None
    assert cluster.verdict("sd21", "team-a").acceptance is Acceptance.ACCEPTED


def test_an_edit_that_claims_what_an_older_one_has_keeps_its_own_route() -> None:
    cluster = Cluster(made("one", age=2), made("two", age=1))
    greedy = made("two", age=1, generation=2)
    greedy["spec"]["ingress"] = "one"
    cluster.change(greedy)
    assert cluster.running == ["shop/one", "shop/two"]
    assert cluster.verdict("two").acceptance is Acceptance.CONFLICTED


def test_only_a_deletion_or_a_complete_list_ends_an_application() -> None:
    cluster = Cluster(made("one"), made("two"))
    assert cluster.catalog.poll() is None, "a list that fails delivers nothing"
    change = cluster.change(made("one"), "DELETED")
    assert change is not None
    assert (change.differs, list(change.applications)) == (True, ["shop/two"])
    assert cluster.relist() is not None
    assert cluster.running == []


def test_another_object_of_the_same_name_does_not_inherit_the_old_generation() -> None:
    cluster = Cluster(made("one"))
    cluster.change(made("one", uid="another", patienceSeconds="soon"))
    assert cluster.running == []


def test_a_change_that_could_not_be_taken_over_is_found_again() -> None:
    cluster = Cluster(made("one"))
    first = cluster.change(made("two"))
    cluster.catalog.undo()
    again = cluster.catalog.poll()
    assert first is not None
    assert again is not None
    assert again.differs
    assert list(again.applications) == list(first.applications) == ["shop/one", "shop/two"]


def test_what_changes_the_status_alone_is_no_change() -> None:
    """The controller writes it itself, and must not wake up by it."""
    cluster = Cluster(made("one"))
    assert cluster.change(copy.deepcopy(made("one")) | {"status": {"mode": "cost"}}) is None
    assert cluster.verdict("one").status == {"mode": "cost"}


def test_an_edit_is_not_refused_before_it_is_judged() -> None:
    """Its author, and the tool that syncs it, would see a refusal without a reason, and for a minute: the next status is due then."""
    cluster = Cluster(made("one"))
    edited, new = made("one", generation=2, patienceSeconds=7), made("two")
    for obj in (edited, new):
        cluster.catalog.changed(FAILOVER_APPLICATIONS, None, "MODIFIED", obj)
    assert [(one.name[1], one.generation, one.acceptance) for one in cluster.catalog.verdicts()] == [("one", 1, Acceptance.ACCEPTED)]
    cluster.catalog.poll()
    assert (cluster.verdict("one").generation, cluster.verdict("two").acceptance) == (2, Acceptance.ACCEPTED)
