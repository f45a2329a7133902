"""A cluster whose controller publishes, an account with FIS, and the command between them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import connect
from controller.clock import SystemClock, format_rfc3339
from controller.policy.model import Memory, Mode
from controller.ports import StoredMemory
from controller.service.status import NAME
from controller.service.store import ConfigMapStore
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.cluster import manifests
from failover_testbed.demo.drill import restrict
from failover_testbed.demo.play import environment_variables
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.cluster.processes import PROGRAM
from tests.drill.drills import ROLE
from tests.support.applications import application
from tests.support.cluster import write_application
from tests.support.healthy import Healthy

APP = application()
POOL = APP.units[0].node_pool
NEEDED = ("--url", "http://127.0.0.1:1/", "--karpenter-role", ROLE, "--fis-role", f"{ROLE}-fis", "--zone", "us-west-2a")
_STATE = "failover-system"


class Stage:
    """They.

    Args:
        api: The cluster.
        aws: The account.
        folder: Folder of its files.
    """

    def __init__(self, api: EmulatedKubeApi, aws: EmulatedAws, folder: Path) -> None:
        self.api, self.aws, self._folder = api, aws, folder

    def publish(self, mode: Mode, at: float) -> None:
        """What a controller published at a time."""
        session = connect(kubeconfig=str(self.api.kubeconfig("admin", self._folder / "kubeconfig")))
        ConfigMapStore(session, _STATE).save(APP.key, Memory(mode=mode), over=StoredMemory(Memory(), "", 0), epoch=1)
        session.close()
        status = {"metadata": {"name": NAME, "namespace": _STATE}, "data": {"status": json.dumps({"at": format_rfc3339(at)})}}
        self.api.store.create("ConfigMap", status)

    def drill(self, *words: str) -> Result:
        """Runs the command in this process."""
        return CliRunner().invoke(main, self._words(*words), catch_exceptions=False)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts the command as a process of its own."""
        return subprocess.Popen([PROGRAM, *self._words(*words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _words(self, *words: str) -> list[str]:
        file = write_application(self._folder)
        kubeconfig = self.api.kubeconfig("admin", self._folder / "kubeconfig")
        return ["drill", "--kubeconfig", str(kubeconfig), "--applications", str(file), *words]


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A stage on which a drill may begin, as soon as a controller publishes."""
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api, EmulatedAws() as aws:
        Healthy(APP).create(api.store)
        for name in dict.fromkeys(unit.node_pool for unit in APP.units):
            api.store.create("NodePool", manifests.node_pool(name, ("inf2.xlarge",), {}))
        restrict(api.store, POOL, "us-west-2a")
        with environment_variables(aws.environment()):
            yield Stage(api, aws, folder)
