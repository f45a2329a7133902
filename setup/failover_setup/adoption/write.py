"""The text of an inferred application file: each value with its origin in a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from controller.catalog.application import API_VERSION
from controller.clock import format_rfc3339
from failover_setup.adoption.facts import Fact, Stack
from failover_setup.adoption.infer import application_name

_WIDTH: Final = 120
_COLUMN: Final = 52
"""Column of the origins, if the value leaves room."""
_UNKNOWN: Final = "?"


def application_text(stack: Stack, now: float) -> str:
    """The whole file.

    Args:
        stack: The inferred values.
        now: When the cluster was observed, seconds since the Unix epoch.
    """
    return "\n".join([*_header(stack, now), *_body(stack)]) + "\n"


def unsure(stack: Stack) -> tuple[list[str], list[str]]:
    """The fields that are missing and those that are assumed; a field of units appears once, with the units' names."""
    absent: dict[str, list[str]] = {}
    guessed: dict[str, list[str]] = {}
    for field, owner, fact in _fields_of(stack):
        if fact.value is None:
            absent.setdefault(field, []).append(owner)
        elif not fact.sure:
            guessed.setdefault(field, []).append(owner)
    return _listed(absent), _listed(guessed)


def unsure_counts(stack: Stack) -> tuple[int, int]:
    """How many values are missing, and how many are assumed; a field of units counts once for each unit."""
    facts = [fact for _, _, fact in _fields_of(stack)]
    return sum(fact.value is None for fact in facts), sum(fact.value is not None and not fact.sure for fact in facts)


def _fields_of(stack: Stack) -> Iterator[tuple[str, str, Fact]]:
    """Every field with its unit ("" for none) and its fact."""
    yield "metadata.name", "", application_name(stack.routed)
    for section, facts in (("", stack.spec), ("capacityService.", stack.capacity), ("metrics.", stack.metrics), ("policy.", stack.policy)):
        yield from ((f"spec.{section}{key}", "", fact) for key, fact in facts.items())
    for unit in stack.units:
        yield from ((key, str(unit["name"].value), fact) for key, fact in unit.items())


def _listed(found: Mapping[str, list[str]]) -> list[str]:
    return [f"{field} of {', '.join(owners)}" if owners[0] else field for field, owners in found.items()]


def _header(stack: Stack, now: float) -> Iterator[str]:
    absent, guessed = unsure(stack)
    yield from _comment(
        f"Made by failoverctl init {stack.routed.option} {stack.routed.namespace}/{stack.routed.name}, observed {format_rfc3339(now)}."
    )
    yield from _comment("The comment on each value names its origin. docs/configuration.md describes every field.")
    for note in stack.notes:
        yield from _comment(note)
    for title, fields in (
        ("NOT FOUND; fill these in, or the file is refused:", absent),
        ("ASSUMED; check these before the controller acts on them:", guessed),
    ):
        if fields:
            yield "#"
            yield from _comment(title)
            for field in fields:
                yield from _comment(field, "#   ", "#     ")


def _comment(text: str, first: str = "# ", rest: str = "# ") -> list[str]:
    clean = " ".join(text.split())  # one line, so that text of an API server cannot leave the comment
    return textwrap.wrap(clean, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False) or [
        first.rstrip()
    ]


def _body(stack: Stack) -> Iterator[str]:
    yield f"apiVersion: {API_VERSION}"
    yield "kind: FailoverApplication"
    yield "metadata:"
    yield from _fields({"name": application_name(stack.routed)}, "  ")
    yield f"  namespace: {_scalar(stack.routed.services_in)}"
    yield "spec:"
    yield from _fields(stack.spec, "  ")
    yield from _section("capacityService", stack.capacity)
    yield from _section("metrics", stack.metrics)
    yield "  units:"
    for index, unit in enumerate(stack.units):
        if index:
            yield ""
        lines = list(_fields(unit, "      "))
        yield f"    - {lines[0].lstrip()}"  # the name, which is always there
        yield from lines[1:]
    yield from _section("policy", stack.policy)


def _section(name: str, facts: Mapping[str, Fact]) -> Iterator[str]:
    if facts:
        yield f"  {name}:"
        yield from _fields(facts, "    ")


def _fields(facts: Mapping[str, Fact], indent: str) -> Iterator[str]:
    for key, fact in facts.items():
        origin = " ".join(fact.origin.split())
        if fact.value is None:
            yield f"{indent}# {key}: {_UNKNOWN}  NOT FOUND: {origin}"
            continue
        line = f"{indent}{key}: {_scalar(fact.value)}"
        yield f"{line:<{_COLUMN}}  # {'' if fact.sure else 'ASSUMED: '}{origin}"


def _scalar(value: Any) -> str:  # noqa: ANN401 - any value of the file
    """A value on one line: whole numbers without a fraction, text quoted if YAML would read it differently."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)).strip()
    return text.removesuffix("\n...").strip()
