"""The boundary for foreign text: what a stranger wrote is bounded where it enters, and nowhere later.

Strangers are all that the API server, AWS, files and recordings hold. Anyone who may annotate an object, name a pod or fill a status is
one. A long text would fill the status, the log and every message that repeats it; a terminal obeys control characters; a number without
bound overflows wherever it is computed with.

Whatever the API server sends passes `decode`, or `decode_page` if it is a list. What of it is shown to people passes `shown` where a view
reads it, errors included.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

from controller.json_walk import JsonWalk

MAX_SHOWN: Final = 200
"""The longest text of a stranger that is kept to be shown, characters."""

MAX_VALUE: Final = 4096
"""The longest text that is kept to be parsed, characters: four times a CloudWatch expression."""

MAX_MESSAGE: Final = 32 * 1024
"""The longest message of an event that is kept, characters.

Karpenter's `FailedScheduling` has an entry of some 150 characters for each NodePool of the cluster. The API server bounds the message of an
event of ``v1`` only as it does any object, at 1.5 MiB; a note of ``events.k8s.io/v1`` has at most 1 KiB
(https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/)."""

MAX_ANNOTATION: Final = 16 * 1024
"""The longest annotation that is kept, characters. An action with the most target groups that AWS allows takes 1,000."""

_LARGEST: Final = 1e18
_DIGITS: Final = 18  # of an integer, so that it fits into 64 bits as everywhere in Kubernetes and AWS
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode categories: control, format, surrogates, line and paragraph breaks
_LAYOUT: Final = frozenset("\t\n\r")  # JSON allows these between its parts, so that annotations keep them
# What only a part of all objects has: an escaped or non-ASCII character, or a long string. The others need no search, which takes longer.
_UNUSUAL: Final = re.compile(rb'[\\\x7f-\xff]|"[^"]{4097}')


def shown(value: str, most: int = MAX_SHOWN) -> str:
    """A text that a stranger wrote, fit to be shown: on one line of at most `most` characters, without control and format characters."""
    kept = value if len(value) <= most else f"{value[: most - 1]}…"
    return kept if kept.isprintable() else "".join(" " if unicodedata.category(one) in _UNSHOWN else one for one in kept)


def whole_number(text: str) -> int | None:
    """An integer of JSON; None where it does not fit into 64 bits, as if the field were not there."""
    return int(text) if len(text.removeprefix("-")) <= _DIGITS else None


def real_number(text: str) -> float | None:
    """A number of JSON with a point or an exponent; None where it is beyond what 64 bits hold."""
    value = float(text)
    return value if abs(value) < _LARGEST else None


def decode(raw: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Decodes what the API server sent, bounded: texts are cut and lose control and format characters, numbers beyond 64 bits are None.

    The data of a ConfigMap stays as it is: it is ours, and has a decoder of its own.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    value = _DECODER.decode(raw.decode())
    return _object(value) if _UNUSUAL.search(raw) else value


def decode_page(raw: bytes, each: Callable[[Any], None]) -> Any:  # noqa: ANN401 - any JSON
    """Decodes a page of a list like `decode`, but one object at a time: decoded whole, a page takes up to ten times its text.

    Args:
        raw: The page.
        each: Called with each object in turn.

    Returns:
        The page without its objects.

    Raises:
        ValueError: It is not JSON, or has its objects twice. Some may have been handed over by then.
        RecursionError: It is nested too deeply.
    """
    walk, unusual = JsonWalk(raw.decode(), _DECODER), _UNUSUAL.search(raw) is not None
    page: dict[str, Any] = {}
    listed = False
    if not walk.passes("{"):
        return decode(raw)
    for _ in walk.parts("}"):
        key = walk.key()
        if key == "items" and listed:
            raise ValueError("a page with two lists of objects")
        if key == "items" and walk.passes("["):
            listed = True
            for _ in walk.parts("]"):
                value = walk.value()
                each(_object(value, _kind_in(page)) if unusual else value)
        else:
            page[key] = walk.value()
    walk.need_end()
    return _object(page) if unusual else page


_DECODER: Final = json.JSONDecoder(parse_int=whole_number, parse_float=real_number, parse_constant=lambda _: None)


def _kind_in(page: Mapping[str, object]) -> str:
    """The kind of the objects in a list, as the list says."""
    return str(page.get("kind", "")).removesuffix("List")


def _object(value: object, kind: str = "") -> object:
    """An object, a page of a list, or a line of a watch, without what is unbounded in it.

    Args:
        value: Any JSON.
        kind: What the list that it is in says of its kind: the API server does not repeat it in each object.
    """
    if not isinstance(value, dict):
        return _bounded(value, _text)
    known: dict[str, object] = {}
    for key, item in value.items():
        if key == "items" and isinstance(item, list):
            known[key] = [_object(one, _kind_in(value)) for one in item]
        elif key == "object":
            known[key] = _object(item)
        elif key == "metadata":
            known[key] = _metadata(item)
        else:
            known[_text(key)] = _field(key, item, value.get("kind", kind))
    return known


def _field(key: str, item: object, kind: object) -> object:
    """One of an object's own fields, bounded as befits its kind."""
    if (kind, key) == ("ConfigMap", "data"):
        return item
    return _bounded(item, _message if (kind, key) == ("Event", "message") else _text)


def _metadata(value: object) -> object:
    if not isinstance(value, dict):
        return _bounded(value, _text)
    return {_text(key): _bounded(item, _annotation if key == "annotations" else _text) for key, item in value.items()}


def _bounded(value: object, text: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return value if value.isprintable() and len(value) <= MAX_VALUE else text(value)  # nearly all; every bound is at least that
    if isinstance(value, dict):
        return {_text(key): _bounded(item, text) for key, item in value.items()}
    return [_bounded(item, text) for item in value] if isinstance(value, list) else value


def _text(value: str) -> str:
    return shown(value, MAX_VALUE)


def _message(value: str) -> str:
    return shown(value, MAX_MESSAGE)


def _annotation(value: str) -> str:
    """An annotation, whose text may be JSON over several lines."""
    kept = value[:MAX_ANNOTATION]
    if kept.isprintable():
        return kept
    return "".join(" " if unicodedata.category(one) in _UNSHOWN and one not in _LAYOUT else one for one in kept)
