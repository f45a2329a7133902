"""The two servers behind one interface."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, Protocol

import urllib3

from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from failover_testbed.kube_api import ADMIN_TOKEN, EmulatedKubeApi, Identity, rules_of
from tests.contract.support import (
    CONFIG_MAPS,
    EVENTS,
    INGRESSES,
    LEASES,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    TARGET_GROUP_BINDINGS,
    Client,
    Object,
)

_ALL = (CONFIG_MAPS, EVENTS, INGRESSES, LEASES, NODE_CLAIMS, NODE_POOLS, PODS, SCALED_OBJECTS, TARGET_GROUP_BINDINGS)
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Server(Protocol):
    """What a test may do to a server in addition to requests."""

    @property
    def client(self) -> Client:
        """The administrator's client in the test's namespace, whose name may also be used for cluster-scoped objects."""

    def compact(self) -> None:
        """Compacts the stored history; a server's caches may keep more."""

    def forget(self) -> None:
        """Makes earlier versions and page tokens expire for every kind, and ends open watches."""

    def account(self, name: str, *rules: Object, everywhere: bool = False) -> Client:
        """The client of a ServiceAccount in the test's namespace.

        Args:
            name: The account's name.
            rules: What RBAC allows it.
            everywhere: Whether a ClusterRole grants it instead of a Role in the test's namespace.
        """


def rule(group: str, resources: str, *verbs: str, **more: Any) -> Object:
    """A rule of a Role."""
    return {"apiGroups": [group], "resources": [resources], "verbs": list(verbs)} | more


class Emulated:
    """The emulated API in this process.

    Args:
        api: Started.
        pool: Connections.
    """

    def __init__(self, api: EmulatedKubeApi, pool: urllib3.PoolManager) -> None:
        self._api = api
        self.client = _in_new_namespace(Client(api.url, pool, ADMIN_TOKEN))

    def compact(self) -> None:
        self._api.compact()

    def forget(self) -> None:
        self._api.compact()
        self._api.drop_watches()

    def account(self, name: str, *rules: Object, everywhere: bool = False) -> Client:
        role = {"kind": "ClusterRole" if everywhere else "Role", "metadata": {"namespace": self.client.namespace}, "rules": list(rules)}
        token = secrets.token_hex(8)
        self._api.admit(token, Identity(f"system:serviceaccount:{self.client.namespace}:{name}", rules_of(role)))
        return self.client.with_token(token)


class Real:
    """kube-apiserver and etcd.

    Args:
        plane: Started.
        pool: Connections that trust its certificate.
    """

    def __init__(self, plane: ControlPlane, pool: urllib3.PoolManager) -> None:
        self._plane = plane
        self.client = _in_new_namespace(Client(plane.url, pool, plane.token))
        # Pods need it for admission, and its controller does not run: only the test writes here.
        self.client.create("/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}})

    def compact(self) -> None:
        self._plane.compact()

    def forget(self) -> None:
        # The API server answers for most kinds from its cache; only a new one has no history.
        self._plane.compact()
        with self._plane.killed():
            pass
        for path in _ALL:
            wait_for(f"{path} is served again", partial(self._served, path))

    def _served(self, path: str) -> bool:
        return self.client.get(path).code == 200

    def account(self, name: str, *rules: Object, everywhere: bool = False) -> Client:
        client, kind = self.client, "ClusterRole" if everywhere else "Role"
        root = _RBAC if everywhere else f"{_RBAC}/namespaces/{{namespace}}"
        full = f"{client.namespace}-{name}"
        client.create("/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
        client.create(f"{root}/{kind.lower()}s", {"metadata": {"name": full}, "rules": list(rules)})
        binding = {
            "metadata": {"name": full},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": full},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": client.namespace}],
        }
        client.create(f"{root}/{kind.lower()}bindings", binding)
        account = client.with_token(self._plane.service_account_token(client.namespace, name))
        for one in rules:
            wait_for("the authorizer knows the role", partial(_allowed, account, one))
        return account


def _in_new_namespace(client: Client) -> Client:
    name = f"t-{secrets.token_hex(4)}"
    client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return client.in_namespace(name)


def _allowed(account: Client, rules: Object) -> bool:
    """Whether the authorizer has seen a rule, which it gets from its watch of roles."""
    resource, _, subresource = rules["resources"][0].partition("/")
    wanted = {"namespace": account.namespace, "verb": rules["verbs"][0], "group": rules["apiGroups"][0], "resource": resource}
    named = {"name": rules["resourceNames"][0]} if "resourceNames" in rules else {}
    review = {"spec": {"resourceAttributes": wanted | {"subresource": subresource} | named}}
    answer = account.post(_REVIEWS, review)
    return answer.code == 201 and bool(answer.json["status"]["allowed"])
