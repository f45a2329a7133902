"""The AWS sample's inf2 as spot instances in several zones, beside the on-demand units of two families."""

from __future__ import annotations

from dataclasses import replace

from controller.policy.model import Application, Backend, PlannedMode, PolicySettings, Strategy, Unit
from tests.support.applications import application, seed_units

POLICY = PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE, resilience_s=600.0)
"""The loss of a family may last for a cold start."""

PRICE = 0.4
"""Of a spot instance, as a share of the on-demand price."""


def in_zone(unit: Unit, zone: str) -> Unit:
    """The unit as spot instances of a zone, with objects for itself."""
    name = f"{unit.name}-{zone}"
    return replace(
        unit,
        name=name,
        backend=Backend(name, 80),
        deployment=name,
        node_pool=name,
        scaled_object=f"{name}-hpa",
        zones=(zone,),
        price_per_hour=round(PRICE * unit.price_per_hour, 4),
    )


def bought(made: Application) -> dict[str, tuple[str, ...]]:
    """The capacity types of the NodePools of the spot units, by name."""
    return {unit.node_pool: ("spot",) for unit in made.units if unit.zones}


def with_spot(*zones: str) -> Application:
    """The first spot unit keeps a replica; the on-demand units inf2 and trn1 none."""
    inf2, trn1, *_ = seed_units()
    first, *others = (in_zone(inf2, zone) for zone in zones)
    return application(policy=POLICY, units=(first, *(replace(unit, min_replicas=0) for unit in (*others, inf2, trn1))))
