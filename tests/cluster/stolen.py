"""What people with the controller's token try: patches, and the admission policies' answers."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from controller.clients.kube import APPLY_PATCH, MERGE_PATCH, KubeSession, Resource
from controller.errors import RemoteError

DENIED: Final = "the controller may|a floor is|minReplicaCount must be"  # the last is of the CRD itself
"""What the policies say of what they refuse."""


def patch(
    session: KubeSession, resource: Resource, namespace: str, name: str, body: Any, kind: str = MERGE_PATCH, *, dry: bool = True
) -> dict[str, Any]:
    """One patch as the controller sends it; a dry run changes nothing, but asks the policies."""
    query = [("fieldManager", "failoverctl")] + ([("force", "true")] if kind == APPLY_PATCH else []) + ([("dryRun", "All")] if dry else [])
    return session.request("PATCH", resource.path(namespace, name), query=query, body=json.dumps(body), content_type=kind)


def accepted(session: KubeSession, resource: Resource, namespace: str, name: str, cases: Any, kind: str) -> list[str]:
    """The cases that no policy refuses, each with the answer."""
    found = []
    for case in cases:
        try:
            patch(session, resource, namespace, name, case.values[0], kind)
            found.append(str(case.id))
        except RemoteError as error:
            if not re.search(DENIED, str(error)):
                found.append(f"{case.id}: {error}")
    return found
