"""A small valid application. Tests break it in one way at a time."""

from __future__ import annotations

from typing import Any

import pytest


def unit(name: str, **changes: Any) -> dict[str, Any]:
    """A valid deployment unit."""
    return {
        "name": name,
        "service": {"name": name, "port": 80},
        "deployment": name,
        "nodePool": "pool",
        "instanceType": "inf2.xlarge",
        "pricePerHour": 1.0,
        "throughput": 100,
        "latencySeconds": 0.5,
        "weight": 50,
        "scaledObject": f"{name}-hpa",
        "counterMetric": f"{name}-counter",
        **changes,
    }


@pytest.fixture
def document() -> dict[str, Any]:
    """A valid document with two units."""
    return valid_document()


def valid_document() -> dict[str, Any]:
    """A valid document with two units."""
    return {
        "apiVersion": "failoverctl.dev/v1alpha1",
        "kind": "FailoverApplication",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {
            "ingress": "app",
            "action": "weighted-routing",
            "capacityService": {"name": "app-all", "port": 80},
            "units": [unit("one"), unit("two")],
        },
    }
