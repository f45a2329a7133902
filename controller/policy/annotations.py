"""The controller's own annotations: every key under ``failoverctl.dev/`` is named here and nowhere else.

The controller writes `MARKER`, `RETURN_STEP` and `NUDGED_AT` on the Ingress in one patch with the routing action, and `APPLICATION` on the
object that holds its memory. Operators write the others on the Ingress; the controller reads those and never writes them.
"""

from __future__ import annotations

from typing import Final

OURS: Final = "failoverctl.dev/"
"""What every key starts with."""

MARKER: Final = f"{OURS}mode"
"""The mode that the routing action beside it stands for."""
RETURN_STEP: Final = f"{OURS}return-step"
"""How many steps of a gradual fallback were made."""
NUDGED_AT: Final = f"{OURS}nudged-at"
"""When the load-balancer controller was last made to reconcile, seconds since the Unix epoch."""

PAUSED_UNTIL: Final = f"{OURS}paused-until"
PINNED_MODE: Final = f"{OURS}pinned-mode"
PINNED_UNTIL: Final = f"{OURS}pinned-until"
OVERRIDE_REASON: Final = f"{OURS}override-reason"
"""Why an operator paused or pinned."""

APPLICATION: Final = f"{OURS}application"
"""The application that an object of stored memory belongs to: ``namespace/ingress``."""
