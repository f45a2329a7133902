"""A recorded decision is read back exactly; a line that cannot be read is named."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from controller.policy.model import Application, Memory, PolicySettings, Snapshot
from controller.recording.lines import Decided, LineError, Recorded, decided, definition, encode
from controller.routing.conclusion import conclude
from failover_analysis.replay.decoder import Decoder
from tests.policy.support import shortage, with_scalers
from tests.recording.values import plain, values
from tests.support.applications import NOW, application, memory, snapshot

quick = settings(deadline=None, max_examples=40)


def lines(recorded: Recorded) -> tuple[bytes, bytes]:
    """The definition of the application, and the line."""
    made = definition(recorded.snapshot.application, recorded.snapshot.now)
    return made.line, encode(recorded, made.ref)


def read(*written: bytes) -> Recorded:
    """The content of the last line."""
    decoder = Decoder()
    found = [decoder.decode(line) for line in written]
    assert found[-1] is not None
    return found[-1]


def failover() -> Recorded:
    """A decision to fail over."""
    seen = with_scalers(shortage(snapshot(application(policy=PolicySettings(patience_s=0)))))
    return Recorded(memory(), seen, decided(conclude(memory(), seen).plan), NOW + 0.25)


@quick
@given(values(Memory), values(Snapshot), values(Decided), values(float), values(str))
def test_every_value_of_the_types_is_read_back_exactly(remembered: Memory, seen: Snapshot, what: Decided, done: float, failed: str) -> None:
    """Sets, enums, ports as text or number: a replay must decide from the recorded values."""
    units = tuple(unit for unit in seen.application.units if unit.name in seen.units)
    recorded = Recorded(remembered, replace(seen, application=replace(seen.application, units=units)), what, done, failed)
    assert plain(read(*lines(recorded))) == plain(recorded)


@quick
@given(values(Application))
def test_a_definition_is_one_line(any_application: Application) -> None:
    """No character in a name breaks the line."""
    assert definition(any_application, 1.0).line.count(b"\n") == 1


def test_a_decision_of_today_is_decided_again_from_its_line() -> None:
    """This is the purpose of a recording."""
    recorded = failover()
    again = read(*lines(recorded))
    assert decided(conclude(again.memory, again.snapshot).plan) == recorded.decided
    assert recorded.decided.verb == "failover"


def test_the_application_is_written_once_and_not_in_every_line() -> None:
    """It would be the larger part of a line."""
    first, line = lines(failover())
    assert b"price_per_hour" in first
    assert b"price_per_hour" not in line


def test_fields_of_a_later_version_are_ignored_and_missing_ones_have_their_defaults() -> None:
    """This version reads the recordings of earlier and later versions."""
    first, line = lines(failover())
    raw = json.loads(line)
    raw["later"] = raw["snapshot"]["later"] = raw["memory"]["later"] = raw["snapshot"]["routing"]["later"] = [1]
    del raw["snapshot"]["error_ratio"], raw["memory"]["nudged"], raw["decided"]["keda_targets"]
    assert read(first, json.dumps(raw).encode()) == replace(failover(), decided=replace(failover().decided, keda_targets={}))


def test_a_verb_or_reason_that_another_version_knew_is_read() -> None:
    """Its decision must still be comparable."""
    first, line = lines(failover())
    raw = json.loads(line)
    raw["decided"]["verb"], raw["decided"]["reason"] = "evacuate", "CapacityForecast"
    assert read(first, json.dumps(raw).encode()).decided.verb == "evacuate"


def _changed(path: tuple[str, ...], value: Any) -> bytes:
    raw = json.loads(lines(failover())[1])
    inner = raw
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(raw).encode()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param(b"", "is not JSON", id="nothing"),
        pytest.param(lines(failover())[1][:900], "may have been cut off", id="cut off"),
        pytest.param(b"\xff\xfe\n", "is not JSON", id="not text"),
        pytest.param(b"[" * 100_000, "is not JSON", id="deep"),
        pytest.param(b"[]", "not a JSON object", id="no object"),
        pytest.param(b"{}", "found recording format None; this version reads 1", id="no format"),
        pytest.param(_changed(("recording",), 2), "found recording format 2; this version reads 1", id="a later format"),
        pytest.param(_changed(("kind",), "news"), "kind 'news'", id="another kind"),
        pytest.param(_changed(("ref",), "0"), "refers to application '0'", id="no definition"),
        pytest.param(_changed(("ref",), ["0"]), "refers to application", id="a reference that is a list"),
        pytest.param(_changed(("snapshot",), 1), "has no snapshot", id="a snapshot that is a number"),
        pytest.param(_changed(("snapshot", "now"), "noon"), "snapshot.now: Input should be a valid number", id="a time that is text"),
        pytest.param(_changed(("snapshot", "routing"), None), "snapshot.routing: Field required", id="no routing"),
        pytest.param(_changed(("memory", "mode"), "fast"), "memory.mode", id="a mode that nobody knows"),
        pytest.param(_changed(("snapshot", "units", "sd21-inf2"), None), "no observation of sd21-inf2", id="a unit that is missing"),
    ],
)
def test_a_line_that_cannot_be_read_names_the_reason(line: bytes, problem: str) -> None:
    """The rest of the recording is read; a person must know which line was not."""
    decoder = Decoder()
    decoder.decode(lines(failover())[0])
    with pytest.raises(LineError, match=problem.replace("[", r"\[")):
        decoder.decode(line)


def test_a_text_that_json_cannot_represent_is_refused() -> None:
    """The API server never sends a lone surrogate; one from elsewhere must not end the recording."""
    broken = snapshot()
    broken = replace(broken, routing=replace(broken.routing, writer="\ud800"))
    with pytest.raises(LineError, match="cannot be written"):
        lines(replace(failover(), snapshot=broken))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "Infinity", "1e999", "9" * 400])
@pytest.mark.parametrize("before", ['"done":', '"now":', '"mode_since":', '"paused_until":'])
def test_a_number_that_no_version_wrote_is_refused(number: str, before: str) -> None:
    """Computed with, it would raise far from here, or hold for ever. Only an override may have no end."""
    application_line, line = lines(failover())
    changed = re.sub(rb"(?<=" + before.encode() + rb")[^,}]+", number.encode(), line, count=1)
    assert changed != line
    if (number, before) == ("Infinity", '"paused_until":'):
        assert read(application_line, changed).snapshot.routing.override.paused_until == math.inf
    else:
        with pytest.raises(LineError):
            read(application_line, changed)
