"""The policies that a simulation can compare by name. `--help` lists them and needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

BUILT_IN: Final[Mapping[str, str]] = {
    "two-mode": "the simulation's policy with strategy two-mode: fails over to capacity mode",
    "adaptive": "the simulation's policy with strategy adaptive: merit order over ready capacity, another mode only if needed",
    "planned": "the simulation's policy with strategy planned, live: floors follow the cheapest fleet, also without any one family",
    "always-cost": "never fails over: the weights stay, whatever happens",
    "always-capacity": "always in capacity mode: one Service over all pods",
    # Not always-cost, which is the controller with cost mode pinned: it still takes weight from units that are down, sets floors and
    # KEDA's targets, and repairs what others write.
    "none": "nothing installed: static weights and KEDA alone; no mode change, no floor, and nobody repairs a foreign edit",
    "priority-list": "one fleet over all types instead of the controller: the cheapest first, the next where EC2 refuses; one Service",
    "sample": "the AWS sample's checker instead of the controller: a log query every 5 min, and a return once a day without proof",
}
"""By name: what it does."""

NAMES: Final = tuple(BUILT_IN)
