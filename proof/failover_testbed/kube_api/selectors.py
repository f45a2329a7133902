"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from failover_testbed.kube_api import statuses
from failover_testbed.kube_api.registry import Resource

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s+\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")
_COMPARE = re.compile(rf"^({_KEY})\s*(==|=|!=|>|<)\s*({_VALUE})$")
_FIELD = re.compile(r"^([A-Za-z0-9_./\[\]-]+)\s*(==|=|!=)(.*)$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector: a test of one label's value, which is None if the label is absent."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, value: str | None) -> bool:
        """Whether a label with this value satisfies the term."""
        if self.operator == "exists":
            return value is not None
        if self.operator == "absent":
            return value is None
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        if value is None or not re.fullmatch(r"-?\d+", value):
            return False
        bound = int(next(iter(self.values)))
        return int(value) > bound if self.operator == ">" else int(value) < bound


@dataclass(frozen=True, slots=True)
class Selector:
    """Selects objects of a resource.

    Attributes:
        labels: Terms over labels, all of which must hold.
        fields: Terms over fields as (label, equal?, value).
    """

    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[str, bool, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether the selector matches the object."""
        if self.labels:
            labels = obj["metadata"].get("labels") or {}
            if not all(term.holds(labels.get(term.key)) for term in self.labels):
                return False
        return all((field_value(obj, label) == value) is equal for label, equal, value in self.fields)


def parse(resource: Resource, label_selector: str, field_selector: str) -> Selector:
    """Reads the query parameters ``labelSelector`` and ``fieldSelector``.

    Raises:
        ApiError: 400 if one cannot be read or names a field that the real server cannot select by.
    """
    return Selector(_parse_labels(label_selector), _parse_fields(resource, field_selector))


def _split(text: str) -> list[str]:
    """The terms between commas outside parentheses."""
    terms: list[str] = []
    depth, start = 0, 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            terms.append(text[start:index])
            start = index + 1
    terms.append(text[start:])
    return [term.strip() for term in terms]


def _parse_labels(text: str) -> tuple[Requirement, ...]:
    if not text.strip():
        return ()
    return tuple(_parse_label_term(term, text) for term in _split(text))


def _parse_label_term(term: str, text: str) -> Requirement:
    if found := _SET.match(term):
        key, operator, values = found.groups()
        return Requirement(key, operator, frozenset(value.strip() for value in values.split(",")))
    if found := _COMPARE.match(term):
        key, sign, value = found.groups()
        operator = {"=": "in", "==": "in", "!=": "notin"}.get(sign, sign)
        if operator in (">", "<") and not value.isdecimal():
            raise statuses.bad_request(
                f"values[0][{key}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer"
            )
        return Requirement(key, operator, frozenset({value}))
    if found := _EXISTS.match(term):
        bang, key = found.groups()
        return Requirement(key, "absent" if bang else "exists")
    raise statuses.bad_request(f"unable to parse requirement: {term!r} in selector {text!r}")


def _parse_fields(resource: Resource, text: str) -> tuple[tuple[str, bool, str], ...]:
    terms: list[tuple[str, bool, str]] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        found = _FIELD.match(term)
        if not found:
            raise statuses.bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        label, sign, value = found.groups()
        _check_field_label(resource, label)
        terms.append((label, sign != "!=", value))
    return tuple(terms)


def _check_field_label(resource: Resource, label: str) -> None:
    common = ("metadata.name", "metadata.namespace") if resource.namespaced else ("metadata.name",)
    if label in resource.field_labels or label in common:
        return
    if resource.own_field_labels:
        raise statuses.bad_request(f"field label not supported: {label}")
    raise statuses.bad_request(f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _boolean(*path: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda obj: "true" if _dig(obj, path) else "false"


_SPECIAL: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "source": lambda obj: (obj.get("source") or {}).get("component") or obj.get("reportingComponent") or "",
    "spec.hostNetwork": _boolean("spec", "hostNetwork"),
    "spec.unschedulable": _boolean("spec", "unschedulable"),
    "status.podIP": lambda obj: str(_dig(obj, ("status", "podIP"))),
}


def field_value(obj: Mapping[str, Any], label: str) -> str:
    """The value that a field selector compares, "" if there is none."""
    special = _SPECIAL.get(label)
    return special(obj) if special else str(_dig(obj, label.split(".")))


def _dig(obj: Mapping[str, Any], path: list[str] | tuple[str, ...]) -> object:
    current: object = obj
    for name in path:
        current = current.get(name) if isinstance(current, Mapping) else None
    return "" if current is None else current
