"""Attributes of target groups, as the load-balancer controller reads them: ``NAME=VALUE,…``."""

from __future__ import annotations

from typing import Final

ALGORITHM: Final = "load_balancing.algorithm.type"
"""The attribute of a target group that decides which target gets a request."""
LEAST_OUTSTANDING: Final = "least_outstanding_requests"
_ROUND_ROBIN: Final = "round_robin"
_STICKS: Final = "stickiness.enabled"


def algorithm_of(attributes: str) -> str:
    """The algorithm that attributes ask for; "" stands for no attributes."""
    return _attribute(attributes, ALGORITHM) or _ROUND_ROBIN


def keeps_clients(attributes: str) -> bool:
    """Whether attributes keep each client on one target: stickiness within the target group."""
    return _attribute(attributes, _STICKS) == "true"


def _attribute(attributes: str, name: str) -> str:
    pairs = (one.partition("=") for one in attributes.split(","))
    return {key.strip(): value.strip() for key, _, value in pairs}.get(name, "")  # the last one counts, as with the controller's parser
