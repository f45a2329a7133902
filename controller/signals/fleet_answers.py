"""What EC2 answered to one fleet request, as CloudTrail records it: every offering that it refused, which Karpenter's text cuts short.

A record makes a refusal exact that Karpenter reports itself. Alone it proves nothing. The shapes are those of
`docs/research/karpenter-ec2.md`; CloudTrail makes a list of one entry an object.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from controller.clock import parse_rfc3339
from controller.foreign import decode, shown
from controller.objects import dig, mapping, text
from controller.policy.model import CAUSE_PRECEDENCE, Cause, Refusal
from controller.signals.classify import MAX_CODES, cause_of
from controller.signals.node_labels import POOL_LABEL

SAME_S: Final = 5.0
"""How far apart a record and Karpenter's report of the same answer may be, seconds. Both carry whole seconds, of two clocks; Karpenter
makes its next request 10 s after a refusal at the earliest (docs/research/karpenter-ec2.md)."""

MOST_BYTES: Final = 1 << 20
"""The longest message that is read: the most that SQS takes (the quotas in the SQS developer guide)."""

_MAX_ERRORS: Final = 400  # Karpenter requests 60 instance types in the zones of its subnets, of which a region has six at most
_MAX_PAIRS: Final = 8_192  # EC2 has some 1,000 instance types, in six zones of a region at most
_MAX_NAME: Final = 64  # characters of an instance type, a zone or a code
_REFUSED: Final = frozenset({Cause.CAPACITY, Cause.QUOTA})
_SPOT, _RESERVED = "spot", "reserved"
_LIFECYCLES: Final = frozenset({_SPOT, "on-demand"})


class Offerings:
    """Pairs of instance type and zone. Each pair is one object for all answers: in an outage thousands of them name the same hundreds.

    Args:
        pairs: The pairs.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = tuple(_pair(*one) for one in pairs)

    def __sizeof__(self) -> int:
        """What one answer takes of the memory that `controller.signals.room` bounds: its places, without the pairs."""
        return super().__sizeof__() + sys.getsizeof(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Offerings) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return hash(self.pairs)


@lru_cache(_MAX_PAIRS)
def _pair(instance_type: str, zone: str) -> tuple[str, str]:
    return instance_type, zone


@dataclass(frozen=True, slots=True)
class FleetAnswer:
    """The refusals in one answer.

    Attributes:
        pool: The NodePool that Karpenter requested the fleet for.
        at: When EC2 answered, by AWS's clock, seconds since the Unix epoch.
        spot: Whether spot instances were requested; else on-demand ones, which those of a reservation are as well.
        offerings: Every pair of instance type and zone that was refused for want of capacity or quota.
        codes: EC2's codes.
        cause: The headline class.
    """

    pool: str
    at: float
    spot: bool
    offerings: Offerings
    codes: tuple[str, ...]
    cause: Cause

    def is_of(self, refusal: Refusal) -> bool:
        """Whether Karpenter reports this answer.

        It does at the same time, with one of its codes, and with one of its offerings if it names any. And it must have requested this
        lifecycle: of the capacity types that are open, Karpenter requests reserved first, then spot, then on-demand.

        Args:
            refusal: What Karpenter reports of the same NodePool.
        """
        named, kinds = (refusal.named_type, refusal.named_zone), refusal.open_capacity_types
        return (
            abs(refusal.at - self.at) <= SAME_S
            and not set(refusal.codes).isdisjoint(self.codes)
            and (named in self.offerings.pairs or not all(named))
            and bool(kinds)
            and self.spot is (_SPOT in kinds and _RESERVED not in kinds)
        )

    def completed(self, refusal: Refusal) -> Refusal:
        """What Karpenter reports, with the offerings and codes that its text lacks. A record adds to it, and takes nothing away."""
        pairs, more = self.offerings.pairs, tuple(one for one in refusal.offerings if one not in self.offerings.pairs)
        return replace(
            refusal,
            cause=min(refusal.cause, self.cause, key=CAUSE_PRECEDENCE.index),
            codes=tuple(dict.fromkeys((*refusal.codes, *self.codes))),
            offerings=(*more, *pairs) if more else pairs,
        )


def read_answer(body: str, account: str, region: str) -> FleetAnswer | None:
    """Reads a message that EventBridge made of a CloudTrail record.

    Args:
        body: The message.
        account: The account whose records count.
        region: Their region.

    Returns:
        None if it is anything but a fleet request of Karpenter in that account and region that was refused something.

    Raises:
        ValueError: It is not JSON, too long, or such a record without a time or with a lifecycle that Karpenter does not request.
        RecursionError: It is nested too deeply.
    """
    if len(body) > MOST_BYTES:
        raise ValueError("too long")
    event = decode(body.encode())
    detail = mapping(event, "detail")
    kind = (text(event, "source"), text(event, "detail-type"), text(detail, "eventSource"), text(detail, "eventName"))
    here = {text(event, "account"), text(detail, "recipientAccountId")}, {text(event, "region"), text(detail, "awsRegion")}
    pool = _pool(dig(detail, "requestParameters", "CreateFleetRequest", "TagSpecification"))
    errors = _each(dig(detail, "responseElements", "CreateFleetResponse", "errorSet", "item"))[:_MAX_ERRORS]
    refused = [one for one in errors if _cause(one) in _REFUSED]
    if kind != ("aws.ec2", "AWS API Call via CloudTrail", "ec2.amazonaws.com", "CreateFleet") or not pool or not refused:
        return None
    if [one - {""} for one in here] != [{account}, {region}]:
        return None
    at, lifecycles = parse_rfc3339(text(detail, "eventTime")), {text(one, "lifecycle") for one in errors}
    if at is None or len(lifecycles) != 1 or not lifecycles <= _LIFECYCLES:
        raise ValueError("no time, or an unknown lifecycle")
    return FleetAnswer(
        pool=pool,
        at=at,
        spot=_SPOT in lifecycles,
        offerings=Offerings(sorted(set(map(_offering, refused)) - {("", "")})),
        codes=tuple(dict.fromkeys(shown(text(one, "errorCode"), _MAX_NAME) for one in errors))[:MAX_CODES],
        cause=min(map(_cause, errors), key=CAUSE_PRECEDENCE.index),
    )


def _each(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _pool(tagged: object) -> str:
    """The NodePool in the tags of a request; "" where they name none, or several."""
    tags = (tag for one in _each(tagged) for tag in _each(dig(one, "Tag")))
    pools = {text(tag, "Value") for tag in tags if text(tag, "Key") == POOL_LABEL}
    return pools.pop() if len(pools) == 1 else ""


def _cause(error: object) -> Cause:
    return cause_of(text(error, "errorCode"), text(error, "errorMessage"))


def _offering(error: object) -> tuple[str, str]:
    overrides = mapping(error, "launchTemplateAndOverrides", "overrides")
    instance_type, zone = text(overrides, "instanceType"), text(overrides, "availabilityZone")
    return (instance_type, zone) if 0 < len(instance_type) <= _MAX_NAME and 0 < len(zone) <= _MAX_NAME else ("", "")
