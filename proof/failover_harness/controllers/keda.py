"""Runs the real KEDA against a control plane: operator, external metrics server and admission webhooks, as its chart installs them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from controller.clients.kube import API_SERVICES, NAMESPACES, SCALED_OBJECTS, SERVICES, KubeSession
from controller.errors import Conflict
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane, free_ports
from failover_harness.controllers import certificates
from failover_harness.controllers.programs import Program, started
from failover_harness.waiting import wait_for

METRICS: Final = "v1beta1.external.metrics.k8s.io"
_SPACE: Final = "keda"
_METRICS_SERVER: Final = "keda-metrics-apiserver"
_READY_S: Final = 120.0
_GONE_S: Final = 60.0
_HOOKS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_CHECKED: Final = ("scaledobject", "triggerauthentication")

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Programs:
    """KEDA's binaries."""

    operator: Path
    metrics: Path
    admission: Path


@dataclass(frozen=True, slots=True)
class Keda:
    """A running KEDA."""

    running: tuple[Program, ...]

    def report(self) -> str:
        """The programs' states and last log lines, for the message of a failed test."""
        return "\n".join(program.report() for program in self.running)


@contextmanager
def running(programs: Programs, plane: ControlPlane, aws: dict[str, str], folder: Path, namespace: str) -> Iterator[Keda]:
    """Starts KEDA for a namespace, waits until it is ready, and on exit deletes objects with its finalizers and stops it.

    Args:
        programs: Its binaries.
        plane: The control plane.
        aws: Environment variables that make its SDK use the emulated account.
        folder: Folder of its logs and certificates.
        namespace: The namespace that it watches.
    """
    session = plane.patient_session()
    crds.install(session, list(crds.KEDA_OTHERS))
    service = f"{_METRICS_SERVER}.{_SPACE}.svc"
    authority = certificates.write(folder / "keda-certificates", (service, "localhost"))
    config = plane.kubeconfig()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "KUBECONFIG": str(config),
        "POD_NAMESPACE": _SPACE,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": _SPACE,
        "WATCH_NAMESPACE": namespace,
    }
    grpc, health, metrics, scrape, hook, hook_health = free_ports(6)
    keys = folder / "keda-certificates"
    operator = [
        f"--metrics-service-bind-address=127.0.0.1:{grpc}",
        f"--health-probe-bind-address=127.0.0.1:{health}",
        "--enable-prometheus-metrics=false",
        f"--cert-dir={keys}",
    ]
    server = [
        "--bind-address=127.0.0.1",
        f"--secure-port={metrics}",
        f"--port={scrape}",
        f"--metrics-service-address=127.0.0.1:{grpc}",
        f"--client-ca-file={keys}/ca.crt",
        f"--tls-cert-file={keys}/tls.crt",
        f"--tls-private-key-file={keys}/tls.key",
        f"--cert-dir={keys}",
        *(f"--{which}-kubeconfig={config}" for which in ("lister", "authentication", "authorization")),
        "--authentication-skip-lookup=true",
    ]
    admission = [
        f"--port={hook}",
        f"--cert-dir={keys}",
        "--metrics-bind-address=0",
        f"--health-probe-bind-address=127.0.0.1:{hook_health}",
    ]
    with ExitStack() as stack:
        stack.callback(session.close)
        _space(session)
        made = (
            stack.enter_context(started(programs.operator, operator, {**environment, **aws}, folder / "keda.log")),
            stack.enter_context(started(programs.metrics, server, environment, folder / "keda-metrics.log")),
            stack.enter_context(started(programs.admission, admission, environment, folder / "keda-admission.log")),
        )
        keda = Keda(made)
        for program, port in ((made[0], health), (made[2], hook_health)):
            wait_for(f"{program.name} is ready", partial(program.ready, port), _READY_S, keda.report)
        stack.enter_context(_external_metrics(session, metrics, authority))
        wait_for("external metrics are served", lambda: "True" in _available(session), _READY_S, lambda: _available(session))
        stack.enter_context(_checks(session, hook, authority, namespace))
        stack.callback(_release, session, namespace)
        yield keda


def _space(session: KubeSession) -> None:
    try:
        session.request("POST", NAMESPACES.path(), body=json.dumps({"metadata": {"name": _SPACE}}))
    except Conflict:
        return


@contextmanager
def _external_metrics(session: KubeSession, port: int, authority: bytes) -> Iterator[None]:
    """Makes the API server forward requests for external metrics to KEDA's server on this machine."""
    service = {"metadata": {"name": _METRICS_SERVER}, "spec": {"type": "ExternalName", "externalName": "localhost"}}
    spec = {
        "group": "external.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "caBundle": base64.b64encode(authority).decode(),
        "service": {"namespace": _SPACE, "name": _METRICS_SERVER, "port": port},
    }
    # The tests' API server has no proxy client certificate, so KEDA's server sees forwarded requests as anonymous.
    role = {
        "metadata": {"name": "keda-metrics-of-tests"},
        "rules": [
            {"apiGroups": ["external.metrics.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]},
            {"nonResourceURLs": ["/apis", "/apis/*", "/openapi/*"], "verbs": ["get"]},
        ],
    }
    binding = {
        "metadata": {"name": "keda-metrics-of-tests"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keda-metrics-of-tests"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "system:anonymous"}],
    }
    bodies: dict[str, Object] = {
        SERVICES.path(_SPACE): service,
        f"{_RBAC}/clusterroles": role,
        f"{_RBAC}/clusterrolebindings": binding,
        API_SERVICES.path(): {"metadata": {"name": METRICS}, "spec": spec},
    }
    with ExitStack() as stack:
        for path, body in bodies.items():
            session.request("POST", path, body=json.dumps(body))
            stack.callback(session.request, "DELETE", f"{path}/{body['metadata']['name']}")
        yield


def _available(session: KubeSession) -> str:
    """The APIService's condition: whether the API server reaches KEDA's server, and if not, why."""
    conditions = session.get(API_SERVICES, None, METRICS).get("status", {}).get("conditions", ())
    return "; ".join(f"{one['status']}: {one.get('message', '')}" for one in conditions if one["type"] == "Available")


@contextmanager
def _checks(session: KubeSession, port: int, authority: bytes, namespace: str) -> Iterator[None]:
    """Registers KEDA's admission webhooks. Writes fail if the webhooks cannot be reached, so nothing passes unchecked."""
    bundle = base64.b64encode(authority).decode()
    hooks = [
        {
            "name": f"v{kind}.kb.io",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": f"https://127.0.0.1:{port}/validate-keda-sh-v1alpha1-{kind}", "caBundle": bundle},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [
                {"apiGroups": ["keda.sh"], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"], "resources": [f"{kind}s"]}
            ],
        }
        for kind in _CHECKED
    ]
    session.request("POST", _HOOKS, body=json.dumps({"metadata": {"name": "keda-admission"}, "webhooks": hooks}))
    try:
        yield
    finally:
        session.request("DELETE", f"{_HOOKS}/keda-admission")


def _release(session: KubeSession, namespace: str) -> None:
    """Deletes the ScaledObjects while KEDA still runs and removes their finalizers."""
    path = SCALED_OBJECTS.path(namespace)
    session.request("DELETE", path)
    wait_for("KEDA releases the ScaledObjects", lambda: not session.request("GET", path)["items"], _GONE_S)
