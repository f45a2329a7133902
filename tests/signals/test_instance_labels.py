"""Which instances requirements ask for, under the labels of Karpenter and of EKS Auto Mode."""

from __future__ import annotations

from typing import Any

import pytest

from controller.signals.instance_labels import InstanceFilter, families, instance_filter
from controller.signals.karpenter import KarpenterView, Touched
from tests.signals.samples import ice_event, moment, requirement

NOW = moment("2026-08-25T10:00:03Z")
DOMAINS = ("karpenter.k8s.aws", "eks.amazonaws.com")


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(
    ("name", "values", "admitted", "excluded"),
    [
        ("instance-family", ("g6", "g6e"), ("g6.xlarge", "g6e.2xlarge"), ("g5.xlarge", "gr6.4xlarge")),
        ("instance-size", ("xlarge",), ("g6.xlarge", "inf2.xlarge"), ("g6.2xlarge", "g6.12xlarge")),
        ("instance-category", ("g", "inf"), ("g6e.xlarge", "inf2.xlarge"), ("gr6.4xlarge", "trn1.2xlarge", "p5.48xlarge")),
        ("instance-generation", ("2",), ("inf2.xlarge", "trn2.48xlarge"), ("inf1.xlarge", "g6.xlarge")),
        ("instance-gpu-name", ("l4",), ("g6.xlarge",), ("g5.xlarge",)),
    ],
)
def test_a_label_under_either_domain(
    domain: str, name: str, values: tuple[str, ...], admitted: tuple[str, ...], excluded: tuple[str, ...]
) -> None:
    """The type's name shows whether it suits."""
    asked = instance_filter([requirement(f"{domain}/{name}", *values)])
    assert asked.restricts
    assert [one for one in (*admitted, *excluded) if asked.admits(one)] == list(admitted)


def test_several_requirements_hold_together() -> None:
    """Of one label under both domains, and of different labels."""
    both = [requirement("karpenter.k8s.aws/instance-family", "g5", "g6"), requirement("eks.amazonaws.com/instance-family", "g6", "g6e")]
    assert families(both) == ("g6",)
    asked = instance_filter([*both, requirement("eks.amazonaws.com/instance-size", "xlarge")])
    assert [one for one in ("g6.xlarge", "g6.2xlarge", "g5.xlarge") if asked.admits(one)] == ["g6.xlarge"]


@pytest.mark.parametrize(
    "requirements",
    [
        None,
        [],
        [requirement("eks.amazonaws.com/instance-cpu", "4")],
        [requirement("eks.amazonaws.com/instance-gpu-name", "l4", "of-tomorrow")],
        [requirement("eks.amazonaws.com/instance-family", "g5", operator="NotIn")],
        [requirement("example.com/instance-family", "g5")],
    ],
)
def test_what_is_not_understood_excludes_nothing(requirements: Any) -> None:
    """A GPU whose families are not known, another operator, another domain."""
    assert instance_filter(requirements) == InstanceFilter()
    assert not instance_filter(requirements).restricts
    assert instance_filter(requirements).admits("inf2.xlarge")


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_refusal_through_another_pool_counts_for_one_that_asks_for_the_family(domain: str) -> None:
    """Karpenter caches the offering for every NodePool; one without any requirement on instances is not searched for."""
    view = KarpenterView()
    pools = {
        "families": [requirement(f"{domain}/instance-family", "inf2")],
        "others": [requirement(f"{domain}/instance-family", "g6")],
        "open": [],
    }
    for name, requirements in pools.items():
        view.pool_changed("ADDED", {"metadata": {"name": name}, "spec": {"template": {"spec": {"requirements": requirements}}}}, NOW)
    assert view.event(ice_event("inf2-aaaaa", NOW), NOW) == Touched(("inf2",), ("families",))
    seen = {name: [one.named_type for one in view.observation(name, NOW, 3600.0).elsewhere] for name in pools}
    assert seen == {"families": ["inf2.xlarge"], "others": [], "open": []}
