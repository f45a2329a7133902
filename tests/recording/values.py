"""Any value of the policy's types, made from their annotations: a field that is added later is covered without a change here."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

_SIMPLE: Mapping[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(10**17), 10**17),
    float: st.floats(-1e17, 1e17),
    str: st.text(max_size=6),
    bool: st.booleans(),
    types.NoneType: st.none(),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """A strategy for a type as it is written in an annotation.

    Raises:
        TypeError: It is of a form that no type of the policy had so far.
    """
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    arguments, origin = get_args(hint), get_origin(hint)
    if origin in {types.UnionType, Union}:
        return st.one_of(*map(values, arguments))
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if origin is frozenset:
        return st.frozensets(values(arguments[0]), max_size=3)
    if origin is Mapping:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{field.name: values(hints[field.name]) for field in fields(hint)})
    raise TypeError(f"no values of {hint!r}")


def plain(value: Any) -> Any:
    """A value that can be compared: not-a-number equals itself, 1, 1.0 and True differ, sets have an order."""
    if is_dataclass(value):
        return (type(value).__name__, {field.name: plain(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, frozenset):
        return ("frozenset", *sorted(map(plain, value)))
    return repr(value)
