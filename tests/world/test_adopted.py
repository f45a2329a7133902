"""The AWS sample's stack, adopted with `init`, prepared with what `doctor` prints, and led through what can happen to it.

``make test-world ARGS="-k adopted"`` ends with the table of the steps.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from itertools import groupby
from typing import Final

import pytest

from controller.policy.karpenter_times import ICE_CACHE_S
from controller.policy.model import Mode, Verdict
from controller.routing.ingress.action import parse_action
from controller.service.wiring import Service
from failover_harness.controllers.fleets import QUOTA
from failover_harness.waiting import wait_for
from tests.cluster.processes import Process
from tests.support.constants import set_constant
from tests.world.adopted import AdoptedStack, KilledAtWrites
from tests.world.balanced import alerts, verdict
from tests.world.steps import Steps
from tests.world.test_world import RETURN_S

_FAILOVER_S: Final = 150.0
"""KEDA asks every 30 s, its autoscaler acts every 15 s, Karpenter takes a cycle of 10 s, and a busy machine is slow."""
_SHOWN_S: Final = 60.0
_UNEXPLAINED_S: Final = ICE_CACHE_S + 1
"""Age of a waiting pod from which the controller asks for Karpenter: a second longer than Karpenter's own cache."""
_LIVES: Final = 20
"""More processes than a mode change has writes."""
_WHOLE_S: Final = 1800
"""More than all steps take on a busy machine, each at its deadline apart."""
_PASSES: Final = 3
"""A process that has decided this often and written nothing has nothing to write."""


@pytest.mark.timeout(_WHOLE_S)
def test_it_is_adopted_made_safe_and_led_through_outages(adopted: AdoptedStack, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mode change before its targets are healthy; one change of one rule each way; what people delete or overwrite is put right."""
    _adopt(steps, adopted)
    set_constant(monkeypatch, "HARD_DEMAND_S", _UNEXPLAINED_S)
    with adopted.controller() as service:
        _make_safe_while_a_failover_waits(steps, adopted, service)
        _overwrite_and_delete(steps, adopted, service)
        _return(steps, adopted, service)
        _lose_one_zone(steps, adopted, service)
        _meet_a_quota(steps, adopted, service)
        _stop_karpenter(steps, adopted, service)


@pytest.mark.timeout(_WHOLE_S)
def test_a_controller_killed_at_its_writes_changes_the_mode_once_each_way(adopted: AdoptedStack, steps: Steps) -> None:
    """Each process is killed at its first, second or third write, in turn, and the next continues, until nothing is left to write."""
    _adopt(steps, adopted)
    adopted.make_safe()
    cost = parse_action(adopted.action())[0]
    neuron = [unit for unit, pool in adopted.manifests.pools.items() if "neuron" in pool]
    for unit in neuron:
        adopted.refuse_family(unit, adopted.zones)
        adopted.scale(unit, 2)
    _killed_until(steps, adopted, Mode.CAPACITY, "the Neuron families are refused under a wave", _FAILOVER_S)
    for unit in neuron:
        adopted.restore_family(unit)
    _killed_until(steps, adopted, Mode.COST, "EC2 has both families again", RETURN_S)
    over_all = [targets == {adopted.manifests.capacity} for targets in map(_named, adopted.routings())]
    assert [capacity for capacity, _ in groupby(over_all)][-2:] == [True, False], "the last two changes of the mode"
    assert sum(capacity for capacity, _ in groupby(over_all)) == 1, "one mode change each way, whichever process was killed"
    wait_for("the weights as published", lambda: parse_action(adopted.action())[0] == cost, _SHOWN_S, adopted.report)


# --- steps ----------------------------------------------------------------------------------------------------------------------------


def _adopt(steps: Steps, stack: AdoptedStack) -> None:
    since = time.monotonic()
    said = stack.adopt()
    steps.take(
        "`failoverctl init` on the stack as applied",
        "every value is found",
        lambda: "0 value(s) not found" in said,
        lambda: "0 values not found",
        deadline_s=1,
        since=since,
        state=stack.report,
    )


def _make_safe_while_a_failover_waits(steps: Steps, stack: AdoptedStack, service: Service) -> None:
    """Without standby rules a failover would lose requests. Doctor's patch makes it safe, but only once the targets are healthy."""
    inf2, since = _unit(stack, "inf2"), time.monotonic()
    stack.refuse_family(inf2, stack.zones)
    stack.scale(inf2, 2)
    steps.take(
        "every type of the inf2 family is refused in every zone; there are no standby rules",
        "the failover is held as unsafe; a unit whose only replica Karpenter moves meanwhile gets no weight",
        lambda: "held/UnsafeSwitch" in alerts(service),
        lambda: f"mode {stack.mode() or 'cost'}, {alerts(service)['held/UnsafeSwitch'].split(':')[0][:90]}",
        deadline_s=_FAILOVER_S,
        since=since,
        state=stack.report,
    )
    assert stack.manifests.capacity not in stack.targets()
    before, since = len(stack.front.writes()), time.monotonic()
    stack.prepare()
    registered: list[float] = []

    def capacity() -> bool:
        if not registered and 0 < stack.endpoints(stack.manifests.capacity) == stack.targets_of(stack.manifests.capacity):
            registered.append(time.monotonic() - since)
        return stack.mode() == "capacity"

    steps.take(
        "doctor's patch is applied while the failover waits",
        "capacity mode, after the targets of its Service are registered and healthy",
        capacity,
        lambda: f"registered after {registered[0]:.1f} s, then capacity mode",
        deadline_s=_SHOWN_S,
        since=since,
        state=stack.report,
    )
    assert registered, "the failover went out before its targets were registered"
    assert stack.healthy_of(stack.manifests.capacity) == stack.targets_of(stack.manifests.capacity)
    steps.take(
        "(the same)",
        "ELBv2 shows it",
        partial(_shows, stack, service),
        lambda: ", ".join(f"{stack.changes(before).count(name)} {name}" for name in sorted(set(stack.changes(before)))),
        deadline_s=_SHOWN_S,
        since=since,
        state=stack.report,
    )
    assert sum(_named(action) == {stack.manifests.capacity} for action in stack.routings()) == 1, "one change of the mode"


def _overwrite_and_delete(steps: Steps, stack: AdoptedStack, service: Service) -> None:
    """What the sample's own script and a careless person do to the Ingress in capacity mode."""
    since = time.monotonic()
    stack.reapply_published()  # this also takes the standby rules away
    steps.take(
        "the published Ingress is applied again by force, which also removes the standby rules",
        "the missing standby rules are reported; no second mode change",
        lambda: stack.action() == stack.manifests.action() and any("held" in key or "standby" in key for key in alerts(service)),
        lambda: ", ".join(sorted(alerts(service))),
        deadline_s=_SHOWN_S,
        since=since,
        state=stack.report,
    )
    since = time.monotonic()
    stack.prepare()
    steps.take(
        "doctor's patch is applied again",
        "capacity mode is restored and ELBv2 shows it",
        lambda: stack.targets() == [stack.manifests.capacity] and _shows(stack, service),
        lambda: f"action of {stack.mode()} mode",
        deadline_s=_FAILOVER_S,
        since=since,
        state=stack.report,
    )
    since = time.monotonic()
    stack.forget()
    steps.take(
        "the routing action and the mode marker are deleted",
        "both are written again from memory",
        lambda: stack.mode() == "capacity" and stack.targets() == [stack.manifests.capacity],
        lambda: f"action of {stack.mode()} mode",
        deadline_s=_SHOWN_S,
        since=since,
        state=stack.report,
    )


def _return(steps: Steps, stack: AdoptedStack, service: Service) -> None:
    inf2, since = _unit(stack, "inf2"), time.monotonic()
    stack.restore_family(inf2)
    steps.take(
        "EC2 has the family again",
        "cost mode, once Karpenter has launched a node of it and its pod is ready; ELBv2 shows it",
        lambda: stack.mode() == "cost" and _shows(stack, service),
        lambda: f"{stack.endpoints(inf2)} replicas of {inf2} are ready, mode {stack.mode()}",
        deadline_s=RETURN_S,
        since=since,
        state=stack.report,
    )


def _lose_one_zone(steps: Steps, stack: AdoptedStack, service: Service) -> None:
    l4, action = _unit(stack, "l4"), stack.action()
    wanted, since = stack.endpoints(l4) + 1, time.monotonic()
    stack.refuse_family(l4, stack.zones[:1])
    stack.scale(l4, wanted)
    steps.take(
        "one zone has no L4; KEDA wants one more replica",
        "the replica runs in another zone; the mode stays",
        lambda: stack.endpoints(l4) == wanted,
        lambda: f"{wanted} replicas ready, mode {stack.mode()}",
        deadline_s=_FAILOVER_S,
        since=since,
        state=stack.report,
    )
    assert stack.action() == action


def _meet_a_quota(steps: Steps, stack: AdoptedStack, service: Service) -> None:
    l4 = _unit(stack, "l4")
    has, since = stack.endpoints(l4), time.monotonic()
    stack.refuse_family(l4, stack.zones, QUOTA)
    stack.scale(l4, has + 1)
    steps.take(
        "the account's quota refuses one more L4 replica",
        "an alert names the quota",
        lambda: f"cause/{l4}/quota" in alerts(service),
        lambda: alerts(service)[f"cause/{l4}/quota"][:120],
        deadline_s=_FAILOVER_S,
        since=since,
        state=stack.report,
    )
    since = time.monotonic()
    stack.restore_family(l4)
    steps.take(
        "the quota is raised",
        "the replica runs once Karpenter tries again, which takes it three minutes; cost mode",
        lambda: stack.endpoints(l4) > has and stack.mode() == "cost" and f"cause/{l4}/quota" not in alerts(service),
        lambda: f"{has + 1} replicas of {l4} are ready, mode {stack.mode()}, the alert is over",
        deadline_s=RETURN_S + _FAILOVER_S,
        since=since,
        state=stack.report,
    )


def _stop_karpenter(steps: Steps, stack: AdoptedStack, service: Service) -> None:
    l4 = _unit(stack, "l4")
    wanted = stack.endpoints(l4) + 3  # more than fit on nodes that are there
    with stack.karpenter.frozen():
        since = time.monotonic()
        stack.scale(l4, wanted)
        steps.take(
            "Karpenter is stopped while replicas are wanted",
            "an alert asks whether it runs; the mode stays",
            lambda: f"silent/{l4}" in alerts(service),
            lambda: alerts(service)[f"silent/{l4}"][:120],
            deadline_s=_UNEXPLAINED_S + _FAILOVER_S,
            since=since,
            state=stack.report,
        )
        assert stack.mode() == "cost"
    since = time.monotonic()
    steps.take(
        "Karpenter runs again",
        "the replicas are ready, and the alert is over",
        lambda: stack.endpoints(l4) >= wanted and f"silent/{l4}" not in alerts(service),
        lambda: f"{wanted} replicas of {l4} are ready",
        deadline_s=_FAILOVER_S,
        since=since,
        state=stack.report,
    )


def _killed_until(steps: Steps, stack: AdoptedStack, mode: Mode, done: str, deadline_s: float) -> None:
    """Kills processes at their writes until one has too few to be killed at."""
    since, writes = time.monotonic(), []
    for life in range(_LIVES):
        with stack.process() as process, KilledAtWrites(stack, process, life % 3 + 1) as killer:
            what = f"a write, or nothing left to write in {mode} mode"
            wait_for(what, partial(_killed_or_settled, stack, process, killer, mode, set()), deadline_s, stack.report)
            if killer.write is None:
                break
            writes.append(killer.write.resource)
    else:
        raise AssertionError(f"{_LIVES} processes were killed, and there is still something to write: {writes}")
    assert writes, "nobody was killed"
    times = ", ".join(f"{count} at {resource}" for resource, count in sorted(Counter(writes).items()))
    observed = f"{len(writes)} processes killed: {times}"
    steps.note(f"{done}; kill -9 at a write of every process", f"{mode} mode, with one change of the Ingress", observed, since=since)


def _killed_or_settled(stack: AdoptedStack, process: Process, killer: KilledAtWrites, mode: Mode, passes: set[str]) -> bool:
    """Whether the process was killed at a write, or has decided often enough without one in the mode."""
    if killer.write is not None:
        return True
    passes.add(str(process.application().get("at")))
    return stack.mode() == str(mode) and len(passes) > _PASSES


def _named(action: str) -> set[str]:
    """The Services of a routing action."""
    return {target.service for target in parse_action(action)[0]}


def _unit(stack: AdoptedStack, accelerator: str) -> str:
    """The unit on the NodePool of an accelerator."""
    return next(unit for unit, pool in sorted(stack.manifests.pools.items()) if pool.endswith(accelerator))


def _shows(stack: AdoptedStack, service: Service) -> bool:
    return verdict(service, stack) is Verdict.YES
