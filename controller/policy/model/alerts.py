"""An alert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.policy.reasons import Row, fill


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know because the controller cannot settle it alone.

    Attributes:
        row: What it is about; a reason where the guard holds that has it.
        subject: Which of several alerts of this row it is, such as its unit.
        text: The row's sentence, filled in.
        severity: "warning" or "critical".
    """

    row: Row
    subject: tuple[str, ...]
    text: str
    severity: str

    @property
    def key(self) -> str:
        """What identifies it while it lasts, among those of an application: ``max/sd21-inf2``."""
        return "/".join((self.row.key, *self.subject))

    @classmethod
    def of(cls, row: Row, details: Mapping[str, str], subject: tuple[str, ...] = (), severity: str = "") -> Alert:
        """An alert in its row's words.

        Args:
            row: Its row.
            details: For the sentence.
            subject: Which of several it is.
            severity: Where it is not the row's.
        """
        return cls(row, subject, fill(row, details), severity or row.severity)
