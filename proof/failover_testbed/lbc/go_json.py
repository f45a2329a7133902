"""JSON as the load-balancer controller decodes it: Go's ``encoding/json`` into typed fields.

Keys match without regard to case, unknown keys are ignored, and the last of two equal keys wins. A number with a fraction or an exponent is
not an integer, and a quoted number is not a number. The error text is Go's if the input ends too early, and similar to Go's otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

_CONTAINERS: Final = (dict, list)


class DecodeError(Exception):
    """The text does not fit the field; the message is the decoder's."""


def decode(raw: str, *, fold: bool = True) -> Any:  # noqa: ANN401 - any JSON
    """Decodes one value.

    Args:
        raw: The text.
        fold: Whether objects are Go structs, whose keys match without regard to case; their keys become lower case. False for maps.

    Raises:
        DecodeError: The text is not JSON, or something follows the value.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for written, value in pairs:
            name = written.lower() if fold else written
            if isinstance(found.get(name), _CONTAINERS) and isinstance(value, _CONTAINERS):
                raise DecodeError(f"the emulated load-balancer controller does not merge two values of {written!r}, as Go does")
            found[name] = value
        return found

    try:
        return json.loads(raw, object_pairs_hook=members, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(raw.rstrip()) or error.msg.startswith("Unterminated")
        raise DecodeError("unexpected end of JSON input" if at_end else f"invalid character {raw[error.pos]!r}") from None
    except RecursionError:
        raise DecodeError("exceeded max depth") from None


def _no_constant(name: str) -> None:
    raise DecodeError(f"invalid character {name[0]!r} looking for beginning of value")


def struct(value: object, what: str) -> Mapping[str, Any]:
    """A value that must be an object.

    Raises:
        DecodeError: It is something else.
    """
    if not isinstance(value, dict):
        raise _wrong(value, what)
    return value


def substruct(owner: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A field that is an object; None if absent or null. Raises `DecodeError` like the functions below."""
    value = owner.get(name.lower())
    return None if value is None else struct(value, f"struct field {name}")


def array(owner: Mapping[str, Any], name: str) -> list[Any]:
    """A field that is an array; empty if absent or null."""
    value = owner.get(name.lower())
    if value is not None and not isinstance(value, list):
        raise _wrong(value, f"struct field {name}")
    return value or []


def text(owner: Mapping[str, Any], name: str) -> str | None:
    """A field that is a string; None if absent or null."""
    value = owner.get(name.lower())
    if not isinstance(value, str | None):
        raise _wrong(value, f"struct field {name} of type string")
    return value


def boolean(owner: Mapping[str, Any], name: str) -> bool | None:
    """A field that is a boolean; None if absent or null."""
    value = owner.get(name.lower())
    if not isinstance(value, bool | None):
        raise _wrong(value, f"struct field {name} of type bool")
    return value


def integer(owner: Mapping[str, Any], name: str, bits: int) -> int | None:
    """A field that is an integer of at most `bits` bits; None if absent or null."""
    value = owner.get(name.lower())
    if value is None:
        return None
    if type(value) is not int or not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise _wrong(value, f"struct field {name} of type int{bits}")
    return value


def integer_or_text(owner: Mapping[str, Any], name: str) -> int | str | None:
    """A field that is a 32-bit integer or a string, such as a port; None if absent or null."""
    value = owner.get(name.lower())
    return value if isinstance(value, str) else integer(owner, name, 32)


def _wrong(value: object, what: str) -> DecodeError:
    match value:
        case bool():
            kind = "bool"
        case int() | float():
            kind = f"number {value}"
        case str():
            kind = "string"
        case list():
            kind = "array"
        case _:
            kind = "object"
    return DecodeError(f"json: cannot unmarshal {kind} into Go {what}")
