"""What a NodeClaim becomes in the signals: a refusal or a launch, as `controller.signals.karpenter` reads it from a cluster."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from controller.policy.model import Cause, Launch, Refusal
from controller.signals.classify import classify_refusal
from failover_analysis.simulation.cluster import Claim
from failover_testbed.capacity.ec2 import UNAVAILABLE_TEXT, FleetError, event_message, refusal_text

LAUNCH_FAILED: Final = "LaunchFailed"
"""The code of a launch that failed for another reason than capacity."""


def refusals(claims: Sequence[Claim], errors: Sequence[FleetError], now: float, order: int, chance: random.Random) -> list[Refusal]:
    """The refused claims of one fleet call. Their events carry the same message, which is cut: it usually names one zone of several.

    Args:
        claims: At least one.
        errors: CreateFleet's; empty if every offering was in Karpenter's cache by the time of the launch.
        now: When, seconds since the Unix epoch.
        order: The number of the first event in the order of delivery.
        chance: The order of the errors in the message.
    """
    error = refusal_text(errors, chance, "") if errors else UNAVAILABLE_TEXT
    said = classify_refusal(event_message(claims[0].name, error))
    return [
        Refusal(
            claim=claim.name,
            pool=claim.pool,
            at=float(int(now)),  # events carry whole seconds
            cause=said.cause,
            codes=said.codes,
            attempt=claims[0].name,
            seen=now,
            instance_types=claim.types,
            capacity_types=claim.capacity_types,
            truncated=said.truncated,
            named_type=said.instance_type,
            named_zone=said.zone,
            offerings=said.offerings,
            order=order + place,
        )
        for place, claim in enumerate(claims)
    ]


def create_error(claim: Claim, attempt: str, now: float) -> Refusal:
    """A launch that failed for another reason than capacity: the claim lingers with a condition, and there is no event.

    Args:
        claim: The claim.
        attempt: Name of the first claim of its batch.
        now: When, seconds since the Unix epoch.
    """
    return Refusal(
        claim=claim.name,
        pool=claim.pool,
        at=now,
        cause=Cause.UNKNOWN,
        codes=(LAUNCH_FAILED,),
        attempt=attempt,
        seen=now,
        instance_types=claim.types,
        capacity_types=claim.capacity_types,
        source="create-error",
    )


def launch_of(claim: Claim) -> Launch:
    """A launched claim. Its creation is known to the whole second."""
    return Launch(
        claim=claim.name,
        pool=claim.pool,
        created=float(int(claim.created)),
        launched=claim.launched or 0.0,
        registered=claim.registered,
        initialized=claim.initialized,
        instance_type=claim.instance_type,
        zone=claim.zone,
        capacity_type=claim.capacity_type,
        order=claim.order,
        gone=claim.gone,
    )
