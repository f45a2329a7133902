"""Botocore's descriptions of AWS services, without what the controller never uses.

A client keeps the description of its whole service for as long as it lives. That of EC2 has 700 operations, of which the controller
calls four. A session keeps the endpoints of all 300 services.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from botocore.loaders import Loader

OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    "cloudwatch": frozenset({"DescribeAlarms", "GetMetricData", "PutMetricAlarm", "PutMetricData"}),
    "ec2": frozenset(
        {"CancelCapacityReservation", "CreateCapacityReservation", "DescribeCapacityReservations", "DescribeInstanceTypeOfferings"}
    ),
    "elbv2": frozenset({"DescribeListeners", "DescribeLoadBalancers", "DescribeRules", "DescribeTargetHealth"}),
}
"""The operations that are kept, of the services of which not all are. `deploy/iam/policy.json` grants the same."""

_OF_CREDENTIALS: Final = frozenset({"oidc", "portal.sso", "signin", "sso", "sts"})  # through these botocore gets credentials
_ENDPOINTS: Final = _OF_CREDENTIALS | {"api.pricing", "ec2", "elasticloadbalancing", "events", "monitoring", "servicequotas", "sns", "sqs"}
"""The services whose endpoints are kept, by the name that botocore's list of endpoints has for them."""

_DESCRIPTION: Final = "service-2"  # the file of a service's operations and shapes; others are small


class _Files:
    """Loads the files of botocore's data. In place of `botocore.loaders.JSONFileLoader`."""

    def exists(self, file_path: str) -> bool:
        """Whether there is a file, given without its extension."""
        return any(path.is_file() for path in _variants(file_path))

    def load_file(self, file_path: str) -> dict[str, Any] | None:
        """The file, given without its extension; None if there is none."""
        for path in _variants(file_path):
            if path.is_file():
                content = path.read_bytes()
                text = gzip.decompress(content) if path.suffix == ".gz" else content
                loaded: dict[str, Any] = json.loads(text, object_pairs_hook=_undocumented)
                return _needed(path, loaded)
        return None


def make_loader() -> Loader:
    """A loader for `botocore.session.Session.register_component`."""
    return Loader(file_loader=_Files())


def _variants(file_path: str) -> tuple[Path, ...]:
    return Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")


def _needed(path: Path, loaded: dict[str, Any]) -> dict[str, Any]:
    """What the controller needs of a file."""
    if path.name.startswith("endpoints."):
        return {**loaded, "partitions": [_addressed(one) for one in loaded["partitions"]]}
    kept = OPERATIONS.get(path.parent.parent.name) if path.name.startswith(_DESCRIPTION) else None
    return loaded if kept is None else _pruned(loaded, kept)


def _addressed(partition: dict[str, Any]) -> dict[str, Any]:
    """A partition of AWS with the endpoints of the services in `_ENDPOINTS` alone."""
    return {**partition, "services": {name: one for name, one in partition["services"].items() if name in _ENDPOINTS}}


def _undocumented(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An object without its description for people, unless that is a shape or a member of this name."""
    return {name: value for name, value in pairs if name != "documentation" or not isinstance(value, str)}


def _pruned(description: dict[str, Any], kept: frozenset[str]) -> dict[str, Any]:
    """A description with these operations alone, and the shapes that they need."""
    operations = {name: one for name, one in description["operations"].items() if name in kept}
    shapes, needed, left = description["shapes"], set[str](), _shapes_in(operations)
    while left:
        needed |= left
        left = _shapes_in([shapes[name] for name in left]) - needed
    return {**description, "operations": operations, "shapes": {name: one for name, one in shapes.items() if name in needed}}


def _shapes_in(value: object) -> set[str]:
    """The shapes that a part of a description refers to."""
    if isinstance(value, list):
        return set().union(*map(_shapes_in, value))
    if not isinstance(value, dict):
        return set()
    own = {value["shape"]} if isinstance(value.get("shape"), str) else set()
    return own.union(*map(_shapes_in, value.values()))
