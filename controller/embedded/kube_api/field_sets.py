"""Sets of field paths and the walks that make them: the algorithms of sigs.k8s.io/structured-merge-diff v6.

A path is a tuple of elements in FieldsV1 notation: ``f:name`` for a field, ``k:{...}`` for an item of a list of maps, ``v:...``
for a member of a list that is a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.embedded.kube_api.field_types import FieldType

Path = tuple[str, ...]
FieldSet = frozenset[Path]


class _Missing:
    """The absence of a value, which null is not."""


MISSING: Final = _Missing()


class SchemaMismatch(ValueError):
    """A value cannot be walked with its type, for example a list item without its identifying field."""


@dataclass(slots=True)
class Comparison:
    """What differs between two objects."""

    removed: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    added: set[Path] = field(default_factory=set)

    def without(self, prefixes: Iterable[Path]) -> Comparison:
        """This comparison without everything at and below `prefixes`."""
        cut = tuple(prefixes)
        return Comparison(*(set(exclude(paths, cut)) for paths in (self.removed, self.modified, self.added)))


def exclude(paths: Iterable[Path], prefixes: Iterable[Path]) -> FieldSet:
    """`paths` without those at and below `prefixes`."""
    cut = tuple(prefixes)
    return frozenset(path for path in paths if not any(path[: len(prefix)] == prefix for prefix in cut))


def dump(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def element_of(list_type: FieldType, item: object) -> str:
    """The path element of a list item.

    Raises:
        SchemaMismatch: If the item lacks an identifying field that has no default.
    """
    if not list_type.keys:
        return f"v:{dump(item)}"
    if not isinstance(item, dict):
        raise SchemaMismatch("associative list with keys may not have non-map elements")
    item_type = list_type.of_item()
    found: dict[str, Any] = {}
    for key in sorted(list_type.keys):
        if key in item:
            found[key] = item[key]
        elif key in item_type.defaults:
            found[key] = item_type.defaults[key]
        else:
            raise SchemaMismatch(f'associative list with keys has an element that omits key field "{key}"')
    return f"k:{dump(found)}"


def _items(list_type: FieldType, values: object) -> dict[str, Any]:
    if not isinstance(values, list):
        return {}
    found: dict[str, Any] = {}
    for item in values:
        found.setdefault(element_of(list_type, item), item)
    return found


def to_set(field_type: FieldType, value: object, path: Path = ()) -> set[Path]:
    """The fields that applying `value` claims."""
    shape = field_type.shape_of(value)
    found: set[Path] = set()
    if shape == "scalar" or field_type.is_atomic() or (shape == "list" and field_type.shape == "deduced"):
        found.add(path)
    elif isinstance(value, dict):
        for name, child in value.items():
            below = (*path, f"f:{name}")
            found |= to_set(field_type.of_field(name), child, below)
            if child is None or child == {} or not field_type.declares(name):
                found.add(below)
    else:
        for element, child in _items(field_type, value).items():
            below = (*path, element)
            found |= to_set(field_type.of_item(), child, below)
            found.add(below)
    return found


def compare(field_type: FieldType, old: object, new: object) -> Comparison:
    """What changed from `old` to `new`."""
    out = Comparison()
    _compare(field_type, (), old, new, out)
    return out


def _compare(field_type: FieldType, path: Path, old: object, new: object, out: Comparison) -> None:
    shape = field_type.shape_of(old if new is MISSING else new)
    differs = old is not MISSING and new is not MISSING and field_type.shape_of(old) != shape
    atomic = field_type.is_atomic() or (shape == "list" and field_type.shape == "deduced")
    both_empty = old in (MISSING, {}, [], None) and new in (MISSING, {}, [], None)
    if shape == "scalar" or differs or atomic or both_empty:
        if old is MISSING:
            out.added.add(path)
        elif new is MISSING:
            out.removed.add(path)
        elif old != new or type(old) is not type(new):
            out.modified.add(path)
        return
    if shape == "map":
        before, after = (side if isinstance(side, dict) else {} for side in (old, new))
        for name in before.keys() | after.keys():
            _compare(field_type.of_field(name), (*path, f"f:{name}"), before.get(name, MISSING), after.get(name, MISSING), out)
    else:
        before, after = _items(field_type, old), _items(field_type, new)
        for element in before.keys() | after.keys():
            _compare(field_type.of_item(), (*path, element), before.get(element, MISSING), after.get(element, MISSING), out)
    if old is MISSING:
        out.added.add(path)
    elif new is MISSING:
        out.removed.add(path)


def merge(field_type: FieldType, live: object, config: object) -> object:
    """`live` with `config` laid over it."""
    if live is MISSING or live is None:
        return config
    if config is MISSING:
        return live
    shape = field_type.shape_of(config)
    atomic = field_type.is_atomic() or (shape == "list" and field_type.shape == "deduced")
    if shape == "scalar" or atomic or field_type.shape_of(live) != shape:
        return config
    if isinstance(live, dict) and isinstance(config, dict):
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(field_type.of_field(name), live.get(name, MISSING), value)
        return merged
    return _merge_items(field_type, _items(field_type, live), _items(field_type, config))


def _merge_items(list_type: FieldType, live: Mapping[str, Any], config: Mapping[str, Any]) -> list[Any]:
    """Items of `config` in their order; items of `live` alone keep their place before the next shared item."""
    item_type = list_type.of_item()
    left, right = list(live), list(config)
    shared = [element for element in right if element in live]
    done: set[str] = set()
    merged: list[Any] = []
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left):
            element = left[at_left]
            if element not in config:
                merged.append(live[element])
                at_left += 1
                continue
            next_shared = next((item for item in shared if item not in done), None)
            if element in done or (at_right < len(right) and element != right[at_right] and element != next_shared):
                at_left += 1
                continue
        if at_right >= len(right):
            at_left += 1
            continue
        element = right[at_right]
        merged.append(merge(item_type, live.get(element, MISSING), config[element]))
        done.add(element)
        at_right += 1
    return merged


def remove(field_type: FieldType, value: object, paths: FieldSet) -> object:
    """`value` without the fields at `paths`; a map or list that this empties becomes null, which its parent keeps."""
    prefixes = {path[:length] for path in paths for length in range(1, len(path))}
    return _remove(field_type, value, (), paths, prefixes)


def _remove(field_type: FieldType, value: object, path: Path, paths: FieldSet, prefixes: set[Path]) -> object:
    shape = field_type.shape_of(value)
    if shape == "map" and isinstance(value, dict):
        kept: dict[str, Any] = {}
        for name, child in value.items():
            below = (*path, f"f:{name}")
            if below in paths:
                continue
            inner = below in prefixes
            kept[name] = _remove(field_type.of_field(name), child, below, paths, prefixes) if inner else child
        return kept or None
    if shape == "list" and isinstance(value, list):
        items: list[Any] = []
        for item in value:
            below = (*path, element_of(field_type, item))
            if below in paths:
                continue
            inner = below in prefixes
            items.append(_remove(field_type.of_item(), item, below, paths, prefixes) if inner else item)
        return items or None
    return value


def typed(field_type: FieldType, value: object) -> object:
    """A copy of `value` as it comes out of the real server's Go types: without nulls, empty lists and empty free maps.

    Empty structs stay, and so does everything without a schema.
    """
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for name, child in value.items():
            below = field_type.of_field(name)
            if name == "managedFields":
                kept[name] = child
            elif child is not None and not (child in ({}, []) and below.omits_empty()):
                left = typed(below, child)
                if left not in ({}, []) or not below.omits_empty():
                    kept[name] = left
        return kept
    if isinstance(value, list):
        return [typed(field_type.of_item(), child) for child in value]
    return value


def with_named_parents(field_type: FieldType, paths: Iterable[Path]) -> FieldSet:
    """`paths` and every declared field on the way to them."""
    found = set(paths)
    for path in tuple(found):
        current = field_type
        for index, element in enumerate(path[:-1]):
            if element.startswith("f:"):
                name = element[2:]
                if current.declares(name):
                    found.add(path[: index + 1])
                current = current.of_field(name)
            else:
                current = current.of_item()
    return frozenset(found)


def encode(paths: Iterable[Path]) -> dict[str, Any]:
    """A set as the ``fieldsV1`` of a managedFields entry."""
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
    """The set of a ``fieldsV1``."""
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
    # Clients may write k: and v: elements with other spacing or key order; ours are compact and sorted.
    if element[:2] not in ("k:", "v:"):
        return element
    value = json.loads(element[2:])
    return element[:2] + dump(dict(sorted(value.items())) if isinstance(value, dict) else value)


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Paths in the order of conflict messages: at each level first what ends there, then what goes deeper."""
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
