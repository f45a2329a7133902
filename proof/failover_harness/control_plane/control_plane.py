"""Starts, disturbs and stops a control plane.

::

    with ControlPlane() as plane:
        session = plane.session(plane.kubeconfig())

Only kubelets are missing: `failover_harness.control_plane.kubelet` registers nodes and runs pods.
"""

from __future__ import annotations

import base64
import json
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import urllib3
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from controller.clients.kube import KubeSession, connect
from controller.errors import Unavailable
from failover_harness.control_plane import audit
from failover_harness.control_plane.binaries import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, locate
from failover_harness.control_plane.canary import await_controllers

_START_S: Final = 60.0
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 60.0
_LOG_LINES: Final = 12
_LOG_WIDTH: Final = 300
_CONTROLLERS: Final = (
    # Harmful or useless without a cloud and kubelets: node-lifecycle would evict pods, because no kubelet renews the nodes' leases.
    "*,-nodeipam,-node-route-controller,-service-lb-controller,-cloud-node-lifecycle-controller,-node-lifecycle-controller"
)


class PatientSession(KubeSession):
    """Retries requests that the API server answers with 429 while its caches fill after a start, even once /readyz reports ok."""

    def request(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        """See `KubeSession.request`."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return super().request(method, path, **rest)
            except Unavailable as error:
                if error.status != HTTPStatus.TOO_MANY_REQUESTS or time.monotonic() > end:
                    raise
                time.sleep(0.2)


class ControlPlane:
    """A control plane in its own folder, on free loopback ports. Use it as a context manager.

    Args:
        controllers: Whether to run the scheduler and the controller manager too.
    """

    def __init__(self, *, controllers: bool = True) -> None:
        self._controllers = controllers
        self._programs = locate()
        self.folder = Path(tempfile.mkdtemp(prefix="failoverctl-plane-"))
        self._etcd_port, self._peer_port, self.port = free_ports(3)
        self._tokens = {name: secrets.token_hex(16) for name in ("admin", CONTROLLER_MANAGER, SCHEDULER)}
        self._supervisor: subprocess.Popen[str] | None = None
        self._pool: urllib3.PoolManager | None = None

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that clients trust; the API server signs its own at its first start."""
        return self.folder / "certificates" / "apiserver.crt"

    @property
    def token(self) -> str:
        """The bearer token of a member of system:masters."""
        return self._tokens["admin"]

    # --- life ---------------------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "failover_harness.control_plane.supervisor", str(self.folder)]
        self._supervisor = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).parents[3],
        )
        try:
            self._write_files()
            self._start(ETCD, self._etcd_arguments())
            self._await("etcd", self._etcd_healthy)
            self._start_api()
            if self._controllers:
                self._start_controllers()
                self._await_controllers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends every process and removes the folder. Safe to call twice."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None and supervisor.stdin is not None:
            supervisor.stdin.close()
            supervisor.wait(timeout=_START_S)
            if supervisor.stdout is not None:
                supervisor.stdout.close()
        if self._pool is not None:
            self._pool.clear()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Kills the API server, so that connections are refused. On exit a new one is ready, and scheduler and controllers work again."""
        self._stop_api()
        try:
            yield
        finally:
            self._start_api()
            self._revive_controllers()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspends the API server, so that connections hang. On exit it continues, and scheduler and controllers work again."""
        self._signal(API_SERVER, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(API_SERVER, signal.SIGCONT)
            self._await("kube-apiserver", self._ready)
            self._revive_controllers()

    def compact(self) -> int:
        """Compacts etcd's history up to now.

        Returns:
            The oldest remaining revision.
        """
        pool = urllib3.PoolManager()
        status = pool.request("POST", f"{self._etcd_url}/v3/maintenance/status", json={}, timeout=5).json()
        revision = int(status["header"]["revision"])
        answer = pool.request("POST", f"{self._etcd_url}/v3/kv/compaction", json={"revision": revision, "physical": True}, timeout=30)
        assert answer.status == 200, answer.data
        return revision

    # --- identities ---------------------------------------------------------------------------------------------------------------------

    def kubeconfig(self, path: Path | None = None, *, token: str | None = None, host: str | None = None) -> Path:
        """Writes a kubeconfig.

        Args:
            path: The file; with None, a new file in the plane's folder.
            token: Bearer token; the administrator's with None.
            host: A URL other than the API server's, such as that of a proxy.
        """
        path = path or self.folder / f"{secrets.token_hex(4)}.kubeconfig"
        cluster = {"server": host or self.url, "certificate-authority": str(self.ca_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "plane", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token or self.token}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "user"}}],
            "current-context": "plane",
        }
        path.write_text(yaml.safe_dump(document))
        path.chmod(0o600)
        return path

    def session(self, token: str | None = None, *, read_s: float = 10.0) -> KubeSession:
        """A session of the production client."""
        return connect(kubeconfig=str(self.kubeconfig(token=token)), read_s=read_s)

    def patient_session(self) -> KubeSession:
        """A session of the administrator that may be used right after the start of an API server."""
        return PatientSession(self.session()._configuration, read_s=10.0)

    def service_account_token(self, namespace: str, name: str) -> str:
        """A ServiceAccount token, issued by the API server as for a pod.

        Raises:
            RemoteError: The ServiceAccount does not exist.
        """
        session = self.session()
        body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}})
        answer = session.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body=body)
        session.close()
        return str(answer["status"]["token"])

    # --- what happened ------------------------------------------------------------------------------------------------------------------

    def audit(self, user: str | None = None) -> list[audit.Entry]:
        """The requests of one user, oldest first; with None, of all recorded users."""
        return [entry for entry in audit.read(self.folder / "audit.log") if user is None or entry.user == user]

    def report(self) -> str:
        """The programs' states and last log lines, for the message of a failed test."""
        programs = (ETCD, API_SERVER, *((SCHEDULER, CONTROLLER_MANAGER) if self._controllers else ()))
        lines = []
        for program in programs:
            code = self._order({"poll": program})["code"]
            lines.append(f"{program} {'runs' if code is None else f'ended with code {code}'}, and logged last:")
            lines += [f"    {line[:_LOG_WIDTH]}" for line in self.log(program).splitlines()[-_LOG_LINES:]]
        return "\n".join(lines)

    def log(self, program: str) -> str:
        """The end of a program's log, for the message of a failed test."""
        path = self.folder / f"{program}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    @property
    def _etcd_url(self) -> str:
        return f"http://127.0.0.1:{self._etcd_port}"

    def _order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        supervisor = self._supervisor
        assert supervisor is not None, "the control plane is not running"
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        supervisor.stdin.write(json.dumps(order) + "\n")
        supervisor.stdin.flush()
        answer: dict[str, Any] = json.loads(supervisor.stdout.readline() or '{"error": "the supervisor ended"}')
        assert "error" not in answer, answer["error"]
        return answer

    def _start(self, program: str, arguments: list[str]) -> None:
        argv = [str(self._programs[program]), *arguments]
        self._order({"start": program, "argv": argv, "log": str(self.folder / f"{program}.log")})

    def _start_api(self) -> None:
        self._start(API_SERVER, self._api_arguments())
        self._await("kube-apiserver", self._ready)

    def _stop_api(self) -> None:
        self._signal(API_SERVER, signal.SIGKILL)
        self._order({"wait": API_SERVER})

    def _signal(self, program: str, number: signal.Signals) -> None:
        self._order({"signal": program, "number": int(number)})

    def _revive_controllers(self) -> None:
        """Restarts scheduler and controller manager after an outage, and waits until they work.

        Each of their watches backs off with jitter, up to a minute (client-go's reflector: 30 s, jitter of 1). Without a restart they would
        see no changes for up to a minute after the outage, and the next test would time out.
        """
        if not self._controllers:
            return
        for program in (SCHEDULER, CONTROLLER_MANAGER):
            self._signal(program, signal.SIGKILL)
            self._order({"wait": program})
        self._start_controllers()
        self._await_controllers()

    def _await_controllers(self) -> None:
        session = self.patient_session()
        try:
            await_controllers(session)
        except AssertionError as error:
            error.add_note(self.report())
            raise
        finally:
            session.close()

    def _start_controllers(self) -> None:
        common = ["--leader-elect=false", "--secure-port=0"]
        configs = {}
        for name in (SCHEDULER, CONTROLLER_MANAGER):
            configs[name] = ["--kubeconfig", str(self.kubeconfig(self.folder / f"{name}.kubeconfig", token=self._tokens[name]))]
        self._start(SCHEDULER, [*configs[SCHEDULER], *common])
        manager = [
            *configs[CONTROLLER_MANAGER],
            *common,
            "--use-service-account-credentials=false",
            f"--service-account-private-key-file={self.folder / 'service-account.key'}",
            f"--root-ca-file={self.ca_file}",
            f"--controllers={_CONTROLLERS}",
        ]
        self._start(CONTROLLER_MANAGER, manager)

    def _write_files(self) -> None:
        (self.folder / "certificates").mkdir()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        encoding, private, public = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        (self.folder / "service-account.key").write_bytes(key.private_bytes(encoding, private, serialization.NoEncryption()))
        (self.folder / "service-account.pub").write_bytes(key.public_key().public_bytes(encoding, public))
        rows = [
            f'{self._tokens["admin"]},admin,1,"system:masters"',
            f'{self._tokens[CONTROLLER_MANAGER]},system:kube-controller-manager,2,"system:masters"',
            f"{self._tokens[SCHEDULER]},system:kube-scheduler,3",
        ]
        (self.folder / "tokens.csv").write_text("\n".join(rows) + "\n")
        (self.folder / "audit-policy.yaml").write_text(yaml.safe_dump(audit.POLICY))
        for path in self.folder.iterdir():
            path.chmod(0o700 if path.is_dir() else 0o600)

    def _etcd_arguments(self) -> list[str]:
        peer = f"http://127.0.0.1:{self._peer_port}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--watch-progress-notify-interval=5s",  # without it the watch of a quiet kind may get no bookmarks for minutes
            "--log-level=warn",
        ]

    def _api_arguments(self) -> list[str]:
        return [
            f"--etcd-servers={self._etcd_url}",
            f"--cert-dir={self.folder / 'certificates'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--service-account-key-file={self.folder / 'service-account.pub'}",
            f"--service-account-signing-key-file={self.folder / 'service-account.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            f"--audit-policy-file={self.folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.folder / 'audit.log'}",
            "--audit-log-mode=blocking",
        ]

    def _etcd_healthy(self) -> bool:
        answer = urllib3.PoolManager().request("GET", f"{self._etcd_url}/health", retries=False, timeout=1)
        return answer.status == 200

    def _ready(self) -> bool:
        if not self.ca_file.exists():
            return False
        if self._pool is None:
            self._pool = urllib3.PoolManager(ca_certs=str(self.ca_file), cert_reqs=ssl.CERT_REQUIRED)
        answer = self._pool.request(
            "GET", f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"}, retries=False, timeout=1
        )
        return answer.status == 200

    def _await(self, what: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            try:
                if ready():
                    return
            except (urllib3.exceptions.HTTPError, OSError):
                pass
            time.sleep(_POLL_S)
        raise AssertionError(f"{what} was not ready within {_START_S:.0f} s:\n{self.log(what)}")


def free_ports(count: int) -> list[int]:
    """Free ports. The caller takes them a moment later; until then the system hands out other ports."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def subject(token: str) -> str:
    """The user of a ServiceAccount token."""
    payload = token.split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(decoded["sub"])
