"""Whether a unit is short of capacity, why, and whether its capacity has returned.

For the decision, which judges each snapshot once; for the signals, which read what Karpenter says in these words; for the alerts.
"""

from controller.policy.evidence.age import JUST_AFTER_S, Ages
from controller.policy.evidence.judge import assess
from controller.policy.evidence.offerings import allowed_offerings, reservable, unmet_pods
from controller.policy.evidence.proof import ALL_UNAVAILABLE, BATCH_S, Offering, created_after, last_launches
from controller.policy.evidence.quota import only_spot, quota_words

__all__ = [
    "ALL_UNAVAILABLE",
    "BATCH_S",
    "JUST_AFTER_S",
    "Ages",
    "Offering",
    "allowed_offerings",
    "assess",
    "created_after",
    "last_launches",
    "only_spot",
    "quota_words",
    "reservable",
    "unmet_pods",
]
