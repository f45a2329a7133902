"""The faults by name: what each does to the world and how it ends.

They come from docs/research/reliability.md. Faults that mean nothing in virtual time are left out (pagination, expired tokens, rows of
Logs Insights, full disks, slow sinks, clock rates): unit tests cover those.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from controller.policy.model import Mode, Override, Target
from controller.policy.routing import capacity_targets, cost_targets
from controller.routing.annotations import MARKER, WRITTEN_BY
from failover_analysis.simulation.built import LiveRule
from failover_analysis.simulation.cluster import types_of
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.outages import Outage, family
from failover_analysis.simulation.scarcity import SPOT
from failover_analysis.simulation.setup import FaultPlan
from failover_analysis.simulation.simulated_view import KARPENTER, ROUTING, WORKLOADS
from failover_testbed.capacity.ec2 import Code, FleetAnswer, Shortage

Undo = Callable[[], None]
Begin = Callable[[Engine, FaultPlan], Undo | None]

EVERY_H: Final = 3.0
"""Mean hours between two random faults: several a day, with enough calm in between to check liveness."""

OF_ROUTES_EVERY_H: Final = 12.0
"""The same for two of the faults that only a route can have."""

_TOO_HIGH: Final = 4000  # a weight
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DIGITS: Final = 3  # milliseconds


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault.

    Attributes:
        begin: Starts the fault. Returns the function that ends it, or None if it ends by itself.
        shortest_s: Shortest duration of a random one, seconds.
        longest_s: Longest duration of a random one, seconds.
        disturbs: Whether it may keep the controller from seeing a shortage or from acting on it.
        drawn: Whether random runs have it.
        of_routes: Whether only a route can have it: nothing happens to an Ingress.
    """

    begin: Begin
    shortest_s: float = 0.0
    longest_s: float = 0.0
    disturbs: bool = True
    drawn: bool = True
    of_routes: bool = False


def _setting(name: str, value: object, harmless: object) -> Begin:
    """A fault that sets one field of the fault state."""

    def begin(engine: Engine, plan: FaultPlan) -> Undo:
        del plan
        setattr(engine.fault_state, name, value)
        return partial(setattr, engine.fault_state, name, harmless)

    return begin


def _counted(name: str, most: int) -> Begin:
    """A fault that hits the next few operations of a kind, or fewer if the fault ends first."""

    def begin(engine: Engine, plan: FaultPlan) -> Undo:
        setattr(engine.fault_state, name, 1 + int(plan.value * most))
        return partial(setattr, engine.fault_state, name, 0)

    return begin


def _stalled(kind: str) -> Begin:
    def begin(engine: Engine, plan: FaultPlan) -> Undo:
        del plan
        engine.fault_state.stalled.add(kind)
        return partial(engine.fault_state.stalled.discard, kind)

    return begin


def _of_unit(name: str) -> Begin:
    """A fault of one unit's pods that changes which of them get requests."""

    def begin(engine: Engine, plan: FaultPlan) -> Undo:
        units: set[str] = getattr(engine.fault_state, name)
        engine.traffic.advance()
        units.add(plan.unit)

        def end() -> None:
            engine.traffic.advance()
            units.discard(plan.unit)

        return end

    return begin


# --- processes --------------------------------------------------------------------------------------------------------------------------


def _crash(side: str) -> Begin:
    """The process dies at its next action, or when the fault ends if there was none."""

    def begin(engine: Engine, plan: FaultPlan) -> Undo:
        del plan
        engine.fault_state.crash = side
        return partial(setattr, engine.fault_state, "crash", "")

    return begin


def _restart(engine: Engine, plan: FaultPlan) -> None:
    engine.restart(2.0 + 60.0 * plan.value)


def _usurp(engine: Engine, plan: FaultPlan) -> None:
    del plan
    engine.usurp()


def _pause(engine: Engine, plan: FaultPlan) -> Undo:
    """The process is suspended. It resumes with what it knew, unless another process took over."""
    del plan
    replica = engine.replica
    replica.paused = True
    return replica.resume


def _pause_and_usurp(engine: Engine, plan: FaultPlan) -> Undo:
    """As `_pause`, and another process takes the Lease meanwhile."""
    old = engine.replica
    end = _pause(engine, plan)
    engine.event_queue.after(16.0, engine.usurp_paused)

    def resume() -> None:
        end()
        engine.event_queue.after(1.0, partial(engine.retire, old))

    return resume


def _freeze_and_usurp(engine: Engine, plan: FaultPlan) -> Undo:
    """As `_pause_and_usurp`, between a decision and its actions: the process resumes with the plan of an earlier term."""
    old = engine.replica

    def froze() -> None:
        engine.event_queue.after(16.0, engine.usurp_paused)
        engine.event_queue.after(20.0 + 60.0 * plan.value, old.resume)
        engine.event_queue.after(90.0, partial(engine.retire, old))

    old.froze = froze

    def end() -> None:
        old.froze = None

    return end


def _lose_memory(engine: Engine, plan: FaultPlan) -> None:
    engine.store.lose()
    engine.memory_lost_at = engine.event_queue.now
    engine.restart(2.0 + 10.0 * plan.value)


def _step(direction: int) -> Begin:
    """The controller's wall clock steps by a minute to an hour, and back when the fault ends. The cluster's clock stays right."""

    def begin(engine: Engine, plan: FaultPlan) -> Undo:
        seconds = direction * round(_MINUTE * 60**plan.value, _DIGITS)
        engine.clock.step(seconds)
        return partial(engine.clock.step, -seconds)

    return begin


# --- the routing object and the load balancer ---------------------------------------------------------------------------------------------


def _stop_balancer(engine: Engine, plan: FaultPlan) -> Undo:
    del plan
    engine.fault_state.lbc_stopped = True

    def end() -> None:
        engine.fault_state.lbc_stopped = False
        engine.balancer.resume()

    return end


def _block(engine: Engine, plan: FaultPlan) -> Undo:
    """The load-balancer controller cannot read another Ingress of the group, or the Gateway."""
    del plan
    wrong = "gateway: listeners of one port have different protocols"
    if not engine.api.routing.of_gateway:
        wrong = "ingress: other/shop: unknown action type: forwrd"
    engine.fault_state.lbc_blocked = f"Failed build model due to {wrong}"
    engine.balancer.resume()

    def end() -> None:
        engine.fault_state.lbc_blocked = ""
        engine.balancer.resume()

    return end


def _replace_rule(engine: Engine, plan: FaultPlan) -> Undo:
    """Somebody changes the live rule by hand in ELBv2. The load-balancer controller restores it when the fault ends."""
    units = engine.application.units
    victim = units[int(plan.value * len(units)) % len(units)]
    targets = tuple(Target(unit.backend.service, unit.backend.port, 1 if unit is victim else 0) for unit in units)
    engine.tampered_at = engine.event_queue.now
    engine.balancer.set(LiveRule(targets))

    return engine.balancer.resume


def _edit_action(engine: Engine, plan: FaultPlan) -> None:
    """Somebody writes an action with other weights."""
    units = engine.application.units
    weights = {unit.name: 1 + int(plan.value * 97 * (place + 1)) % 99 for place, unit in enumerate(units)}
    engine.api.routing.edit(_cost_action(engine, weights), "argocd-controller")


def _cost_action(engine: Engine, weights: Mapping[str, int]) -> str:
    """The action of cost mode with these weights by unit, as somebody else writes it."""
    application = engine.application
    return engine.api.routing.port.write(application, cost_targets(application, weights), 0)


def _invalid(engine: Engine) -> str:
    """An action that the API server takes and the load-balancer controller does not: of a route, a weight beyond the highest."""
    capacity = engine.application.capacity
    if engine.api.routing.of_gateway:
        return json.dumps([{"name": capacity.service, "port": capacity.port, "weight": _TOO_HIGH}])
    return '{"type":"forwrd"}'


def _break_action(engine: Engine, plan: FaultPlan) -> Undo | None:
    """Somebody writes an invalid action and corrects it when the fault ends."""
    routing = engine.api.routing
    before = routing.observed.action
    if routing.port.read(before)[2]:
        return None  # it is invalid already
    invalid = _invalid(engine) if plan.value < 0.5 else None  # noqa: PLR2004 - one half each
    routing.edit(invalid, "kubectl-edit")

    def end() -> None:
        if routing.observed.exists:
            routing.edit(before, "kubectl-edit")

    return end


def _recreate(engine: Engine, plan: FaultPlan) -> Undo:
    """The routing object is deleted and created again from Git: in cost mode, without our marker."""
    del plan
    weights = {unit.name: unit.weight if unit.weight is not None else 1 for unit in engine.application.units}
    engine.api.routing.delete()
    return partial(engine.api.routing.create, _cost_action(engine, weights), "argocd-controller", engine.setup.override)


def _service_deleted(engine: Engine, service: str, plan: FaultPlan) -> Undo:
    """Somebody deletes a Service, and makes it again when the fault ends. Half of the load-balancer controllers tolerate that."""
    fault_state = engine.fault_state

    def put(deleted: set[str], *, strict: bool) -> None:
        engine.traffic.advance()
        fault_state.deleted, fault_state.lbc_strict = deleted, strict
        engine.balancer.service_changed()

    put(fault_state.deleted | {service}, strict=plan.value < 0.5)  # noqa: PLR2004 - one half each
    return lambda: put(fault_state.deleted - {service}, strict=False)


def _capacity_service_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    return _service_deleted(engine, engine.application.capacity.service, plan)


def _unit_service_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    return _service_deleted(engine, engine.application.unit(plan.unit).backend.service, plan)


def _node_pool_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    pool = engine.application.unit(plan.unit).node_pool
    engine.traffic.advance()
    engine.karpenter.delete(pool)
    return partial(engine.karpenter.create, pool)


def _node_class_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    pool = engine.application.unit(plan.unit).node_pool
    engine.karpenter.delete_class(pool)
    return partial(engine.karpenter.create_class, pool)


def _of_both(begin: Callable[[Engine, str], Undo]) -> Begin:
    """A fault of the capacity Service or, in the upper half of its draws, of the unit's."""

    def begun(engine: Engine, plan: FaultPlan) -> Undo:
        capacity, unit = engine.application.capacity.service, engine.application.unit(plan.unit).backend.service
        return begin(engine, unit if plan.value >= 0.5 else capacity)  # noqa: PLR2004 - one half each

    return begun


def _binding_deleted(engine: Engine, service: str) -> Undo:
    engine.balancer.unbind(service)
    return engine.balancer.resume


def _target_group_deleted(engine: Engine, service: str) -> Undo:
    engine.tampered_at = engine.event_queue.now
    engine.balancer.delete_group(service)
    return engine.balancer.resume


def _balancer_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    del plan
    engine.tampered_at = engine.event_queue.now
    engine.balancer.delete()
    return engine.balancer.resume


def _deployment_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    engine.workloads.delete(plan.unit)
    return partial(engine.workloads.create, plan.unit)


def _scaler_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    engine.api.delete_scaler(plan.unit)
    return partial(engine.api.recreate_scaler, plan.unit)


def _namespace_deleted(engine: Engine, plan: FaultPlan) -> Undo:
    """Everything that the application names goes, but what Karpenter has; it is made again from Git."""
    units, deleted = engine.application.units, engine.fault_state.deleted
    undo = [_deployment_deleted(engine, replace(plan, unit=one.name)) for one in units]
    undo += [_scaler_deleted(engine, replace(plan, unit=one.name)) for one in units if one.name in engine.api.scalers]
    recreate = _recreate(engine, plan)
    engine.fault_state.deleted = deleted | set(engine.application.services)
    engine.balancer.service_changed()

    def end() -> None:
        engine.traffic.advance()
        engine.fault_state.deleted = deleted
        for one in undo:
            one()
        recreate()
        engine.balancer.service_changed()

    return end


def _deployment_renamed(engine: Engine, plan: FaultPlan) -> Undo:
    """The pods of the Deployment are replaced by those of another one with the same labels, and so they are when the fault ends."""
    renamed = engine.fault_state.renamed

    def put(change: Callable[[str], None]) -> None:
        engine.traffic.advance()
        change(plan.unit)
        engine.workloads.restart(plan.unit)

    put(renamed.add)
    return partial(put, renamed.discard)


def _second_installation(engine: Engine, plan: FaultPlan) -> None:
    """Another installation of the controller has the application too, and changes the mode."""
    del plan
    application = engine.application
    weights = {unit.name: unit.weight if unit.weight is not None else 1 for unit in application.units}
    routing = engine.api.routing
    to_cost = routing.observed.marker == str(Mode.CAPACITY)
    targets = cost_targets(application, weights) if to_cost else capacity_targets(application, {})
    action = routing.port.write(application, targets, 0)
    routing.route_elsewhere(action, {MARKER: str(Mode.COST if to_cost else Mode.CAPACITY), WRITTEN_BY: "another"})


def _standby_removed(engine: Engine, plan: FaultPlan) -> Undo:
    """Somebody applies a routing object without the standby rules, and adds them when the fault ends."""
    del plan
    engine.api.routing.set_standby(there=False)
    return partial(engine.api.routing.set_standby, there=True)


def _route_refused(engine: Engine, plan: FaultPlan) -> Undo:
    """No listener of the Gateway takes the route any more."""
    del plan

    def put(*, refused: bool) -> None:
        engine.fault_state.route_refused = refused
        engine.balancer.resume()

    put(refused=True)
    return partial(put, refused=False)


def _other_rule(service: str, weight: int) -> Begin:
    """Somebody adds another rule to the route, before all others, and takes it away when the fault ends.

    Args:
        service: The Service that it names; "" for the unit's.
        weight: The weight of that.
    """

    def begin(engine: Engine, plan: FaultPlan) -> Undo | None:
        routing, backend = engine.api.routing, engine.application.unit(plan.unit).backend
        if not routing.of_gateway:
            return None
        match = {"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"type": "Exact", "name": "x-other", "value": "yes"}]}
        named = [{"name": service or backend.service, "port": backend.port, "weight": weight}]
        rule = {"name": "other", "matches": [match], "backendRefs": named}

        def put(obj: dict[str, Any], rules: Sequence[Mapping[str, Any]]) -> None:
            obj["spec"]["rules"] = [*rules, *(one for one in obj["spec"]["rules"] if one["name"] != rule["name"])]

        routing.change(partial(put, rules=[rule]), "kubectl-edit")
        return partial(routing.change, partial(put, rules=[]), "kubectl-edit")

    return begin


def _remove_marker(engine: Engine, plan: FaultPlan) -> None:
    """Somebody removes the mode's annotation."""
    del plan
    engine.api.routing.change(lambda obj: obj["metadata"].get("annotations", {}).pop(MARKER, None))


# --- KEDA and people --------------------------------------------------------------------------------------------------------------------


def _scaler(name: str, value: object, harmless: object) -> Begin:
    """Changes a ScaledObject of one unit, and restores it when the fault ends."""

    def begin(engine: Engine, plan: FaultPlan) -> Undo | None:
        scaler = engine.api.scalers.get(plan.unit)
        if scaler is None:
            return None

        def put(what: object) -> None:
            setattr(scaler, name, what)
            engine.api.scaler_written(plan.unit)

        put(value)
        return partial(put, harmless)

    return begin


def _at_most(engine: Engine, plan: FaultPlan) -> Undo | None:
    """A unit cannot grow any more."""
    present = engine.workloads.units[plan.unit].desired
    most = engine.application.unit(plan.unit).max_replicas
    return _scaler("most", max(1, present), most)(engine, plan)


def _floor(engine: Engine, plan: FaultPlan) -> None:
    """A person raises a floor, and owns it from then on."""
    scaler = engine.api.scalers.get(plan.unit)
    if scaler is not None:
        scaler.floor, scaler.floor_owner = scaler.floor + 1 + int(2 * plan.value), "kubectl-edit"
        engine.api.scaler_written(plan.unit)


def _override(engine: Engine, plan: FaultPlan, override: Override) -> Undo:
    engine.override_at = engine.event_queue.now
    engine.api.routing.set_override(override)

    def end() -> None:
        engine.override_at = engine.event_queue.now
        engine.api.routing.set_override(engine.setup.override)

    del plan
    return end


def _paused_by_a_person(engine: Engine, plan: FaultPlan) -> Undo:
    until = engine.clock.now() + plan.seconds
    return _override(engine, plan, Override(paused_until=until, paused_why="maintenance"))


def _pinned(mode: Mode) -> Begin:
    def begin(engine: Engine, plan: FaultPlan) -> Undo:
        return _override(engine, plan, Override(pinned_mode=mode, pinned_until=engine.clock.now() + plan.seconds, pinned_why="a test"))

    return begin


def _reconfigure(engine: Engine, plan: FaultPlan) -> Undo:
    """Another application file is loaded, and the first one again when the fault ends."""
    before = engine.replica.application
    policy = replace(before.policy, patience_s=10.0 + 80.0 * plan.value, flips_per_hour=2 + int(4 * plan.value))
    engine.reconfigure(replace(before, policy=policy))
    return partial(engine.reconfigure, before)


# --- capacity ---------------------------------------------------------------------------------------------------------------------------


def _short(engine: Engine, shortage: Shortage, every_s: float = 0.0) -> Undo:
    return engine.scarcity.begin(Outage(0.0, 0.0, shortage, every_s))


def _types(engine: Engine, unit: str) -> tuple[str, ...]:
    return types_of(engine.application.unit(unit))


def _ice_zone(engine: Engine, plan: FaultPlan) -> Undo:
    zones = engine.setup.zones
    return _short(engine, Shortage(_types(engine, plan.unit), (zones[int(plan.value * len(zones)) % len(zones)],)))


def _ice_all(engine: Engine, plan: FaultPlan) -> Undo:
    return _short(engine, Shortage(_types(engine, plan.unit)))


def _ice_region(engine: Engine, plan: FaultPlan) -> Undo:
    """No accelerator of any kind is available."""
    del plan
    return _short(engine, Shortage())


def _ice_two(engine: Engine, plan: FaultPlan) -> Undo:
    """The unit and its neighbour are short at once."""
    names = [unit.name for unit in engine.application.units]
    other = names[(names.index(plan.unit) + 1) % len(names)]
    return _short(engine, Shortage(tuple(dict.fromkeys((*_types(engine, plan.unit), *_types(engine, other))))))


def _ice_flapping(engine: Engine, plan: FaultPlan) -> Undo:
    """Capacity comes and goes every few minutes."""
    shortage, period = Shortage(_types(engine, plan.unit)), 120.0 + 600.0 * plan.value
    on = [False, True]  # whether it is short now, and whether the fault lasts

    def toggle() -> None:
        if on[0]:
            engine.ec2.end(shortage)
        elif on[1]:
            engine.ec2.begin(shortage)
        on[0] = not on[0] and on[1]
        if on[1]:
            engine.event_queue.after(period, toggle)

    def end() -> None:
        on[1] = False
        if on[0]:
            toggle()

    toggle()
    return end


def _ice_family(engine: Engine, plan: FaultPlan) -> Undo:
    """All sizes of the unit's accelerator family are out, in every NodePool."""
    families = {family(one) for one in _types(engine, plan.unit)}
    types = (one for pool in engine.karpenter.pools.values() for one in pool.types)
    return _short(engine, Shortage(tuple(dict.fromkeys(one for one in types if family(one) in families))))


def _partial(engine: Engine, plan: FaultPlan) -> Undo:
    """Each offering of the unit has room for up to three more nodes, and for one more every few minutes."""
    return _short(engine, Shortage(_types(engine, plan.unit), left=int(4 * plan.value)), every_s=150.0 + 900.0 * (4 * plan.value % 1))


def _spot_out(engine: Engine, plan: FaultPlan) -> Undo:
    """No spot capacity for the unit. Where its NodePool allows on-demand as well, that is launched."""
    return _short(engine, Shortage(_types(engine, plan.unit), capacity_types=(SPOT,)))


def _spot_interrupted(engine: Engine, plan: FaultPlan) -> Undo:
    """EC2 takes a part of the unit's spot nodes back, and has no more."""
    undo = _spot_out(engine, plan)
    for offering in engine.karpenter.offerings_of(engine.application.unit(plan.unit)):
        engine.scarcity.interrupt(offering, int(plan.value * len(engine.karpenter.running(offering))))
    return undo


def _answers_otherwise(engine: Engine, plan: FaultPlan) -> Undo:
    """EC2 answers fleet requests as it otherwise does not: with an error for every zone, or for one only."""
    del plan
    before = engine.ec2.answer
    engine.ec2.answer = FleetAnswer.ALL_ZONES if engine.setup.fleet is FleetAnswer.ONE_ZONE else FleetAnswer.ONE_ZONE
    return partial(setattr, engine.ec2, "answer", before)


def _quota(engine: Engine, plan: FaultPlan) -> Undo:
    return _short(engine, Shortage(_types(engine, plan.unit), (), Code.QUOTA))


def _addresses(engine: Engine, plan: FaultPlan) -> Undo:
    del plan
    return _short(engine, Shortage((), (), Code.ADDRESSES))


def _limit(engine: Engine, plan: FaultPlan) -> Undo:
    pool = engine.karpenter.pools[engine.application.unit(plan.unit).node_pool]
    engine.set_limit(pool.name, len(pool.alive))
    return partial(engine.set_limit, pool.name, None)


def _restart_pods(engine: Engine, plan: FaultPlan) -> None:
    engine.traffic.advance()
    engine.workloads.restart(plan.unit)


FAULTS: Final[dict[str, Kind]] = {
    # The API server.
    "api-conflicts": Kind(_counted("conflicts", 4), 10 * _MINUTE, 6 * _HOUR),
    "api-lost-answers": Kind(_counted("lost_answers", 3), 10 * _MINUTE, 6 * _HOUR),
    "api-writes-fail": Kind(_setting("writes_fail", "429 Too Many Requests", ""), 30.0, 20 * _MINUTE),
    "watch-stalls-karpenter": Kind(_stalled(KARPENTER), _MINUTE, 30 * _MINUTE),
    "watch-stalls-workloads": Kind(_stalled(WORKLOADS), _MINUTE, 30 * _MINUTE),
    "watch-stalls-ingress": Kind(_stalled(ROUTING), _MINUTE, 30 * _MINUTE),
    "stale-reads": Kind(_setting("stale_s", 45.0, 0.0), _MINUTE, 60 * _MINUTE),
    # Processes, the Lease, the stored memory, the clock.
    "crash-before-action": Kind(_crash("before"), 30 * _MINUTE, 6 * _HOUR),
    "crash-after-action": Kind(_crash("after"), 30 * _MINUTE, 6 * _HOUR),
    "restart": Kind(_restart),
    "lease-taken": Kind(_usurp),
    "process-pauses": Kind(_pause, 5.0, 10 * _MINUTE),
    "process-pauses-and-lease-taken": Kind(_pause_and_usurp, 20.0, 10 * _MINUTE),
    "process-pauses-before-acting": Kind(_freeze_and_usurp, 30 * _MINUTE, 6 * _HOUR),
    "memory-lost": Kind(_lose_memory),
    "memory-unreadable": Kind(_setting("state_unreadable", True, False), _MINUTE, 30 * _MINUTE),
    "save-conflicts": Kind(_counted("save_conflicts", 4), 10 * _MINUTE, 6 * _HOUR),
    "saves-time-out": Kind(_setting("saves_time_out", True, False), 5 * _MINUTE, _HOUR),
    "other-applications-wait": Kind(_setting("others_wait", True, False), 10 * _MINUTE, 6 * _HOUR, disturbs=False),
    "clock-ahead": Kind(_step(1), 10 * _MINUTE, 3 * _HOUR, disturbs=False),
    "clock-behind": Kind(_step(-1), 10 * _MINUTE, 3 * _HOUR, disturbs=False),
    # AWS.
    "cloudwatch-late": Kind(_setting("cloudwatch_late_s", 420.0, 0.0), 10 * _MINUTE, 2 * _HOUR),
    "cloudwatch-absent": Kind(_setting("cloudwatch_absent", True, False), 5 * _MINUTE, _HOUR),
    "cloudwatch-throttled": Kind(_setting("cloudwatch_throttled", True, False), 5 * _MINUTE, 2 * _HOUR),
    "elbv2-throttled": Kind(_setting("elbv2_throttled", True, False), _MINUTE, _HOUR),
    # The load balancer and its controller.
    "lbc-slow": Kind(_setting("lbc_slow", 60.0, 1.0), 10 * _MINUTE, 2 * _HOUR),
    "lbc-stopped": Kind(_stop_balancer, _MINUTE, _HOUR),
    "lbc-loses-changes": Kind(_counted("lbc_loses", 3), 10 * _MINUTE, 6 * _HOUR),
    "lbc-blocked": Kind(_block, 5 * _MINUTE, _HOUR),
    "lbc-registers-nobody": Kind(_setting("targets_stuck", True, False), 5 * _MINUTE, _HOUR),
    "rule-replaced": Kind(_replace_rule, 2 * _MINUTE, 10 * _MINUTE),
    "targets-unhealthy": Kind(_of_unit("sick"), 5 * _MINUTE, _HOUR),
    "pods-broken": Kind(_of_unit("broken"), 5 * _MINUTE, 30 * _MINUTE),
    "action-edited": Kind(_edit_action),
    "action-rewritten": Kind(_setting("rewrites", True, False), 5 * _MINUTE, 2 * _HOUR),
    "action-altered": Kind(_setting("alters", True, False), drawn=False),
    "action-broken": Kind(_break_action, _MINUTE, 20 * _MINUTE),
    "ingress-recreated": Kind(_recreate, 5.0, 10 * _MINUTE),
    "capacity-service-deleted": Kind(_capacity_service_deleted, _MINUTE, _HOUR),
    "unit-service-deleted": Kind(_unit_service_deleted, _MINUTE, _HOUR),
    "node-pool-deleted": Kind(_node_pool_deleted, 5 * _MINUTE, _HOUR),
    "deployment-renamed": Kind(_deployment_renamed, 5 * _MINUTE, _HOUR),
    "node-class-deleted": Kind(_node_class_deleted, 5 * _MINUTE, _HOUR, drawn=False),
    "deployment-deleted": Kind(_deployment_deleted, 5 * _MINUTE, _HOUR, drawn=False),
    "scaler-deleted": Kind(_scaler_deleted, 5 * _MINUTE, _HOUR, drawn=False),
    "binding-deleted": Kind(_of_both(_binding_deleted), 5 * _MINUTE, _HOUR, drawn=False),
    "target-group-deleted": Kind(_of_both(_target_group_deleted), 5 * _MINUTE, _HOUR, drawn=False),
    "load-balancer-deleted": Kind(_balancer_deleted, 5 * _MINUTE, _HOUR, drawn=False),
    "namespace-deleted": Kind(_namespace_deleted, 5 * _MINUTE, _HOUR, drawn=False),
    "second-installation": Kind(_second_installation),
    "standby-rules-removed": Kind(_standby_removed, _MINUTE, _HOUR),
    "route-refused": Kind(_route_refused, _MINUTE, _HOUR, of_routes=True),
    "other-rule-added": Kind(_other_rule("", 1), _MINUTE, _HOUR, of_routes=True),
    "other-rule-unresolved": Kind(_other_rule("nobody", 1), _MINUTE, _HOUR, of_routes=True),
    "other-rule-overweight": Kind(_other_rule("", _TOO_HIGH), _MINUTE, _HOUR, of_routes=True),
    "marker-removed": Kind(_remove_marker, of_routes=True),
    # KEDA and people.
    "scaler-paused": Kind(_scaler("paused", True, False), 10 * _MINUTE, 4 * _HOUR),
    "scaler-missing": Kind(_scaler("exists", False, True), _MINUTE, 2 * _HOUR),
    "scaler-at-maximum": Kind(_at_most, 30 * _MINUTE, 6 * _HOUR),
    "floor-raised-by-a-person": Kind(_floor),
    "paused-by-a-person": Kind(_paused_by_a_person, 5 * _MINUTE, 2 * _HOUR),
    "pinned-to-cost": Kind(_pinned(Mode.COST), 10 * _MINUTE, 3 * _HOUR),
    "pinned-to-capacity": Kind(_pinned(Mode.CAPACITY), 10 * _MINUTE, 3 * _HOUR),
    "configuration-changed": Kind(_reconfigure, 10 * _MINUTE, 6 * _HOUR),
    # Karpenter and EC2.
    "ice-zone": Kind(_ice_zone, 10 * _MINUTE, 4 * _HOUR, disturbs=False),
    "ice-all-zones": Kind(_ice_all, 10 * _MINUTE, 8 * _HOUR, disturbs=False),
    "ice-two-units": Kind(_ice_two, 10 * _MINUTE, 4 * _HOUR, disturbs=False),
    "ice-everything": Kind(_ice_region, 10 * _MINUTE, 2 * _HOUR, disturbs=False),
    "ice-flapping": Kind(_ice_flapping, 30 * _MINUTE, 4 * _HOUR, disturbs=False),
    "ice-family": Kind(_ice_family, 10 * _MINUTE, 8 * _HOUR, disturbs=False),
    "partial-capacity": Kind(_partial, 10 * _MINUTE, 4 * _HOUR, disturbs=False),
    "spot-out": Kind(_spot_out, 10 * _MINUTE, 8 * _HOUR, disturbs=False),
    "spot-interrupted": Kind(_spot_interrupted, 10 * _MINUTE, 4 * _HOUR, disturbs=False),
    "fleet-answers-otherwise": Kind(_answers_otherwise, _HOUR, 12 * _HOUR, disturbs=False),
    "quota": Kind(_quota, 30 * _MINUTE, 6 * _HOUR, disturbs=False),
    "addresses-used-up": Kind(_addresses, 10 * _MINUTE, 2 * _HOUR, disturbs=False),
    "pool-limit": Kind(_limit, 30 * _MINUTE, 4 * _HOUR, disturbs=False),
    "nodes-never-join": Kind(_setting("never_joins", True, False), 10 * _MINUTE, _HOUR),
    "launch-errors": Kind(_setting("create_errors", True, False), 5 * _MINUTE, _HOUR),
    "karpenter-silent": Kind(_setting("karpenter_silent", True, False), 5 * _MINUTE, _HOUR),
    "pods-restart": Kind(_restart_pods),
}
"""All faults, by name."""


def drawn(seconds: float, units: tuple[str, ...], seed: str, *, every_h: float = EVERY_H) -> tuple[FaultPlan, ...]:
    """Draws faults at random times.

    Args:
        seconds: Length of the run.
        units: Whose turn it may be.
        seed: The same seed gives the same faults, on every machine.
        every_h: Mean hours between two faults.
    """
    names = [name for name, kind in FAULTS.items() if kind.drawn and not kind.of_routes]
    return _drawn(names, random.Random(f"{seed}/faults"), seconds, units, every_h)


def drawn_of_routes(seconds: float, units: tuple[str, ...], seed: str) -> tuple[FaultPlan, ...]:
    """Draws the faults that only a route can have, see `drawn`: in a stream of their own, so that the others stay the same."""
    names = [name for name, kind in FAULTS.items() if kind.of_routes]
    return _drawn(names, random.Random(f"{seed}/faults of routes"), seconds, units, OF_ROUTES_EVERY_H)


def _drawn(names: Sequence[str], chance: random.Random, seconds: float, units: tuple[str, ...], every_h: float) -> tuple[FaultPlan, ...]:
    plans: list[FaultPlan] = []
    at = round(chance.expovariate(1 / (every_h * _HOUR)), _DIGITS)  # see `failover_analysis.simulation.engine._exact`
    while at < seconds:
        name = chance.choice(names)
        kind = FAULTS[name]
        lasts = chance.uniform(kind.shortest_s, kind.longest_s)
        plans.append(FaultPlan(at, name, lasts, chance.choice(units), chance.random()))
        at = round(at + chance.expovariate(1 / (every_h * _HOUR)), _DIGITS)
    return tuple(plans)


def schedule(engine: Engine, plans: tuple[FaultPlan, ...]) -> None:
    """Schedules the faults."""
    for number, plan in enumerate(plans):
        engine.event_queue.at(engine.setup.start + plan.at_s, partial(_begin, engine, number, plan))


def _begin(engine: Engine, number: int, plan: FaultPlan) -> None:
    engine.active[number] = plan
    engine.injected[plan.name] = engine.injected.get(plan.name, 0) + 1
    kind = FAULTS[plan.name]
    if kind.disturbs:
        engine.disturbing.add(number)
        engine.last_disturbance = engine.event_queue.now
    undo = kind.begin(engine, plan)
    engine.event_queue.after(plan.seconds, partial(_end, engine, number, undo))


def _end(engine: Engine, number: int, undo: Undo | None) -> None:
    if undo is not None:
        undo()
    del engine.active[number]
    engine.last_fault = engine.event_queue.now
    if number in engine.disturbing:
        engine.disturbing.discard(number)
        engine.last_disturbance = engine.event_queue.now
