"""Times that follow from Karpenter's own, which no setting of Karpenter changes. docs/research/karpenter-ec2.md says where each is from."""

from __future__ import annotations

from typing import Final

# How long Karpenter caches a refused offering and does not request it again, seconds.
ICE_CACHE_S: Final = 180.0

# How long a refusal counts as evidence, seconds: between bursts Karpenter reports nothing for a cycle of its cache.
ICE_WINDOW_S: Final = 2 * ICE_CACHE_S

# Age of a pending pod from which even a partial refusal proves the shortage, seconds: a whole cycle without a launch, and a minute.
HARD_DEMAND_S: Final = ICE_CACHE_S + 60.0

# How long a refusal waits before it counts where no pod waits, seconds: the event that marks its NodeClaim as a replacement
# (`DisruptionLaunching`) may follow it.
REPLACEMENT_HOLD_S: Final = 3.0

# Age from which a NodeClaim that failed to launch counts even without an event, seconds. Karpenter retries, and deletes it after 300 s.
CREATE_ERROR_S: Final = 60.0
