"""What people choose by name: modes and strategies. They are apart from the other values because `--help` lists them and needs no more."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """How requests are forwarded: by cost weights to each unit's Service, or to one Service over all pods."""

    COST = "cost"
    CAPACITY = "capacity"


class Strategy(StrEnum):
    """What the policy does about a shortage: change the mode, as the AWS sample does, or re-weight first; and whether it plans replicas."""

    TWO_MODE = "two-mode"
    ADAPTIVE = "adaptive"
    PLANNED = "planned"  # as adaptive; the floors follow the cheapest fleet, or it is only shown
