"""Reads plain Kubernetes objects defensively: any field may be missing, null or of the wrong type, and nothing raises."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from controller.clock import parse_rfc3339
from controller.foreign import shown

Object = Mapping[str, Any]
_K = TypeVar("_K")
_V = TypeVar("_V")

_MAX_LABEL: Final = 63  # characters of a label's value; a longer one matches no node
_VERSION_DIGITS: Final = 20  # of a resourceVersion, which has 64 bits
_QUANTITY_LENGTH: Final = 64  # characters; 20 digits and a suffix are the most that say anything
_QUANTITY_END: Final = 2**63  # https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE])?")
_EMPTY: Final[Mapping[str, Any]] = {}
_FREED: Final = sys.getrefcount(sys.intern("a name that nothing uses")) < 1 << 16
"""Whether an interned string is freed after its last use. CPython 3.12 keeps it for ever, and with it the name of every pod."""


def dig(value: object, *path: str) -> Any:  # noqa: ANN401 - any JSON
    """The value at a path of keys; None if a step is missing or not an object."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def mapping(value: object, *path: str) -> Mapping[str, Any]:
    """The object at a path; empty if it is anything else."""
    found = dig(value, *path)
    return found if isinstance(found, Mapping) else _EMPTY


def items(value: object, *path: str) -> list[Any]:
    """The list at a path; empty if it is anything else."""
    found = dig(value, *path)
    return found if isinstance(found, list) else []


def entries(value: object, *path: str) -> list[dict[str, Any]]:
    """The objects of the list at a path; other entries are left out."""
    return [entry for entry in items(value, *path) if isinstance(entry, dict)]


def text(value: object, *path: str) -> str:
    """The string at a path; "" if it is anything else."""
    found = dig(value, *path)
    return found if isinstance(found, str) else ""


def integer(value: object, *path: str) -> int | None:
    """The integer at a path; None if it is anything else."""
    found = dig(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def shared(name: str) -> str:
    """One shared copy of a name that is stored often: each decoded object has its own."""
    return sys.intern(name) if _FREED else name


def number(value: object, *path: str) -> float | None:
    """The number at a path; None if it is anything else."""
    found = dig(value, *path)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def name_of(obj: Object) -> str:
    """`metadata.name`."""
    return shared(text(obj, "metadata", "name"))


def namespace_of(obj: Object) -> str:
    """`metadata.namespace`, "" for cluster-scoped objects."""
    return shared(text(obj, "metadata", "namespace"))


def put(store: dict[_K, _V], key: _K, value: _V) -> bool:
    """Keeps a value, and says whether it is another than before. Of equal ones the earlier stays: a list replaces nothing in vain."""
    if store.get(key) == value:
        return False
    store[key] = value
    return True


def condition(obj: Object, kind: str) -> Mapping[str, Any]:
    """The status condition of one type; empty if there is none."""
    for entry in items(obj, "status", "conditions"):
        if isinstance(entry, Mapping) and entry.get("type") == kind:
            return entry
    return _EMPTY


def event_time(event: Object) -> float | None:
    """When an event last happened. The newer events API fills other fields than the older one."""
    for path in (("lastTimestamp",), ("series", "lastObservedTime"), ("eventTime",), ("metadata", "creationTimestamp")):
        moment = parse_rfc3339(text(event, *path))
        if moment is not None:
            return moment
    return None


def event_component(event: Object) -> str:
    """The component that reported an event."""
    return text(event, "source", "component") or text(event, "reportingComponent")


def field_owners(obj: Object, *path: str) -> list[str]:
    """The field managers that own a field, the last writer last; [] if the object does not say.

    Args:
        obj: The object, with its managedFields.
        path: The field's path of plain keys, e.g. ``"spec", "minReplicaCount"``.
    """
    keys = [f"f:{key}" for key in path]
    owners = [
        (text(entry, "time"), text(entry, "manager"))
        for entry in items(obj, "metadata", "managedFields")
        if dig(entry, "fieldsV1", *keys) is not None
    ]
    return [manager for _, manager in sorted(owners)]


def in_values(requirements: object, key: str) -> tuple[tuple[str, ...], bool]:
    """The values that a list of node selector requirements allows for a key.

    Returns:
        The values of every `In` on that key (() if none restricts it), and whether they say everything: with `NotIn`, `Exists` or `Gt` the
        list alone does not say what is allowed. Lists without a common value allow nothing rather than anything.
    """
    allowed: set[str] | None = None
    exact = True
    for requirement in requirements if isinstance(requirements, list) else []:
        if not isinstance(requirement, Mapping) or requirement.get("key") != key:
            continue
        if requirement.get("operator") == "In":
            values = {shown(value, _MAX_LABEL) for value in items(requirement, "values") if isinstance(value, str)}
            allowed = values if allowed is None else allowed & values
        else:
            exact = False
    return tuple(sorted(allowed or ())), exact and allowed != set()


def pod_requirements(spec: object) -> Iterator[list[Any]]:
    """The alternatives under which a pod may be scheduled: the node selector with each (OR-ed) term of the required node affinity."""
    selector = [{"key": key, "operator": "In", "values": [value]} for key, value in mapping(spec, "nodeSelector").items()]
    terms = items(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    if not terms:
        yield selector
    for term in terms:
        yield [*selector, *items(term, "matchExpressions")]


def pinned_values(spec: object, key: str) -> tuple[str, ...]:
    """The values of a node label to which a pod spec is pinned; () if at least one alternative leaves it open."""
    union: set[str] = set()
    for alternative in pod_requirements(spec):
        values, _ = in_values(alternative, key)
        if not values:
            return ()
        union.update(values)
    return tuple(sorted(union))


def version_of(obj: Object) -> int | None:
    """The resourceVersion as a number; see `version`."""
    return version(text(obj, "metadata", "resourceVersion"))


def version(resource_version: str) -> int | None:
    """A resourceVersion as a number, which grows with every write to the cluster; None where it is none."""
    digits = resource_version.isascii() and resource_version.isdigit() and len(resource_version) <= _VERSION_DIGITS
    return int(resource_version) if digits else None


def behind(state: int | None, known: int | None) -> bool:
    """Whether an object's state is known to be earlier than the one that is known: a watch may be behind the answer to our own write.

    Args:
        state: Its `version`.
        known: That of the state that is known.
    """
    return state is not None and known is not None and state < known


def quantity(value: object) -> Decimal | None:
    """A quantity as Kubernetes writes it (``200``, ``785Gi``, ``250m``, ``1e3``) as a number.

    Returns:
        None where it is none, or is beyond the 64 bits that Kubernetes keeps of one. Its length and exponent are bounded before anything is
        computed: with ``1e399999`` a single sum takes seconds.
    """
    if isinstance(value, str):
        from kubernetes.utils.quantity import parse_quantity  # brings the whole package: half a second of CPU

        number = parse_quantity(value) if len(value) <= _QUANTITY_LENGTH and _QUANTITY.fullmatch(value) else None  # type: ignore[no-untyped-call]
    else:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Decimal(number) if number is not None and abs(number) < _QUANTITY_END else None
