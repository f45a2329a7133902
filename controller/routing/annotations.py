"""The controller's own annotations: every key under ``failoverctl.dev/`` is named here and nowhere else.

The controller writes `MARKER`, `WRITTEN_BY` and `NUDGED_AT` on the routing object in one patch with its action, and `APPLICATION` on the
object that holds its memory. A verification of the installation writes `VERIFYING` there. Operators write the others; the controller reads
those and never writes them.
"""

from __future__ import annotations

from typing import Final

OURS: Final = "failoverctl.dev/"
"""What every key starts with."""

MARKER: Final = f"{OURS}mode"
"""The mode that the routing action beside it stands for."""
WRITTEN_BY: Final = f"{OURS}written-by"
"""The installation of the controller that wrote the routing action last: its namespace, which has one Lease."""
NUDGED_AT: Final = f"{OURS}nudged-at"
"""When the load-balancer controller was last made to reconcile, seconds since the Unix epoch."""
VERIFYING: Final = f"{OURS}verify-install"
"""Of `failoverctl verify-install`, for moments: a value that nobody reads and that makes the load-balancer controller reconcile."""

PAUSED_UNTIL: Final = f"{OURS}paused-until"
PINNED_MODE: Final = f"{OURS}pinned-mode"
PINNED_UNTIL: Final = f"{OURS}pinned-until"
PAUSE_REASON: Final = f"{OURS}pause-reason"
"""Why an operator paused."""
PAUSED_BY: Final = f"{OURS}paused-by"
"""Who paused, as the writer of the annotation says."""
PIN_REASON: Final = f"{OURS}pin-reason"
"""Why an operator pinned."""
PINNED_BY: Final = f"{OURS}pinned-by"
"""Who pinned, as the writer of the annotation says."""

OVERRIDES: Final = (PAUSED_UNTIL, PAUSE_REASON, PAUSED_BY, PINNED_MODE, PINNED_UNTIL, PIN_REASON, PINNED_BY)
"""Everything that an operator writes."""

APPLICATION: Final = f"{OURS}application"
"""The application that an object of stored memory belongs to: ``namespace/name``."""
