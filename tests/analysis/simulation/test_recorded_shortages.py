"""From recorded refusals and launches to outages: what nobody asked EC2 for is not known, and what it refused is not had."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.policy.model import Cause, Launch, PendingPod, Refusal, Snapshot
from failover_analysis.simulation.recorded_shortages import RecordedShortages, out_s, outages
from tests.support.applications import NOW, application, snapshot

TYPE = "inf2.xlarge"
UNIT = "sd21-inf2"
MINUTE = 60.0


def refusal(at: float, zone: str = "us-west-2a", **changes: Any) -> Refusal:
    """EC2 had no inf2 in a zone."""
    made = Refusal(f"claim-{at}-{zone}", "inf2", NOW + at, Cause.CAPACITY, ("InsufficientInstanceCapacity",), "a", named_type=TYPE)
    return replace(made, named_zone=zone, instance_types=(TYPE,), capacity_types=("on-demand",), **changes)


def launch(at: float, zone: str = "us-west-2a") -> Launch:
    """EC2 had one."""
    made = Launch(f"claim-{at}", "inf2", NOW + at, NOW + at)
    return replace(made, instance_type=TYPE, zone=zone, capacity_type="on-demand")


def line(at: float, *signals: Refusal | Launch, waits: bool = True) -> Snapshot:
    """What a line of the recording has: these signals, and a pod that waits or none."""
    seen = snapshot(application())
    observed = seen.units[UNIT]
    failures = tuple(one for one in signals if isinstance(one, Refusal))
    launches = tuple(one for one in signals if isinstance(one, Launch))
    pool = replace(observed.pool, failures=failures, launches=launches)
    pending = (PendingPod("p", NOW),) if waits else ()
    return replace(seen, now=NOW + at, units={**seen.units, UNIT: replace(observed, pool=pool, pending=pending)})


def spans(*lines: Snapshot) -> list[tuple[str, float, float]]:
    """The outages: zone, begin and end, seconds from the first line."""
    found = RecordedShortages()
    for one in lines:
        found.add(one)
    return [(one.what.zone, one.start - NOW, one.end - NOW) for one in found.ended()]


def test_an_outage_lasts_from_the_refusal_to_the_launch() -> None:
    """Also where a cycle of Karpenter's cache passes without a named refusal: the pod still waits."""
    first, later = refusal(10), refusal(700)
    between = [line(MINUTE * minute, first) for minute in range(1, 12)]
    assert spans(*between, line(720, first, later), line(780, launch(760))) == [("us-west-2a", 10, 760)]


def test_where_nobody_asks_any_more_it_ends_with_karpenter_s_cache() -> None:
    """What EC2 would have answered is not known, so nothing more is claimed of it."""
    assert spans(line(20, refusal(10), waits=False), *(line(MINUTE * n, waits=False) for n in range(1, 60))) == [("us-west-2a", 10, 190)]


def test_pods_that_wait_for_something_else_do_not_prolong_it_for_ever() -> None:
    """A NodePool at its limit has pods that wait, and nobody asks EC2."""
    found = spans(line(20, refusal(10)), *(line(MINUTE * n) for n in range(1, 120)))
    assert [end for _, _, end in found] == [900]


def test_a_launch_elsewhere_ends_nothing() -> None:
    """Another zone had room."""
    assert spans(line(20, refusal(10)), line(60, launch(50, "us-west-2b"))) == [("us-west-2a", 10, 190)]


def test_each_refusal_counts_once_however_often_it_is_recorded() -> None:
    """A snapshot repeats what the one before it had. A launch between the two has ended the first outage."""
    first = refusal(10)
    assert spans(line(20, first), line(60, first, launch(50)), line(120, first, launch(50), waits=False)) == [("us-west-2a", 10, 50)]


def test_what_cannot_be_played_is_counted() -> None:
    """Interrupted spot nodes, refusals that name no type, wrong settings: the command says how many."""
    found = RecordedShortages()
    wrong = [refusal(1, source="interrupted"), refusal(2, cause=Cause.CONFIG), replace(refusal(3), named_type="", named_zone="")]
    found.add(line(20, *wrong))
    assert found.ended() == []
    assert sum(found.unplayed.values()) == 3


def test_a_type_is_out_where_all_of_its_own_zones_are() -> None:
    """Another type is sold in a third zone; the simulated region has every type in all three."""
    found = RecordedShortages()
    found.add(line(20, refusal(10), refusal(11, "us-west-2b")))
    aliases = {TYPE: {"us-west-2a": ("us-west-2a", "us-west-2c"), "us-west-2b": ("us-west-2b",)}}
    made = outages(found.ended(), NOW, NOW + 100, aliases)
    assert {zone for one in made for zone in one.shortage.zones} == {"us-west-2a", "us-west-2b", "us-west-2c"}
    assert {one.end_s for one in made} == {100}, "no outage goes beyond its stretch"


def test_the_time_in_which_a_type_was_refused_is_that_of_any_zone() -> None:
    """Zones that are out together count once."""
    found = RecordedShortages()
    found.add(line(20, refusal(10), refusal(40, "us-west-2b"), waits=False))
    assert out_s(found.ended()) == {TYPE: 210}
