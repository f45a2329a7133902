"""Runs the real AWS Load Balancer Controller against a control plane and an emulated AWS."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import yaml

from controller.clients.kube import KubeSession
from controller.errors import NotFound
from failover_harness.control_plane.control_plane import ControlPlane, free_ports
from failover_harness.controllers import certificates
from failover_harness.controllers.front import Front
from failover_harness.controllers.programs import Program, started
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import REGION

CLUSTER: Final = "world"
_VALUES: Final = Path(__file__).parents[3] / "deploy" / "cluster" / "aws-load-balancer-controller.yaml"
_FLAGS: Final = {
    "tolerateNonExistentBackendService": "tolerate-non-existent-backend-service",
    "tolerateNonExistentBackendAction": "tolerate-non-existent-backend-action",
}
_READY_S: Final = 90.0
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_CLASS: Final = "/apis/networking.k8s.io/v1/ingressclasses"
_PARAMETERS: Final = "/apis/elbv2.k8s.aws/v1beta1/ingressclassparams"

Object = dict[str, Any]
Hook = tuple[str, str, str, str]
"""API group, version, resource and path of a webhook."""

_BINDINGS: Final = ("elbv2.k8s.aws", "v1beta1", "targetgroupbindings")
_HOOKS: Final[dict[str, tuple[Hook, ...]]] = {
    "mutating": ((*_BINDINGS, "/mutate-elbv2-k8s-aws-v1beta1-targetgroupbinding"), ("", "v1", "pods", "/mutate-v1-pod")),
    "validating": (
        (*_BINDINGS, "/validate-elbv2-k8s-aws-v1beta1-targetgroupbinding"),
        ("networking.k8s.io", "v1", "ingresses", "/validate-networking-v1-ingress"),
    ),
}


@contextmanager
def running(program: Path, plane: ControlPlane, namespace: str, front: Front, folder: Path, *, tolerant: bool = False) -> Iterator[Program]:
    """Starts it with the settings of `deploy/cluster` for a namespace, waits until it is ready, and stops it on exit.

    Args:
        program: Its binary.
        plane: The control plane.
        namespace: The namespace whose Ingresses it serves.
        front: Its AWS endpoint.
        folder: Folder of its log and certificate.
        tolerant: Whether it goes on where a Service or an action does not exist, against those settings.
    """
    metrics, health, webhook = free_ports(3)
    authority = certificates.write(folder / "lbc-certificates", ("localhost",))
    values = yaml.safe_load(_VALUES.read_text())
    flags = {
        "cluster-name": CLUSTER,
        "aws-region": REGION,
        "aws-vpc-id": front.aws.network.vpc,
        "ingress-class": "alb",
        "watch-namespace": namespace,
        "kubeconfig": str(plane.kubeconfig()),
        "enable-leader-election": "false",
        "metrics-bind-addr": f"127.0.0.1:{metrics}",
        "health-probe-bind-addr": f"127.0.0.1:{health}",
        "webhook-bind-port": str(webhook),
        "webhook-cert-dir": str(folder / "lbc-certificates"),
        **{flag: json.dumps(tolerant or values[name]) for name, flag in _FLAGS.items()},
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **front.aws.environment(), "AWS_ENDPOINT_URL": front.endpoint}
    with started(program, arguments, environment, folder / "lbc.log") as made:
        wait_for("the load-balancer controller is ready", lambda: made.ready(health), _READY_S, made.report)
        with _registered(plane, namespace, webhook, authority):
            yield made


@contextmanager
def _registered(plane: ControlPlane, namespace: str, port: int, authority: bytes) -> Iterator[None]:
    """Creates the objects of its chart: the IngressClass, and its webhooks, here for one namespace only."""
    parameters = {"apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "IngressClassParams", "metadata": {"name": "alb"}}
    reference = {"apiGroup": "elbv2.k8s.aws", "kind": "IngressClassParams", "name": "alb"}
    ingress_class = {"metadata": {"name": "alb"}, "spec": {"controller": "ingress.k8s.aws/alb", "parameters": reference}}
    session = plane.patient_session()
    try:
        session.request("POST", _PARAMETERS, body=json.dumps(parameters))
        session.request("POST", _CLASS, body=json.dumps(ingress_class))
        for kind in _HOOKS:
            session.request("POST", _path(kind), body=json.dumps(_webhooks(kind, namespace, port, authority)))
        yield
    finally:
        withdraw_webhooks(session, namespace)
        for path in (_CLASS, _PARAMETERS):
            with suppress(NotFound):
                session.request("DELETE", f"{path}/alb")
        session.close()


def withdraw_webhooks(session: KubeSession, namespace: str) -> None:
    """Removes its webhooks. Safe to call twice."""
    for kind in _HOOKS:
        with suppress(NotFound):
            session.request("DELETE", f"{_path(kind)}/{_name(namespace)}")


def _path(kind: str) -> str:
    return f"{_ADMISSION}/{kind}webhookconfigurations"


def _name(namespace: str) -> str:
    return f"aws-load-balancer-{namespace}"


def _webhooks(kind: str, namespace: str, port: int, authority: bytes) -> Object:
    made = [
        {
            "name": f"{path.removeprefix('/')}.elbv2.k8s.aws",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": {"url": f"https://127.0.0.1:{port}{path}", "caBundle": base64.b64encode(authority).decode()},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [
                {
                    "apiGroups": [group],
                    "apiVersions": [version],
                    "operations": ["CREATE"] if resource == "pods" else ["CREATE", "UPDATE"],
                    "resources": [resource],
                }
            ],
        }
        for group, version, resource, path in _HOOKS[kind]
    ]
    return {"metadata": {"name": _name(namespace)}, "webhooks": made}
