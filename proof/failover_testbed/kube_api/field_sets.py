"""Sets of field paths, which record ownership, and merging of objects field by field.

A path is a tuple of elements in the notation of ``fieldsV1`` in the Kubernetes API reference: ``f:name`` for a field, ``k:{...}`` for a
list item that some of its fields identify, ``v:...`` for a member of a set.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from failover_testbed.kube_api.field_types import FieldType

Path = tuple[str, ...]
FieldSet = frozenset[Path]


class SchemaMismatch(ValueError):
    """A value does not fit its type, for example a list item without its identifying field."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between two objects."""

    removed: FieldSet
    modified: FieldSet
    added: FieldSet

    def without(self, prefixes: FieldSet) -> Comparison:
        """This comparison without everything at and below `prefixes`."""
        return Comparison(*(exclude(paths, prefixes) for paths in (self.removed, self.modified, self.added)))


class _Branch(enum.Enum):
    """Marks a value whose parts have separate owners."""

    MAP = enum.auto()
    LIST = enum.auto()


class _Part(NamedTuple):
    """One part of a value: its path element, type and content."""

    element: str
    type: FieldType
    value: Any


def exclude(paths: Iterable[Path], prefixes: FieldSet) -> FieldSet:
    """`paths` without those at and below `prefixes`."""
    return frozenset(path for path in paths if not any(path[: len(prefix)] == prefix for prefix in prefixes))


def dump(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _element(list_type: FieldType, item: object) -> str:
    """The path element of an item in a list that is merged item by item.

    Raises:
        SchemaMismatch: If the item lacks an identifying field that has no default.
    """
    if not list_type.keys:
        return f"v:{dump(item)}"
    if not isinstance(item, dict):
        raise SchemaMismatch("associative list with keys may not have non-map elements")
    identity = {key: value for key, value in (dict(list_type.defaults) | item).items() if key in list_type.keys}
    for key in list_type.keys:
        if key not in identity:
            raise SchemaMismatch(f'associative list with keys has an element that omits key field "{key}"')
    return f"k:{dump(dict(sorted(identity.items())))}"


def _parts(field_type: FieldType, value: object) -> list[_Part] | None:
    """The parts of a value with separate owners, None for a value with one owner."""
    if isinstance(value, dict) and not field_type.atomic:
        return [_Part(f"f:{name}", field_type.of_field(name), child) for name, child in value.items()]
    if isinstance(value, list) and field_type.item is not None:
        return [_Part(_element(field_type, item), field_type.item, item) for item in value]
    return None


def _flatten(field_type: FieldType, value: object, path: Path = (), into: dict[Path, Any] | None = None) -> dict[Path, Any]:
    """All values below a value, by path; a `_Branch` where more paths are or could be below."""
    flat = {} if into is None else into
    for part in _parts(field_type, value) or ():
        below = (*path, part.element)
        if below in flat:
            continue  # a list names the same item twice; the first counts
        split = _parts(part.type, part.value) is not None
        flat[below] = (_Branch.MAP if isinstance(part.value, dict) else _Branch.LIST) if split else part.value
        if split:
            _flatten(part.type, part.value, below, flat)
    return flat


def to_set(field_type: FieldType, value: object) -> FieldSet:
    """The fields that applying `value` claims: values with one owner, list items, and empty maps."""
    flat = _flatten(field_type, value)
    filled = {path[:-1] for path in flat}
    return frozenset(
        path
        for path, found in flat.items()
        if not isinstance(found, _Branch) or not _is_field(path[-1]) or (found is _Branch.MAP and path not in filled)
    )


def compare(field_type: FieldType, old: object, new: object) -> Comparison:
    """What changed from `old` to `new`."""
    before, after = _flatten(field_type, old), _flatten(field_type, new)
    return Comparison(
        removed=frozenset(before.keys() - after.keys()),
        modified=frozenset(path for path in before.keys() & after.keys() if _differ(before[path], after[path])),
        added=frozenset(after.keys() - before.keys()),
    )


def _differ(old: object, new: object) -> bool:
    return old != new or type(old) is not type(new)  # True == 1 in Python, not in JSON


def merge(field_type: FieldType, live: Any, config: Any) -> Any:  # noqa: ANN401 - any JSON
    """`live` with `config` laid over it."""
    if isinstance(live, dict) and isinstance(config, dict) and not field_type.atomic:
        return live | {name: merge(field_type.of_field(name), live.get(name), value) for name, value in config.items()}
    if isinstance(live, list) and isinstance(config, list) and field_type.item is not None:
        return _merge_items(field_type.item, _by_element(field_type, live), _by_element(field_type, config))
    return config


def _by_element(list_type: FieldType, items: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        found.setdefault(_element(list_type, item), item)
    return found


def _merge_items(item_type: FieldType, live: Mapping[str, Any], config: Mapping[str, Any]) -> list[Any]:
    """Items of `config` in their order. Items only in `live` go before the next item that both have, or else before the rest."""
    places = {element: place for place, element in enumerate(live)}
    left, wanted = list(live), list(config)
    merged: list[Any] = []
    taken = 0
    for index, element in enumerate(wanted):
        anchor = next((places[other] for other in wanted[index:] if other in places), -1)
        ahead = anchor if anchor >= taken else len(left)
        merged += [live[other] for other in left[taken:ahead] if other not in config]
        taken = ahead
        merged.append(merge(item_type, live.get(element), config[element]))
    return merged + [live[other] for other in left[taken:] if other not in config]


_GONE: Final = object()


def remove(field_type: FieldType, value: dict[str, Any], paths: FieldSet, held: FieldSet) -> dict[str, Any]:
    """`value` without the values at `paths` and without maps and lists that become empty, unless they are in `held`."""
    ways = {path[:length] for path in paths for length in range(len(path))}

    def left_of(field_type: FieldType, value: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON
        if path in paths:
            return _GONE
        parts = _parts(field_type, value) if path in ways else None
        if not parts:
            return value
        left = [left_of(part.type, part.value, (*path, part.element)) for part in parts]
        if path and path not in held and all(item is _GONE for item in left):
            return _GONE
        if isinstance(value, list):
            return [item for item in left if item is not _GONE]
        return {name: item for name, item in zip(value, left, strict=True) if item is not _GONE}

    result: dict[str, Any] = left_of(field_type, value, ())
    return result


def with_parents(paths: Iterable[Path]) -> FieldSet:
    """`paths` and the fields that contain them; a containing list item counts only if it is in `paths`."""
    found = set(paths)
    return frozenset(found | {path[:length] for path in found for length in range(1, len(path)) if _is_field(path[length - 1])})


def _is_field(element: str) -> bool:
    return element.startswith("f:")


def encode(paths: Iterable[Path]) -> dict[str, Any]:
    """Encodes a set as the ``fieldsV1`` of a managedFields entry."""
    root: dict[str, Any] = {}
    members = set(paths)
    prefixes = {path[:length] for path in members for length in range(1, len(path))}
    for path in sorted(members):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        if path in prefixes:
            node["."] = {}
    return root


def decode(tree: Mapping[str, Any]) -> FieldSet:
    """Decodes the set of a ``fieldsV1``."""
    found: set[Path] = set()

    def walk(node: Mapping[str, Any], path: Path) -> None:
        if path and (not node or "." in node):
            found.add(path)
        for element, child in node.items():
            if element != ".":
                walk(child, (*path, _normal(element)))

    walk(tree, ())
    return frozenset(found)


def _normal(element: str) -> str:
    # Clients may write k: and v: elements with other spacing or key order; we store them compact and sorted.
    if element[:2] not in ("k:", "v:"):
        return element
    value = json.loads(element[2:])
    return element[:2] + dump(dict(sorted(value.items())) if isinstance(value, dict) else value)


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Paths in the order of conflict messages: at each level first those that end there, then the longer ones."""
    return sorted(paths, key=lambda path: [(index < len(path) - 1, element) for index, element in enumerate(path)])


def path_text(path: Path) -> str:
    """A path as conflict messages write it, for example ``.spec.ports[port=80,protocol="TCP"].name``."""
    parts: list[str] = []
    for element in path:
        if element.startswith("f:"):
            parts.append(f".{element[2:]}")
        elif element.startswith("k:"):
            keys = json.loads(element[2:])
            parts.append("[" + ",".join(f"{key}={dump(value)}" for key, value in sorted(keys.items())) + "]")
        else:
            parts.append(f"[={element[2:]}]")
    return "".join(parts)
