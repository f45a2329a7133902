"""How the return of a unit's capacity is found out: by a canary, a replica that waits, or by a request for a capacity reservation.

Karpenter asks EC2 for a waiting replica about every three minutes. A reservation is answered at once. So the canary stands back while EC2
answers the probe, and waits as ever where it does not: no permission, no known zone, only spot instances, a quota or a subnet as the cause.
Once a reservation was made, the canary asks Karpenter for the instance that may be had.
"""

from __future__ import annotations

from typing import Final

from controller.policy.karpenter_times import ICE_CACHE_S
from controller.policy.model import ReturnProbe, Unit, UnitEvidence, UnitObservation

PROBED_S: Final = ICE_CACHE_S
"""How long EC2's refusal of a probe keeps the canary back, seconds: three probes, and what Karpenter would wait after a refusal."""


def probing(evidence: UnitEvidence) -> bool:
    """Whether a unit's return is still to be proven."""
    return evidence.last_refusal_at is not None and not evidence.returned.proven


def canary(unit: Unit, observed: UnitObservation, now: float) -> bool:
    """Whether one replica more than are ready asks for a unit whose return is to be proven.

    Args:
        unit: The unit.
        observed: What is known of it.
        now: Seconds since the Unix epoch.
    """
    return unit.probe is not ReturnProbe.NONE and not refusing(unit, observed, now)


def refusing(unit: Unit, observed: UnitObservation, now: float) -> bool:
    """Whether EC2 refuses the probes of the unit, so that Karpenter could launch nothing for it. Arguments as those of `canary`."""
    answer = observed.probed
    return unit.probe is ReturnProbe.RESERVATION and answer is not None and not answer.granted and now - answer.at <= PROBED_S
