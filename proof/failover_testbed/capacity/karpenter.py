"""Karpenter's intervals, and a sentence (v1.14.1), shared by all fakes of it.

There are three, because each answers to something else: the testbed's writes objects to the emulated API, the simulation's hands the
controller what those objects would show, in virtual time, and the fuzz's may use several NodePools for a pod. Each has a loop of its own.
What they share is here: EC2's answers, what is below, the cache of refused offerings and the order of capacity types.
"""

from __future__ import annotations

from typing import Final

NO_COMPATIBLE: Final = "NodePool requirements filtered out all compatible available instance types"
"""The message of `NoCompatibleInstanceTypes`, about a NodePool whose offerings are all in the cache."""

FEW_TYPES: Final = f"{NO_COMPATIBLE} due to minValues incompatibility"
"""The same, where fewer instance types are available than the NodePool's `minValues` asks for."""

IGNORED: Final = "pod has Dynamic Resource Allocation requirements that are not yet supported by Karpenter"
"""The reason in `FailedScheduling` of a pod that asks for devices by Dynamic Resource Allocation."""

RECLAIMED_S: Final = 2400.0
"""How long before the end of a Capacity Block its nodes are drained, seconds."""

BATCH_IDLE_S: Final = 1.0
"""``--batch-idle-duration``: a batch closes after this many seconds without a new pod."""

BATCH_MAX_S: Final = 10.0
"""``--batch-max-duration``: a batch closes no later than this after its first pod, seconds."""

REQUEUE_S: Final = 10.0
"""How soon Karpenter tries again to schedule pods that got no node, seconds."""

CACHE_S: Final = 180.0
"""How long Karpenter does not request a refused offering again, seconds."""

SWEEP_S: Final = 10.0
"""How often Karpenter sweeps that cache, seconds: an entry may live this much longer."""

CREATE_ERROR_LIFE_S: Final = 300.0
"""When Karpenter deletes a NodeClaim whose launch fails for another reason than capacity, seconds."""

NEVER_JOINED_LIFE_S: Final = 900.0
"""When Karpenter deletes a NodeClaim whose instance never became a node, seconds: registration times out."""

REFUSED_S: Final = 1.0
"""From a refusal to the end of its NodeClaim, seconds: the finalizer's requeue."""

EMPTY_S: Final = 60.0
"""The pools' ``consolidateAfter``, seconds."""

TERMINATE_S: Final = 5.0
"""From the decision to remove a node to its end, seconds."""

BLOCKED_DEDUPE_S: Final = 60.0
"""How long Karpenter does not repeat ``NoCompatibleInstanceTypes`` about the same NodePool, seconds."""

POD_DEDUPE_S: Final = 300.0
"""How long Karpenter does not repeat ``FailedScheduling`` about the same pod, seconds."""
