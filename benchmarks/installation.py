"""What the controller needs of a control plane in a benchmark: an identity, a namespace and its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from benchmarks import fleet
from benchmarks.fleet import STATE_NAMESPACE, Member
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane

SPACE: Final = "bench"
"""Namespace of the identities."""


def of_a_fleet(plane: ControlPlane, folder: Path, applications: int) -> tuple[list[Member], str, dict[str, str]]:
    """Creates applications with all their objects on a bare control plane, and their files in a new folder.

    Returns:
        The applications, the controller's token, and its settings.
    """
    folder.mkdir()
    session = plane.session()
    crds.install(session)
    session.close()
    prepare(plane)
    token = identity(plane, "failoverctl")
    members = fleet.members(applications)
    fleet.create(plane.kubeconfig(), members)
    fleet.write_applications(folder, members)
    return members, token, settings(plane, token, folder, wide=fleet.wide(members))


def prepare(plane: ControlPlane) -> None:
    """Creates the namespaces of the identities and of the controller."""
    for namespace in (SPACE, STATE_NAMESPACE):
        plane.session().request("POST", "/api/v1/namespaces", body=json.dumps({"metadata": {"name": namespace}}))


def identity(plane: ControlPlane, name: str) -> str:
    """The token of a new ServiceAccount that may do everything. Unlike the administrator's, its requests are in the audit log."""
    session = plane.session()
    session.request("POST", f"/api/v1/namespaces/{SPACE}/serviceaccounts", body=json.dumps({"metadata": {"name": name}}))
    binding = {
        "metadata": {"name": f"bench-{name}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": SPACE, "name": name}],
    }
    session.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body=json.dumps(binding))
    return plane.service_account_token(SPACE, name)


def settings(plane: ControlPlane, token: str, folder: Path, *, wide: bool) -> dict[str, str]:
    """Production settings, except that AWS is off, the port, and cluster scope if there are many namespaces."""
    return {
        "FAILOVERCTL_APPLICATIONS": str(folder),
        "FAILOVERCTL_KUBERNETES__KUBECONFIG": str(plane.kubeconfig(token=token)),
        "FAILOVERCTL_KUBERNETES__CLUSTER_WIDE": json.dumps(wide),
        "FAILOVERCTL_KUBERNETES__STATE_NAMESPACE": STATE_NAMESPACE,
        "FAILOVERCTL_AWS__APIS": "[]",
        "FAILOVERCTL_AWS__REGION": "us-west-2",
        "FAILOVERCTL_CLOUDWATCH__ENABLED": "false",
        "FAILOVERCTL_HTTP__HOST": "127.0.0.1",
        "FAILOVERCTL_HTTP__PORT": "0",
    }
