"""The types of object fields, as far as server-side apply needs them: which maps and lists are atomic, and what identifies a list item.

The table (``field_types.json``) is derived from the schemas of k8s.io/client-go v0.36 and from the CRDs, so that ownership is
tracked at the same places as on a real server. A field that the table lacks is *deduced*: maps are merged key by key, lists
are atomic, which is what a real server does for fields without a schema.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

Shape = Literal["scalar", "map", "list"]


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of one value.

    Attributes:
        shape: What the value is; "deduced" follows the value itself.
        atomic: Whether a map or list is owned as a whole.
        fields: Types of the declared fields of a map that are not scalars.
        scalars: Names of the declared scalar fields of a map.
        element: Type of undeclared keys of a map or of the items of a list; None where a map allows none.
        keys: Fields that identify an item of a list of maps; () for lists that are sets or atomic.
        defaults: Values of identifying fields that an item may leave out.
    """

    shape: Literal["scalar", "map", "list", "deduced"]
    atomic: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    scalars: frozenset[str] = frozenset()
    element: Any = None
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def shape_of(self, value: object) -> Shape:
        """The shape to treat `value` with; a value that contradicts its type counts as a scalar, which is a leaf."""
        if value is None and (self.shape == "map" or self.shape == "list"):  # noqa: PLR1714 - mypy narrows only this form
            return self.shape  # null is an empty map or list
        actual: Shape = "map" if isinstance(value, dict) else "list" if isinstance(value, list) else "scalar"
        return actual if self.shape in ("deduced", actual) else "scalar"

    def is_atomic(self) -> bool:
        """Whether a list or map of this type is owned as a whole; lists without a schema are."""
        return self.atomic

    def omits_empty(self) -> bool:
        """Whether Go leaves an empty value of this type out of its JSON: lists and free maps, but not structs."""
        return self.shape == "list" or (self.shape == "map" and not self.fields and not self.scalars)

    def declares(self, name: str) -> bool:
        """Whether `name` is a field of the schema rather than a key of a free map."""
        return name in self.fields or name in self.scalars

    def of_field(self, name: str) -> FieldType:
        """The type of a map's field."""
        if name in self.scalars:
            return SCALAR
        return _resolve(self.fields.get(name, self.element))

    def of_item(self) -> FieldType:
        """The type of a list's items."""
        return _resolve(self.element)


SCALAR = FieldType("scalar")
DEDUCED = FieldType("deduced", element="deduced")


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("field_types.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@functools.cache
def _named(name: str) -> FieldType:
    return _build(_table()["types"][name])


_BUILT: dict[int, FieldType] = {}


def _resolve(ref: object) -> FieldType:
    if ref == "s":
        return SCALAR
    if isinstance(ref, dict):
        if "t" in ref:
            return _named(ref["t"])
        # The table lives as long as the process, so an entry's identity can stand for its content.
        built = _BUILT.get(id(ref))
        if built is None:
            built = _BUILT[id(ref)] = _build(ref)
        return built
    return DEDUCED


def _build(spec: Mapping[str, Any]) -> FieldType:
    if "map" in spec:
        inner = spec["map"]
        return FieldType(
            "map",
            atomic=bool(inner.get("atomic")),
            fields=inner.get("f", {}),
            scalars=frozenset(inner.get("s", "").split()),
            element=inner.get("e"),
            defaults=inner.get("d", {}),
        )
    inner = spec["list"]
    return FieldType("list", atomic=inner["rel"] == "atomic", element=inner["e"], keys=tuple(inner.get("keys", ())))


def type_of(plural: str) -> FieldType:
    """The type of a resource's objects."""
    return _named(_table()["roots"][plural])
