"""Runs the real AWS Load Balancer Controller against a control plane and an emulated AWS."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import urllib3
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controller.clients.kube import KubeSession
from controller.embedded.aws import REGION
from controller.errors import NotFound
from tests.control_plane.control_plane import ControlPlane, free_ports
from tests.support.waiting import wait_for
from tests.world.front import Front

CLUSTER: Final = "world"
VALUES: Final = Path(__file__).parents[2] / "deploy" / "cluster" / "aws-load-balancer-controller.yaml"
_FLAGS: Final = {
    "tolerateNonExistentBackendService": "tolerate-non-existent-backend-service",
    "tolerateNonExistentBackendAction": "tolerate-non-existent-backend-action",
}
_READY_S: Final = 90.0
_STOP_S: Final = 20.0
_LOG_LINES: Final = 12

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadBalancerController:
    """A running load-balancer controller."""

    process: subprocess.Popen[bytes]
    log: Path

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops it where it stands; at the end it goes on."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def report(self) -> str:
        """Whether it runs and what it logged last, for the message of a failed test."""
        code = self.process.poll()
        lines = [one for one in self.log.read_text(errors="replace").splitlines() if "Skipping targetgroupbinding" not in one][-_LOG_LINES:]
        state = "runs" if code is None else f"ended with code {code}"
        return "\n".join([f"load-balancer controller {state}, and logged last:", *(f"    {one[:300]}" for one in lines)])


@contextmanager
def running(program: Path, plane: ControlPlane, namespace: str, front: Front, folder: Path) -> Iterator[LoadBalancerController]:
    """Starts it as `deploy/cluster` says, for one namespace, waits until it is ready, and ends it.

    Args:
        program: Its binary.
        plane: The control plane.
        namespace: Whose Ingresses it serves.
        front: Where it asks the emulated account.
        folder: For its log and its certificate.
    """
    metrics, health, webhook = free_ports(3)
    certificate = _certificate(folder)
    values = yaml.safe_load(VALUES.read_text())
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
        "webhook-cert-dir": str(folder),
        "webhook-cert-file": "lbc.crt",
        "webhook-key-file": "lbc.key",
        **{flag: json.dumps(values[name]) for name, flag in _FLAGS.items()},
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **front.aws.environment(), "AWS_ENDPOINT_URL": front.endpoint}
    log = folder / "lbc.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(program), *(f"--{name}={value}" for name, value in flags.items())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    made = LoadBalancerController(process, log)
    try:
        wait_for("the load-balancer controller is ready", lambda: _ready(health), _READY_S, made.report)
        with _registered(plane, namespace, webhook, certificate):
            yield made
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_STOP_S)


def _ready(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", timeout=2, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@contextmanager
def _registered(plane: ControlPlane, namespace: str, port: int, certificate: bytes) -> Iterator[None]:
    """Makes what its chart makes: the class of Ingresses, and its webhooks, here for one namespace alone."""
    made = [
        ("/apis/elbv2.k8s.aws/v1beta1/ingressclassparams", _CLASS_PARAMETERS),
        ("/apis/networking.k8s.io/v1/ingressclasses", _INGRESS_CLASS),
        (f"{_ADMISSION}/mutatingwebhookconfigurations", _webhooks(namespace, port, certificate, _MUTATING)),
        (f"{_ADMISSION}/validatingwebhookconfigurations", _webhooks(namespace, port, certificate, _VALIDATING)),
    ]
    session = plane.session()
    try:
        for path, body in made:
            session.request("POST", path, body=json.dumps(body))
        yield
    finally:
        for path, body in reversed(made):
            with suppress(NotFound):
                session.request("DELETE", f"{path}/{body['metadata']['name']}")
        session.close()


def withdraw_webhooks(session: KubeSession, namespace: str) -> None:
    """Takes its webhooks away. Safe to call twice."""
    for kind in ("mutating", "validating"):
        with suppress(NotFound):
            session.request("DELETE", f"{_ADMISSION}/{kind}webhookconfigurations/{_webhooks_name(namespace)}")


def _webhooks_name(namespace: str) -> str:
    return f"aws-load-balancer-{namespace}"


_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_CLASS_PARAMETERS: Final[Object] = {"apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "IngressClassParams", "metadata": {"name": "alb"}}
_INGRESS_CLASS: Final[Object] = {
    "metadata": {"name": "alb"},
    "spec": {
        "controller": "ingress.k8s.aws/alb",
        "parameters": {"apiGroup": "elbv2.k8s.aws", "kind": "IngressClassParams", "name": "alb"},
    },
}
# Group, version and resource; operations; path.
_MUTATING: Final = ((("elbv2.k8s.aws", "v1beta1", "targetgroupbindings"), "/mutate-elbv2-k8s-aws-v1beta1-targetgroupbinding"),)
_VALIDATING: Final = (
    (("elbv2.k8s.aws", "v1beta1", "targetgroupbindings"), "/validate-elbv2-k8s-aws-v1beta1-targetgroupbinding"),
    (("networking.k8s.io", "v1", "ingresses"), "/validate-networking-v1-ingress"),
)


def _webhooks(namespace: str, port: int, certificate: bytes, wanted: tuple[tuple[tuple[str, str, str], str], ...]) -> Object:
    made = [
        {
            "name": f"{path.removeprefix('/').replace('/', '-')}.elbv2.k8s.aws",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": {"url": f"https://127.0.0.1:{port}{path}", "caBundle": base64.b64encode(certificate).decode()},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE", "UPDATE"], "resources": [resource]}],
        }
        for (group, version, resource), path in wanted
    ]
    return {"metadata": {"name": _webhooks_name(namespace)}, "webhooks": made}


def _certificate(folder: Path) -> bytes:
    """Writes a certificate of 127.0.0.1 that signs itself, and its key; returns the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aws-load-balancer-webhook")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "lbc.crt").write_bytes(pem)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "lbc.key"
    path.touch(mode=0o600)
    path.write_bytes(secret)
    return pem
