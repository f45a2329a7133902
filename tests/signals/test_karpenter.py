"""What Karpenter's objects and events say about each NodePool, in any order, repeated, late, misdated and malformed."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.clients.kube import EVENTS, NODE_CLAIMS, NODE_POOLS, PODS
from controller.clock import format_rfc3339
from controller.policy.evidence import Ages, created_after
from controller.policy.evidence.proof import Allowed, examine
from controller.policy.model import Cause, Launch, PendingPod, PolicySettings, PoolObservation, Refusal
from controller.signals.cluster import ClusterView
from controller.signals.karpenter import KarpenterView, Touched
from controller.signals.refusals import not_ended, summed_up
from failover_testbed.clocks import ManualClock
from tests.signals.samples import ice_event, moment, node_claim, requirement, sample, waiting_pod

INF2 = "amd-neuron-inf2"
T0 = moment("2026-08-25T10:00:03Z")
HOUR_S = 3600.0
FLOOD = 1000
"""Objects that take more than the room of `Cluster.flood`."""


class Cluster:
    """A view whose clock stands where a sample was taken."""

    def __init__(self, now: float = T0) -> None:
        self.clock = ManualClock(now)
        self.wakes = 0
        self.view = ClusterView(self.clock, self._woken)

    def _woken(self) -> None:
        self.wakes += 1

    def event(self, obj: dict[str, Any], kind: str = "ADDED") -> None:
        self.view.changed(EVENTS, None, kind, obj)

    def claim(self, obj: dict[str, Any], kind: str = "ADDED") -> None:
        self.view.changed(NODE_CLAIMS, None, kind, obj)

    def flood(self, events: Iterable[dict[str, Any]]) -> None:
        """More events than there is room for, as a list delivers them."""
        self.view.room._most = 400_000
        self.view.listed(EVENTS, None, list(events))
        assert self.view.room.taken <= 400_000

    def pool(self, name: str = INF2) -> PoolObservation:
        return self.view.pool(name, self.clock.now())


@pytest.fixture
def cluster() -> Cluster:
    """A view at the time of E1."""
    return Cluster()


# --- the samples ---


def test_e1_and_e8_a_refused_claim(cluster: Cluster) -> None:
    """E1 after E8: the refusal is the pool's, with what the claim left open, the class, the code, the named type and zone, and the cut."""
    cluster.claim(sample("E8"))
    cluster.event(sample("E1"))
    (failure,) = cluster.pool().failures
    assert (failure.claim, failure.pool, failure.at, failure.cause) == ("amd-neuron-inf2-7xk2p", INF2, T0, Cause.CAPACITY)
    assert (failure.codes, failure.named_type, failure.named_zone) == (("InsufficientInstanceCapacity",), "inf2.xlarge", "us-west-2a")
    assert (failure.instance_types, failure.zones, failure.capacity_types) == (("inf2.8xlarge", "inf2.xlarge"), (), ("on-demand",))
    assert (failure.truncated, failure.requirements_known, failure.replacement, failure.source) == (True, True, False, "event")


def test_e8_alone_proves_nothing(cluster: Cluster) -> None:
    """A NodeClaim on its way out without an instance is ambiguous: it is no launch, and a refusal only for what Karpenter says then."""
    cluster.claim(sample("E8"), "MODIFIED")
    cluster.claim(sample("E8"), "DELETED")
    (failure,) = cluster.pool().failures
    assert (failure.at, failure.codes, failure.source, failure.ages) == (T0, ("NotLaunched",), "unlaunched", False)
    assert cluster.pool().launches == ()


def test_what_karpenter_says_in_the_second_in_which_a_claim_ends_comes_after_it(cluster: Cluster) -> None:
    """The deletion may be seen before the event of the refusal, and within the second of both: each order proves the same."""
    cluster.clock.advance(0.4)
    gone = sample("E8")
    gone["metadata"].pop("deletionTimestamp", None)
    cluster.claim(gone)
    cluster.claim(gone, "DELETED")
    (ended,) = cluster.pool().failures
    assert (ended.source, ended.at) == ("unlaunched", T0)
    cluster.event(sample("E1"))
    (refused,) = cluster.pool().failures
    assert (refused.source, refused.at, refused.codes) == ("event", T0, ("InsufficientInstanceCapacity",))


def test_e2_without_a_call() -> None:
    """E2: a refusal of a claim that was never seen belongs to the pool of its name; what it left open is not known."""
    cluster = Cluster(moment("2026-08-25T10:00:09Z"))
    cluster.event(sample("E2"))
    (failure,) = cluster.pool().failures
    assert (failure.pool, failure.codes, failure.cause) == (INF2, ("AllOfferingsUnavailable",), Cause.CAPACITY)
    assert (failure.requirements_known, failure.named_type, failure.named_zone) == (False, "", "")


def test_e3_quota() -> None:
    """E3: quota, "at least"."""
    cluster = Cluster(moment("2026-08-25T11:12:44Z"))
    cluster.event(sample("E3"))
    (failure,) = cluster.pool().failures
    assert (failure.cause, failure.codes, failure.truncated) == (Cause.QUOTA, ("VcpuLimitExceeded",), True)


def test_e4_blocked_counts_from_its_last_repetition() -> None:
    """E4: the event is MODIFIED again and again; its last time counts, and by itself it is no failure."""
    cluster = Cluster(moment("2026-08-25T10:02:40Z"))
    cluster.event(sample("E4"))
    again = sample("E4") | {"lastTimestamp": "2026-08-25T10:02:39Z", "count": 4}
    cluster.event(again, "MODIFIED")
    assert cluster.pool().blocked_at == moment("2026-08-25T10:02:39Z")
    cluster.event(sample("E4"), "MODIFIED")
    assert cluster.pool().blocked_at == moment("2026-08-25T10:02:39Z"), "an older delivery takes nothing back"
    assert cluster.pool().failures == ()


def test_e5_the_pods_own_limit() -> None:
    """E5: a limit named by Karpenter is the pod's own pool's, so the pool is at its limit."""
    cluster = Cluster(moment("2026-08-25T10:20:00Z"))
    cluster.view.changed(PODS, None, "ADDED", sample("E11"))
    cluster.event(sample("E5"))
    assert cluster.pool().at_limit == "at its limit for the waiting pods, Karpenter says"


def test_a_limit_that_is_named_before_the_pod_is_known() -> None:
    """After a start the list of pods may be the longer one. Karpenter repeats itself five minutes later."""
    cluster = Cluster(moment("2026-08-25T10:20:00Z"))
    cluster.event(sample("E5"))
    assert cluster.pool().at_limit == ""
    cluster.view.changed(PODS, None, "ADDED", sample("E11"))
    assert cluster.pool().at_limit == "at its limit for the waiting pods, Karpenter says"


@pytest.mark.parametrize(
    ("used", "later_s", "at_limit"),
    [
        pytest.param("192", 0, True, id="as then"),
        pytest.param("188", 0, False, id="usage has fallen"),
        pytest.param("192", 601, False, id="Karpenter has not repeated it"),
    ],
)
def test_what_karpenter_said_of_a_limit_ends(used: str, later_s: float, at_limit: bool) -> None:
    """A node that is gone makes room, and a pod that still waits gets another event within minutes."""
    cluster = Cluster(moment("2026-08-25T10:20:00Z"))
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", sample("E12") | {"status": {"resources": {"cpu": "192"}}})
    cluster.view.changed(PODS, None, "ADDED", sample("E11"))
    cluster.event(sample("E5"))
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", sample("E12") | {"status": {"resources": {"cpu": used}}})
    cluster.clock.set(cluster.clock.now() + later_s)
    assert bool(cluster.pool().at_limit) is at_limit


def _limited() -> Cluster:
    """Karpenter has just said of a waiting pod that the limits of its NodePool are reached."""
    cluster = Cluster(moment("2026-08-25T10:20:00Z"))
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", sample("E12") | {"status": {"resources": {"cpu": "192"}}})
    cluster.view.changed(PODS, None, "ADDED", sample("E11"))
    cluster.event(sample("E5"))
    assert cluster.pool().at_limit
    return cluster


def test_a_limit_that_was_raised_is_reached_no_more() -> None:
    """Karpenter says nothing of that."""
    cluster, raised = _limited(), sample("E12")
    raised["spec"]["limits"] = {"cpu": "1000"}
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", raised | {"status": {"resources": {"cpu": "192"}}})
    assert cluster.pool().at_limit == ""


@pytest.mark.parametrize(("created_s", "at_limit"), [(-1, True), (1, False)])
def test_what_launches_after_it_contradicts_it(created_s: float, at_limit: bool) -> None:
    """Karpenter counts a claim in flight as the largest type that it may become: the next of its loops may find room."""
    cluster = _limited()
    now = cluster.clock.now()
    claim = node_claim("amd-neuron-inf2-zzzzz", INF2, now + created_s)
    cluster.claim(claim)
    assert cluster.pool().at_limit
    cluster.clock.set(now + 5)
    claim["status"] = {"providerID": "aws:///us-west-2a/i-1"}
    cluster.claim(claim, "MODIFIED")
    assert bool(cluster.pool().at_limit) is at_limit


def test_a_list_of_events_says_nothing_anew() -> None:
    """Two pods' events have different stamps. Once more, in any order, they must not bring a lifted limit back."""
    cluster, first, second = _limited(), sample("E5"), sample("E5")
    second["metadata"]["name"] = "another.18a1"
    second |= {"lastTimestamp": "2026-08-25T10:20:20Z"}
    cluster.clock.set(moment("2026-08-25T10:20:20Z"))
    cluster.event(second)
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", sample("E12") | {"status": {"resources": {"cpu": "180"}}})
    assert cluster.pool().at_limit == ""
    cluster.clock.set(moment("2026-08-25T10:21:00Z"))
    cluster.view.listed(EVENTS, None, [second, first])
    cluster.view.listed(EVENTS, None, [first, second])
    assert cluster.pool().at_limit == ""


@pytest.mark.parametrize(("used", "full"), [("3", False), ("4", False), ("5", True)])
def test_a_limit_of_accelerators_is_none_for_types_without_them(used: str, full: bool, cluster: Cluster) -> None:
    """Karpenter leaves out the types that need more than is left. Of inf2 none is left at 4; g6 needs none."""
    pool = _pool_of("both", "inf2.xlarge", "g6.xlarge")
    pool["spec"]["limits"] = {"aws.amazon.com/neuron": "4"}
    cluster.view.changed(NODE_POOLS, None, "ADDED", pool | {"status": {"resources": {"aws.amazon.com/neuron": used}}})
    assert bool(cluster.pool("both").at_limit) is full


def test_a_refusal_of_a_name_that_was_refused_before_leaves_no_trace_of_the_first(cluster: Cluster) -> None:
    """Names of five random letters repeat among thousands. What was left of the first one failed every pass once it was dropped."""
    named = (
        "with fleet error(s), InsufficientInstanceCapacity: We currently do not have sufficient {} capacity in the Availability Zone you "
    )
    named += "requested (us-west-2a)."
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", _pool_of("other", "g5.xlarge", "g6.xlarge"))
    for at, kind in ((T0, "g6.xlarge"), (T0 + 1, "g5.xlarge")):
        cluster.event(ice_event("pool-aaaaa", at, detail=named.format(kind)))
    cluster.flood(ice_event(f"pool-{number:05}", T0 + 2 + number / 1e4) for number in range(FLOOD))
    assert "pool-aaaaa" not in cluster.view.karpenter._refused
    assert cluster.pool("other").elsewhere == ()


def test_a_later_claim_of_the_same_name_is_another(cluster: Cluster) -> None:
    """Not the one of hours ago with a new stamp: a launch in between was after that one, not after this."""
    cluster.event(ice_event("amd-neuron-inf2-aaaaa", T0))
    later = T0 + 2 * HOUR_S
    cluster.clock.set(later)
    cluster.event(ice_event("amd-neuron-inf2-aaaaa", later))
    (failure,) = cluster.pool().failures
    assert (failure.at, failure.seen, failure.order) == (later, later, 2)


def _pool_of(name: str, *types: str) -> dict[str, Any]:
    wanted = [requirement("node.kubernetes.io/instance-type", *types)]
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"requirements": wanted}}}}


def _nothing_for(pod: str, namespace: str = "default") -> dict[str, Any]:
    """Karpenter has nothing available for a pod."""
    message = "Failed to schedule pod, no instance type has the required offering, requirements=karpenter.sh/nodepool In [amd-neuron-inf2]"
    event = sample("E5") | {"message": message}
    event["metadata"] = {"name": f"{pod}.18a1", "namespace": namespace}
    event["involvedObject"] = {"kind": "Pod", "namespace": namespace, "name": pod}
    return event


def test_the_pods_of_another_namespace_make_nobody_s_mark_forgotten() -> None:
    """Karpenter repeats itself only every five minutes."""
    cluster = Cluster(moment("2026-08-25T10:20:00Z"))
    cluster.view.room._most = 100_000
    cluster.view.changed(PODS, None, "ADDED", waiting_pod("mine", namespace="default", pools=("amd-neuron-inf2",)))
    cluster.event(_nothing_for("mine"))
    cluster.clock.set(cluster.clock.now() + 1)
    for number in range(200):
        cluster.view.changed(PODS, None, "ADDED", waiting_pod(f"theirs-{number}", namespace="team-b", pools=("amd-neuron-inf2",)))
        event = _nothing_for(f"theirs-{number}", "team-b")
        cluster.event(event | {"lastTimestamp": "2026-08-25T10:20:01Z"})
    assert cluster.view.karpenter.unavailable("default", "mine") != ()
    assert cluster.view.room.taken <= 100_000
    assert cluster.view.karpenter.unavailable("team-b", "theirs-199") != (), "the newest of the others stay"
    assert cluster.view.karpenter.unavailable("team-b", "theirs-0") == ()


def test_what_was_said_of_a_pod_goes_with_it() -> None:
    """A pod that has got its node, or is deleted, is not short of anything."""
    cluster, pod = Cluster(moment("2026-08-25T10:20:00Z")), sample("E11")
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    cluster.view.changed(PODS, None, "ADDED", pod)
    cluster.event(_nothing_for(name, namespace))
    assert cluster.view.karpenter.unavailable(namespace, name) != ()
    cluster.view.changed(PODS, None, "DELETED", pod)
    assert cluster.view.karpenter.unavailable(namespace, name) == ()


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ([], ("on-demand", "spot")),
        ([requirement("karpenter.sh/capacity-type", "on-demand")], ("on-demand",)),
        ([requirement("karpenter.sh/capacity-type", "spot", operator="NotIn")], ()),
    ],
)
def test_a_pool_that_states_no_capacity_type_may_launch_spot(
    requirements: list[dict[str, Any]], expected: tuple[str, ...], cluster: Cluster
) -> None:
    """Karpenter asks for spot first then: its refusals say nothing of on-demand instances (aws/karpenter-provider-aws#5015)."""
    pool = {"metadata": {"name": INF2}, "spec": {"template": {"spec": {"requirements": requirements}}}}
    cluster.view.changed(NODE_POOLS, None, "ADDED", pool)
    assert cluster.pool().capacity_types == expected


def test_e6_a_foreign_limit_is_ignored() -> None:
    """E6: limits are checked before the pod's requirements, so the text names pools that have nothing to do with the pod."""
    cluster = Cluster(moment("2026-08-25T10:00:20Z"))
    cluster.view.changed(PODS, None, "ADDED", sample("E11"))
    cluster.event(sample("E6"))
    assert cluster.pool().at_limit == ""
    assert cluster.pool("amd-nvidia-a10g").at_limit == ""


@pytest.mark.parametrize("reporter", ["my-scheduler", "default-scheduler"])
def test_e7_the_schedulers_event_is_not_karpenters(reporter: str) -> None:
    """E7: same reason, other reporter; even with Karpenter's text it would not count."""
    cluster = Cluster(moment("2026-08-25T10:20:00Z"))
    cluster.view.changed(PODS, None, "ADDED", sample("E11"))
    cluster.event(sample("E7"))
    cluster.event(sample("E7") | {"message": sample("E5")["message"], "reportingComponent": reporter})
    assert cluster.pool().at_limit == ""


def test_e5_as_the_newer_events_api_writes_it() -> None:
    """A later Karpenter leaves source, lastTimestamp and count empty: reportingComponent and eventTime say the same."""
    cluster = Cluster(moment("2026-08-25T10:20:00Z"))
    cluster.view.changed(PODS, None, "ADDED", sample("E11"))
    newer: dict[str, Any] = {
        "source": {},
        "reportingComponent": "karpenter",
        "lastTimestamp": None,
        "count": None,
        "eventTime": "2026-08-25T10:19:59.5Z",
    }
    cluster.event(sample("E5") | newer)
    assert cluster.pool().at_limit


def test_e9_a_create_error_is_a_failure_since_its_transition() -> None:
    """E9: no event ever comes; the condition is the failure, dated by its transition (the policy waits for 60 s)."""
    begin = moment("2026-08-25T11:20:00Z")
    cluster = Cluster(begin)
    cluster.claim(sample("E9"))
    for seconds in (0, 60, 240):
        cluster.clock.set(begin + seconds)
        (failure,) = cluster.pool().failures
        assert (failure.at, failure.source, failure.cause, failure.codes) == (begin, "create-error", Cause.QUOTA, ("VCPULimitExceeded",))
    cluster.claim(sample("E9"), "DELETED")
    assert len(cluster.pool().failures) == 1, "Karpenter deletes it after five minutes: that resolves nothing"


def test_e9_a_create_error_that_keeps_changing_keeps_its_first_time() -> None:
    """Karpenter retries and may meet another error each time: the clock of the first one runs on, or it would never be old enough."""
    begin = moment("2026-08-25T11:20:00Z")
    cluster = Cluster(begin)
    for seconds, reason in ((0, "VCPULimitExceeded"), (50, "LaunchFailed"), (100, "RequestLimitExceeded"), (150, "VCPULimitExceeded")):
        cluster.clock.set(begin + seconds)
        obj = sample("E9")
        obj["status"]["conditions"][0] |= {"reason": reason, "lastTransitionTime": format_rfc3339(begin + seconds)}
        cluster.claim(obj, "MODIFIED")
    (failure,) = cluster.pool().failures
    assert failure.at == begin


@pytest.mark.parametrize("reason", ["RequestLimitExceeded", "InternalError"])
def test_passing_trouble_is_no_refusal_and_is_named(reason: str) -> None:
    """People learn that Karpenter runs, and what it meets; as long as it does."""
    cluster = Cluster(moment("2026-08-25T11:21:00Z"))
    cluster.view.listed(NODE_POOLS, None, [{"metadata": {"name": INF2}}])
    wakes, obj = cluster.wakes, sample("E9")
    obj["status"]["conditions"][0]["reason"] = reason
    cluster.claim(obj)
    assert cluster.pool().failures == ()
    assert cluster.pool().problem == f"launches fail with {reason}, and Karpenter tries again (NodeClaim {obj['metadata']['name']})"
    assert cluster.wakes > wakes
    cluster.claim(obj, "DELETED")
    assert cluster.pool().problem == ""


def test_e9_a_create_error_that_was_overcome_is_none() -> None:
    """The same claim launches on Karpenter's own retry."""
    cluster = Cluster(moment("2026-08-25T11:21:00Z"))
    cluster.claim(sample("E9"))
    obj = sample("E9")
    launched = {"type": "Launched", "status": "True", "reason": "Launched", "lastTransitionTime": "2026-08-25T11:20:50Z"}
    obj["status"] = {"providerID": "aws:///us-west-2a/i-1", "conditions": [launched]}
    cluster.claim(obj, "MODIFIED")
    assert (cluster.pool().failures, cluster.pool().problem) == ((), "not known")
    assert len(cluster.pool().launches) == 1


def test_e10_recovery() -> None:
    """E10: launched, registered and initialized, each with its time, its type and its zone."""
    cluster = Cluster(moment("2026-08-25T12:05:00Z"))
    cluster.claim(sample("E10"))
    (launch,) = cluster.pool().launches
    assert (launch.created, launch.launched) == (moment("2026-08-25T12:00:00Z"), moment("2026-08-25T12:00:03Z"))
    assert (launch.registered, launch.initialized) == (moment("2026-08-25T12:00:48Z"), moment("2026-08-25T12:01:35Z"))
    assert (launch.instance_type, launch.zone) == ("inf2.xlarge", "us-west-2b")


@pytest.mark.parametrize("deletion", [True, False], ids=["its deletion is seen", "it is missing in a list"])
def test_when_an_instance_that_never_joined_was_given_up(*, deletion: bool) -> None:
    """One that joined has no such time: its node was there."""
    cluster = Cluster(moment("2026-08-25T12:05:00Z"))
    claim = sample("E10")
    claim["status"]["conditions"] = [one for one in claim["status"]["conditions"] if one["type"] == "Launched"]
    cluster.claim(claim)
    assert [launch.unjoined_at for launch in cluster.pool().launches] == [None]
    if deletion:
        claim["metadata"]["deletionTimestamp"] = "2026-08-25T12:02:00Z"
        cluster.claim(claim, "MODIFIED")
        assert [launch.unjoined_at for launch in cluster.pool().launches] == [moment("2026-08-25T12:02:00Z")]
        cluster.claim(claim, "DELETED")
    else:
        cluster.view.listed(NODE_CLAIMS, None, [])
    left = moment("2026-08-25T12:02:00Z") if deletion else moment("2026-08-25T12:05:00Z")
    assert [(launch.gone, launch.unjoined_at) for launch in cluster.pool().launches] == [(True, left)]


def test_e10_that_loses_its_conditions_was_launched_all_the_same() -> None:
    """A claim on its way out may lose its conditions; what it once reached stays true."""
    cluster = Cluster(moment("2026-08-25T12:05:00Z"))
    cluster.claim(sample("E10"))
    before = cluster.pool().launches
    cluster.claim(sample("E10") | {"status": {}}, "MODIFIED")
    cluster.claim(sample("E10") | {"status": {}}, "DELETED")
    assert cluster.pool().launches == tuple(replace(launch, gone=True) for launch in before)


def test_e12_limit() -> None:
    """E12: usage at the limit is said with both numbers; below it nothing is said."""
    cluster = Cluster()
    cluster.view.changed(NODE_POOLS, None, "ADDED", sample("E12"))
    pool = cluster.pool()
    assert (pool.exists, pool.at_limit, pool.capacity_types) == (True, "limit of cpu reached: 200 of 200", ("on-demand",))
    lower = sample("E12")
    lower["status"]["resources"]["cpu"] = "192"
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", lower)
    assert cluster.pool().at_limit == ""


def test_e14_cloudtrail_is_not_read(cluster: Cluster) -> None:
    """E14 is out of scope: no watch delivers CloudTrail. Handed in as an object it is nothing."""
    cluster.event(sample("E14"))
    cluster.claim(sample("E14"))
    assert cluster.pool().failures == ()
    assert cluster.wakes == 0


def test_e15_a_spot_interruption_is_no_refusal() -> None:
    """E15: a Warning on a NodeClaim of another reason changes nothing."""
    cluster = Cluster(moment("2026-08-25T13:00:00Z"))
    cluster.event(sample("E15"))
    assert cluster.pool("amd-nvidia-spot").failures == ()
    assert cluster.wakes == 0


@pytest.mark.parametrize("mark_first", [True, False])
def test_e16_a_replacements_refusal_is_marked(*, mark_first: bool) -> None:
    """E16: consolidation's claim; the marking event may come before or after the refusal."""
    now = moment("2026-08-25T14:00:02Z")
    cluster = Cluster(now)
    events = [sample("E16"), ice_event("amd-neuron-inf2-r2d2x", now)]
    for event in events if mark_first else events[::-1]:
        cluster.event(event)
    (failure,) = cluster.pool().failures
    assert failure.replacement


def test_e16_a_refusal_stays_a_replacements_for_as_long_as_it_is_reported() -> None:
    """The mark belongs to the refusal: it must not turn into evidence a quarter of an hour later."""
    now = moment("2026-08-25T14:00:02Z")
    cluster = Cluster(now)
    cluster.event(sample("E16"))
    cluster.event(ice_event("amd-neuron-inf2-r2d2x", now))
    cluster.clock.advance(0.9 * HOUR_S)
    assert [failure.replacement for failure in cluster.pool().failures] == [True]


def test_a_mark_does_not_cover_a_refusal_much_later() -> None:
    """A mark is good for a quarter of an hour."""
    now = moment("2026-08-25T14:00:02Z")
    cluster = Cluster(now)
    cluster.event(sample("E16"))
    cluster.clock.advance(1000)
    cluster.event(ice_event("amd-neuron-inf2-r2d2x", now + 1000))
    assert [failure.replacement for failure in cluster.pool().failures] == [False]


# --- joining events and claims ---


def test_every_order_of_a_refusals_deliveries_gives_the_same() -> None:
    """Event, ADDED, MODIFIED and DELETED come from two watches: every interleaving that keeps the claim's own order gives one failure."""
    seen = set()
    for position in range(4):
        cluster = Cluster()
        deliveries: list[tuple[Any, str]] = [(cluster.claim, "ADDED"), (cluster.claim, "MODIFIED"), (cluster.claim, "DELETED")]
        deliveries.insert(position, (cluster.event, "ADDED"))
        for take, kind in deliveries:
            take(sample("E1") if take == cluster.event else sample("E8"), kind)
        seen.add(tuple(replace(failure, order=0) for failure in cluster.pool().failures))
    assert len(seen) == 1


def test_an_event_before_its_claim_is_completed_by_it(cluster: Cluster) -> None:
    """Until the claim is seen its requirements are unknown; afterwards they are known."""
    cluster.event(sample("E1"))
    assert [failure.requirements_known for failure in cluster.pool().failures] == [False]
    cluster.claim(sample("E8"))
    assert [failure.requirements_known for failure in cluster.pool().failures] == [True]


def test_tombstones_survive_deletion_and_a_new_list(cluster: Cluster) -> None:
    """A refused claim is gone within seconds; what it left open is remembered, whether a DELETED or its absence from a list says so."""
    for kind in ("DELETED", "absent from the list"):
        one = Cluster()
        one.claim(sample("E8"))
        if kind == "DELETED":
            one.claim(sample("E8"), kind)
        one.view.listed(NODE_CLAIMS, None, [])
        one.view.listed(NODE_CLAIMS, None, [node_claim("inf2-aaaaa", "inf2", T0)])
        one.clock.advance(1800)
        one.event(ice_event("amd-neuron-inf2-7xk2p", T0 + 1800))
        (failure,) = one.pool().failures
        assert (failure.pool, failure.instance_types) == (INF2, ("inf2.8xlarge", "inf2.xlarge"))


def test_a_tombstone_that_comes_back_lives_again(cluster: Cluster) -> None:
    """A list that was behind may bring a claim back; it is the same claim."""
    cluster.claim(node_claim("inf2-aaaaa", "inf2", T0, Launched=format_rfc3339(T0)))
    cluster.view.listed(NODE_CLAIMS, None, [])
    cluster.view.listed(NODE_CLAIMS, None, [node_claim("inf2-aaaaa", "inf2", T0)])
    assert [launch.claim for launch in cluster.pool("inf2").launches] == ["inf2-aaaaa"]


def test_a_new_claim_of_an_old_name_inherits_nothing(cluster: Cluster) -> None:
    """Names can be used again by hand: another uid is another claim, and what the first one reached is not its own."""
    cluster.claim(node_claim("inf2-aaaaa", "inf2", T0, Launched=format_rfc3339(T0)))
    cluster.claim(node_claim("inf2-aaaaa", "inf2", T0), "DELETED")
    again = node_claim("inf2-aaaaa", "inf2", T0)
    again["metadata"]["uid"] = "another"
    cluster.claim(again)
    assert cluster.pool("inf2").launches == ()


@pytest.mark.parametrize(
    ("claim", "pool"),
    [
        ("amd-inf2-7xk2p", "amd-inf2"),
        ("amd-inf2-x-7xk2p", "amd-inf2-x"),
        ("amd-inf2-x", "amd-inf2-x"),
        ("amd-inf2-abcdef", "amd-inf2-abcdef"),
    ],
)
def test_a_pool_is_known_from_the_suffix_alone(claim: str, pool: str) -> None:
    """`amd-inf2` is a prefix of `amd-inf2-x`: only stripping exactly five characters is right."""
    cluster = Cluster()
    cluster.event(ice_event(claim, T0))
    for name in ("amd-inf2", "amd-inf2-x", "amd-inf2-abcdef"):
        assert len(cluster.pool(name).failures) == (name == pool)


def _held(name: str, labels: dict[str, str]) -> dict[str, Any]:
    made = node_claim(name, "inf2", T0, Launched=format_rfc3339(T0))
    made["metadata"]["labels"] |= {"node.kubernetes.io/instance-type": "inf2.xlarge", **labels}
    return made


def test_labels_say_what_runs_in_a_reservation(cluster: Cluster) -> None:
    """Of every instance that exists, also of one that is being drained. Nothing is said of a NodePool without reserved ones."""
    prefix = "karpenter.k8s.aws/capacity-reservation"
    block = {f"{prefix}-id": "cr-1", f"{prefix}-type": "capacity-block"}
    cluster.claim(_held("inf2-aaaaa", {}))
    assert cluster.pool("inf2").held == ()
    leaving = _held("inf2-bbbbb", block)
    leaving["metadata"]["deletionTimestamp"] = format_rfc3339(T0)
    for obj in (leaving, _held("inf2-ccccc", block), _held("inf2-ddddd", {f"{prefix}-id": "cr-2", f"{prefix}-type": "default"})):
        cluster.claim(obj)
    cluster.claim(node_claim("inf2-eeeee", "inf2", T0))  # not launched
    expected = [("", 1, False), ("cr-1", 2, True), ("cr-2", 1, False)]
    assert [(one.reservation, one.count, one.block) for one in cluster.pool("inf2").held] == expected
    for obj in (leaving, _held("inf2-ccccc", block), _held("inf2-ddddd", {})):
        cluster.claim(obj, "DELETED")
    assert cluster.pool("inf2").held == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ADDED", "MODIFIED", "DELETED", "LISTED"]),
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["inf2", "g5"]),
            st.sampled_from(["", "cr-1"]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_reservations_are_counted_as_if_all_claims_were_searched(deliveries: list[tuple[str, str, str, str, bool]]) -> None:
    """In whatever order claims come, are launched, change, move to another NodePool and go."""
    whole = ClusterView(ManualClock(T0), lambda: None)
    view = whole.karpenter
    for kind, name, pool, reservation, launched in deliveries:
        obj = node_claim(name, pool, T0, Launched=format_rfc3339(T0))
        obj["status"] = obj["status"] if launched else {}
        obj["metadata"]["labels"]["karpenter.k8s.aws/capacity-reservation-id"] = reservation
        if kind == "LISTED":
            whole.listed(NODE_CLAIMS, None, [obj])
        else:
            view.claim(kind, obj, T0)
        searched = Counter(one.pool for one in view._live.values() if one.launched is not None and one.reservation)
        assert dict(view._reserved) == dict(searched)


def test_label_then_owner_then_name_tell_the_pool(cluster: Cluster) -> None:
    """Facts §D.6: the label wins over the owner, the owner over the name."""
    owners = [{"kind": "Node", "name": "n"}, {"kind": "NodePool", "name": "by-owner"}]
    labelled = node_claim("by-name-aaaaa", "by-label", T0) | {}
    labelled["metadata"]["ownerReferences"] = owners
    owned = node_claim("by-name-bbbbb", "", T0)
    owned["metadata"] |= {"labels": None, "ownerReferences": owners}
    bare = node_claim("by-name-ccccc", "", T0)
    bare["metadata"]["labels"] = {}
    for obj in (labelled, owned, bare):
        cluster.claim(obj)
    names = [cluster.view.karpenter.pool_of(f"by-name-{letter * 5}") for letter in "abc"]
    assert names == ["by-label", "by-owner", "by-name"]


@pytest.mark.parametrize("operator", ["NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])
@pytest.mark.parametrize(
    ("label", "field"),
    [
        ("node.kubernetes.io/instance-type", "instance_types"),
        ("topology.kubernetes.io/zone", "zones"),
        ("karpenter.sh/capacity-type", "capacity_types"),
    ],
)
def test_requirements_that_a_list_cannot_say_are_not_known(operator: str, label: str, field: str, cluster: Cluster) -> None:
    """`NotIn us-west-2a` leaves zones open that the claim does not name, and says nothing less of its types and capacity types."""
    obj = node_claim("inf2-aaaaa", "inf2", T0)
    obj["spec"]["requirements"].append(requirement(label, "x", operator=operator))
    cluster.claim(obj)
    cluster.event(ice_event("inf2-aaaaa", T0))
    (failure,) = cluster.pool("inf2").failures
    assert (failure.requirements_known, failure.inexact) == (True, (field,))
    assert [failure.says(one) for one in ("instance_types", "zones", "capacity_types")].count(False) == 1


def node_pool(name: str, *capacity_types: str) -> dict[str, Any]:
    """A NodePool of one type and some capacity types."""
    asked = [requirement("node.kubernetes.io/instance-type", "inf2.xlarge"), requirement("karpenter.sh/capacity-type", *capacity_types)]
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"requirements": asked}}}}


@pytest.mark.parametrize("zone", ["In", "NotIn"])
@pytest.mark.parametrize("seen", [True, False])
def test_the_capacity_types_of_a_refused_launch_are_within_those_of_its_own_node_pool(seen: bool, zone: str, cluster: Cluster) -> None:
    """Spot instances that another team is refused are none that a NodePool of on-demand ones lacks, also after a restart."""
    cluster.view.changed(NODE_POOLS, None, "ADDED", node_pool("inf2", "on-demand"))
    obj = node_claim("batch-aaaaa", "batch", T0)
    obj["spec"]["requirements"] += [
        requirement("topology.kubernetes.io/zone", "us-west-2a", operator=zone),
        requirement("karpenter.sh/capacity-type", "spot"),
    ]
    if seen:
        cluster.claim(obj)
    cluster.event(ice_event("batch-aaaaa", T0))
    (before,) = cluster.pool("inf2").elsewhere
    assert before.open_capacity_types == (("spot",) if seen else ())
    cluster.view.changed(NODE_POOLS, None, "ADDED", node_pool("batch", "spot"))
    (refusal,) = cluster.pool("inf2").elsewhere
    assert (refusal.open_capacity_types, refusal.pool_capacity_types, refusal.requirements_known) == (("spot",), ("spot",), seen)


def test_requirements_with_nothing_in_common_are_not_wide(cluster: Cluster) -> None:
    """Two zone lists that exclude each other allow nothing; an empty tuple would mean everything."""
    obj = node_claim("inf2-aaaaa", "inf2", T0, zones=("us-west-2a",))
    obj["spec"]["requirements"].append(requirement("topology.kubernetes.io/zone", "us-west-2b"))
    cluster.claim(obj)
    cluster.event(ice_event("inf2-aaaaa", T0))
    assert [failure.inexact for failure in cluster.pool("inf2").failures] == [("zones",)]


# --- attempts ---


def attempts(cluster: Cluster, pool: str = "inf2") -> list[str]:
    """The attempts of a pool's failures, in the order of time."""
    return [failure.attempt for failure in cluster.pool(pool).failures]


def test_the_claims_of_one_batch_are_one_attempt(cluster: Cluster) -> None:
    """Pods that wait together make several claims, one fleet call and one answer each; a burst three minutes later is another attempt."""
    cluster.clock.advance(300)
    for letter, at in zip("abcd", (0, 0, 1, 180), strict=True):
        name = f"inf2-{letter * 5}"
        cluster.claim(node_claim(name, "inf2", T0 + at))
        cluster.event(ice_event(name, T0 + at))
    assert attempts(cluster) == ["inf2-aaaaa"] * 2 + ["inf2-ddddd"], "what lies between the first and the last of a batch adds nothing"


def test_other_answers_at_the_same_moment_are_other_attempts(cluster: Cluster) -> None:
    """Claims that left other zones open, or got another code, were other calls."""
    other_code = "with fleet error(s), VcpuLimitExceeded: no"
    cluster.claim(node_claim("inf2-aaaaa", "inf2", T0))
    cluster.claim(node_claim("inf2-bbbbb", "inf2", T0, zones=("us-west-2b",)))
    cluster.claim(node_claim("inf2-ccccc", "inf2", T0))
    cluster.event(ice_event("inf2-aaaaa", T0))
    cluster.event(ice_event("inf2-bbbbb", T0))
    cluster.event(ice_event("inf2-ccccc", T0, detail=other_code))
    assert sorted(attempts(cluster)) == ["inf2-aaaaa", "inf2-bbbbb", "inf2-ccccc"]


def test_repetitions_are_one_failure(cluster: Cluster) -> None:
    """ADDED, MODIFIED, listed again: one failure, first seen when it was first seen, at its newest time."""
    cluster.event(ice_event("inf2-aaaaa", T0))
    cluster.clock.advance(100)
    cluster.view.listed(EVENTS, "default", [ice_event("inf2-aaaaa", T0)])
    cluster.event(ice_event("inf2-aaaaa", T0 + 60), "MODIFIED")
    (failure,) = cluster.pool("inf2").failures
    assert (failure.at, failure.seen) == (T0 + 60, T0)
    cluster.event(ice_event("inf2-aaaaa", T0 + 10), "MODIFIED")
    assert cluster.pool("inf2").failures[0].at == T0 + 60


# --- time ---


def test_a_deleted_event_resolves_nothing(cluster: Cluster) -> None:
    """DELETED is the end of an event's time to live."""
    cluster.event(ice_event("inf2-aaaaa", T0))
    cluster.event(sample("E4"))
    cluster.wakes = 0
    cluster.event(ice_event("inf2-aaaaa", T0), "DELETED")
    assert len(cluster.pool("inf2").failures) == 1
    assert cluster.wakes == 0
    fresh = Cluster()
    fresh.event(ice_event("inf2-aaaaa", T0), "DELETED")
    assert fresh.pool("inf2").failures == (), "and it tells nothing new either"


@pytest.mark.parametrize("age", [HOUR_S + 1, 30 * 86_400.0])
def test_events_older_than_an_hour_are_ignored(age: float, cluster: Cluster) -> None:
    """A list after a start returns stale events."""
    cluster.view.listed(EVENTS, "default", [ice_event("inf2-aaaaa", T0 - age)])
    assert cluster.pool("inf2").failures == ()


def test_a_failure_is_reported_for_as_long_as_the_window(cluster: Cluster) -> None:
    """And not longer, without any further delivery."""
    cluster.event(ice_event("inf2-aaaaa", T0))
    cluster.clock.advance(HOUR_S)
    assert len(cluster.pool("inf2").failures) == 1
    cluster.clock.advance(2)
    assert cluster.pool("inf2").failures == ()


def test_a_time_ahead_of_ours_counts_from_its_first_sight(cluster: Cluster) -> None:
    """However often it is delivered: neither a list nor a repetition of the same time makes it younger."""
    ahead = T0 + 1800
    pod = waiting_pod("p", namespace="default", pools=("inf2",))
    cluster.view.changed(PODS, None, "ADDED", pod)
    limit = sample("E5") | {"message": "all available instance types exceed limits for nodepool (NodePool=inf2)"}
    limit["involvedObject"]["name"] = "p"
    blocked = sample("E4")
    blocked["involvedObject"]["name"] = "inf2"
    stamped = [event | {"lastTimestamp": format_rfc3339(ahead)} for event in (ice_event("inf2-aaaaa", ahead), blocked, limit)]
    for seconds in (0, 600, 1200):
        cluster.clock.set(T0 + seconds)
        cluster.view.listed(EVENTS, "default", stamped)
        pool = cluster.pool("inf2")
        assert (pool.failures[0].at, pool.blocked_at) == (T0, T0)
    cluster.clock.set(T0 + HOUR_S + 2)
    cluster.view.listed(EVENTS, "default", stamped)
    pool = cluster.pool("inf2")
    assert (pool.failures, pool.blocked_at, pool.at_limit) == ((), None, "")


def test_conditions_ahead_of_our_clock_are_taken_as_now(cluster: Cluster) -> None:
    """And keep the moment of their first sight when delivered again."""
    for seconds in (0, 60):
        cluster.clock.set(T0 + seconds)
        cluster.claim(node_claim("inf2-aaaaa", "inf2", T0, Launched=format_rfc3339(T0 + 900)), "MODIFIED")
    assert [launch.launched for launch in cluster.pool("inf2").launches] == [T0]


@pytest.mark.parametrize("usable", [False, True])
def test_a_node_that_is_not_usable_is_reported_for_as_long_as_it_is_there(usable: bool, cluster: Cluster) -> None:
    """Karpenter counts on it for ever; of the others the last hour suffices."""
    at = format_rfc3339(T0)
    claim = node_claim("inf2-aaaaa", "inf2", T0, Launched=at, Registered=at, Initialized=at if usable else "")
    claim["status"]["conditions"][2]["status"] = "True" if usable else "Unknown"
    cluster.claim(claim)
    cluster.clock.set(T0 + 2 * HOUR_S)
    assert bool(cluster.pool("inf2").launches) is not usable
    cluster.claim(claim, "DELETED")
    assert cluster.pool("inf2").launches == ()


def test_a_provider_id_is_a_launch(cluster: Cluster) -> None:
    """Facts §D.6: the condition or the provider's id; also without any time stamp at all."""
    cluster.claim({"metadata": {"name": "inf2-aaaaa"}, "status": {"providerID": "aws:///us-west-2b/i-1"}})
    cluster.clock.advance(50)
    cluster.claim({"metadata": {"name": "inf2-aaaaa"}, "status": {"providerID": "aws:///us-west-2b/i-1"}}, "MODIFIED")
    (launch,) = cluster.pool("inf2").launches
    assert (launch.created, launch.launched, launch.registered) == (T0, T0, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"lastTimestamp": "2026-08-25T10:00:02Z", "eventTime": "2020-01-01T00:00:00Z"},
        {"lastTimestamp": None, "series": {"lastObservedTime": "2026-08-25T10:00:02.000000Z"}, "eventTime": "2026-08-25T09:00:00Z"},
        {"lastTimestamp": None, "eventTime": "2026-08-25T10:00:02.000000Z"},
        {"lastTimestamp": "", "eventTime": None, "metadata": {"creationTimestamp": "2026-08-25T10:00:02Z"}},
        {"lastTimestamp": "nonsense", "series": [], "eventTime": 7, "metadata": {"creationTimestamp": "2026-08-25T10:00:02Z"}},
    ],
)
def test_the_time_of_an_event(fields: dict[str, Any], cluster: Cluster) -> None:
    """Facts §D.6: last, series, event time, creation, whichever there is first."""
    cluster.event(ice_event("inf2-aaaaa", T0) | fields)
    assert [failure.at for failure in cluster.pool("inf2").failures] == [T0 - 1]


# --- NodePools ---


def test_a_pool_that_does_not_exist_says_so(cluster: Cluster) -> None:
    """Also one that was deleted, and one that a list no longer has. Before the first list nobody knows."""
    assert (cluster.pool().exists, cluster.pool().problem) == (True, "not known")
    cluster.view.listed(NODE_POOLS, None, [])
    assert (cluster.pool().exists, cluster.pool().problem) == (False, "does not exist")
    for gone in ("DELETED", "listed"):
        cluster.view.changed(NODE_POOLS, None, "ADDED", sample("E12"))
        assert cluster.pool().exists
        if gone == "DELETED":
            cluster.view.changed(NODE_POOLS, None, gone, sample("E12"))
        else:
            cluster.view.listed(NODE_POOLS, None, [])
        assert not cluster.pool().exists
    cluster.view.absent(NODE_POOLS, None)
    assert (cluster.pool().exists, cluster.pool().problem) == (True, "not known")


def test_a_pool_that_is_not_ready_says_why(cluster: Cluster) -> None:
    """Karpenter skips it; that is configuration, not capacity. Its scheduler takes those alone whose condition is True."""
    reason = "not ready: NodeClassNotFound"
    for status, ready, problem in (("False", False, reason), ("Unknown", False, reason), ("True", True, "")):
        obj = sample("E12")
        obj["status"]["conditions"] = [{"type": "Ready", "status": status, "reason": "NodeClassNotFound"}]
        cluster.view.changed(NODE_POOLS, None, "MODIFIED", obj)
        assert (cluster.pool().ready, cluster.pool().problem) == (ready, problem)


@pytest.mark.parametrize(
    ("spec", "metadata", "problem"),
    [
        ({"replicas": 3}, {}, "static: it keeps its own number of nodes"),
        ({"replicas": 0}, {}, "static: it keeps its own number of nodes"),
        ({}, {"deletionTimestamp": "2026-07-01T12:00:00Z"}, "being deleted"),
        ({}, {}, ""),
    ],
)
def test_a_pool_that_the_scheduler_leaves_out_says_why(
    spec: dict[str, Any], metadata: dict[str, Any], problem: str, cluster: Cluster
) -> None:
    """Nothing would ever be refused through it, so it must not disprove a shortage of pods that name it."""
    obj = sample("E12")
    obj["spec"].update(spec)
    obj["metadata"].update(metadata)
    cluster.view.changed(NODE_POOLS, None, "MODIFIED", obj)
    assert (cluster.pool().ready, cluster.pool().problem) == (not problem, problem)


@pytest.mark.parametrize(
    ("limits", "resources", "said"),
    [
        ({"aws.amazon.com/neuron": "4"}, {"aws.amazon.com/neuron": "4"}, ""),
        ({"nvidia.com/gpu": "0"}, {"cpu": "4"}, ""),
        ({"cpu": "200"}, {"cpu": "199999m"}, ""),
        ({"cpu": "200"}, {"cpu": "200000m"}, "limit of cpu reached: 200000m of 200"),
        ({"memory": "1Ti"}, {"memory": "1024Gi"}, "limit of memory reached: 1024Gi of 1Ti"),
        ({"nodes": 2}, {"nodes": "3"}, "limit of nodes reached: 3 of 2"),
        ({"cpu": "0"}, {}, "limit of cpu reached: 0 of 0"),
        ({"aws.amazon.com/neuron": "4"}, {"cpu": "900"}, ""),
        ({"cpu": "NaN"}, {"cpu": "1"}, ""),
        ({"cpu": "1"}, {"cpu": "NaN"}, ""),
        ({"cpu": "Infinity"}, {"cpu": "-Infinity"}, ""),
        ({"cpu": "sNaN"}, {"cpu": "1e999999999G"}, ""),
        ({"cpu": [], "memory": None, "x": {}}, {"cpu": {}, "memory": "lots"}, ""),
        ("all", 5, ""),
    ],
)
def test_limits_of_every_unit(limits: Any, resources: Any, said: str, cluster: Cluster) -> None:
    """Kubernetes quantities of any unit are compared as numbers; what is none is not compared."""
    obj = {"metadata": {"name": INF2}, "spec": {"limits": limits}, "status": {"resources": resources}}
    cluster.view.changed(NODE_POOLS, None, "ADDED", obj)
    assert cluster.pool().at_limit == said


# --- bounds ---


def test_what_is_not_understood_is_counted_once(cluster: Cluster) -> None:
    """One a claim, however often its event is delivered."""
    for _ in range(3):
        cluster.event(ice_event("inf2-aaaaa", T0, detail="something new"))
    cluster.event(ice_event("inf2-bbbbb", T0, detail="something new"))
    cluster.event(ice_event("inf2-ccccc", T0))
    assert cluster.view.karpenter.unparsed == 2


def test_tombstones_end_after_an_hour() -> None:
    """The next deletion drops those that no event can ask for any more."""
    view = KarpenterView()
    for number in range(10):
        view.claim("DELETED", node_claim(f"inf2-a{number:04d}", "inf2", T0), T0)
    view.claim("DELETED", node_claim("inf2-zzzzz", "inf2", T0), T0 + HOUR_S + 1)
    assert list(view._gone) == ["inf2-zzzzz"]


def test_tombstones_are_bounded() -> None:
    """A storm of claims within the hour keeps the newest."""
    cluster = Cluster(T0)
    cluster.view.room._most = 1_000_000
    obj = node_claim("inf2-aaaaa", "inf2", T0)
    for number in range(2000):
        cluster.clock.set(T0 + number / 10)
        cluster.view.changed(NODE_CLAIMS, None, "DELETED", obj | {"metadata": {"name": f"inf2-{number:05d}"}})
    kept = list(cluster.view.karpenter._gone)
    assert kept == [f"inf2-{number:05d}" for number in range(2000 - len(kept), 2000)]
    assert cluster.view.room.taken <= 1_000_000
    assert cluster.view.karpenter._claims_of == {"inf2": set(kept)}


def test_refusals_are_bounded_and_the_newest_stay() -> None:
    """A list is in the order of names, not of time: the newest must stay, wherever in the list they are."""
    cluster = Cluster(T0)
    cluster.flood(ice_event(f"inf2-{number:05d}", T0 - number / 10) for number in range(FLOOD))
    kept = set(cluster.view.karpenter._refused)
    assert {f"inf2-{number:05d}" for number in range(100)} <= kept
    assert len(kept) < FLOOD
    assert cluster.view.karpenter._refused_of == {"inf2": kept}


def test_marks_are_bounded() -> None:
    """Marks of consolidation and of NodePools, with no claim ever seen."""
    cluster = Cluster(T0)
    cluster.flood(
        {"involvedObject": {"kind": kind, "name": f"n-{number}"}, "reason": reason, "lastTimestamp": format_rfc3339(T0)}
        for number in range(FLOOD)
        for reason, kind in (("DisruptionLaunching", "NodeClaim"), ("NoCompatibleInstanceTypes", "NodePool"))
    )
    assert len(cluster.view.karpenter._marks) < 2 * FLOOD


def test_claims_of_the_list_are_all_kept() -> None:
    """There is room for the nodes of a large cluster."""
    cluster = Cluster(T0)
    listed = [node_claim(f"inf2-{number:05d}", "inf2", T0, Launched=format_rfc3339(T0)) for number in range(3000)]
    cluster.view.listed(NODE_CLAIMS, None, listed)
    assert len(cluster.view.karpenter.observation("inf2", T0, HOUR_S).launches) == 3000


def _calls_of_a_list(count: int) -> int:
    """How many calls of our functions a list of launched claims of one NodePool takes, when all of them are known already."""
    view, calls = ClusterView(ManualClock(T0), lambda: None), 0
    claims = [node_claim(f"inf2-{number:05d}", "inf2", T0, Launched=format_rfc3339(T0)) for number in range(count)]
    view.listed(NODE_CLAIMS, None, claims)

    def counted(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and "/controller/" in frame.f_code.co_filename

    sys.setprofile(counted)
    try:
        view.listed(NODE_CLAIMS, None, claims)
    finally:
        sys.setprofile(None)
    return calls


def test_the_work_of_a_list_grows_with_its_length_alone() -> None:
    """Each claim asked whether any other of its NodePool runs in a reservation: the work grew with the square."""
    assert _calls_of_a_list(200) <= 2.1 * _calls_of_a_list(100)


def test_only_the_requested_pools_are_reported() -> None:
    """Each pool has its own."""
    view = KarpenterView()
    for name, at in itertools.product(("inf2", "g5"), (T0, T0 - 5)):
        view.event(ice_event(f"{name}-a{int(T0 - at):04d}", at), T0)
    assert {name: len(view.observation(name, T0, HOUR_S).failures) for name in ("inf2", "nothing")} == {"inf2": 2, "nothing": 0}


def test_a_refusal_moves_to_the_pool_that_its_claim_names() -> None:
    """The event may come first, and then the pool is read off the claim's name; whatever is forgotten leaves nothing behind."""
    view = KarpenterView()
    view.event(ice_event("odd-name-aaaaa", T0), T0)
    assert len(view.observation("odd-name", T0, HOUR_S).failures) == 1
    before = view.version_of("odd-name"), view.version_of("inf2")
    view.claim("ADDED", node_claim("odd-name-aaaaa", "inf2", T0), T0)
    assert [len(view.observation(name, T0, HOUR_S).failures) for name in ("odd-name", "inf2")] == [0, 1]
    assert all(new > old for new, old in zip((view.version_of("odd-name"), view.version_of("inf2")), before, strict=True))
    view.claim("DELETED", node_claim("odd-name-aaaaa", "inf2", T0), T0)
    assert len(view.observation("inf2", T0, HOUR_S).failures) == 1
    view.claim("ADDED", node_claim("other-aaaaa", "g5", T0), T0 + 2 * HOUR_S)
    view.claim("DELETED", node_claim("other-aaaaa", "g5", T0), T0 + 2 * HOUR_S)
    assert "odd-name-aaaaa" not in view._gone
    assert view._claims_of == {"g5": {"other-aaaaa"}}
    assert view._refused_of == {"odd-name": {"odd-name-aaaaa"}}


def test_thousands_of_refusals_of_a_shared_pool_are_summed_up() -> None:
    """Ten cycles of five hundred claims: every application on the NodePool judged each of them in every pass."""
    view = KarpenterView()
    for number in range(5000):
        at = T0 + 160 * (number // 500) + number % 500 // 100
        view.claim("ADDED", node_claim(f"inf2-{number:05d}", "inf2", at, zones=(f"us-west-2{'abc'[number % 3]}",)), at)
        view.event(ice_event(f"inf2-{number:05d}", at), at)
    failures = view.observation("inf2", T0 + 1600, HOUR_S).failures
    assert len(failures) <= 10 * 3 * 3 * 2
    assert {one.zones[0] for one in failures} == {"us-west-2a", "us-west-2b", "us-west-2c"}
    assert (failures[0].at, failures[-1].at) == (T0, T0 + 160 * 9 + 4)


def _pool(name: str, *types: str) -> dict[str, Any]:
    """A NodePool."""
    requirements = [requirement("node.kubernetes.io/instance-type", *types)]
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {"requirements": requirements}}}}


def _buying_the_same(refused: int, launched: int) -> KarpenterView:
    """NodePools of spot and of on-demand instances of one type, and one of another type. What is launched came before what is refused."""
    view = KarpenterView()
    for name, instance_type in (("spot", "inf2.xlarge"), ("on-demand", "inf2.xlarge"), ("g5", "g5.xlarge")):
        view.pool_changed("ADDED", _pool(name, instance_type), T0)
    for number in range(launched):
        view.claim("ADDED", launched_claim(f"spot-l{number:04d}", T0 - 100), T0)
    for number in range(refused):
        at = T0 + number % 1000
        view.claim("ADDED", node_claim(f"spot-{number:05d}", "spot", at), at)
        view.event(ice_event(f"spot-{number:05d}", at), at)
    return view


def launched_claim(name: str, at: float) -> dict[str, Any]:
    """A NodeClaim that has got an instance."""
    claim = node_claim(name, "spot", at, Launched=format_rfc3339(at + 3))
    claim["metadata"]["labels"]["node.kubernetes.io/instance-type"] = "inf2.xlarge"
    return claim


def test_what_fails_through_another_nodepool_is_summed_up_as_well() -> None:
    """Each application on the other NodePool judged each of them too."""
    view = _buying_the_same(5000, 0)
    failures, elsewhere = view.observation("spot", T0 + 1000, HOUR_S).failures, view.observation("on-demand", T0 + 1000, HOUR_S).elsewhere
    assert elsewhere == failures
    assert len(failures) <= 1000
    assert view.observation("g5", T0 + 1000, HOUR_S).elsewhere == ()


def _calls_of_an_observation(count: int) -> int:
    """Python functions that are called for one observation of a NodePool, where another one of the same type has many of everything."""
    view, calls = _buying_the_same(count, count), 0

    def counted(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and "/controller/" in frame.f_code.co_filename

    sys.setprofile(counted)
    try:
        view.observation("on-demand", T0 + 1000, HOUR_S)
    finally:
        sys.setprofile(None)
    return calls


def test_the_work_of_an_observation_grows_with_what_it_is_of() -> None:
    """Each refusal was compared with each launch through the other NodePool: 15 seconds for 5,000 and 300, after every event."""
    assert _calls_of_an_observation(400) <= 2.1 * _calls_of_an_observation(200)


def test_what_is_learned_of_a_refusal_is_news_for_all_that_may_buy_the_same() -> None:
    """Of a claim that comes after its event, and of the mark of consolidation: the other NodePool shows the refusal as well."""
    view = _buying_the_same(0, 0)
    assert view.event(ice_event("spot-00000", T0), T0) == Touched(("spot",), ("on-demand",))
    before = view.version_of("on-demand")
    assert view.claim("ADDED", node_claim("spot-00000", "spot", T0), T0 + 1) == Touched(("spot",), ("on-demand",))
    mark = {**ice_event("spot-00000", T0), "reason": "DisruptionLaunching", "message": "Launching NodeClaim: Underutilized"}
    assert view.event(mark, T0 + 2) == Touched(("spot",), ("on-demand",))
    assert view.version_of("on-demand") > before


def test_a_spot_launch_ends_no_refusal_for_a_nodepool_of_on_demand_instances() -> None:
    """The other NodePool may launch both: that it got a spot instance says nothing about on-demand ones."""
    view = KarpenterView()
    for name, kinds in (("spot", ["spot", "on-demand"]), ("on-demand", ["on-demand"]), ("either", ["spot", "on-demand"])):
        pool = _pool(name, "inf2.xlarge")
        asked = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": kinds}
        pool["spec"]["template"]["spec"]["requirements"].append(asked)
        view.pool_changed("ADDED", pool, T0)
    view.claim("ADDED", node_claim("spot-00000", "spot", T0), T0)
    view.event(ice_event("spot-00000", T0), T0)
    launched = launched_claim("spot-aaaaa", T0 + 5)
    launched["metadata"]["labels"]["karpenter.sh/capacity-type"] = "spot"
    view.claim("ADDED", launched, T0 + 10)
    assert view.observation("on-demand", T0 + 10, HOUR_S).elsewhere
    assert view.observation("either", T0 + 10, HOUR_S).elsewhere == ()


def test_a_launch_is_news_for_all_that_may_buy_the_same() -> None:
    """It ends the refusals through its NodePool; nothing else that happens to it does."""
    view = _buying_the_same(3, 0)
    assert view.observation("on-demand", T0 + 10, HOUR_S).elsewhere
    before = view.version_of("on-demand")
    assert view.claim("ADDED", launched_claim("spot-aaaaa", T0 + 5), T0 + 10) == Touched(("spot",), ("on-demand",))
    assert view.version_of("on-demand") > before
    assert view.observation("on-demand", T0 + 10, HOUR_S).elsewhere == ()
    registered = launched_claim("spot-aaaaa", T0 + 5)
    registered["status"]["conditions"].append({"type": "Registered", "status": "True", "lastTransitionTime": format_rfc3339(T0 + 9)})
    assert view.claim("MODIFIED", registered, T0 + 10) == Touched(("spot",))


REFUSED = st.tuples(st.integers(0, 400), st.sampled_from("abc"), st.sampled_from(["on-demand", "spot"]), st.booleans())


@given(st.lists(REFUSED, max_size=60), st.lists(st.integers(0, 400), max_size=2), st.integers(0, 500), st.integers(0, 500))
def test_what_is_concluded_of_the_sum_is_concluded_of_all(
    refused: list[tuple[int, str, str, bool]], launched: list[int], blocked: int, asked: int
) -> None:
    """The proof, and what is named. The age that proves it otherwise may move by the time of a batch."""
    assume(all(abs(blocked - at) > 2 for at, *_ in refused))
    whole = tuple(
        Refusal(
            claim=f"claim-{number:03d}",
            pool="inf2",
            at=T0 + at,
            cause=Cause.CAPACITY,
            codes=("InsufficientInstanceCapacity",),
            attempt=f"claim-{number:03d}",
            seen=T0 + at,
            instance_types=("inf2.xlarge",),
            zones=(f"us-west-2{zone}",),
            capacity_types=(kind,),
            stamp=T0 + at,
            order=number + 1 if ordered else 0,
            named_type="inf2.xlarge",
        )
        for number, (at, zone, kind, ordered) in enumerate(sorted(refused))
    )
    launches = tuple(Launch(f"launch-{at}", "inf2", T0 + at, T0 + at, None, None, instance_type="inf2.xlarge") for at in launched)
    pool = PoolObservation("inf2", launches=launches, blocked_at=T0 + blocked)
    allowed = Allowed(("inf2.xlarge",), (("us-west-2a", "us-west-2b", "us-west-2c"),), ("on-demand",))
    policy, waiting = PolicySettings(), [PendingPod("p", T0, ("inf2",))]
    # Of another NodePool, an observation holds only what nothing has ended.
    every, summed = (not_ended(failures, launches) for failures in (whole, summed_up(whole)))
    assert {one.at for one in summed_up(every)} == {one.at for one in summed_up(summed)}
    assert every == [one for one in whole if not any(created_after(launch, one) for launch in launches)]
    for found in ((whole, ()), (summed_up(whole), ())), (((), tuple(every)), ((), summed_up(every))):
        pools = [replace(pool, failures=failures, elsewhere=elsewhere) for failures, elsewhere in found]
        one, other = (examine(some, allowed, waiting, policy, Ages(T0 + asked)) for some in pools)
        assert one.named == other.named
        assert (one.age_at is None) == (other.age_at is None)
        assert abs((one.age_at or 0.0) - (other.age_at or 0.0)) <= 2.0
        assert one.proof == other.proof or abs(T0 + asked - (one.age_at or 0.0)) <= 2.0


def test_node_pools_that_are_gone_use_up_no_room_for_types() -> None:
    """A NodePool is deleted before its NodeClaims, which name its types once more: after a thousand of them none was known of a new one."""
    view, now = KarpenterView(), T0
    view.pools_listable(known=True)
    for number in range(50):
        pool = {"metadata": {"name": f"job-{number}"}, "spec": {}}
        claim = node_claim(f"job-{number}-abcde", f"job-{number}", now)
        view.pool_changed("ADDED", pool, now)
        view.claim("ADDED", claim, now)
        view.pool_changed("DELETED", pool, now)
        view.claim("DELETED", claim, now)
        now += HOUR_S / 10
    view.pool_changed("ADDED", {"metadata": {"name": "new"}, "spec": {}}, now)
    view.claim("ADDED", node_claim("new-abcde", "new", now, types=("g6.xlarge",)), now)
    assert (view.terms("new").seen, view.terms("new").listed) == (("g6.xlarge",), True)
    assert len(view._types) < 20
