"""What people choose by name, modes and strategies, and the mark of a remembered time: `--help` and the lowest values need no more."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """How requests are forwarded: by cost weights to each unit's Service, or to one Service over all pods."""

    COST = "cost"
    CAPACITY = "capacity"


class Strategy(StrEnum):
    """What the policy does about a shortage: change the mode, as the AWS sample does, or re-weight first; and whether it plans replicas."""

    TWO_MODE = "two-mode"
    ADAPTIVE = "adaptive"
    PLANNED = "planned"  # as adaptive; the floors follow the cheapest fleet, or it is only shown


MOMENT: Final[Mapping[str, bool]] = {"moment": True}
"""Metadata of a field that is a time, seconds since the Unix epoch. No remembered time may be in the future, see `moments`."""
