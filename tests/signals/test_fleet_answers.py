"""EC2's whole answer completes the refusal that Karpenter reports of it, and proves nothing otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from controller.foreign import MAX_VALUE
from controller.policy.evidence import assess
from controller.policy.model import Cause, Memory, Proof, Shortage, Snapshot, Source, UnitEvidence
from controller.routing.conclusion import conclude
from controller.signals.cluster import ClusterView
from controller.signals.fleet_answers import MOST_BYTES, SAME_S, FleetAnswer, Offerings, read_answer
from controller.signals.room import footprint
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock
from tests.signals.samples import ACCOUNT, FLEET, KINDS, REGION, fleet_record, ice_event, moment, node_claim, requirement, waiting_pod
from tests.support.applications import application

T0: Final = moment("2026-08-25T10:00:00Z")
TYPE: Final = "inf2.xlarge"
ZONES: Final = ("us-west-2a", "us-west-2b", "us-west-2c")
ALL: Final = tuple((TYPE, zone) for zone in ZONES)
APP: Final = application()
INF2: Final = APP.units[0]
POOL: Final = INF2.node_pool
FRESH: Final = tuple(Source(name, True, T0, 180.0) for name in ("karpenter", "workloads", "routing"))
UNNAMED: Final = FLEET + "UnfulfillableCapacity: Unable to fulfill capacity due to your request configuration."


def read(record: Any) -> FleetAnswer | None:
    """What is read of a record, as the queue delivers it."""
    return read_answer(json.dumps(record), ACCOUNT, REGION)


class Cluster:
    """A pod of one unit waits, whose NodePool may buy one instance type in three zones."""

    def __init__(self, *kinds: str) -> None:
        self.clock = ManualClock(T0)
        self.view = ClusterView(self.clock, lambda: None)
        self.pool(POOL, kinds or ("on-demand",))
        selector = {"karpenter.sh/nodepool": POOL}
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "inf2"}}, "template": {"spec": {"nodeSelector": selector}}}
        self.give("Deployment", {"metadata": {"name": INF2.deployment, "namespace": "shop"}, "spec": spec, "status": {"readyReplicas": 1}})
        self.give("Pod", waiting_pod("pod", labels={"app": "inf2"}, pools=(POOL,)))

    def give(self, kind: str, obj: dict[str, Any]) -> None:
        """Delivers one object."""
        self.view.changed(KINDS[kind], None, "ADDED", obj)

    def pool(self, name: str, kinds: tuple[str, ...] = ("on-demand",)) -> None:
        """A NodePool."""
        requirements = [
            requirement("node.kubernetes.io/instance-type", TYPE),
            requirement("topology.kubernetes.io/zone", *ZONES),
            requirement("karpenter.sh/capacity-type", *kinds),
        ]
        self.give("NodePool", {"metadata": {"name": name}, "spec": {"template": {"spec": {"requirements": requirements}}}})

    def refused(self, name: str = f"{POOL}-aaaaa", at: float = T0, **said: str) -> None:
        """Karpenter says that EC2 refused a NodeClaim, and names what has a place in its event: one zone of three."""
        self.give("NodeClaim", node_claim(name, POOL, at - 2))
        self.give("Event", ice_event(name, at, **said))

    def answered(self, record: dict[str, Any]) -> None:
        """A record comes through the queue."""
        answer = read(record)
        if answer is not None:
            self.view.answered(answer)

    def snapshot(self) -> Snapshot:
        """What a decision is made from."""
        return SnapshotBuilder(self.view, [APP]).build(APP, self.clock.now(), FRESH, ExternalSignals(), leader=True, epoch=1)

    def evidence(self) -> UnitEvidence:
        """What is proven of the unit."""
        return assess(self.snapshot(), Memory(), {})[INF2.name]


# --- the proof ---


@pytest.mark.parametrize("record_first", [False, True])
@pytest.mark.parametrize("apart", [-SAME_S, 0.0, SAME_S])
def test_one_refusal_is_proof_where_its_record_names_every_offering(apart: float, *, record_first: bool) -> None:
    """Karpenter's event has a place for one of three zones: alone it is a suspicion until it has asked for the others."""
    cluster = Cluster()
    record = fleet_record(T0 + apart, POOL, *ALL)
    if record_first:
        cluster.answered(record)
        assert cluster.evidence().shortage is Shortage.NONE, "a record alone"
    cluster.refused()
    if not record_first:
        before = cluster.evidence()
        assert (before.shortage, before.missing) == (Shortage.SUSPECTED, ZONES[1:])
        cluster.answered(record)
    found = cluster.evidence()
    assert (found.shortage, found.proof, found.missing, found.attempts) == (Shortage.PROVEN, Proof.NAMED, (), 1)


def test_a_record_that_says_more_starts_a_pass() -> None:
    """Else it would wait for the next tick. A duplicate starts none, and neither does a record without a refusal."""
    cluster = Cluster()
    apps = [APP, application(name="other", units=())]
    cluster.answered(fleet_record(T0 - 60, POOL, *ALL))
    cluster.refused()
    cluster.view.dirty.take(apps)
    for expected in ([APP], []):
        cluster.answered(fleet_record(T0, POOL, *ALL))
        assert cluster.view.dirty.take(apps) == expected
    cluster.answered(fleet_record(T0 - 30, POOL, *ALL))
    assert not cluster.view.dirty.pending()


def test_a_record_is_news_to_those_who_may_buy_the_same_elsewhere() -> None:
    """Karpenter's cache is by offering: what one NodePool is refused, no other gets."""
    cluster = Cluster()
    cluster.pool("theirs")
    cluster.give("NodeClaim", node_claim("theirs-aaaaa", "theirs", T0 - 2))
    cluster.give("Event", ice_event("theirs-aaaaa", T0))
    assert cluster.evidence().missing == ZONES[1:]
    cluster.view.dirty.take([APP])
    cluster.view.dirty.awaits(APP.key, frozenset({POOL}))
    cluster.answered(fleet_record(T0, "theirs", *ALL))
    assert cluster.view.dirty.take([APP]) == [APP]
    assert cluster.evidence().proof is Proof.NAMED


def test_a_refusal_that_names_nothing_is_completed_as_well() -> None:
    """EC2 says so of a fleet that it cannot fulfil in any way."""
    cluster = Cluster()
    cluster.refused(detail=UNNAMED)
    assert cluster.evidence().proof is None
    cluster.answered(fleet_record(T0, POOL, *ALL, code="UnfulfillableCapacity"))
    assert cluster.evidence().proof is Proof.NAMED


def test_what_a_record_names_ages_with_its_refusal() -> None:
    """It may come minutes later: what counts is when EC2 answered."""
    at_once, late = Cluster(), Cluster()
    for cluster in (at_once, late):
        cluster.refused()
    at_once.answered(fleet_record(T0, POOL, *ALL))
    for cluster in (at_once, late):
        cluster.clock.advance(300.0)
    late.answered(fleet_record(T0, POOL, *ALL))
    assert late.evidence() == at_once.evidence()


@pytest.mark.parametrize(
    ("at", "pool", "kept"),
    [
        pytest.param(T0, POOL, 1, id="now"),
        pytest.param(T0 + SAME_S, POOL, 1, id="by a clock that is a little ahead"),
        pytest.param(T0 + SAME_S + 1, POOL, 0, id="of the future"),
        pytest.param(T0 - 3_600, POOL, 1, id="as old as the oldest event"),
        pytest.param(T0 - 3_601, POOL, 0, id="older than any event"),
        pytest.param(T0, "nowhere", 0, id="of a NodePool that does not exist"),
    ],
)
def test_only_what_karpenter_may_report_is_kept(at: float, pool: str, kept: int) -> None:
    """Once, however often it comes."""
    cluster = Cluster()
    for _ in range(2):
        cluster.answered(fleet_record(at, pool, *ALL))
    assert cluster.view.kept()["fleet answers"] == kept


def _other(**changes: Any) -> Callable[[Cluster], None]:
    made = {"at": T0, "pool": POOL, "offerings": ALL, **changes}
    record = fleet_record(made.pop("at"), made.pop("pool"), *made.pop("offerings"), **made)
    return lambda cluster: cluster.answered(record)


def _twice(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.answered(fleet_record(T0, POOL, *ALL[:1]))


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda _: None, id="none comes"),
        pytest.param(_twice, id="it comes twice, and names what Karpenter names"),
        pytest.param(_other(pool="theirs"), id="of another NodePool"),
        pytest.param(_other(pool="nowhere"), id="of a NodePool that does not exist"),
        pytest.param(_other(at=T0 - 10), id="of ten seconds earlier"),
        pytest.param(_other(at=T0 + 6), id="of the future"),
        pytest.param(_other(code="MaxSpotInstanceCountExceeded"), id="with another code"),
        pytest.param(_other(lifecycle="spot"), id="of spot instances, where Karpenter requested on-demand ones"),
        pytest.param(_other(offerings=ALL[1:]), id="without the offering that Karpenter names"),
        pytest.param(_other(region="us-east-1"), id="of another region"),
        pytest.param(_other(account="444455556666"), id="of another account"),
        pytest.param(_other(offerings=(*ALL[:1], ("g5.xlarge", ZONES[1]))), id="with an offering that no unit may have"),
    ],
)
def test_what_is_no_record_of_the_refusal_leaves_the_decision_as_it_is(happens: Callable[[Cluster], None]) -> None:
    """Nobody who may send to the queue can prove a shortage that Karpenter does not report."""
    without, cluster = Cluster(), Cluster()
    for one in (without, cluster):
        one.pool("theirs")
        one.refused()
    happens(cluster)
    assert (cluster.evidence().shortage, cluster.evidence().missing) == (Shortage.SUSPECTED, ZONES[1:])
    assert conclude(Memory(), cluster.snapshot()).decision == conclude(Memory(), without.snapshot()).decision


def test_what_is_launched_after_the_answer_ends_it() -> None:
    """As it ends every refusal."""
    cluster = Cluster()
    cluster.refused()
    cluster.answered(fleet_record(T0, POOL, *ALL))
    launched = node_claim(f"{POOL}-bbbbb", POOL, T0 + 15, Launched="2026-08-25T10:00:18Z")
    launched["metadata"]["labels"] |= {"node.kubernetes.io/instance-type": TYPE, "topology.kubernetes.io/zone": ZONES[2]}
    cluster.clock.advance(20.0)
    cluster.give("NodeClaim", launched)
    assert cluster.evidence().proof is None


def test_spot_instances_are_requested_before_on_demand_ones() -> None:
    """Of the two, a NodeClaim that left both open asked for spot instances: another answer is not its own."""
    cluster = Cluster("spot", "on-demand")
    cluster.refused()
    cluster.answered(fleet_record(T0, POOL, *ALL))
    (refusal,) = cluster.view.pool(POOL, T0).failures
    assert refusal.offerings == ALL[:1]
    cluster.answered(fleet_record(T0, POOL, *ALL, lifecycle="spot"))
    (refusal,) = cluster.view.pool(POOL, T0).failures
    assert set(refusal.offerings) == set(ALL)


def test_what_a_claim_turns_out_to_have_requested_counts() -> None:
    """Its event came first. A spot request was refused beside it; the claim itself left only on-demand instances open."""
    cluster, name = Cluster("spot", "on-demand"), f"{POOL}-aaaaa"
    cluster.give("Event", ice_event(name, T0))
    cluster.answered(fleet_record(T0, POOL, *ALL, lifecycle="spot"))
    claim = node_claim(name, POOL, T0 - 2)
    claim["spec"]["requirements"].append(requirement("karpenter.sh/capacity-type", "on-demand"))
    cluster.give("NodeClaim", claim)
    (refusal,) = cluster.view.pool(POOL, T0).failures
    assert refusal.offerings == ALL[:1]
    assert cluster.evidence().proof is None


@pytest.mark.parametrize("kinds", [("reserved", "spot", "on-demand"), ("",)])
def test_where_nobody_knows_what_was_requested_no_record_is_of_the_refusal(kinds: tuple[str, ...]) -> None:
    """A reservation may have been, or whatever Karpenter takes where the NodePool requires nothing."""
    for lifecycle in ("spot", "on-demand"):
        cluster = Cluster(*kinds)
        if not any(kinds):
            cluster.pool(POOL, ())
        cluster.refused()
        before = cluster.view.pool(POOL, T0)
        cluster.answered(fleet_record(T0, POOL, *ALL, lifecycle=lifecycle))
        same = cluster.view.pool(POOL, T0) == before
        assert same is (lifecycle == "spot" or not any(kinds))


@pytest.mark.parametrize(("code", "kinds"), [("NotLaunched", ("on-demand",)), ("SpotInterrupted", ("spot",))])
def test_a_refusal_that_was_no_answer_of_ec2_has_no_record(code: str, kinds: tuple[str, ...]) -> None:
    """A forged one may name the codes that are not EC2's."""
    cluster = Cluster(*kinds)
    name, since = f"{POOL}-aaaaa", "2026-08-25T09:50:00Z"
    if code == "NotLaunched":
        cluster.give("NodeClaim", node_claim(name, POOL, T0 - 3))
        ended = node_claim(name, POOL, T0 - 3)
        ended["metadata"]["deletionTimestamp"] = "2026-08-25T10:00:00Z"
        cluster.view.changed(KINDS["NodeClaim"], None, "MODIFIED", ended)
    else:
        running = node_claim(name, POOL, T0 - 600, Launched=since, Registered=since)
        running["metadata"]["labels"] |= {"node.kubernetes.io/instance-type": TYPE, "topology.kubernetes.io/zone": ZONES[0]}
        running["metadata"]["labels"]["karpenter.sh/capacity-type"] = "spot"
        cluster.give("NodeClaim", running)
        cluster.give("Event", ice_event(name, T0) | {"reason": code, "message": "Spot interruption warning was triggered"})
    (before,) = cluster.view.pool(POOL, T0).failures
    assert before.codes == (code,)
    record = fleet_record(T0, POOL, *ALL, lifecycle=kinds[0])
    record["detail"]["responseElements"]["CreateFleetResponse"]["errorSet"]["item"].append({"errorCode": code, "lifecycle": kinds[0]})
    cluster.answered(record)
    assert cluster.view.pool(POOL, T0).failures == (before,)


def test_what_only_the_record_names_concerns_those_who_may_buy_it() -> None:
    """Another NodePool has the type that Karpenter's text has no place for."""
    cluster, other = Cluster(), "inf2.8xlarge"
    requirements = [requirement("node.kubernetes.io/instance-type", other), requirement("karpenter.sh/capacity-type", "on-demand")]
    cluster.give("NodePool", {"metadata": {"name": "theirs"}, "spec": {"template": {"spec": {"requirements": requirements}}}})
    cluster.refused()
    assert cluster.view.pool("theirs", T0).elsewhere == ()
    cluster.answered(fleet_record(T0, POOL, ALL[0], (other, ZONES[0])))
    assert [one.claim for one in cluster.view.pool("theirs", T0).elsewhere] == [f"{POOL}-aaaaa"]


def test_an_event_that_is_delivered_again_keeps_its_record() -> None:
    """As with each new list: its record may be none of the newest by then."""
    cluster = Cluster()
    cluster.refused()
    cluster.answered(fleet_record(T0, POOL, *ALL))
    cluster.clock.advance(600.0)
    for second in range(100):
        cluster.answered(fleet_record(T0 + 100 + second, POOL, *ALL))
    cluster.give("Event", ice_event(f"{POOL}-aaaaa", T0))
    (refusal,) = cluster.view.pool(POOL, T0 + 600).failures
    assert set(refusal.offerings) == set(ALL)


def test_each_refusal_has_the_answer_that_is_nearest_to_it() -> None:
    """Two requests in a few seconds were refused differently."""
    cluster = Cluster()
    cluster.refused()
    for at, offerings in ((T0 + 4, ALL), (T0 + 1, ALL[:2]), (T0 - 3, ALL)):
        cluster.answered(fleet_record(at, POOL, *offerings))
    cluster.refused(f"{POOL}-bbbbb")
    found = {one.claim: len(one.offerings) for one in cluster.view.pool(POOL, T0).failures}
    assert found[f"{POOL}-bbbbb"] == 2


def test_a_refusal_keeps_the_record_that_came_first() -> None:
    """It has the codes of that one now: by them the record of another request would be its own, too."""
    cluster = Cluster()
    cluster.refused()
    cluster.answered(fleet_record(T0 + 2, POOL, *ALL[:2]))
    cluster.answered(fleet_record(T0, POOL, *ALL))
    (refusal,) = cluster.view.pool(POOL, T0).failures
    assert set(refusal.offerings) == set(ALL[:2])


def test_only_the_newest_records_of_a_nodepool_are_kept() -> None:
    """A flood of them must not fill the memory."""
    cluster = Cluster()
    cluster.clock.advance(1_000.0)
    for second in range(200):
        cluster.answered(fleet_record(T0 + second, POOL, *ALL))
    assert cluster.view.kept()["fleet answers"] == 32


# --- what is read ---


def test_every_refused_offering_of_a_record_is_read() -> None:
    """And when EC2 answered, by AWS's clock."""
    found = read(fleet_record(T0, POOL, *ALL))
    assert found == FleetAnswer(POOL, T0, False, Offerings(ALL), ("InsufficientInstanceCapacity",), Cause.CAPACITY)


def test_a_list_of_one_is_an_object() -> None:
    """CloudTrail writes it so."""
    record = fleet_record(T0, POOL, ALL[0])
    record["detail"]["requestParameters"]["CreateFleetRequest"]["TagSpecification"] = {
        "ResourceType": "fleet",
        "Tag": {"Key": "karpenter.sh/nodepool", "Value": POOL},
    }
    found = read(record)
    assert found is not None
    assert (found.pool, found.offerings.pairs) == (POOL, ALL[:1])


def _without(*path: str) -> dict[str, Any]:
    """A record that lacks what is at a path."""
    record = fleet_record(T0, POOL, *ALL)
    *steps, last = path
    place = record
    for step in steps:
        place = place[step]
    del place[last]
    return record


def _tagged(*pools: str) -> dict[str, Any]:
    record = fleet_record(T0, POOL, *ALL)
    tags = [{"Key": "karpenter.sh/nodepool", "Value": pool} for pool in pools]
    record["detail"]["requestParameters"]["CreateFleetRequest"]["TagSpecification"] = [{"ResourceType": "fleet", "Tag": tags}]
    return record


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(_without("source"), id="without its source"),
        pytest.param(_without("detail"), id="without a detail"),
        pytest.param(_without("account") | {"account": "444455556666"}, id="of two accounts"),
        pytest.param(_without("detail", "responseElements"), id="a request that failed altogether"),
        pytest.param(_without("detail", "responseElements", "CreateFleetResponse", "errorSet"), id="everything was granted"),
        pytest.param(fleet_record(T0, POOL, *ALL, code="InvalidParameterValue"), id="refused for another cause than capacity"),
        pytest.param(_tagged(), id="of somebody else than Karpenter"),
        pytest.param(_tagged(POOL, "theirs"), id="of two NodePools"),
        pytest.param({"source": "aws.health", "detail-type": "AWS Health Event", "detail": {}}, id="another event"),
        pytest.param([], id="a list"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_is_no_refused_fleet_request_of_karpenter_says_nothing(record: Any) -> None:
    """It is deleted, and not even counted: a rule may send more than it should."""
    assert read(record) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut"),
        pytest.param("\ud800", id="no text"),
        pytest.param("[" * 100_000, id="nested"),
        pytest.param(json.dumps(fleet_record(T0, POOL, *ALL)) + " " * MOST_BYTES, id="too long"),
        pytest.param(json.dumps(_without("detail", "eventTime")), id="without a time"),
        pytest.param(json.dumps(fleet_record(T0, POOL, *ALL, lifecycle="fast")), id="an unknown lifecycle"),
    ],
)
def test_what_cannot_be_read_is_an_error(body: str) -> None:
    """It is counted: its form may have changed."""
    with pytest.raises((ValueError, RecursionError)):
        read_answer(body, ACCOUNT, REGION)


def test_a_record_has_bounds() -> None:
    """More errors than a request of Karpenter can have, and names without end."""
    record = fleet_record(T0, POOL, *((f"inf{number}.xlarge", ZONES[0]) for number in range(1_500)))
    found = read(record)
    assert found is not None
    assert len(found.offerings.pairs) == 400
    long = fleet_record(T0, POOL, ("x" * MAX_VALUE, ZONES[0]), ALL[0])
    found = read(long)
    assert found is not None
    assert found.offerings.pairs == ALL[:1]


def test_records_share_what_they_name() -> None:
    """Thousands of them are kept in an outage: counted each for itself, they would push refusals out."""
    first, second = (read(fleet_record(T0 + second, POOL, *ALL)) for second in (0, 1))
    assert first is not None
    assert second is not None
    assert footprint(first) < footprint(ALL)
    assert all(one is other for one, other in zip(first.offerings.pairs, second.offerings.pairs, strict=True))


def test_an_unreadable_record_is_counted() -> None:
    """People see that the form of the records has changed."""
    cluster = Cluster()
    cluster.view.answered(None)
    assert cluster.view.karpenter.unparsed == 1


def test_a_record_takes_nothing_from_a_refusal() -> None:
    """What Karpenter says stays said."""
    cluster = Cluster()
    cluster.refused()
    (before,) = cluster.view.pool(POOL, T0).failures
    cluster.answered(fleet_record(T0, POOL, *ALL))
    (after,) = cluster.view.pool(POOL, T0).failures
    assert replace(after, offerings=before.offerings) == before
    said = replace(before, offerings=(("inf2.8xlarge", ZONES[2]),), codes=("InsufficientFreeAddressesInSubnet",), cause=Cause.QUOTA)
    both = FleetAnswer(POOL, T0, False, Offerings(ALL), ("InsufficientInstanceCapacity",), Cause.CAPACITY).completed(said)
    assert both.offerings == (*said.offerings, *ALL)
    assert both.codes == ("InsufficientFreeAddressesInSubnet", "InsufficientInstanceCapacity")
    assert both.cause is Cause.CAPACITY
