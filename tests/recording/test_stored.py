"""A stored memory can be read again; one that cannot be read raises `CodecError` and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.policy.fleet import SLOTS
from controller.policy.fleet.expected import KEPT_OUTCOMES, RECENT, expected_demand
from controller.policy.model import (
    Candidates,
    Cause,
    Damping,
    DemandHistory,
    FloorMemory,
    Memory,
    Mode,
    ModeChange,
    NotedDemand,
    Outcome,
    Return,
    ScalerWrite,
    UnitMemory,
)
from controller.policy.model.modes import Repeats
from controller.policy.reasons import Reason
from controller.recording.stored import _MAX_TEXT as MAX_TEXT
from controller.recording.stored import CodecError, decode, encode

times = st.floats(0, 1e11)
counts = st.integers(0, 10**6)
kept = st.sampled_from([Return.NONE, Return.REGISTERED, Return.REPLICAS_READY])
units = st.builds(UnitMemory, times, st.sampled_from(Cause), counts, st.none() | times, kept, st.none() | times)
shown = st.text(st.characters(categories=["L", "N", "P"]), max_size=20)
changes = st.builds(
    ModeChange,
    times,
    st.sampled_from(Mode),
    st.sampled_from(Reason),
    shown,
    by=shown,
    verified_at=st.none() | times,
    dollars_before=st.none() | times,
    dollars_after=st.none() | times,
)
writes = st.builds(ScalerWrite, times, shown, shown, counts)
floors = st.builds(FloorMemory, counts, st.none() | counts, due=st.booleans(), floor=st.none() | writes, target=st.none() | writes).filter(
    lambda one: one != FloorMemory()
)
amounts = st.floats(0, 1e9)
fours = st.tuples(amounts, amounts, amounts, amounts)
demands = st.builds(
    DemandHistory,
    recent=st.lists(st.builds(NotedDemand, times, amounts, amounts), max_size=RECENT).map(tuple),
    outcomes=st.lists(st.builds(Outcome, st.floats(0.001, 1e9), amounts), max_size=KEPT_OUTCOMES).map(tuple),
    season=st.lists(st.none() | amounts, min_size=SLOTS, max_size=SLOTS).map(tuple),
    damping=st.builds(Damping, st.floats(-64, 64), st.floats(0, 64)),
    candidates=st.builds(Candidates, fours, st.none() | fours),
)
memories = st.builds(
    Memory,
    mode=st.none() | st.sampled_from(Mode),
    mode_since=times,
    mode_changes=st.lists(changes, max_size=3).map(tuple),
    hold_level=counts,
    units=st.dictionaries(shown, units, max_size=3),
    action=shown,
    sent=shown,
    unseen=st.booleans(),
    routed_at=st.lists(times, max_size=3).map(tuple),
    routed_by=shown,
    changed_at=st.none() | times,
    verified_at=st.none() | times,
    unverified_since=st.none() | times,
    sticky_s=counts,
    nudged=st.builds(Repeats, counts, st.none() | times, shown),
    reasserted=st.builds(Repeats, counts, st.none() | times, shown),
    demand_known_since=st.none() | times,
    demand_missing_since=st.none() | times,
    demand_history=st.none() | demands,
    floors=st.dictionaries(shown, floors, max_size=3),
)
WHOLE = Memory(
    mode=Mode.CAPACITY,
    mode_since=1.0,
    mode_changes=(ModeChange(2.0, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "detail", "by", 3.0, 4.0, 5.0),),
    hold_level=6,
    units={"inf2": UnitMemory(7.0, Cause.QUOTA, 8, 9.0, Return.REGISTERED, 10.0)},
    action="action",
    sent="sent",
    unseen=True,
    routed_at=(20.0, 21.0),
    routed_by="uid",
    changed_at=14.0,
    verified_at=15.0,
    unverified_since=16.0,
    sticky_s=17,
    nudged=Repeats(18, 19.0, "20"),
    reasserted=Repeats(21, 22.0, "argocd"),
    demand_known_since=23.0,
    demand_missing_since=24.0,
    demand_history=DemandHistory(
        (NotedDemand(29.0, 30.0, 31.0),),
        (Outcome(32.0, 33.0),),
        (34.0,) * SLOTS,
        Damping(35.0, 36.0),
        Candidates((37.0, 38.0, 41.0, 42.0), (39.0, 40.0, 43.0, 44.0)),
    ),
    floors={"inf2-hpa": FloorMemory(37, 2, due=True, floor=ScalerWrite(25.0, "26", "27", 28), target=ScalerWrite(29.0, "30", "31", 32))},
)
"""A memory without a default in any field."""
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8
)
quick = settings(deadline=None, max_examples=100)


def _defaults(record: Any, path: str = "") -> Iterator[str]:
    """The fields that have their default, anywhere in a record."""
    for field in fields(record):
        value, default = getattr(record, field.name), field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        if value == default:
            yield f"{path}{field.name}"
        for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else [value]:
            if is_dataclass(inner):
                yield from _defaults(inner, f"{path}{field.name}.")


def test_every_field_is_stored() -> None:
    """A field that is new and not stored would be lost at each restart. How long floors have been sinking begins anew on purpose."""
    assert list(_defaults(WHOLE)) == ["floors.sinking"]
    assert decode(encode(WHOLE)) == WHOLE


def test_a_memory_without_any_field_is_that_of_a_first_start() -> None:
    """Every field that an earlier version lacked has its default."""
    assert decode('{"version":1}') == Memory()
    raw = json.loads(encode(WHOLE))
    del raw["demand_history"]["damping"], raw["demand_history"]["candidates"]
    assert WHOLE.demand_history is not None
    undamped = replace(WHOLE.demand_history, damping=Damping(0.0, 0.0), candidates=Candidates())
    assert decode(json.dumps(raw)) == replace(WHOLE, demand_history=undamped)


def test_what_is_stored_is_short_and_in_order() -> None:
    """Equal memories give equal bytes; what nobody has is not written."""
    text = encode(Memory())
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert "floors" not in text
    assert json.loads(encode(Memory(floors={"inf2-hpa": FloorMemory(found=2)})))["floors"] == {"inf2-hpa": {"found": 2}}
    assert "demand_history" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "x" * 70}, f"stored state has version '{'x' * 58}…, this program reads 1"),
        ({"mode_since": "now"}, "stored state has an impossible value at mode_since: Input should be a valid number"),
        ({"mode_since": 1e12}, "stored state has 1000000000000.0 as mode_since"),
        ({"mode_since": -1.0}, "stored state has -1.0 as mode_since"),
        ({"hold_level": -1}, "stored state has -1 as hold_level"),
        ({"hold_level": 10**12}, "stored state has 1000000000000 as hold_level"),
        ({"hold_level": [-1]}, "stored state has -1 as a number"),
        ({"mode": "fast"}, "stored state has an impossible value at mode: Input should be 'cost' or 'capacity'"),
    ],
)
def test_a_refusal_names_what_is_wrong(changes: dict[str, Any], words: str) -> None:
    """A person reads it in an alert."""
    with pytest.raises(CodecError) as caught:
        decode(json.dumps({**json.loads(encode(WHOLE)), **changes}))
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "stored state is not JSON"),
        ("[]", "stored state is not an object"),
        ('{"version":1}' + " " * (MAX_TEXT - 12), f"stored state is longer than {MAX_TEXT} bytes"),
    ],
    ids=["cut off", "a list", "long"],
)
def test_a_refusal_of_a_whole_text(text: str, words: str) -> None:
    """Nothing of it is repeated."""
    with pytest.raises(CodecError) as caught:
        decode(text)
    assert str(caught.value) == words


def test_the_longest_text_is_read() -> None:
    """A byte more is refused."""
    assert decode('{"version":1}' + " " * (MAX_TEXT - 13)) == Memory()


@pytest.mark.parametrize(("number", "read"), [(-1e12, True), (-2e12, False), (1e12, False)])
def test_what_trends_lasted_may_be_below_zero(number: float, read: bool) -> None:
    """A sum of products of changes; nothing else that is stored has a sign."""
    raw = json.loads(encode(WHOLE))
    raw["demand_history"]["damping"]["lasted"] = number
    with nullcontext() if read else pytest.raises(CodecError, match=r"as lasted$"):
        decode(json.dumps(raw))


@pytest.mark.parametrize(
    ("text", "read"),
    [("a\nb", "a b"), ("é", "é"), ("\u202eabc", " abc"), ("x" * 3000, "x" * 1999 + "…"), ("", "")],
)
def test_a_text_that_is_shown_has_no_control_characters_and_an_end(text: str, read: str) -> None:
    """Anyone who may write ConfigMaps may write anything into it."""
    raw = json.loads(encode(WHOLE))
    raw["mode_changes"][0] |= {"detail": text, "by": text}
    (change,) = decode(json.dumps(raw)).mode_changes
    assert (change.detail, change.by) == (read, read)


def test_a_write_to_a_scaled_object_has_short_numbers() -> None:
    """The alert about a contested field shows both. What a later version remembers besides is dropped alone."""
    raw = json.loads(encode(WHOLE))
    evil = "\x1b[2J" + "x" * 10_000
    raw["floors"]["inf2-hpa"]["ceiling"] = {}
    raw["floors"]["inf2-hpa"]["floor"] |= {"before": evil, "after": evil}
    write = decode(json.dumps(raw)).floors["inf2-hpa"].floor
    assert write is not None
    assert (len(write.before), write.before) == (2000, write.after)
    assert write.before.startswith(" [2Jx")


def test_a_mode_change_of_an_earlier_version_has_neither_author_nor_prices() -> None:
    """Nor a text, nor a time at which the load balancer showed it."""
    raw = json.loads(encode(WHOLE))
    raw["mode_changes"] = [{"at": 1.0, "to": "cost", "reason": "ReturnProven"}]
    assert decode(json.dumps(raw)).mode_changes == (ModeChange(1.0, Mode.COST, Reason.RETURN_PROVEN),)


@quick
@given(memories)
@example(WHOLE)
def test_what_is_written_is_read_again(memory: Memory) -> None:
    """A restart must not change what is remembered, and equal memories give equal bytes."""
    assert decode(encode(memory)) == memory
    assert encode(decode(encode(memory))) == encode(memory)


@quick
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Somebody edited the ConfigMap by hand."""
    with pytest.raises(CodecError):
        decode(text)


@quick
@given(demands, st.sampled_from(["recent", "outcomes", "season", "damping", "candidates"]), anything)
def test_any_value_in_a_history_of_demands_is_read_or_refused(demand_history: DemandHistory, field: str, value: Any) -> None:
    """Nor does any value make forecasts of it fail."""
    raw = json.loads(encode(Memory(demand_history=demand_history)))
    raw["demand_history"][field] = value
    try:
        history = decode(json.dumps(raw)).demand_history
    except CodecError:
        return
    found = expected_demand(history, 1_800_000_000.0, 100.0, 600.0)
    assert 100.0 <= found.point <= found.demand < math.inf


@quick
@given(
    memories,
    st.sampled_from(
        ["version", "mode", "mode_since", "mode_changes", "hold_level", "units", "changed_at", "reasserted", "at", "to", "cause", "reason"]
    ),
    anything,
)
def test_any_value_in_any_field_is_read_or_refused(memory: Memory, field: str, value: Any) -> None:
    """No value makes the controller crash at every start."""
    raw = json.loads(encode(memory))
    raw[field] = value
    changes, units = raw.get("mode_changes", []), raw.get("units", {})
    for nested in [*changes, *units.values()] if isinstance(changes, list) and isinstance(units, dict) else []:
        if isinstance(nested, dict):
            nested[field] = json.loads(json.dumps(value))
    try:
        decode(json.dumps(raw))
    except CodecError:
        return


def _stored(**changes: Any) -> str:
    raw = {**json.loads(encode(Memory(mode=Mode.COST))), **changes}
    return json.dumps({key: value for key, value in raw.items() if value != "absent"})


UNIT = {"last_failure_at": 1.0, "cause": "capacity"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="cut off"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param(" " * 300_000, id="long"),
        pytest.param("[]", id="not an object"),
        pytest.param("{}", id="no version"),
        pytest.param(_stored(version=2), id="a later version"),
        pytest.param(_stored(mode="fast"), id="an unknown mode"),
        pytest.param(_stored(mode=[]), id="a mode that is no text"),
        pytest.param(_stored(mode_since="now"), id="a time that is text"),
        pytest.param(_stored(mode_since=True), id="a time that is a boolean"),
        pytest.param(_stored(mode_since=float("nan")), id="a time that is no number"),
        pytest.param(_stored(changed_at=float("inf")), id="a time that is infinite"),
        pytest.param(_stored(mode_since=10**400), id="a time beyond all numbers"),
        pytest.param(_stored(hold_level=-1), id="a negative count"),
        pytest.param(_stored(hold_level=1.5), id="a count that is a fraction"),
        pytest.param(_stored(reasserted={"times": True}), id="a count that is a boolean"),
        pytest.param(_stored(mode_changes=None), id="no list of mode changes"),
        pytest.param(_stored(mode_changes=[{"at": 1}]), id="a mode change without its mode"),
        pytest.param(_stored(mode_changes=["x"]), id="a mode change that is text"),
        pytest.param(_stored(units=3), id="units that are a number"),
        pytest.param(_stored(units={"a": None}), id="a unit that is nothing"),
        pytest.param(_stored(units={"a": {**UNIT, "returned": None}}), id="a return that is nothing"),
    ],
)
def test_what_cannot_be_right_is_refused(text: str) -> None:
    """Stored state that cannot be read is unknown: the controller holds, alerts and never guesses."""
    with pytest.raises(CodecError):
        decode(text)


def test_fields_of_a_later_version_are_ignored_and_missing_ones_have_their_defaults() -> None:
    """A version can then read what the previous or the next one wrote."""
    raw = json.loads(_stored(later=1, mode_since="absent", mode_changes="absent", units={"a": {**UNIT, "later": 2}}))
    assert decode(json.dumps(raw | {"spells": {"short": True, "outages_s": [1.0]}, "flips": [{"at": 1.0}]})) == Memory(
        mode=Mode.COST, units={"a": UnitMemory(1.0, Cause.CAPACITY)}
    )


def test_a_memory_of_the_version_before_knows_its_routing_object() -> None:
    """Else the first pass after an upgrade would take an object that somebody wrote anew for the one that was written."""
    raw = json.loads(encode(Memory(mode=Mode.COST, action="a1", routed_by="uid-1")))
    raw["ingress"] = raw.pop("routed_by")
    assert decode(json.dumps(raw)).routed_by == "uid-1"


def test_a_change_for_a_reason_of_another_version_is_dropped_alone() -> None:
    """After a downgrade the history lacks an entry; units and times stay."""
    kept = Memory(mode_changes=(ModeChange(5.0, Mode.COST, Reason.RETURN_PROVEN),), units={"inf2": UnitMemory(1.0, Cause.CAPACITY)})
    raw = json.loads(encode(kept))
    raw["mode_changes"].insert(0, {"at": 1.0, "to": "cost", "reason": "InventedLater", "detail": ""})
    assert decode(json.dumps(raw)) == kept
