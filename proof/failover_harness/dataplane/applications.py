"""Makes application files like that of the AWS sample, with its five kinds of capacity."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import yaml

_SEED: Final = Path(__file__).parents[3] / "config" / "sd21.yaml"


def application_file(
    name: str, namespace: str, *, style: str, cold_start_s: float, units: int = 5, policy: Mapping[str, Any] | None = None
) -> str:
    """The text of one application's file.

    Args:
        name: Name of the application and its Ingress; the names of all its objects begin with it.
        namespace: Its namespace.
        style: Its ``routingStyle``.
        cold_start_s: From a pod's binding to its readiness, seconds. The AWS sample's minutes would take longer than a whole test.
        units: How many of the AWS sample's five units.
        policy: Policy values that differ from the defaults; no stickiness unless set here.
    """
    document = deepcopy(yaml.safe_load(_SEED.read_text()))
    document["metadata"] = {"name": name, "namespace": namespace}
    spec = document["spec"]
    spec.update(ingress=name, routingStyle=style, capacityService={"name": f"{name}-all", "port": 80}, policy=dict(policy or {}))
    spec["units"] = spec["units"][:units]
    for unit in spec["units"]:
        named = f"{name}-{unit['name'].removeprefix('sd21-')}"
        unit.update(
            name=named,
            service={"name": named, "port": 80},
            deployment=named,
            scaledObject=f"{named}-hpa",
            counterMetric=f"{named}-counter",
            latencyMetric=f"{named}-latency",
            coldStartSeconds=cold_start_s,
        )
    return yaml.safe_dump(document, sort_keys=False)
