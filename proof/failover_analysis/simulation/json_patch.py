"""JSON patches as far as the controller writes them: ``test``, ``add``, ``replace`` and ``remove``, at any place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from controller.errors import Rejected


def keys(pointer: str) -> list[str]:
    """The keys of a JSON pointer."""
    return [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]


def patched(obj: Mapping[str, Any], operations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The object after a patch; the given one stays as it is.

    Raises:
        Rejected: An operation does not fit the object, or is none of those above.
    """
    made = deepcopy(dict(obj))
    for operation in operations:
        op, path = operation["op"], keys(operation["path"])
        try:
            _carry_out(made, op, path, operation.get("value"))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Rejected(f"the patch does not fit: {op} {operation['path']}") from error
    return made


def placed(obj: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Puts a value at a path of an object, with the maps on the way; None takes away what is there."""
    held: Any = obj
    for key in path[:-1]:
        held = held[int(key)] if isinstance(held, list) else held.setdefault(key, {})
    if value is None:
        held.pop(path[-1], None)
    else:
        held[path[-1]] = value


def _carry_out(made: dict[str, Any], op: str, path: Sequence[str], value: object) -> None:
    held: Any = made
    for key in path[:-1]:
        held = held[int(key)] if isinstance(held, list) else held[key]
    last = path[-1]
    if isinstance(held, list):
        raise Rejected(f"an entry of a list alone is never {op}ed by this controller: {'/'.join(path)}")
    if op in {"replace", "remove", "test"}:
        present = held[last]
        if op == "test" and present != value:
            raise ValueError(last)
    if op == "remove":
        del held[last]
    elif op in {"add", "replace"}:
        held[last] = value
    elif op != "test":
        raise ValueError(op)
