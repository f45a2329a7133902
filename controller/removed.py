"""Settings that an earlier version had. A file that still names one of them is refused with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BREAK_EVEN: Final = "remove it: the hold before a fallback is always the break-even time (docs/decision.md)"

REMOVED: Final[Mapping[str, str]] = {
    "holdStrategy": _BREAK_EVEN,
    "exposedCost": _BREAK_EVEN,
}
"""What to do about each: by its key for a setting of the policy, by its place (``kubernetes.read_timeout_s``) for one of the process."""
