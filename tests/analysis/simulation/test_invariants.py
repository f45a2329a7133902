"""Every invariant bites: a core with one thing broken is caught, by the invariant that names the harm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

import pytest

from controller.policy import floors as floors_room
from controller.policy import memory, plan
from controller.policy.account import Figures
from controller.policy.case import Case
from controller.policy.decision import conclusion, gate, steady
from controller.policy.decision import decide as decide_module
from controller.policy.evidence import judge as evidence
from controller.policy.evidence import proof
from controller.policy.evidence.proof import Finding
from controller.policy.fleet import Offer
from controller.policy.fleet import floors as fleet_floors
from controller.policy.fleet import strategy as fleet_strategy
from controller.policy.floors import claims as floor_claims
from controller.policy.floors import kept, made_due
from controller.policy.floors.account import written
from controller.policy.model import (
    Application,
    Claim,
    Decision,
    Memory,
    Mode,
    PlannedMode,
    PolicySettings,
    Proof,
    Snapshot,
    Strategy,
    Target,
    Unit,
)
from controller.policy.modes import guards, triggers
from controller.policy.reasons import Reason
from controller.routing.ingress.action import format_action
from controller.service.in_doubt import InDoubt
from controller.service.terms import TermRecord
from failover_analysis.simulation.invariants import HARMS
from failover_analysis.simulation.leadership import SimulatedLeadership
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import ZONES
from tests.analysis.simulation.support import HOUR, breaks, broken, fault, outage, play, setup
from tests.support.applications import application
from tests.support.spot import bought, with_spot

Patch = pytest.MonkeyPatch


def _open(*names: str) -> Callable[[Patch], None]:
    """A core without some guards."""

    def apply(patch: Patch) -> None:
        for sequence in ("ALWAYS", "FAILOVER", "FALLBACK", "MODE_CHANGE", "REROUTE"):
            kept = tuple(guard for guard in getattr(guards, sequence) if guard.name not in names)
            patch.setattr(guards, sequence, kept)

    return apply


def _lowering_at_once(patch: Patch) -> None:
    patch.setattr(steady, "_lowering_in_s", lambda case: 0.0)


def _no_leadership(patch: Patch) -> None:
    patch.setattr(SimulatedLeadership, "confirm", lambda self, epoch, needed_s: True)
    patch.setattr(SimulatedLeadership, "leads", lambda self: True)


@guards.row(Reason.DWELL)
def _never(case: Case) -> guards.Held:
    return guards.Held({"mode": "x", "remaining": "x"})


def _never_over(patch: Patch) -> None:
    patch.setattr(guards, "FAILOVER", (*guards.FAILOVER, _never))


def _content(patch: Patch) -> None:
    patch.setattr(triggers, "nothing_answers", lambda *_: "")


def _never_back(patch: Patch) -> None:
    patch.setattr(guards, "FALLBACK", (*guards.FALLBACK, _never))


def _forgetful(patch: Patch) -> None:
    patch.setattr(conclusion, "applied", lambda memory, *_: replace(memory, mode=Mode.COST))
    patch.setattr(conclusion, "priced", lambda memory, before, after: memory)
    patch.setattr(decide_module, "adopt", lambda memory, mode, *_: memory if memory.mode else replace(memory, mode=mode))


def _speechless(patch: Patch) -> None:
    patch.setattr(Reason.DEMAND_MET, "sentence", "no pod of {nobody} waits")


def _restless(patch: Patch) -> None:
    """Weights that never settle."""
    turn = [0]

    class Moving:
        """Figures whose weights alternate."""

        @staticmethod
        def of(snapshot: Any, returning: Any = ()) -> Figures:
            turn[0] += 1
            made = Figures.of(snapshot, returning)
            return replace(made, cost={name: weight + 20 * (turn[0] % 2) for name, weight in made.cost.items()})

    patch.setattr(decide_module, "Figures", Moving)
    patch.setattr(gate, "_kept", lambda *_, **__: None)
    _unbounded(patch)


def _too_heavy(patch: Patch) -> None:
    def heavy(_application: Application, targets: Iterable[Target], stickiness_s: int) -> str:
        return format_action(targets, stickiness_s).replace('"weight":1}', '"weight":1000}')

    patch.setattr("controller.routing.ingress.adapter.write", heavy)


def _careless(patch: Patch) -> None:
    """Floors that others have set are raised, and sink to those of the application file afterwards."""
    patch.setattr(floor_claims, "found", lambda *_: 0)


def _everybodys(patch: Patch) -> None:
    """Floors of others count as ours, and are not kept."""
    _careless(patch)
    original = plan._scaling

    def scaling(unit: Any, decision: Decision, snapshot: Any, refused: list[str]) -> Any:
        yield from original(unit, decision, _owned(snapshot, unit.name), refused)

    patch.setattr(plan, "_scaling", scaling)


def _owned(snapshot: Any, name: str) -> Any:
    observed = snapshot.units[name]
    scaler = replace(observed.scaler, floor_ours=True, paused=False)
    return replace(snapshot, units={**snapshot.units, name: replace(observed, scaler=scaler)})


def _raising(patch: Patch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise ZeroDivisionError

    patch.setattr(memory, "observe", fail)
    patch.setattr(decide_module, "observe", fail)


def _never_settled(patch: Patch) -> None:
    """A routing action whose answer was lost stays in doubt for ever."""
    patch.setattr(InDoubt, "resolved", lambda self, routing: False)


def _always_believed(patch: Patch) -> None:
    """A routing action without an answer counts as written."""
    patch.setattr(InDoubt, "written", lambda self, routing: True)


def _never_saved_again(patch: Patch) -> None:
    """A save whose answer was lost counts as one that was not carried out."""
    patch.setattr(TermRecord, "_settled", lambda self, stored: stored)


def _touched_for_another(patch: Patch) -> None:
    """A stored object that somebody touched counts as another's memory."""
    patch.setattr(TermRecord, "_touched", lambda self, stored: None)


def _unbounded(patch: Patch) -> None:
    """No change of the routing waits for another writer, nor because there were many."""
    patch.setattr(gate, "_paused", lambda *_, **__: None)


def _trusting(patch: Patch) -> None:
    """A target group in which nobody has seen a healthy target counts as healthy."""
    patch.setattr(guards, "known_targets", lambda snapshot, healthy: dict.fromkeys(snapshot.application.services, 1000))


def _hasty(patch: Patch) -> None:
    """Pods that wait prove a shortage."""
    examine = proof.examine

    def taken(*args: Any) -> Finding:
        found = examine(*args)
        return replace(found, proof=Proof.NAMED) if args[2] else found

    patch.setattr(evidence, "examine", taken)


def _suspicious(patch: Patch) -> None:
    """One refusal proves a shortage."""
    examine = proof.examine

    def taken(*args: Any) -> Finding:
        found = examine(*args)
        return replace(found, proof=Proof.NAMED) if found.refusals else found

    patch.setattr(evidence, "examine", taken)


def _never_proven(patch: Patch) -> None:
    """Nothing proves a shortage."""
    patch.setattr(evidence, "examine", lambda *_: Finding(None))


def _floors_dropped(patch: Patch) -> None:
    """Planned floors that are given up after a while."""
    turn, original = [0], fleet_strategy.planned_claims  # type: ignore[attr-defined]

    def dropping(snapshot: Any, *rest: Any) -> tuple[Claim, ...]:
        turn[0] += 1
        found = original(snapshot, *rest)
        return found if turn[0] < _DROPPED else tuple(replace(claim, replicas=1) for claim in found)

    patch.setattr(fleet_strategy, "planned_claims", dropping)


def _waiting(patch: Patch, window: Callable[[Unit], float]) -> None:
    """Planned floors that wait for a time of their own, also after a change."""
    original = fleet_floors._sunk
    patch.setattr(fleet_floors, "window_s", lambda unit, _scaler: window(unit))
    patch.setattr(fleet_floors, "_sunk", lambda scaler, *rest: original(replace(scaler, scale_in_s=0.0), *rest))


def _no_window(patch: Patch) -> None:
    """Planned floors that sink with every sample."""
    _waiting(patch, lambda unit: 0.0)


def _own_window(patch: Patch) -> None:
    """Planned floors that do not ask how long their scalers wait."""
    _waiting(patch, lambda unit: unit.cold_start_s)


def _floors_forgotten(patch: Patch) -> None:
    """A mode change makes no floors due."""
    patch.setattr(floors_room, "written", lambda memory, *rest: made_due(written(memory, *rest), ()))


def _absent_is_settled(patch: Patch) -> None:
    """The floor of a ScaledObject that is not there is due no longer."""

    def settling(memory: Memory, snapshot: Snapshot, *rest: Any) -> Memory:
        made = written(memory, snapshot, *rest)
        there = {unit.scaled_object for unit in snapshot.application.units if snapshot.units[unit.name].scaler is not None}
        return kept(made, {name: replace(one, due=one.due and name in there) for name, one in made.floors.items()})

    patch.setattr(floors_room, "written", settling)


def _traffic_or_not(patch: Patch) -> None:
    """A unit's last replica goes while its weight is not 0 yet."""
    patch.setattr(floor_claims, "_last", lambda _snapshot: iter(()))


def _no_loss_planned(patch: Patch) -> None:
    """A fleet without the condition on families."""
    original = fleet_strategy.planned  # type: ignore[attr-defined]

    def without(snapshot: Any, *rest: Any) -> Any:
        policy = replace(snapshot.application.policy, resilience_share=0.0)
        return original(replace(snapshot, application=replace(snapshot.application, policy=policy)), *rest)

    patch.setattr(fleet_strategy, "planned", without)


def _no_pool_planned(patch: Patch) -> None:
    """A fleet without the condition on spot pools."""
    module = import_module("controller.policy.fleet.planned")
    original = module.offered

    def without(*args: Any, **named: Any) -> tuple[Offer, ...]:
        return tuple(replace(offer, pool="") for offer in original(*args, **named))

    patch.setattr(module, "offered", without)


_DROPPED = 200  # passes: about two hours
_PLANNED = PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)
PLANNED = {"application": replace(application(), policy=_PLANNED), "demand": lambda at: 1500.0}
WAVES = {**PLANNED, "demand": lambda at: 1500.0 + 700.0 * math.sin(at / 100.0)}
_FIRST, *_OTHERS = application().units
AT_ZERO = {
    "application": replace(
        application(), units=(_FIRST, *(replace(one, min_replicas=0) for one in _OTHERS)), policy=replace(_PLANNED, resilience_share=0.0)
    ),
    "demand": lambda at: 800.0 + 300.0 * math.sin(2 * math.pi * at / (0.8 * HOUR)),
}
SLOW = {
    **PLANNED,
    "demand": lambda at: 1500.0 + 700.0 * math.sin(at / 600.0),
    "scale_in_s": {unit.name: 3600.0 for unit in application().units},
}

SPOT = {
    "application": with_spot(*ZONES),
    "demand": lambda at: 1500.0,
    "capacity_types": bought(with_spot(*ZONES)),
}

SHORT = {"outages": (outage(0.1, 0.9),), "seconds": 5 * HOUR}
SERVICE_DELETED = {
    "seconds": 3 * HOUR,
    "outages": (outage(0.25, 3),),
    "faults": (fault("capacity-service-deleted", 1.5, 0.5, value=0.75),),
}

# In cost mode with the action of capacity mode, which no weights are close to.
REWRITTEN = {
    **SHORT,
    "application": replace(application(), policy=PolicySettings(strategy=Strategy.ADAPTIVE, failover_utilization=0.0)),
    "demand": lambda at: 1200.0 + 350.0 * math.sin(at / 150.0),
    "faults": (fault("action-rewritten", 0.5, 4.0),),
}

AT_ONCE = replace(application(), policy=replace(application().policy, patience_s=0.0, failover_utilization=0.0))
TWO_ZONES_OUT = {"outages": (outage(0.1, 3.0, zones=("us-west-2a", "us-west-2b")),), "application": AT_ONCE}

# The scalers know the demand, and the controller does not.
UNCOUNTED = fault("cloudwatch-throttled", 0.0, 3.0)
AMONG_OTHERS = {"outages": (outage(0.1, 3.0),), "faults": (UNCOUNTED, fault("other-applications-wait", 0.05, 3.0)), "seconds": 3 * HOUR}

# Late writes of an earlier term conflict by themselves. So the former leader must observe anew what has to be put right, and be faster.
TWO_ACT = (fault("process-pauses-before-acting", 0.05, 3.0, value=0.0), fault("ingress-recreated", 0.115, 0.01))

MUTANTS: dict[str, tuple[Callable[[Patch], None], dict[str, Any], str]] = {
    "an action that AWS refuses": (_too_heavy, SHORT, "legal"),
    "no fencing": (_no_leadership, {**SHORT, "faults": TWO_ACT}, "one-writer"),
    "a new target group that counts as healthy": (
        _trusting,
        {**SHORT, "outages": (outage(0.1, 2.0),), "faults": (fault("standby-rules-removed", 0.01, 1.0),)},
        "registered",
    ),
    "no drain": (_lowering_at_once, SHORT, "drained"),
    "floors of others": (_everybodys, {"faults": (fault("floor-raised-by-a-person", 0.2),)}, "not-ours"),
    "a floor that is forgotten": (
        _careless,
        {
            **SHORT,
            "faults": (fault("floor-raised-by-a-person", 0.02),),
            "demand": lambda at: 600.0 + 350.0 * at / HOUR if at < 2 * HOUR else 60.0,
        },
        "not-ours",
    ),
    "no dwell": (
        _open("dwell", "hold", "quiet", "flip budget", "ready", "verified"),
        {"outages": (outage(0.1, 0.3),), "demand": lambda at: 600.0 if at < HOUR / 6 else 1400.0, "seconds": HOUR},
        "dwell",
    ),
    "stale signals": (_open("fresh"), {**SHORT, "faults": (fault("watch-stalls-workloads", 0.105, 0.9),)}, "blind"),
    "a pause that is not heard": (_open("paused"), {**SHORT, "faults": (fault("paused-by-a-person", 0.05, 2.0),)}, "paused"),
    "a sentence without its words": (_speechless, {"seconds": HOUR}, "explained"),
    "a mode change that is forgotten": (_forgetful, SHORT, "recorded"),
    "a lost answer that is never settled": (
        _never_settled,
        {**SHORT, "seconds": 2 * HOUR, "faults": (fault("api-lost-answers", 0.9, 1.0),)},
        "recorded",
    ),
    "a lost request that is believed written": (
        _always_believed,
        {**SHORT, "seconds": 2 * HOUR, "faults": (fault("api-writes-fail", 1.2, 0.3), fault("api-conflicts", 1.4, 0.5))},
        "recorded",
    ),
    "a save without an answer that is never settled": (
        _never_saved_again,
        {**SHORT, "seconds": 3 * HOUR, "faults": (fault("saves-time-out", 0.8, 0.6),)},
        "recorded",
    ),
    "a memory that is dropped because its object was touched": (
        _touched_for_another,
        {**SHORT, "seconds": 3 * HOUR, "faults": (fault("save-conflicts", 1.0, 0.5, value=0.9),)},
        "recorded",
    ),
    "no failover": (_never_over, SHORT, "late-failover"),
    "no fallback": (_never_back, {**SHORT, "seconds": 8 * HOUR}, "late-fallback"),
    "traffic that stays where nothing is": (_content, SERVICE_DELETED, "nothing-behind"),
    "waiting pods taken for proof": (_hasty, {"seconds": 3 * HOUR}, "truth"),
    "one refusal taken for proof": (_suspicious, TWO_ZONES_OUT, "truth"),
    "a rule that proves nothing": (_never_proven, {**SHORT, "outages": (outage(0.1, 2.0),)}, "truth"),
    "floors that a later pass does not raise": (_floors_forgotten, AMONG_OTHERS, "lost-floors"),
    "an action that a webhook rewrites is written in every pass": (
        _unbounded,
        {**SHORT, "faults": (fault("action-rewritten", 0.05, 3.0),)},
        "restless",
    ),
    "weights that a webhook rewrites are written with every sample": (
        _unbounded,
        REWRITTEN,
        "restless",
    ),
    "weights of which a webhook makes others are written with every sample": (
        _unbounded,
        {**REWRITTEN, "faults": (fault("action-altered", 0.5, 4.0),)},
        "restless",
    ),
    "floors whose ScaledObject was not there for a while": (
        _absent_is_settled,
        {**AMONG_OTHERS, "faults": (UNCOUNTED, fault("scaler-missing", 0.5, 1.0, unit="sd21-trn1"))},
        "lost-floors",
    ),
    "weights that never settle": (_restless, {"seconds": 2 * HOUR, "interval_s": 15.0}, "restless"),
    "planned floors that are given up": (_floors_dropped, PLANNED, "planned-need"),
    "planned floors that follow every sample": (_no_window, WAVES, "planned-churn"),
    "planned floors that sink before their scalers would": (_own_window, SLOW, "planned-churn"),
    "planned floors that take the last replica at once": (_traffic_or_not, AT_ZERO, "last-replica"),
    "planned floors without a spare family": (_no_loss_planned, PLANNED, "planned-loss"),
    "planned floors without a spare spot pool": (_no_pool_planned, SPOT, "planned-loss"),
    "an error": (_raising, {"seconds": HOUR}, "exception"),
}


@cache
def _broken_unchanged(name: str) -> set[str]:
    """What the production core breaks in the world of a mutant."""
    return broken(play(**MUTANTS[name][1]))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_core_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mutant breaks what it is about."""
    mutate, world, expected = MUTANTS[name]
    first = next(other for other, (_, same, _) in MUTANTS.items() if same == world)  # several share a world
    assert _broken_unchanged(first) == set()
    mutate(monkeypatch)
    assert breaks(Simulation(setup(**world), 1), expected)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fits_the_core(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a mutant breaks is still there: a moved function fails here, in seconds."""
    mutate, _, _ = MUTANTS[name]
    mutate(monkeypatch)


def test_every_invariant_says_whom_it_protects() -> None:
    """A sentence of the harm for each, and a mutant for each but those that only a wrong world could break."""
    assert {expected for _, _, expected in MUTANTS.values()} | {"ready", "mode-changes", "leaderless", "mode-change-harm"} == set(HARMS)
    assert all(sentence and not sentence.endswith(".") for sentence in HARMS.values())
