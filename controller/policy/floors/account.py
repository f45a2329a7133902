"""What is remembered of each ScaledObject: whose floor it has, what ours replaced, and our last writes to it.

Three things follow. A floor of somebody else is a claim for ever: the controller raises it, and never leaves less behind than it found;
anyone who sets a floor again replaces it. A floor or target that another writer keeps putting back, as a GitOps tool does within seconds,
is written again after pauses that double: without them the two writers would send hundreds of patches an hour. And a raised floor of a
ScaledObject that no unit names any more is reported with what it was before: what no application names is not the controller's
to change, and the pods may still serve.

The memory is by ScaledObject and not by unit, so that a unit that is renamed, or removed for a while, finds all of it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from controller.policy import text
from controller.policy.account import FLAP_WINDOW_S, reassert_pause_s
from controller.policy.alert_kinds import Found
from controller.policy.model import NOTHING_REMEMBERED, Action, ActionKind, FloorMemory, Memory, Plan, ScalerWrite, Snapshot, Unit
from controller.policy.plan import scaler_change

_FIGHTING: Final = 3  # writes that were put back, after which people are notified


def remembered(memory: Memory, unit: Unit) -> FloorMemory:
    """The memory of a unit's ScaledObject."""
    return memory.floors.get(unit.scaled_object or "", NOTHING_REMEMBERED)


def kept(memory: Memory, floors: Mapping[str, FloorMemory]) -> Memory:
    """The memory with these entries alone, without those that say nothing; the same object where nothing changed."""
    some = {name: one for name, one in floors.items() if one != NOTHING_REMEMBERED}
    return memory if some == memory.floors else replace(memory, floors=some)


def as_stored(memory: Memory) -> Memory:
    """The memory without the times for which floors have been sinking: these are not stored."""
    if not any(one.sinking for one in memory.floors.values()):
        return memory
    return kept(memory, {name: replace(one, sinking=()) for name, one in memory.floors.items()})


def found(memory: Memory, snapshot: Snapshot, unit: Unit) -> int:
    """The replicas that others want of a unit: the floor that is theirs now, or else the floor that ours has replaced."""
    scaler = snapshot.units[unit.name].scaler
    return remembered(memory, unit).found if scaler is None or scaler.floor_ours else scaler.min_replicas


def noted(memory: Memory, snapshot: Snapshot) -> Memory:
    """The memory after a decision, with the floors that others set and what each raised floor was.

    Not before the decision: a planned floor replaces that of somebody else one pass after it is remembered, so that it is known after a
    crash right behind the replacement.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
    """
    named = {unit.scaled_object for unit in snapshot.application.units}
    floors = {name: one if name in named else _left_behind(name, one, snapshot) for name, one in memory.floors.items()}
    for unit in snapshot.application.units:
        scaler, known = snapshot.units[unit.name].scaler, remembered(memory, unit)
        if scaler is not None and unit.scaled_object is not None:  # else gone, perhaps only for a moment
            known = known if scaler.floor_ours else replace(known, found=scaler.min_replicas)
            raised = scaler.floor_ours and scaler.min_replicas > max(unit.min_replicas, known.found)
            floors[unit.scaled_object] = replace(known, raised_from=unit.min_replicas if raised else None)
    return kept(memory, floors)


def _left_behind(name: str, known: FloorMemory, snapshot: Snapshot) -> FloorMemory:
    """The memory of a ScaledObject that no unit names: what its floor was, while it is still ours and raised as far as is known."""
    stands = known.raised_from is not None and (snapshot.left is None or snapshot.left.get(name, 0) > known.before)
    return FloorMemory(found=known.found, raised_from=known.raised_from) if stands else NOTHING_REMEMBERED


def made_due(memory: Memory, scaled_objects: Iterable[str]) -> Memory:
    """The memory after a mode change: these floors are due, see `FloorMemory.due`, and no other."""
    due = frozenset(scaled_objects)
    floors = {name: replace(memory.floors.get(name, NOTHING_REMEMBERED), due=name in due) for name in (*memory.floors, *due)}
    return kept(memory, floors)


def written(memory: Memory, snapshot: Snapshot, made: Plan, done: Iterable[Action], at: float) -> Memory:
    """The memory after some actions were written: the unit may be gone, and the process dead, before the next pass.

    Args:
        memory: What is remembered.
        snapshot: What the plan was made from.
        made: The plan. One that decides nothing about floors settles none that is due.
        done: Those of its actions that the API server has accepted.
        at: When, seconds since the Unix epoch.
    """
    scaling = [action for action in done if action.kind is not ActionKind.ROUTE]
    rising = {action.name for action in made.actions if action.kind is ActionKind.RAISE_FLOOR} - {
        action.name for action in scaling if action.kind is ActionKind.RAISE_FLOOR
    }
    floors = dict(memory.floors)
    for unit in snapshot.application.units if made.decision.floors else ():
        name, known = unit.scaled_object or "", remembered(memory, unit)
        if known.due and name not in rising and snapshot.units[unit.name].scaler is not None:
            floors[name] = replace(known, due=False)
    window_s = FLAP_WINDOW_S
    for action in scaling:
        known = floors.get(action.name, NOTHING_REMEMBERED)
        floors[action.name] = _after(action, known, snapshot.application.unit(action.unit), at, window_s)
    if scaling:
        floors = {name: _lately(one, at - window_s) for name, one in floors.items()}
    return kept(memory, floors)


def _after(action: Action, known: FloorMemory, unit: Unit, at: float, window_s: float) -> FloorMemory:
    """The memory of a ScaledObject after a write. What sinks to its former floor is forgotten with the same write."""
    last = _put_back(action, known)
    write = ScalerWrite(at, action.before, action.after, last.repeats + 1 if last is not None and at - last.at < window_s else 0)
    if action.kind is ActionKind.SET_TARGET:
        return replace(known, target=write)
    raised = action.kind is ActionKind.RAISE_FLOOR or int(action.after) > max(unit.min_replicas, known.found)
    return replace(known, floor=write, raised_from=unit.min_replicas if raised else None)


def _lately(known: FloorMemory, since: float) -> FloorMemory:
    """The memory of a ScaledObject without writes that were made before; repetitions count for a flap window."""
    floor, target = ((None if one is None or one.at <= since else one) for one in (known.floor, known.target))
    return replace(known, floor=floor, target=target)


def deferred(plan: Plan, memory: Memory, now: float) -> Plan:
    """The plan without the writes that another writer put back and that are not due again yet: these say so.

    Args:
        plan: What would be written.
        memory: What was written before.
        now: Seconds since the Unix epoch.
    """
    return replace(plan, actions=tuple(_deferred(action, memory, now) for action in plan.actions))


def _deferred(action: Action, memory: Memory, now: float) -> Action:
    left = 0.0 if action.deferred else _left_s(action, memory, now)
    return replace(action, deferred=f"another writer put it back: written again in {text.duration(left)}") if left > 0 else action


def again_s(plan: Plan, memory: Memory, now: float) -> Iterator[float]:
    """Seconds until each write of the plan that waits here is due; arguments as those of `deferred`."""
    # What is written just now is not put back yet.
    waits = (_left_s(action, memory, now) for action in plan.actions if action.deferred)
    return (wait for wait in waits if wait > 0)


def _left_s(action: Action, memory: Memory, now: float) -> float:
    known = _put_back(action, memory.floors.get(action.name, NOTHING_REMEMBERED))
    if known is None or now < known.at or _urgent(action, known):  # a clock that was set back must not make the pause longer
        return 0.0
    return max(0.0, known.at + reassert_pause_s(known.repeats) - now)


def _put_back(action: Action, known: FloorMemory) -> ScalerWrite | None:
    """Our last write of the same field, where the field shows again what that write replaced.

    What is to be written now may differ: floors follow the demand, and another writer puts each of them back.
    """
    if action.kind is ActionKind.ROUTE:
        return None
    write = known.target if action.kind is ActionKind.SET_TARGET else known.floor
    return write if write is not None and write.before == action.before else None


def _urgent(action: Action, known: ScalerWrite) -> bool:
    """Whether it asks for more replicas than our last write, or for another target: that waits for no other writer."""
    if action.kind is ActionKind.SET_TARGET:
        return action.after != known.after
    try:
        return int(action.after) > int(known.after)
    except ValueError:  # anyone may have edited what is stored
        return True


def contested(memory: Memory, snapshot: Snapshot) -> Iterator[Found]:
    """Writes that were put back again and again, lately.

    Args:
        memory: What was written before.
        snapshot: What is observed.
    """
    since = snapshot.now - FLAP_WINDOW_S
    for unit in snapshot.application.units:
        known = _lately(remembered(memory, unit), since)
        for field, setting, write in (("floor", "minReplicaCount", known.floor), ("target", "targetMetricValue", known.target)):
            if write is not None and write.repeats >= _FIGHTING:
                change = scaler_change(unit.scaled_object or "", setting, write.before, write.after)
                yield Found({"change": change, "times": str(write.repeats + 1)}, (unit.name, field))


def left(memory: Memory, snapshot: Snapshot) -> Iterator[Found]:
    """Each raised floor that nothing lowers any more, for the table of alerts.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
    """
    named = {unit.scaled_object for unit in snapshot.application.units}
    for name, before in sorted(raised(memory).items()):
        present = (snapshot.left or {}).get(name, 0)
        if name not in named and present > before:
            command = lowered(snapshot.application.namespace, name, before)
            yield Found({"name": name, "present": str(present), "before": str(before), "command": command}, (name,))


def raised(memory: Memory) -> dict[str, int]:
    """The floors that the controller has raised, by ScaledObject, and the replicas that each is to sink to again."""
    return {name: known.before for name, known in memory.floors.items() if known.raised_from is not None}


def lowered(namespace: str, name: str, floor: int) -> str:
    """The command that sets a floor. Its writer owns the floor from then on, so the controller reports it no longer."""
    return f'kubectl -n {namespace} patch scaledobject {name} --type merge -p \'{{"spec":{{"minReplicaCount":{floor}}}}}\''
