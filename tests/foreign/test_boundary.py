"""The boundary for foreign text: what comes out of it is bounded, and what was bounded before is unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.catalog.loader import Source, parse_applications
from controller.clock import LATEST, format_rfc3339, parse_rfc3339
from controller.documents import LISTED
from controller.errors import ConfigError
from controller.foreign import MAX_ANNOTATION, MAX_MESSAGE, MAX_SHOWN, MAX_VALUE, decode, decode_page, shown
from controller.policy.model import Memory
from controller.recording.stored import CodecError, encode
from controller.recording.stored import decode as decode_memory
from tests.signals.hostile import TEXT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.sampled_from(["metadata", "items"]), inner, max_size=4)
    ),
    max_leaves=16,
)


def _whole(raw: bytes) -> Any:
    """A page that was decoded one object at a time, with its objects."""
    found: list[Any] = []
    page = decode_page(raw, found.append)
    return page if not isinstance(page, dict) or "items" in page else {**page, "items": found}


def _scalars(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [one for key, item in value.items() for one in (key, *_scalars(item))]
    return [one for item in value for one in _scalars(item)] if isinstance(value, list) else [value]


@given(JSON)
def test_whatever_enters_comes_out_bounded(value: Any) -> None:
    """No text beyond its limit, no character that a terminal obeys, no number beyond 64 bits."""
    for one in _scalars(decode(json.dumps(value).encode())):
        if isinstance(one, str):
            assert len(one) <= MAX_ANNOTATION
            assert one.replace("\n", "").replace("\t", "").replace("\r", "").isprintable() in {
                True,
                _unassigned(one),
            }
        elif isinstance(one, int | float):
            assert abs(one) < 1e18


def _unassigned(text: str) -> bool:
    """Whether only characters without a meaning make it unprintable: private ones, and those of later versions of Unicode."""
    return "".join(shown(one) for one in text).isprintable()


ORDINARY: dict[str, Any] = {
    "kind": "Ingress",
    "metadata": {"name": "sd21", "annotations": {"a": '{"b":\n\t1}', "b": "x" * MAX_ANNOTATION}},
    "spec": {"replicas": 3, "share": 0.25, "text": "Zürich → 東京", "longest": "y" * MAX_VALUE},
}


def test_what_is_ordinary_is_unchanged() -> None:
    """Letters of every language, JSON over several lines in an annotation, and texts up to the limit."""
    assert decode(json.dumps(ORDINARY).encode()) == ORDINARY
    assert decode(json.dumps({"items": [ORDINARY]}).encode()) == {"items": [ORDINARY]}
    assert decode(json.dumps({"type": "ADDED", "object": ORDINARY}).encode())["object"] == ORDINARY


def test_the_data_of_our_own_config_maps_is_unchanged() -> None:
    """The stored memory is longer than any text of a stranger may be, and has a decoder of its own."""
    obj = {"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"memory": "z\n" * MAX_VALUE}}
    assert decode(json.dumps(obj).encode()) == obj
    assert len(decode(json.dumps({**obj, "kind": "Pod"}).encode())["data"]["memory"]) == MAX_VALUE


@pytest.mark.parametrize("decoded", [decode, _whole], ids=["whole", "one at a time"])
def test_the_data_of_our_own_config_maps_is_unchanged_in_a_list(decoded: Callable[[bytes], Any]) -> None:
    """A list says its kind once, and its objects do not: a takeover reads all memories by one list."""
    data = {"memory": "z\n" * MAX_VALUE}
    assert decoded(json.dumps({"kind": "ConfigMapList", "items": [{"data": data}]}).encode())["items"] == [{"data": data}]
    assert len(decoded(json.dumps({"kind": "PodList", "items": [{"data": data}]}).encode())["items"][0]["data"]["memory"]) == MAX_VALUE


@pytest.mark.parametrize("decoded", [decode, _whole], ids=["whole", "one at a time"])
def test_the_message_of_an_event_has_a_bound_of_its_own(decoded: Callable[[bytes], Any]) -> None:
    """Karpenter's has an entry for each NodePool of the cluster; nothing else of an event, and of no other kind, is that long."""
    obj = {"reason": "FailedScheduling", "message": "m" * 2 * MAX_MESSAGE, "action": "a" * 2 * MAX_MESSAGE}
    for kind, most in (("Event", MAX_MESSAGE), ("Pod", MAX_VALUE)):
        alone, listed = (
            decode(json.dumps({**obj, "kind": kind}).encode()),
            decoded(json.dumps({"kind": f"{kind}List", "items": [obj]}).encode()),
        )
        for found in (alone, *listed["items"]):
            assert (len(found["message"]), len(found["action"])) == (most, MAX_VALUE)


@given(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["PodList", "ConfigMapList", "EventList"]), "items": JSON}, optional={"metadata": JSON, "x\n": JSON}
    )
    | JSON,
    st.sampled_from([None, 1, "\t"]),
)
def test_one_object_at_a_time_is_decoded_as_the_whole_page_is(page: Any, indent: int | str | None) -> None:
    """Whatever a list holds, and however it is set out."""
    raw = json.dumps(page, indent=indent).encode()
    expected = decode(raw)
    assert _whole(raw) == (expected if not isinstance(expected, dict) or "items" in expected else {**expected, "items": []})


@pytest.mark.parametrize("form", [{}, {"separators": (",", ":")}, {"indent": 2}])
def test_a_page_that_breaks_off_or_goes_on_is_refused(form: dict[str, Any]) -> None:
    """At every character: a page that is cut must never pass for a shorter list."""
    raw = json.dumps({"kind": "PodList", "items": [{"a": 1}, [], "x"], "metadata": {}}, **form).encode()
    assert _whole(raw)["items"] == [{"a": 1}, [], "x"]
    for end in range(len(raw)):
        with pytest.raises(ValueError, match=r".+"):
            _whole(raw[:end])
    twice = raw.replace(b'"kind"', b'"items": [], "kind"')
    for wrong in (twice, raw + b"}", raw.replace(b"}", b"},", 1), raw.replace(b'"items"', b"1"), raw.replace(b'"items":', b'"items"')):
        with pytest.raises(ValueError, match=r".+"):
            _whole(wrong)


@pytest.mark.parametrize("quoted", ['"' * 50_000, "\\" * 50_000, "a\\n" * 50_000, TEXT, "\x7f" * 9000])
def test_no_way_of_writing_a_text_goes_around_the_limit(quoted: str) -> None:
    """The quick search for what is unusual must see through escapes."""
    for ascii_only in (True, False):
        found = decode(json.dumps({"spec": {"a": quoted}}, ensure_ascii=ascii_only).encode())["spec"]["a"]
        assert len(found) == MAX_VALUE
        assert found.isprintable()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 19, "1" * 5000])
def test_a_number_without_bound_is_as_if_it_were_not_there(number: str) -> None:
    """The same as a field of the wrong type, which every reader survives."""
    assert decode(b'{"spec": {"replicas": ' + number.encode() + b"}}") == {"spec": {"replicas": None}}


def test_a_shown_text_is_short_and_on_one_line() -> None:
    """It says that it was cut."""
    assert shown("a\nb\x1b[31mc") == "a b [31mc"
    assert len(shown(TEXT)) == MAX_SHOWN
    assert shown(TEXT).endswith("…")


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "٢٠٢٦-01-01T00:00:00Z"])
def test_a_time_beyond_the_calendar_is_none(text: str) -> None:
    """`status` crashed on a pause until the year 9999 in another time zone."""
    assert parse_rfc3339(text) is None


@pytest.mark.parametrize("seconds", [0.0, LATEST, LATEST + 86_400, -1.0, 1e300, float("inf")])
def test_every_time_can_be_written(seconds: float) -> None:
    """The difference of two clocks may move a time beyond the calendar."""
    assert parse_rfc3339(format_rfc3339(seconds)) is not None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("".join(f"key{number}: 1\n" for number in range(2000)), id="unknown keys"),
        pytest.param(f"{'k' * 200_000}: 1\n", id="a long key"),
        pytest.param(f"apiVersion: {'v' * 200_000}\n", id="a long value"),
        pytest.param("spec:\n  units:\n" + "  - {}\n" * 500, id="empty units"),
        pytest.param("a: 1\n" * 2000, id="duplicate keys"),
        pytest.param('"\\e[31m\\u202e": 1\n', id="terminal escapes"),
    ],
)
def test_the_error_of_a_file_is_bounded(content: str) -> None:
    """A file of 256 KiB made an error of 8.4 MB, which went into the log, the status and a message."""
    with pytest.raises(ConfigError) as caught:
        parse_applications([Source(f"{number}.yaml", content.encode()) for number in range(2)])
    assert len(str(caught.value)) < LISTED + 100
    assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("number", ["1e300", "NaN", "-Infinity", "9" * 400])
@pytest.mark.parametrize("field", ["mode_since", "hold_level", "sticky_s", "changed_at"])
def test_stored_numbers_are_bounded(field: str, number: str) -> None:
    """Anyone who may write the ConfigMap may write any number into it."""
    stored = json.loads(encode(Memory()))
    text = json.dumps({**stored, field: "HERE"}).replace('"HERE"', number)
    with pytest.raises(CodecError) as caught:
        decode_memory(text)
    assert len(str(caught.value)) < MAX_SHOWN
