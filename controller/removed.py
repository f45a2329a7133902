"""Settings that an earlier version had. A file that still names one of them is refused with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_AT_ONCE: Final = "remove it: a fallback moves all traffic with one change (docs/decisions/0034-no-steps-on-the-way-back.md)"

REMOVED: Final[Mapping[str, str]] = {
    "returnSteps": _AT_ONCE,
    "returnStepSeconds": _AT_ONCE,
}
"""What to do about each: by its key for a setting of the policy, by its place (``kubernetes.read_timeout_s``) for one of the process."""
