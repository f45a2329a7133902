"""An emulated Kubernetes API server over real HTTP, for the demo and for fast tests.

It answers supported requests as kube-apiserver v1.36 does: ``tests/contract`` runs the same tests against both. It refuses all others
with a ``Status`` that names what is missing (501, 406 or 415). kmock does not fit: it never checks ``resourceVersion`` on update and has no
server-side apply, and the controller's safety depends on both.

Known differences from the real server; the controller depends on none of them:

* There is no schema validation. Only names, the types of labels, annotations, a ConfigMap's data and a Lease's times, and an Event's
  namespace are checked. ``fieldValidation=Strict`` is refused; ``Warn`` and ``Ignore`` change nothing.
* Unknown fields are kept. A real server drops them, or fails (500) if they are applied.
* There is no defaulting beyond a few fields of pods, deployments, namespaces and the kinds of the Gateway API. Zero values that a real
  server always shows, such as ``status.loadBalancer: {}`` of an Ingress or ``firstTimestamp: null`` of an Event, are absent, and so is the
  status that the schemas of Gateway and GatewayClass give to a new object.
* Every list of a custom resource is applied and owned as a whole, even one that its CRD marks as keyed.
* Unless it is started with ``lenient=False``, as in the contract tests, a missing namespace is created with its first object, and
  watches of Events get bookmarks. The demo needs those bookmarks: its clock runs too fast to wait for the list that replaces them.
* Bookmarks come at every interval and at a watch's end, with the newest version of all kinds. A real server sends them about once a minute,
  and only if its cache has advanced.
* A compaction takes effect at once, for every kind and every earlier version. A real server still answers from memory for all kinds but
  Events until it restarts, and etcd keeps the last version before the compaction.
* ``spec.nodeName`` of a pod may be changed by an update, since there is no ``binding`` subresource.
* Any identity may use discovery. Roles have no ``nonResourceURLs``, and users belong to no groups.
* It is ready from its first answer. It answers 503 and 429 only if a test injects them.
* It refuses: strategic merge patches and protobuf (415); tables and metadata-only answers (406); ``move`` and ``copy`` in a JSON patch,
  null values in an apply, ``resourceVersionMatch=Exact``, ``sendInitialEvents=false``, deletion of collections and of namespaces, deletion
  policies other than ``Background``, every subresource but ``status``, OpenAPI, metrics, and every other kind of the built-in groups (501).
"""

from __future__ import annotations

from failover_testbed.kube_api.auth import READ_ONLY, Access, AuditRecord, Identity, Rule, rules_of
from failover_testbed.kube_api.emulator import ADMIN_TOKEN, EmulatedKubeApi
from failover_testbed.kube_api.in_process import KubeStore
from failover_testbed.kube_api.statuses import ApiError

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
