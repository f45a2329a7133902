"""The admission policy admits what the controller writes. The API server itself is asked in tests/cluster."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from annotated_types import Ge, Le
from hypothesis import example, given
from hypothesis import strategies as st

from controller.catalog.application import UnitFile
from controller.policy.account import keda_targets
from controller.policy.model import CapacityWeights, Mode, PolicySettings
from tests.support.applications import application, seed_units

DEPLOY = Path(__file__).parents[2] / "deploy"
POLICIES = (DEPLOY / "kustomize" / "base" / "admission-policy.yaml", DEPLOY / "chart" / "templates" / "admission-policy.yaml")

_BOUNDS = UnitFile.model_fields["throughput"].metadata
_LOWEST = next(float(one.ge) for one in _BOUNDS if isinstance(one, Ge))  # type: ignore[arg-type]
_HIGHEST = next(float(one.le) for one in _BOUNDS if isinstance(one, Le))  # type: ignore[arg-type]
_COUNT = len(seed_units())


def _admitted(policy: Path) -> re.Pattern[str]:
    """The expression that a target has to match."""
    (found,) = re.findall(r"targetMetricValue\.matches\('([^']+)'\)", policy.read_text())
    return re.compile(found)


@pytest.mark.parametrize("policy", POLICIES, ids=["kustomize", "chart"])
@given(st.lists(st.floats(_LOWEST, _HIGHEST), min_size=_COUNT, max_size=_COUNT))
@example([_LOWEST, 1 / 15, 0.1, 999_999.7, _HIGHEST])
def test_every_target_that_the_plan_can_write_is_admitted(policy: Path, throughputs: list[float]) -> None:
    """A floor is in the same request: with a target that is refused the floor is lost as well."""
    units = tuple(replace(unit, throughput=value) for unit, value in zip(seed_units(), throughputs, strict=True))
    for weights in CapacityWeights:
        made = application(units=units, policy=PolicySettings(capacity_weights=weights))
        for mode in Mode:
            for name, target in keda_targets(made, mode).items():
                assert _admitted(policy).search(target), (mode, name, target)
                assert float(target) > 0


@pytest.mark.parametrize("policy", POLICIES, ids=["kustomize", "chart"])
def test_only_a_forward_is_taken_for_one(policy: Path) -> None:
    """What a person wrote in place of a forward is not overwritten. The expressions are those of the policy."""
    text = policy.read_text()
    (typed,) = re.findall(r"r'(\"\(\?i:type\)[^']+)'", text)

    def replaceable(action: str) -> bool:
        types = re.findall(typed + '"[^"]*"', action)
        return bool(types) and all(found.endswith('"forward"') for found in types)

    assert replaceable('{"type":"forward","forwardConfig":{}}')
    assert replaceable('{\n  "Type" : "forward"\n}')
    for other in ('{"type":"redirect"}', '{"type":"forward","TYPE": "fixed-response"}', '{"redirectConfig":{}}', ""):
        assert not replaceable(other), other
