"""Which page of docs/runbooks says what to do about a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from controller.policy.alert_kinds import ROWS
from controller.ports import Message, MessageKind

FOLDER: Final = "docs/runbooks"
"""Where the pages are within the documentation."""

PAGES: Final = {row.reason: row.runbook for row in ROWS.values()}
"""The page about each reason of a message, "" where nothing is to be done."""


def located(page: str, published: str = "") -> str:
    """Where a page about an alert is: a URL, or a path within the documentation; "" for no page.

    Args:
        page: Its name, as the tables of alerts and reasons have it.
        published: Where the pages are published, a URL without the last slash; "" where they are not.
    """
    return f"{published or FOLDER}/{page}.md" if page else ""


@dataclass(frozen=True, slots=True)
class Context:
    """What every message of this controller has in common.

    Attributes:
        cluster: The cluster's name, "" if none is configured.
        runbooks: Where the pages of docs/runbooks are published, a URL without the last slash; "": messages name the path.
    """

    cluster: str = ""
    runbooks: str = ""

    def complete(self, message: Message) -> Message:
        """The message with cluster and runbook. What is resolved needs no runbook."""
        page = "" if message.kind in {MessageKind.RESOLVED, MessageKind.FALLBACK, MessageKind.TEST} else PAGES.get(message.reason, "")
        return replace(message, cluster=message.cluster or self.cluster, runbook=message.runbook or located(page, self.runbooks))
