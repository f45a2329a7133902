"""What `render` writes for KEDA is known to the oldest version that `doctor` calls good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from failover_setup.doctor.cluster.components import KEDA, Version
from tests.support.stacks import NAMES, example

_SINCE: Final[Mapping[str, Version]] = {
    "ScaledObject.fallback.behavior": (2, 17, 0),
    "TriggerAuthentication.podIdentity.identityOwner": (2, 13, 0),
}
"""The version that brought a field, where it is one of the last years."""
_OLDER: Final = frozenset(
    {"ScaledObject.minReplicaCount", "ScaledObject.maxReplicaCount", "TriggerAuthentication.podIdentity.provider"}
    | {f"ScaledObject.scaleTargetRef.{name}" for name in ("apiVersion", "kind", "name")}
    | {f"ScaledObject.fallback.{name}" for name in ("failureThreshold", "replicas")}
    | {"ScaledObject.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds"}
    | {f"ScaledObject.triggers.{name}" for name in ("type", "authenticationRef.name")}
    | {f"ScaledObject.triggers.metadata.{name}" for name in ("namespace", "expression", "metricName", "awsRegion")}
    | {f"ScaledObject.triggers.metadata.{name}" for name in ("metricStat", "metricStatPeriod", "metricCollectionTime")}
    | {f"ScaledObject.triggers.metadata.{name}" for name in ("metricEndTimeOffset", "minMetricValue", "targetMetricValue")}
)
"""Fields of KEDA 2.12 and before."""


def _fields(value: object, place: str) -> Iterator[str]:
    """The place of every value, without the numbers of list entries."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _fields(below, f"{place}.{name}")
    elif isinstance(value, list):
        for below in value:
            yield from _fields(below, place)
    else:
        yield place


def _of_keda(name: str) -> list[dict[str, Any]]:
    return [one for one in example(name) if one["apiVersion"].startswith("keda.sh/")]


@pytest.mark.parametrize("name", NAMES)
def test_each_rendered_field_is_known_to_the_oldest_version(name: str) -> None:
    """The definition of an older version lacks the field: its API server refuses the manifest, or drops the field."""
    for one in _of_keda(name):
        for field in _fields(one["spec"], one["kind"]):
            assert field in _SINCE or field in _OLDER, f"{field} is new: say since which version KEDA knows it"
            assert _SINCE.get(field, (2,)) <= KEDA.at_least, field


def test_the_oldest_version_is_the_one_that_the_rendered_fields_need() -> None:
    """Where no rendered field needs it any more, an older KEDA would do."""
    rendered = {field for name in NAMES for one in _of_keda(name) for field in _fields(one["spec"], one["kind"])}
    assert max(_SINCE[field] for field in rendered & _SINCE.keys()) == KEDA.at_least
