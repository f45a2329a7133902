"""An emulated Kubernetes API server over real HTTP, for the demo and for fast tests.

What it supports it answers as kube-apiserver v1.36 does, which a contract suite checks against both; everything else it refuses
with a ``Status`` that names it (501, 406 or 415). kmock was considered and not used: it never checks ``resourceVersion`` on
update and has no server-side apply, the two things our safety rests on.

Known differences, none of which the controller depends on:

* no schema validation, and no defaulting beyond a few fields of pods, deployments and namespaces;
* server-side apply takes fields that a built-in kind does not have, and owns every list of a custom resource as a whole, even one
  that its CRD marks as keyed;
* fields a CRD does not know are kept, not pruned, and ``fieldValidation`` is accepted and ignored;
* a missing namespace is created on first use;
* ``spec.nodeName`` of a pod may be written directly, since there is no ``binding`` subresource;
* health and version need no token, everything else does: there is no anonymous user.
"""

from __future__ import annotations

from controller.embedded.kube_api.auth import READ_ONLY, Access, AuditRecord, Identity, Rule, rules_of
from controller.embedded.kube_api.emulator import ADMIN_TOKEN, EmulatedKubeApi
from controller.embedded.kube_api.facade import KubeStore
from controller.embedded.kube_api.statuses import ApiError

__all__ = [
    "ADMIN_TOKEN",
    "READ_ONLY",
    "Access",
    "ApiError",
    "AuditRecord",
    "EmulatedKubeApi",
    "Identity",
    "KubeStore",
    "Rule",
    "rules_of",
]
