"""A floor that the controller has raised is not forgotten when its unit is removed from the application file, or renamed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.policy.left_floors import PREFIX
from controller.policy.model import Action, ActionKind, Alert, Application, FloorBefore, Memory, Mode, Scaler, Snapshot
from controller.recording.stored import decode, encode
from controller.routing.conclusion import conclude
from tests.support.applications import SERVICES, application, memory, snapshot

GONE = SERVICES[-1]
OTHER = f"{GONE}-hpa"
RAISED = 6
FILE = 2
"""The floor of the application file."""


def _app(*, found: bool = True) -> Application:
    app = application()
    units = tuple(replace(unit, min_replicas=FILE) for unit in app.units if found or unit.name != GONE)
    return replace(app, units=units)


def _seen(app: Application, floor: int = RAISED, *, ours: bool = True, left: Mapping[str, int] | None = None) -> Snapshot:
    """Capacity mode, with the same floor on every ScaledObject."""
    seen = snapshot(app, Mode.CAPACITY)
    units = {
        unit.name: replace(seen.units[unit.name], scaler=Scaler(unit.scaled_object or "", "5", floor, 20, floor_ours=ours, uid="uid"))
        for unit in app.units
    }
    return replace(seen, units=units, left=left)


def _left(seen: Snapshot, before: Memory) -> list[Alert]:
    return [one for one in conclude(before, seen).decision.alerts if one.key.startswith(PREFIX)]


def _raised() -> Memory:
    """After a pass that saw the raised floors, and after a restart."""
    return decode(encode(conclude(memory(Mode.CAPACITY), _seen(_app())).memory))


def test_a_removed_unit_keeps_no_raised_floor_unnoticed() -> None:
    """Nothing lowers it: it is not the controller's any more. Nobody else knows what it was."""
    before = _raised()
    assert not _left(_seen(_app(), left={}), before), "the file still names it"
    seen = _seen(_app(found=False), left={OTHER: RAISED})
    (alert,) = _left(seen, before)
    assert (alert.key, alert.severity) == (f"left/{OTHER}", "warning")
    assert f"ScaledObject {OTHER} keeps the minReplicaCount {RAISED} that the controller raised from {FILE}" in alert.text
    command = f'kubectl -n shop patch scaledobject {OTHER} --type merge -p \'{{"spec":{{"minReplicaCount":{FILE}}}}}\''
    assert alert.text.endswith(command)
    assert not [action for action in conclude(before, seen).plan.actions if action.name == OTHER], "it is left alone"
    assert _left(seen, decode(encode(conclude(before, seen).memory))), "for as long as the floor is raised"


@pytest.mark.parametrize("now", [{}, {OTHER: FILE}, {OTHER: 1}])
def test_it_ends_when_somebody_sets_the_floor_or_the_scaled_object_is_gone(now: dict[str, int]) -> None:
    """A floor of somebody else is not among those of ours."""
    seen = _seen(_app(found=False), left=now)
    assert not _left(seen, _raised())
    assert OTHER not in conclude(_raised(), seen).memory.floors_before


def test_what_is_not_known_ends_nothing() -> None:
    """Right after a start, or without permission to list ScaledObjects."""
    seen = _seen(_app(found=False))
    assert not _left(seen, _raised())
    assert conclude(_raised(), seen).memory.floors_before[OTHER] == FloorBefore(FILE)


def test_a_unit_that_comes_back_is_the_controllers_again() -> None:
    gone = conclude(_raised(), _seen(_app(found=False), left={OTHER: RAISED})).memory
    seen = _seen(_app(), left={})
    assert not _left(seen, gone)
    assert conclude(gone, seen).memory.floors_before[OTHER] == FloorBefore(FILE)


def test_a_floor_that_is_raised_just_now_is_known_before_the_next_pass() -> None:
    """The unit may be removed, and the process may die, in between."""
    made = conclude(memory(Mode.CAPACITY, floors_due=frozenset(SERVICES)), _seen(_app(), 0))
    done = [action for action in made.plan.due if action.kind is ActionKind.RAISE_FLOOR]
    assert {action.name for action in done} >= {OTHER}
    assert made.written(done, 0.0).floors_before[OTHER] == FloorBefore(FILE)


def test_a_floor_that_somebody_else_had_set_comes_back_under_another_name_of_the_unit() -> None:
    """The memory of the unit ends with its name; its ScaledObject is the same."""
    theirs = conclude(memory(Mode.CAPACITY), _seen(_app(), 4, ours=False)).memory
    before = decode(encode(conclude(theirs, _seen(_app())).memory))
    assert before.floors_before[OTHER] == FloorBefore(FILE, 4)
    app = _app()
    renamed = replace(app, units=tuple(replace(unit, name="new") if unit.name == GONE else unit for unit in app.units))
    after = conclude(before, _seen(renamed, left={})).memory
    assert after.found_floors["new"] == 4
    (alert,) = _left(_seen(_app(found=False), left={OTHER: RAISED}), before)
    assert "raised from 4" in alert.text


def test_nothing_is_remembered_of_a_floor_that_is_not_raised() -> None:
    made = conclude(memory(), replace(_seen(_app(), FILE), left={OTHER: 9}))
    assert not made.memory.floors_before
    assert "floors_before" not in encode(made.memory)


@pytest.mark.parametrize(("floor", "kept"), [(FILE, {}), (RAISED - 1, {OTHER: FloorBefore(FILE)})])
def test_what_has_sunk_is_forgotten_with_the_write(floor: int, kept: Mapping[str, FloorBefore]) -> None:
    """The next pass would save the memory once more for it."""
    made = conclude(_raised(), _seen(_app()))
    kind, scaled = ActionKind.LOWER_FLOOR, "scaledobjects.keda.sh"
    lowered = Action(kind, "shop", OTHER, str(RAISED), str(floor), scaled, unit=GONE)
    assert {name: one for name, one in made.written([lowered], 0.0).floors_before.items() if name == OTHER} == kept
