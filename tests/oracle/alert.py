# ruff: noqa
from dataclasses import dataclass

from controller.policy.reasons import Reason


@dataclass(frozen=True, slots=True)
class Alert:
    key: str
    severity: str
    text: str
    reason: Reason | None = None
