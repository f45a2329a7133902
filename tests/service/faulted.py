"""`failoverctl run` as a process that is started again as by a kubelet, in a world that tests disturb.

The world is on loopback and in real time: an API server, AWS, KEDA, Slack. The process finds it as in a pod, with a mounted token and CA,
mounted application files, and names to resolve. `Faulted.play` plays one failover and one fallback and counts what came of them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.aws_answers import Answers, Routing
from benchmarks.fleet import hostname
from controller.clock import SystemClock
from controller.routing.annotations import MARKER
from failover_harness.control_plane.control_plane import free_ports
from failover_harness.controllers.front import Answer
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.slack import CHANNEL, TOKEN, SlackServer
from tests.service.tls import TlsFront
from tests.support.applications import SERVICES
from tests.support.cluster import NAMESPACE, Cluster, application_document, apply

PROGRAM: Final = str(Path(sys.executable).parent / "failoverctl")
SYSTEM: Final = "failover-system"
SHORT: Final = "sd21-inf2"
QUICK: Final[Mapping[str, Any]] = {
    "dwellCapacitySeconds": 0,
    "quietSeconds": 2,
    "holdMinSeconds": 0,
    "holdMaxSeconds": 0,
    "failoverUtilization": 0,  # the ready replicas would carry the demand; the failover is what is played
}
BOTH: Final = ["capacity", "cost"]
FLOOR: Final = 1
_LONGEST_S: Final = 60.0
_AGAIN_S: Final = 3.0  # a launch within 2 s of a refusal belongs to the same batch, in whole seconds
_KEDA_S: Final = 0.1

_SITE: Final = '''\
"""The machine of the process: what a pod has mounted, and its resolver, which a file can take away."""
import os, socket, time
from pathlib import Path
from kubernetes.config import incluster_config

folder = Path(os.environ["FAULTED"])
incluster_config.SERVICE_TOKEN_FILENAME = str(folder / "account" / "token")
incluster_config.SERVICE_CERT_FILENAME = str(folder / "account" / "ca.crt")
resolve = socket.getaddrinfo

def getaddrinfo(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else str(host)
    if not name.endswith(".test"):
        return resolve(host, *rest, **named)
    if (folder / "no-dns").exists():
        time.sleep(1)  # a resolver asks again before it gives up
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return resolve("127.0.0.1", *rest, **named)

socket.getaddrinfo = getaddrinfo
'''


class Mount:
    """A folder of files as a kubelet mounts a ConfigMap, a Secret or a projected token: all of them change at once, by one link.

    Args:
        folder: Where it is mounted.
        files: Their contents by name.
    """

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self._folder, self._number, self._files = folder, 0, dict(files)
        folder.mkdir()
        self.write()
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")

    def write(self, **files: str) -> None:
        """Replaces the content of some files; a dot of a name is written as two underscores."""
        self._files |= {name.replace("__", "."): content for name, content in files.items()}
        self._number += 1
        new = self._folder / f"..{self._number}"
        new.mkdir()
        for name, content in self._files.items():
            (new / name).write_text(content)
        link = self._folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self._folder / "..data")
        shutil.rmtree(self._folder / f"..{self._number - 1}", ignore_errors=True)

    def read(self, name: str) -> str:
        """The present content of a file."""
        return self._files[name]


class Aws(Answers):
    """ELBv2 and CloudWatch about the one Ingress. `fault` may answer in their place.

    Args:
        cluster: The cluster whose ready pods are the healthy targets.
        kubeconfig: Of an identity that may read Ingresses.
    """

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        super().__init__(EmulatedAws(), Routing(kubeconfig))
        self._cluster = cluster
        self.fault: Callable[[], Answer | None] = lambda: None

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """See the base class."""
        return self.fault() or super().answer(path, headers, body)

    def _health(self, form: Mapping[str, str]) -> list[dict[str, Any]]:
        service = form["TargetGroupArn"].split("/")[1]
        slices = self._cluster.store.list("EndpointSlice", namespace=NAMESPACE, label_selector=f"kubernetes.io/service-name={service}")
        addresses = [address for one in slices for endpoint in one.get("endpoints") or () for address in endpoint["addresses"]]
        return [{"Target": {"Id": address, "Port": 8000}, "TargetHealth": {"State": "healthy"}} for address in addresses]


class Keda:
    """Gives each unit the replicas that its floor asks for, twice a moment; those of the short unit wait. It can be stopped."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._end = cluster, threading.Event()
        self.down, self.short = False, False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_KEDA_S):
            for unit in () if self.down else SERVICES:
                floor = self._cluster.store.get("ScaledObject", f"{unit}-hpa", namespace=NAMESPACE)["spec"]["minReplicaCount"]
                deployment = self._cluster.store.get("Deployment", unit, namespace=NAMESPACE)
                if floor > deployment["spec"]["replicas"] and not (self.short and unit == SHORT):
                    self._cluster.ready(unit, floor)


@dataclass(frozen=True)
class Counts:
    """What came of one failover and one fallback.

    Attributes:
        routed: The modes that the controller wrote, in order.
        remembered: The mode changes of its memory.
        notified: The mode changes that people were notified of, in order.
        orphans: Units whose raised floor nobody would lower again.
        restarts: How often the process ended and was started again.
    """

    routed: list[str]
    remembered: list[str]
    notified: list[str]
    orphans: list[str]
    restarts: int


@dataclass(frozen=True)
class Fault:
    """A disturbance, and what must be seen of it.

    Attributes:
        name: In words.
        world: Disturbs the world while its block runs.
        during: Whether the failover happens in spite of it; else it follows once the fault has ended.
        lasts_s: How long it lasts, from the failover on if that happens meanwhile, seconds.
        says: What people must be able to read, in a message or among what is degraded.
        restarts: Whether the process may end, as one does that a kubelet starts again.
        rewritten: Whether the routing action may be written more often: somebody undoes it, or weights follow replicas.
    """

    name: str
    world: Callable[[Faulted], AbstractContextManager[None]]
    during: bool = True
    lasts_s: float = 0.0
    says: str = ""
    restarts: bool = False
    rewritten: bool = False


class Faulted:
    """The world and the process. Use it as a context manager, which enters after the first decision on what is there.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = Cluster(SystemClock())
        self.slack = SlackServer()
        self.keda = Keda(self.cluster)
        self.restarts = 0
        self.degraded: set[str] = set()
        self._refused = 0.0  # monotonic
        self._exits = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._port = 0

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            exits.callback(self.cluster.close)
            exits.callback(self.slack.close)
            balancer = {"loadBalancer": {"ingress": [{"hostname": hostname("sd21")}]}}
            self.cluster.store.update_status("Ingress", "sd21", balancer, namespace=NAMESPACE)
            self.aws = exits.enter_context(Aws(self.cluster, self.cluster.api.kubeconfig("reader", self.folder / "reader.kubeconfig")))
            self.tls = exits.enter_context(TlsFront(self.cluster.api.url))
            exits.enter_context(self.keda)
            self.account = Mount(self.folder / "account", {"token": "controller", "ca.crt": self.tls.authority})
            apply(self.cluster, application_document(**QUICK))
            self.secrets = Mount(self.folder / "secrets", {"token": TOKEN})
            self.records = self.folder / "records"
            (self.folder / "site").mkdir()
            (self.folder / "site" / "sitecustomize.py").write_text(_SITE)
            exits.callback(self._stop)
            self._start()
            threading.Thread(target=self._restart, daemon=True).start()
            self.await_("a decision on what AWS and Kubernetes show", lambda: bool(self.application().get("verification")))
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    # --- the process ---

    def _environment(self) -> dict[str, str]:
        dropped = ("FAILOVERCTL_", "AWS_", "KUBE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(dropped)}
        settings = {
            "AWS__APIS": '["elbv2", "cloudwatch"]',
            "CLOUDWATCH__ENABLED": "false",
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": str(self._port),
            "POLLS__TICK_INTERVAL_S": "6",
            "POLLS__ELBV2_CALLS_PER_S": "20",
            "RECORDING__FOLDER": str(self.records),
            "SLACK__TOKEN_FILE": str(self.folder / "secrets" / "token"),
            "SLACK__CHANNEL": CHANNEL,
            "SLACK__API_URL": self.slack.api.replace("127.0.0.1", "slack.test"),
            "LEADER_ELECTION__ENABLED": "false",
        }
        return {
            **kept,
            **{f"FAILOVERCTL_{name}": value for name, value in settings.items()},
            "AWS_REGION": "us-west-2",
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ENDPOINT_URL": self.aws.endpoint.replace("127.0.0.1", "aws.test"),
            "KUBERNETES_SERVICE_HOST": "kubernetes.test",
            "KUBERNETES_SERVICE_PORT": str(self.tls.port),
            "FAULTED": str(self.folder),
            "PYTHONPATH": str(self.folder / "site"),
            "MALLOC_ARENA_MAX": "2",  # as in the image
        }

    def _start(self) -> None:
        (self._port,) = free_ports(1)  # another one each time: somebody else may have taken the last
        with (self.folder / "log").open("ab") as out:
            self._process = subprocess.Popen([PROGRAM, "run"], env=self._environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def _restart(self) -> None:
        while not self._stopping.wait(0.1):
            if self._process is not None and self._process.poll() is not None and not self._stopping.is_set():
                self.restarts += 1
                self._start()

    def _stop(self) -> None:
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=10)
                raise

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text()[-6000:]

    def application(self) -> dict[str, Any]:
        """The status of the application; empty while the process does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/status", timeout=5) as answer:
                applications = json.load(answer)["applications"]
        except (OSError, ValueError):
            return {}
        return dict(next(iter(applications.values()), {}))

    # --- what is played ---

    def shortage(self) -> None:
        """The short unit needs two replicas more, and EC2 has none."""
        self.keda.short = True
        self.cluster.pend(SHORT, 2)
        self.cluster.refuse("inf2", "inf2.xlarge")
        self._refused = time.monotonic()

    def returned(self) -> None:
        """EC2 has one again, and the waiting pods start."""
        time.sleep(max(0.0, self._refused + _AGAIN_S - time.monotonic()))
        self.keda.short = False
        self.cluster.launch("inf2", "inf2.xlarge")
        self.cluster.schedule_all(SHORT)

    def await_mode(self, mode: str) -> None:
        """Waits until the Ingress has a mode."""
        self.await_(f"{mode} mode", lambda: self.cluster.mode() == mode)

    def memory(self) -> dict[str, Any]:
        """What is stored of the application."""
        maps = self.cluster.store.list("ConfigMap", namespace=SYSTEM)
        return next((json.loads(one["data"]["memory"]) for one in maps if "memory" in one.get("data", {})), {})

    def headlines(self) -> list[str]:
        """The texts of all messages in the channel, oldest first."""
        return [str(one["text"]) for one in self.slack.messages]

    def play(self, fault: Fault) -> Counts:
        """A failover and a fallback, with a fault around the failover."""
        with fault.world(self):
            self.shortage()
            if fault.during:
                self.await_mode("capacity")
            end = time.monotonic() + fault.lasts_s
            while time.monotonic() < end:
                self.degraded |= set(self.application().get("degraded", ()))
                time.sleep(0.2)
        self.await_mode("capacity")
        self.returned()
        self.await_mode("cost")
        self.await_("the memory of both", lambda: len(self.memory().get("mode_changes", [])) >= len(BOTH))
        self.await_("both messages", lambda: len(_notified(self.headlines())) >= len(BOTH))
        self.await_("what people must hear of", lambda: fault.says in self.said())
        return Counts(
            routed=[json.loads(body)["metadata"]["annotations"][MARKER] for body in self.cluster.patches() if MARKER in body],
            remembered=[str(one["to"]) for one in self.memory()["mode_changes"]],
            notified=_notified(self.headlines()),
            orphans=self._orphans(),
            restarts=self.restarts,
        )

    def said(self) -> str:
        """What people could read: all messages, and what the status called degraded during the fault."""
        return "\n".join((*self.headlines(), *sorted(self.degraded)))

    def await_(self, what: str, condition: Callable[[], bool]) -> None:
        wait_for(what, condition, _LONGEST_S, lambda: f"{self.said()}\n{self.log()}")

    def _orphans(self) -> list[str]:
        """Units whose floor was raised without a memory of what it was."""
        known, found = self.memory().get("floors", {}), []
        for unit in SERVICES:
            floor = self.cluster.store.get("ScaledObject", f"{unit}-hpa", namespace=NAMESPACE)["spec"]["minReplicaCount"]
            if floor != FLOOR and known.get(f"{unit}-hpa", {}).get("raised_from") != FLOOR:
                found.append(unit)
        return found


def _notified(headlines: list[str]) -> list[str]:
    words = {"failed over to capacity mode": "capacity", "fell back to cost mode": "cost"}
    return [mode for line in headlines for phrase, mode in words.items() if phrase in line]
