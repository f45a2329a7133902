"""Reading plain objects: whatever is missing, null or of the wrong type is the same as not there."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.objects import (
    behind,
    condition,
    dig,
    event_component,
    event_time,
    in_values,
    integer,
    items,
    mapping,
    name_of,
    namespace_of,
    pinned_values,
    quantity,
    shared,
    text,
    version,
    version_of,
)
from tests.signals.samples import requirement

ZONE = "topology.kubernetes.io/zone"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def affinity(*terms: Any) -> dict[str, Any]:
    """A pod spec with these required node affinity terms."""
    required = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


@pytest.mark.parametrize("value", [None, 5, "text", [], {"a": None}, {"a": 5}, {"a": {"b": None}}, {"a": ["b"]}])
def test_a_path_that_does_not_lead_there(value: Any) -> None:
    """Each reader has its own empty answer."""
    assert dig(value, "a", "b") is None
    assert mapping(value, "a", "b") == {}
    assert items(value, "a", "b") == []
    assert text(value, "a", "b") == ""
    assert integer(value, "a", "b") is None


def test_a_boolean_is_no_integer() -> None:
    """JSON's true is not 1."""
    assert (integer({"a": True}, "a"), integer({"a": 1}, "a"), integer({"a": 1.0}, "a"), integer({"a": "1"}, "a")) == (None, 1, None, None)


@given(JSON, st.sampled_from(["lastTimestamp", "series", "eventTime", "metadata", "source", "status", "spec"]))
def test_no_shape_raises(value: Any, key: str) -> None:
    """Any JSON, as the whole object and as any of its parts."""
    for obj in (value, {key: value}, {"metadata": value, "status": {"conditions": value}}):
        name_of(obj)
        namespace_of(obj)
        condition(obj, "Ready")
        event_time(obj)
        event_component(obj)
        in_values(obj, ZONE)
        pinned_values(obj, ZONE)
        pinned_values({"nodeSelector": value, "affinity": value}, ZONE)
        pinned_values(affinity(value), ZONE)
        in_values([{"key": ZONE, "operator": "In", "values": value}], ZONE)


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ([], ((), True)),
        ([requirement("other", "a")], ((), True)),
        ([requirement(ZONE, "b", "a")], (("a", "b"), True)),
        ([requirement(ZONE, "a", "b"), requirement(ZONE, "b", "c")], (("b",), True)),
        ([requirement(ZONE, "a"), requirement(ZONE, "c", operator="NotIn")], (("a",), False)),
        ([requirement(ZONE, operator="Exists")], ((), False)),
        ([requirement(ZONE, "a"), requirement(ZONE, "b")], ((), False)),
        ([requirement(ZONE)], ((), False)),
        ([None, 5, {"key": ZONE}, {"operator": "In"}], ((), False)),
    ],
)
def test_values_that_requirements_allow(requirements: Any, expected: tuple[tuple[str, ...], bool]) -> None:
    """Lists of one key meet; other operators, and lists that have nothing in common, are not exact."""
    assert in_values(requirements, ZONE) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ()),
        ({"nodeSelector": {ZONE: "a"}}, ("a",)),
        (affinity({"matchExpressions": [requirement(ZONE, "a", "b")]}), ("a", "b")),
        (affinity({"matchExpressions": [requirement(ZONE, "a")]}, {"matchExpressions": [requirement(ZONE, "b")]}), ("a", "b")),
        (affinity({"matchExpressions": [requirement(ZONE, "a")]}, {"matchExpressions": [requirement("gpu", "yes")]}), ()),
        ({"nodeSelector": {ZONE: "a"}, **affinity({"matchExpressions": [requirement(ZONE, "a", "b")]})}, ("a",)),
        (affinity({"matchExpressions": [requirement(ZONE, "a", operator="NotIn")]}), ()),
        ({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"preference": {}}]}}}, ()),
    ],
)
def test_values_a_pod_is_pinned_to(spec: dict[str, Any], expected: tuple[str, ...]) -> None:
    """Selector and term are AND-ed, terms are OR-ed, one open term opens it all, preferences pin nothing."""
    assert pinned_values(spec, ZONE) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"source": {"component": "karpenter"}}, "karpenter"),
        ({"source": {}, "reportingComponent": "karpenter"}, "karpenter"),
        ({"source": {"component": "kubelet"}, "reportingComponent": "karpenter"}, "kubelet"),
        ({"source": None}, ""),
    ],
)
def test_who_reported_an_event(event: dict[str, Any], expected: str) -> None:
    """The old field, else the new one."""
    assert event_component(event) == expected


@pytest.mark.parametrize(
    ("resource_version", "expected"),
    [("7", 7), ("18446744073709551615", 2**64 - 1), ("9" * 21, None), ("", None), ("abc", None), ("²", None), ("-7", None), ("1.5", None)],
)
def test_a_version_is_a_number_or_unknown(resource_version: str, expected: int | None) -> None:
    """It is opaque by contract: whatever is no number of 64 bits can be compared with nothing."""
    assert version(resource_version) == expected
    assert version_of({"metadata": {"resourceVersion": resource_version}}) == expected


@pytest.mark.parametrize(
    ("state", "known", "expected"), [(6, 7, True), (7, 7, False), (8, 7, False), (None, 7, False), (6, None, False), (None, None, False)]
)
def test_only_what_is_known_to_be_earlier_is_behind(state: int | None, known: int | None, expected: bool) -> None:
    """What cannot be compared is taken as it comes."""
    assert behind(state, known) == expected


def test_a_shared_name_does_not_outlive_its_use() -> None:
    """Pods come and go for months. A string that is never freed has a count of references that no program has."""
    name = "".join(["pod", "-", "x7k2p"])
    assert sys.getrefcount(shared(name)) < 1 << 16


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("200", "200"), (200, "200"), (0.5, "0.5"), ("+1", "1"), ("-2.5", "-2.5"), (".5", "0.5"), ("5.", "5"), ("0", "0"),
        ("250m", "0.25"), ("3u", "0.000003"), ("3n", "0.000000003"), ("1k", "1000"), ("2M", "2000000"), ("2G", "2000000000"),
        ("1T", "1e12"), ("1P", "1e15"), ("9E", "9e18"), ("1e3", "1000"), ("1E3", "1000"), ("12e-1", "1.2"),
        ("1Ki", "1024"), ("785Gi", "842887331840"), ("1Mi", "1048576"), ("1Ti", "1099511627776"), ("1Pi", "1125899906842624"),
        ("7Ei", "8070450532247928832"), ("9223372036854775807", "9223372036854775807"), ("-9223372036854775807", "-9223372036854775807"),
    ],
)  # fmt: skip
def test_a_quantity(written: Any, number: str) -> None:
    """Each suffix and each way of writing a number, up to the most that Kubernetes keeps."""
    assert quantity(written) == Decimal(number)


@pytest.mark.parametrize(
    "written",
    [
        None, True, [], {}, "", "m", "Gi", "x", "1x", "1 Gi", " 1", "1_000", "1K", "1ki", "1e", "1e1.5", "1Gim", "\u0661", "NaN", "-inf",
        float("nan"), float("inf"), 1e300, pytest.param(10**5000, id="5,000 digits"), "1" * 65,
        "9223372036854775808", "-9223372036854775808", "8Ei", "10E", "1e19", "1e99",
        "1e399999", "1e1000000", "-9e999999999", "1e-1000000",
    ],
)  # fmt: skip
def test_no_quantity(written: Any) -> None:
    """Another type, another writing, or more than Kubernetes keeps: a sum with the last ones would take seconds, or overflow."""
    assert quantity(written) is None
