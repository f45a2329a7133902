"""Karpenter's own times, which every fake of it keeps (v1.14.1)."""

from __future__ import annotations

from typing import Final

BATCH_IDLE_S: Final = 1.0
"""``--batch-idle-duration``: a batch closes when no further pod has come for this long, seconds."""

BATCH_MAX_S: Final = 10.0
"""``--batch-max-duration``: a batch closes no later than this after its first pod, seconds."""

REQUEUE_S: Final = 10.0
"""How soon pods that got no place are scheduled again, seconds."""

CACHE_S: Final = 180.0
"""How long Karpenter does not request an offering again that was refused, seconds."""

SWEEP_S: Final = 10.0
"""How often Karpenter sweeps that cache, seconds: an entry lives up to this much longer."""

REFUSED_S: Final = 1.0
"""From a refusal to the end of its NodeClaim, seconds: the finalizer's requeue."""

EMPTY_S: Final = 60.0
"""The pools' ``consolidateAfter``, seconds."""

TERMINATE_S: Final = 5.0
"""From the decision to remove a node to its end, seconds."""

BLOCKED_DEDUPE_S: Final = 60.0
"""How long Karpenter does not repeat ``NoCompatibleInstanceTypes`` about the same NodePool, seconds."""
