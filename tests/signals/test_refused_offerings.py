"""What says that an offering is refused, beside the event of a refused NodeClaim that names it."""

from __future__ import annotations

from typing import Any

import pytest

from controller.clients.kube import EVENTS, NODE_CLAIMS, NODE_POOLS, PODS
from controller.clock import format_rfc3339
from controller.signals.cluster import ClusterView
from failover_testbed.clocks import ManualClock
from tests.signals.samples import FLEET, ice_event, moment, node_claim, requirement, waiting_pod

T0 = moment("2026-08-25T10:00:00Z")
MINE, THEIRS = "mine", "theirs"
NO_TYPE = FLEET + "UnfulfillableCapacity: Unable to fulfill capacity due to your request configuration."


class Cluster:
    """A view at `T0` with two NodePools of one instance type, and a pod that waits for the first."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.view = ClusterView(self.clock, lambda: None)
        for name in (MINE, THEIRS):
            self.pool(name)
        self.pod("pod", MINE)

    def pool(self, name: str, *types: str, change: str = "ADDED", **spec: Any) -> None:
        """A NodePool that is a day old; `spec` has what differs."""
        template = {
            "requirements": [requirement("node.kubernetes.io/instance-type", *(types or ("inf2.xlarge",)))],
            **spec.pop("template", {}),
        }
        created = spec.pop("created", T0 - 86_400.0)
        obj = {"metadata": {"name": name, "creationTimestamp": format_rfc3339(created)}, "spec": {"template": {"spec": template}, **spec}}
        self.view.changed(NODE_POOLS, None, change, obj)

    def pod(self, name: str, *pools: str) -> None:
        """A pod that waits, pinned to some NodePools."""
        self.view.changed(PODS, None, "ADDED", waiting_pod(name, pools=pools))

    def claim(self, name: str, at: float, change: str = "ADDED", *, leaving: float | None = None, pool: str = MINE, **fields: Any) -> None:
        """A NodeClaim that was created at a time."""
        obj = node_claim(name, pool, at, **fields)
        if leaving is not None:
            obj["metadata"]["deletionTimestamp"] = format_rfc3339(leaving)
        self.view.changed(NODE_CLAIMS, None, change, obj)

    def event(self, obj: dict[str, Any]) -> None:
        """An event, as it happens."""
        self.view.changed(EVENTS, None, "ADDED", obj)

    def no_place(self, *entries: str, at: float = T0, pod: str = "pod") -> None:
        """Karpenter says why a pod has no place."""
        about = {"kind": "Pod", "namespace": "shop", "name": pod}
        stamp = format_rfc3339(at)
        message = "Failed to schedule pod, " + "; ".join(entries)
        event = {"metadata": {"name": f"{pod}.1", "namespace": "shop"}, "involvedObject": about, "reason": "FailedScheduling"}
        self.event({**event, "message": message, "source": {"component": "karpenter"}, "lastTimestamp": stamp})

    def missing(self, pod: str = "pod") -> list[str]:
        """The NodePools that have nothing available for a pod, as Karpenter said."""
        return [pool for pool, _ in self.view.karpenter.unavailable("shop", pod)]


@pytest.fixture
def cluster() -> Cluster:
    """Two NodePools, and a pod that waits."""
    return Cluster()


def _foreign(pool: str, own: str = MINE) -> str:
    key = "karpenter.sh/nodepool"
    return f"incompatible requirements, key {key}, {key} In [{own}] not in {key} In [{pool}]"


# --- a NodePool that is missing among the reasons ---


def test_a_nodepool_that_is_missing_among_the_reasons_has_nothing(cluster: Cluster) -> None:
    """Karpenter leaves it out before it considers the pods. Whether that is a shortage depends on the refusal before it."""
    cluster.no_place(_foreign(THEIRS))
    assert cluster.missing() == [MINE]


def test_nothing_at_all_is_available(cluster: Cluster) -> None:
    """Then Karpenter names no NodePool."""
    cluster.no_place("nodepool requirements filtered out all available instance types")
    assert cluster.missing() == [MINE]


def test_what_was_said_before_the_pod_was_seen_counts_as_well(cluster: Cluster) -> None:
    """Pods and events are two watches."""
    cluster.no_place(_foreign(THEIRS), pod="late")
    cluster.pod("late", MINE)
    assert cluster.missing("late") == [MINE]


def test_a_pod_that_may_use_any_nodepool_misses_each_that_is_not_named(cluster: Cluster) -> None:
    """It is pinned to none."""
    cluster.pod("any")
    lacking = f"no instance type met all requirements, requirements=karpenter.sh/nodepool In [{THEIRS}], resources={{}}"
    cluster.no_place(lacking, pod="any")
    assert sorted(cluster.missing("any")) == [MINE, THEIRS]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param((_foreign(THEIRS), _foreign(MINE, "x")), id="it is named"),
        pytest.param((_foreign(THEIRS), "all available instance types exceed limits for nodepool (NodePool=mine)"), id="its limit"),
        pytest.param((_foreign(THEIRS), "did not tolerate taint (taint=own=true:NoSchedule)"), id="the pod does not tolerate its taint"),
        pytest.param((_foreign(THEIRS), 'incompatible requirements, label "x" does not have known values'), id="a label, of any"),
        pytest.param((_foreign(THEIRS)[:-1],), id="the text is cut"),
    ],
)
def test_a_nodepool_of_which_something_may_be_said_is_not_missing(entries: tuple[str, ...], cluster: Cluster) -> None:
    """It may not be eligible for the pod, which is no shortage."""
    cluster.pool(MINE, change="MODIFIED", template={"taints": [{"key": "own", "value": "true", "effect": "NoSchedule"}]})
    cluster.no_place(*entries)
    assert cluster.missing() == []


def test_a_taint_that_it_does_not_have_is_another_s(cluster: Cluster) -> None:
    """Accelerators are tainted as a rule, so that most of the text is about taints of other NodePools."""
    cluster.no_place(_foreign(THEIRS), "did not tolerate taint (taint=nvidia.com/gpu:NoSchedule)")
    assert cluster.missing() == [MINE]


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"change": "DELETED"}, id="deleted"),
        pytest.param({"change": "MODIFIED", "replicas": 2}, id="static"),
        pytest.param({"change": "MODIFIED", "created": T0 + 1}, id="created since"),
    ],
)
def test_a_nodepool_that_karpenter_did_not_consider_is_not_missing(state: dict[str, Any], cluster: Cluster) -> None:
    """One that is deleted, keeps its own number of nodes, or did not exist yet has no reason to be named."""
    cluster.pool(MINE, **state)
    cluster.no_place(_foreign(THEIRS))
    assert cluster.missing() == []


def test_a_nodepool_that_is_not_ready_is_not_missing(cluster: Cluster) -> None:
    """Karpenter ignores it."""
    template = {"spec": {"requirements": [requirement("node.kubernetes.io/instance-type", "inf2.xlarge")]}}
    conditions = [{"type": "Ready", "status": "False", "reason": "NodeClassNotFound"}]
    obj = {"metadata": {"name": MINE}, "spec": {"template": template}, "status": {"conditions": conditions}}
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", obj)
    cluster.no_place(_foreign(THEIRS))
    assert cluster.missing() == []


@pytest.mark.parametrize(("since", "missing"), [(T0, [MINE]), (T0 + 1, [])])
def test_a_nodepool_that_was_not_ready_then_was_not_considered(since: float, missing: list[str], cluster: Cluster) -> None:
    """It is now, as after a restart of the controller, to which the API server lists old events."""
    template = {"spec": {"requirements": [requirement("node.kubernetes.io/instance-type", "inf2.xlarge")]}}
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": format_rfc3339(since)}]
    obj = {"metadata": {"name": MINE}, "spec": {"template": template}, "status": {"conditions": conditions}}
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", obj)
    cluster.no_place(_foreign(THEIRS))
    assert cluster.missing() == missing


# --- a refusal that names no type ---


def _elsewhere(cluster: Cluster, pool: str = MINE) -> list[str]:
    return [one.claim for one in cluster.view.pool(pool, cluster.clock.now()).elsewhere]


@pytest.mark.parametrize("claim_first", [True, False])
def test_a_refusal_that_names_no_type_is_about_all_that_its_claim_allowed(cluster: Cluster, *, claim_first: bool) -> None:
    """Through whichever NodePool: Karpenter's cache is by offering. The claim and the event come in either order."""
    if claim_first:
        cluster.claim("theirs-aaaaa", T0 - 2, pool=THEIRS)
    cluster.event(ice_event("theirs-aaaaa", T0, detail=NO_TYPE))
    if not claim_first:
        cluster.claim("theirs-aaaaa", T0 - 2, pool=THEIRS)
    assert _elsewhere(cluster) == ["theirs-aaaaa"]


def test_nobody_knows_what_a_refusal_is_about_whose_claim_was_never_seen(cluster: Cluster) -> None:
    """Nor does its text say so."""
    cluster.event(ice_event("theirs-aaaaa", T0, detail=NO_TYPE))
    assert _elsewhere(cluster) == []


def test_a_refusal_of_other_types_is_none_of_its_business(cluster: Cluster) -> None:
    """Its NodeClaim allowed other types only."""
    cluster.claim("theirs-aaaaa", T0 - 2, pool=THEIRS, types=("g5.xlarge",))
    cluster.event(ice_event("theirs-aaaaa", T0, detail=NO_TYPE))
    assert _elsewhere(cluster) == []


def test_a_launch_of_any_of_the_types_ends_a_refusal_that_names_none(cluster: Cluster) -> None:
    """Through the NodePool that was refused: the other one's own launches are judged with it."""
    cluster.claim("theirs-aaaaa", T0 - 2, pool=THEIRS, types=("g5.xlarge", "inf2.xlarge"))
    cluster.event(ice_event("theirs-aaaaa", T0, detail=NO_TYPE))
    cluster.clock.advance(20.0)
    launched = node_claim("theirs-bbbbb", THEIRS, T0 + 15, Launched=format_rfc3339(T0 + 18))
    launched["metadata"]["labels"]["node.kubernetes.io/instance-type"] = "inf2.xlarge"
    cluster.view.changed(NODE_CLAIMS, None, "ADDED", launched)
    assert _elsewhere(cluster) == []


# --- a NodeClaim that ends without a launch ---


def _failures(cluster: Cluster, pool: str = MINE) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.claim, one.source, one.codes) for one in cluster.view.pool(pool, cluster.clock.now()).failures]


def test_a_claim_that_ends_without_a_launch_may_have_been_refused(cluster: Cluster) -> None:
    """Its event may be lost. It names nothing and ages nothing; what Karpenter says of everything after it does."""
    cluster.claim("mine-aaaaa", T0 - 3)
    cluster.claim("mine-aaaaa", T0 - 3, "MODIFIED", leaving=T0)
    (found,) = cluster.view.pool(MINE, T0).failures
    assert (found.claim, found.at, found.source, found.codes) == ("mine-aaaaa", T0, "unlaunched", ("NotLaunched",))
    assert (found.ages, found.cached, found.instance_types, found.offerings) == (False, True, ("inf2.xlarge",), ())
    assert _elsewhere(cluster, THEIRS) == ["mine-aaaaa"]
    cluster.claim("mine-aaaaa", T0 - 3, "DELETED", leaving=T0)
    assert _failures(cluster) == [("mine-aaaaa", "unlaunched", ("NotLaunched",))]


@pytest.mark.parametrize("event_first", [True, False])
def test_the_event_of_its_refusal_says_more(cluster: Cluster, *, event_first: bool) -> None:
    """Whichever comes first: there is one refusal of a claim."""
    cluster.claim("mine-aaaaa", T0 - 3)
    if event_first:
        cluster.event(ice_event("mine-aaaaa", T0))
    cluster.claim("mine-aaaaa", T0 - 3, "DELETED", leaving=T0)
    if not event_first:
        cluster.event(ice_event("mine-aaaaa", T0))
    assert _failures(cluster) == [("mine-aaaaa", "event", ("InsufficientInstanceCapacity",))]


def _failed(reason: str) -> dict[str, Any]:
    return {"type": "Launched", "status": "Unknown", "reason": reason, "lastTransitionTime": format_rfc3339(T0 - 2)}


@pytest.mark.parametrize(
    ("created", "condition"),
    [
        pytest.param(T0 - 3, {"type": "Launched", "status": "True", "lastTransitionTime": format_rfc3339(T0 - 1)}, id="launched"),
        pytest.param(T0 - 61, None, id="it lived for longer than a refused claim does: a person deleted it, or Karpenter gave up"),
        pytest.param(T0 - 3, _failed("LaunchFailed"), id="a create error has a rule of its own"),
        pytest.param(T0 - 3, _failed("RequestLimitExceeded"), id="throttled"),
    ],
)
def test_a_claim_that_ended_otherwise_was_not_refused(created: float, condition: dict[str, Any] | None, cluster: Cluster) -> None:
    """What is known of its end is not what Karpenter does after a refusal."""
    obj = node_claim("mine-aaaaa", MINE, created)
    obj["metadata"]["deletionTimestamp"] = format_rfc3339(T0)
    obj["status"]["conditions"] = [condition] if condition else []
    cluster.view.changed(NODE_CLAIMS, None, "DELETED", obj)
    assert [one for one in _failures(cluster) if one[1] == "unlaunched"] == []


def test_a_claim_that_is_missing_in_a_list_ended_nobody_knows_how(cluster: Cluster) -> None:
    """The watch was away: the claim may have been launched meanwhile, and its node used and removed."""
    cluster.claim("mine-aaaaa", T0 - 3)
    cluster.view.listed(NODE_CLAIMS, None, [])
    assert _failures(cluster) == []


# --- a spot instance that is taken back ---


def _interrupted(claim: str, at: float = T0) -> dict[str, Any]:
    return ice_event(claim, at) | {"reason": "SpotInterrupted", "message": "Spot interruption warning was triggered"}


def _running(cluster: Cluster, name: str = "mine-aaaaa", pool: str = MINE) -> None:
    since = format_rfc3339(T0 - 500)
    obj = node_claim(name, pool, T0 - 600, types=("inf2.xlarge", "inf2.8xlarge"), Launched=since, Registered=since)
    obj["metadata"]["labels"] |= {
        "node.kubernetes.io/instance-type": "inf2.xlarge",
        "topology.kubernetes.io/zone": "us-west-2b",
        "karpenter.sh/capacity-type": "spot",
    }
    cluster.view.changed(NODE_CLAIMS, None, "ADDED", obj)


def test_an_interruption_is_a_refusal_of_what_was_taken(cluster: Cluster) -> None:
    """Karpenter caches it as one. It was no launch, so that age proves nothing of it, and its own launch does not end it."""
    _running(cluster)
    cluster.event(_interrupted("mine-aaaaa"))
    (found,) = cluster.view.pool(MINE, T0).failures
    assert (found.offerings, found.open_capacity_types) == ((("inf2.xlarge", "us-west-2b"),), ("spot",))
    assert (found.source, found.ages, found.cached, found.replacement) == ("interrupted", False, True, False)
    assert _elsewhere(cluster, THEIRS) == ["mine-aaaaa"]


def test_nobody_knows_what_was_taken_where_the_claim_is_not_known(cluster: Cluster) -> None:
    """Then its event says nothing."""
    cluster.event(_interrupted("mine-aaaaa"))
    assert _failures(cluster) == []


def test_an_interruption_outlives_its_claim(cluster: Cluster) -> None:
    """The claim is gone within two minutes, and forgotten some time later."""
    _running(cluster)
    cluster.event(_interrupted("mine-aaaaa"))
    cluster.claim("mine-aaaaa", T0 - 600, "DELETED", leaving=T0)
    assert _failures(cluster) == [("mine-aaaaa", "interrupted", ("SpotInterrupted",))]
