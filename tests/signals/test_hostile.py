"""Nothing that a stranger writes into any field of any object stops a pass, fills a text, or reaches a terminal."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from controller.cli.observe import judge
from controller.cli.plan import plan_document, plan_lines
from controller.cli.status import Running, status_document, status_lines
from controller.clock import LATEST
from controller.foreign import MAX_ANNOTATION, MAX_VALUE
from controller.notifiers.redact import redact
from controller.notifiers.render import plain
from controller.notifiers.render import view as shown_message
from controller.policy.account import Ledger
from controller.policy.alert_kinds import AlertKind
from controller.policy.model import Alert, Memory, Snapshot
from controller.ports import Message, MessageKind
from controller.routing.conclusion import conclude
from controller.service.controller import View
from controller.service.messages import alert_changes, routed
from controller.service.status import document
from tests.signals.hostile import ACTION, APP, TEXT, World, everywhere, objects, places, replaced
from tests.support.applications import NOW

_LARGEST: Final = 4096
"""The most bytes that one application may take in the status, and one message or log line."""
_CALLS: Final = 120_000
"""The most function calls of a pass at the largest objects: 50 ms at 400 ns a call. A healthy one takes 12,000."""

OBJECTS: Final = objects()

NUMBERS: Final = ("Infinity", "NaN", "-1", "1e999", "9" * 400, f"-{'9' * 4000}", "9223372036854775808", "1e1000000", "9e399999")
TIMES: Final = (
    "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "2026-08-25T10:00:00.9999",
)  # fmt: skip


def _filled(entries: list[tuple[str, Any]]) -> World:
    world = World()
    for kind, obj in entries:
        world.give(kind, obj)
    return world


def _texts(snapshot: Snapshot) -> Iterator[str]:
    """Everything that one pass gives to people: status, messages, log fields, and what the commands print."""
    made = conclude(Memory(), snapshot)
    view = View(snapshot, made.decision, made.plan, made.memory, Ledger())
    yield json.dumps(
        document([view], {})["applications"][APP.key],
        ensure_ascii=False,
    )
    _, messages = alert_changes(snapshot, {}, made.decision.alerts, made.decision.mode)
    override = Alert.of(AlertKind.OVERRIDE, {"why": snapshot.routing.override.paused_why or "-"})
    messages += [Message.about(override, MessageKind.CONTROL, "override", NOW, APP.key)]
    messages += [message for message in (routed(snapshot, made.decision),) if message is not None]
    yield from (redact(plain(shown_message(message))).replace("\n", " ") for message in messages)
    seen = judge(snapshot, made.memory)
    yield from (line for _, line in (*status_lines(seen, Running(), 80), *plan_lines(seen, 80, exact=True)))
    status_document(seen, Running())
    plan_document(seen)


def _strings(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield from _strings(getattr(value, one.name), one.name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key, name)
            yield from _strings(item, name)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _strings(item, name)


def _check(world: World) -> None:
    snapshot = world.snapshot()
    for name, text in _strings(dataclasses.replace(snapshot, application=None)):  # type: ignore[arg-type]
        layout = text.replace("\n", " ").replace("\t", " ").replace("\r", " ") if name == "action" else text
        assert layout.isprintable(), (name, text[:80])
        assert len(text) <= (MAX_ANNOTATION if name == "action" else MAX_VALUE), (name, text[:80])
    for text in _texts(snapshot):
        assert text.isprintable(), text[:300]
        assert len(text.encode()) < _LARGEST, text[:600]


def test_the_objects_make_a_shortage() -> None:
    """The test would prove nothing of a pass that stops early: every unit is refused, waits and is scaled."""
    snapshot = _filled(OBJECTS).snapshot()
    assert snapshot.routing.exists
    assert snapshot.routing.blocked
    assert snapshot.routing.writer == "argocd"
    for unit in snapshot.units.values():
        assert unit.pool.failures
        assert unit.pool.launches
        assert unit.pool.problem
        assert unit.pending
        assert unit.scaler
        assert unit.scaler.trouble


def _each() -> Iterator[Any]:
    """One case for each place of each kind of object; a second object of a kind has the same."""
    seen = set()
    for index, (kind, obj) in enumerate(OBJECTS):
        for place in places(obj):
            if (kind, obj.get("reason"), place) not in seen:
                seen.add((kind, obj.get("reason"), place))
                yield pytest.param(index, place, id=f"{kind} {obj.get('reason', '')} {'.'.join(map(str, place))}")


@pytest.mark.parametrize(("index", "place"), [*_each()])
def test_each_field_alone(index: int, place: tuple[str | int, ...]) -> None:
    """The longest text, and a number or time without bound, in one field after the other."""
    kind, obj = OBJECTS[index]
    others = (10**400, -1, 1e308, math.nan, *TIMES, *NUMBERS)
    for new in (TEXT, others[len(str(place)) % len(others)]):
        _check(_filled([*OBJECTS[:index], (kind, replaced(obj, place, new)), *OBJECTS[index + 1 :]]))


@pytest.mark.parametrize("new", [TEXT, *TIMES, *NUMBERS, 10**400, math.inf], ids=lambda new: ascii(new)[:24])
def test_all_fields_together(new: object) -> None:
    """Every field of every object at once, but those by which an object is found."""
    with capture_logs() as logs:
        _check(_filled([(kind, everywhere(obj, lambda _: new)) for kind, obj in OBJECTS]))
    assert logs == []


@pytest.mark.parametrize("weight", [10**400, -(10**400), 2**31, 1000, -1])
@pytest.mark.parametrize("seconds", [0, 10**400])
def test_weights_and_stickiness_without_bound(weight: int, seconds: int) -> None:
    """The action is JSON in an annotation: its numbers are bounded where it is read."""
    groups = [{"serviceName": name, "servicePort": 80, "weight": weight} for name in ("sd21-inf2", "sd21-trn1")]
    stickiness = {"enabled": bool(seconds), "durationSeconds": seconds}
    action = {"type": "forward", "forwardConfig": {"targetGroups": groups, "targetGroupStickinessConfig": stickiness}}
    index = next(number for number, (kind, _) in enumerate(OBJECTS) if kind == "Ingress")
    changed = replaced(OBJECTS[index][1], ("metadata", "annotations", ACTION), json.dumps(action))
    _check(_filled([*OBJECTS[:index], ("Ingress", changed)]))


def test_an_action_over_several_lines_is_read() -> None:
    """A person's YAML has line breaks in it; they are no reason to take the action for unreadable."""
    index = next(number for number, (kind, _) in enumerate(OBJECTS) if kind == "Ingress")
    action = OBJECTS[index][1]["metadata"]["annotations"][ACTION]
    changed = replaced(OBJECTS[index][1], ("metadata", "annotations", ACTION), json.dumps(json.loads(action), indent="\t"))
    assert _filled([*OBJECTS[:index], ("Ingress", changed)]).snapshot().routing.targets == _filled(OBJECTS).snapshot().routing.targets


def test_a_pass_over_the_largest_objects_takes_a_bounded_number_of_calls() -> None:
    """A count, which is the same on every machine: a text that is searched from each of its places would multiply it."""
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    hostile = [(kind, everywhere(obj, lambda _: TEXT)) for kind, obj in OBJECTS]
    world = _filled(hostile)
    sys.setprofile(counted)
    try:
        list(_texts(world.snapshot()))
    finally:
        sys.setprofile(None)
    assert count < _CALLS


def test_times_are_within_the_calendar() -> None:
    """What is read can be written again, also where the difference of two clocks moves it."""
    assert LATEST == 253_402_300_799
