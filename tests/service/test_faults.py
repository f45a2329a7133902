"""Faults around the process in the middle of a failover: each mode change is made, remembered and reported once; no floor is orphaned."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from controller.routing.ingress.action import format_action
from failover_harness.controllers.front import Answer
from failover_testbed.kube_api import Access, Identity
from failover_testbed.slack import TOKEN
from tests.service.faulted import BOTH, FLOOR, Fault, Faulted
from tests.support.applications import COST_TARGETS, SERVICES
from tests.support.cluster import ACTION, NAMESPACE, edit

pytestmark = pytest.mark.timeout(150)

_HANG_S = 6.0  # longer than the client reads
_THROTTLED = b"<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"
_FEW = 30  # requests
_SLICE = 2 << 20


@contextmanager
def _nothing(_: Faulted) -> Iterator[None]:
    yield


@contextmanager
def _aws_stumbles(world: Faulted) -> Iterator[None]:
    """Every second call is throttled; of the others some answers are cut, and some come too late."""
    throttled, broken, count = (400, "text/xml", _THROTTLED), (200, "text/xml", b"<DescribeRulesResponse><Des"), itertools.count()

    def fault() -> Answer | None:
        turn = next(count) % 8
        if turn in {1, 5}:
            return None
        if turn == 7:
            time.sleep(_HANG_S)
            return None
        return broken if turn == 3 else throttled

    world.aws.fault = fault
    yield
    world.aws.fault = lambda: None


@contextmanager
def _no_names(world: Faulted) -> Iterator[None]:
    """No name is resolved, and no connection is left that was made before."""
    flag = world.folder / "no-dns"
    flag.touch()
    world.tls.cut()
    yield
    flag.unlink()


@contextmanager
def _full_disk(world: Faulted) -> Iterator[None]:
    """No file grows any more."""
    before = resource.prlimit(world.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(world.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(world.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def _read_only_disk(world: Faulted) -> Iterator[None]:
    """A process that starts again finds a folder in which nobody creates a file."""
    aside = world.records.with_name("aside")
    world.records.rename(aside)
    world.records.symlink_to("/proc/sys")
    _restarted(world)
    yield
    world.records.unlink()
    aside.rename(world.records)


def _restarted(world: Faulted) -> None:
    before = world.restarts
    os.kill(world.pid, signal.SIGTERM)
    world.await_("the next process", lambda: world.restarts > before and bool(world.application().get("reason")))


@contextmanager
def _other_token(world: Faulted) -> Iterator[None]:
    """The token is rotated on disk, and the old one is refused from now on."""
    world.cluster.api.admit("rotated", Identity("controller"))
    world.account.write(token="rotated")
    world.cluster.api.revoke("controller")
    world.tls.cut()
    yield


@contextmanager
def _other_authority(world: Faulted) -> Iterator[None]:
    """The certificate authority is replaced on the server and on disk."""
    world.tls.rotate()
    world.account.write(ca__crt=world.tls.authority)
    world.tls.cut()
    yield


@contextmanager
def _edited(world: Faulted) -> Iterator[None]:
    """The application gets another policy."""
    edit(world.cluster, "patienceSeconds: 0", "patienceSeconds: 1")
    yield


@contextmanager
def _badly_edited(world: Faulted) -> Iterator[None]:
    """The same with a generation that is refused."""
    edit(world.cluster, "weight: 40", "weight: 40.5")
    yield
    edit(world.cluster, "weight: 40.5", "weight: 40")


@contextmanager
def _wrong_slack_token(world: Faulted) -> Iterator[None]:
    """The Secret has a token that Slack does not know, and later the right one."""
    world.secrets.write(token="xoxb-unknown")
    yield
    world.secrets.write(token=TOKEN)


@contextmanager
def _api_in_turns(world: Faulted) -> Iterator[None]:
    """The API server refuses requests with 429, 500 and 504 in turns, and has cut the watches."""
    for _ in range(_FEW // 3):
        for status in (429, 500, 504):
            world.cluster.api.fail_next(1, status=status)
    world.cluster.api.drop_watches()
    yield
    world.cluster.api.clear_failures()


@contextmanager
def _no_memory(world: Faulted) -> Iterator[None]:
    """The process gets 2 MiB more than it has, and then all again."""
    pid = world.pid
    resource.prlimit(pid, resource.RLIMIT_AS, (psutil.Process(pid).memory_info().vms + _SLICE, resource.RLIM_INFINITY))
    yield
    if world.pid == pid:
        resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def _keda_down(world: Faulted) -> Iterator[None]:
    """No ScaledObject has an effect."""
    world.keda.down = True
    yield
    world.keda.down = False


def _refusing(plural: str) -> Callable[[Faulted], AbstractContextManager[None]]:
    def refused(access: Access) -> bool:
        return access.resource == plural and access.verb == "patch"

    @contextmanager
    def world(of: Faulted) -> Iterator[None]:
        """A webhook fails: nobody may write these objects."""
        of.cluster.api.fail_next(10_000, status=500, matcher=refused)
        yield
        of.cluster.api.clear_failures()

    return world


@contextmanager
def _hpa_by_hand(world: Faulted) -> Iterator[None]:
    """A person lowers the HPA of another unit, so that a replica goes, until KEDA writes it again."""
    world.cluster.ready("sd21-trn1", 1)
    yield
    world.cluster.ready("sd21-trn1", 2)


@contextmanager
def _meanwhile(do: Callable[[], None], every_s: float) -> Iterator[None]:
    end = threading.Event()

    def run() -> None:
        while not end.wait(every_s):
            do()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    end.set()
    thread.join()


@contextmanager
def _argo_on_floors(world: Faulted) -> Iterator[None]:
    """Argo CD with self-heal has the floors in Git: what differs is applied again."""

    def heal() -> None:
        for unit in SERVICES:
            obj = world.cluster.store.get("ScaledObject", f"{unit}-hpa", namespace=NAMESPACE)
            if obj["spec"]["minReplicaCount"] != FLOOR:
                metadata = {"name": f"{unit}-hpa", "namespace": NAMESPACE}
                body = {"metadata": metadata, "spec": {"minReplicaCount": FLOOR}}
                world.cluster.store.apply("ScaledObject", body, manager="argocd-controller", force=True)

    with _meanwhile(heal, 1.0):
        yield


@contextmanager
def _argo_on_the_ingress(world: Faulted) -> Iterator[None]:
    """The same with the routing action of cost mode in Git, without `ignoreDifferences`."""
    git = format_action(COST_TARGETS, 0)

    def heal() -> None:
        if world.cluster.ingress()["metadata"]["annotations"].get(ACTION) != git:
            body = {"metadata": {"name": "sd21", "namespace": NAMESPACE, "annotations": {ACTION: git}}}
            world.cluster.store.apply("Ingress", body, manager="argocd-controller", force=True)

    with _meanwhile(heal, 2.0):
        yield


@contextmanager
def _rollout(world: Faulted) -> Iterator[None]:
    """`kubectl rollout restart` of every Deployment: of each unit a pod at a time is not ready."""
    units = itertools.cycle(one for one in SERVICES if one != "sd21-inf2")

    def step() -> None:
        unit = next(units)
        world.cluster.ready(unit, 1, 2)
        time.sleep(0.2)
        world.cluster.ready(unit, 2)

    with _meanwhile(step, 0.1):
        yield


@contextmanager
def _drain(world: Faulted) -> Iterator[None]:
    """`kubectl drain` of the nodes of another unit: its pods wait for new nodes, which come."""
    world.cluster.ready("sd21-trn1", 0)
    world.cluster.pend("sd21-trn1", 2)
    yield
    world.cluster.schedule_all("sd21-trn1")


FAULTS = (
    Fault("none", _nothing),
    Fault("AWS throttles half of the calls, cuts answers and hangs", _aws_stumbles, lasts_s=8),
    Fault("no name is resolved", _no_names, during=False, lasts_s=6),
    Fault("the disk is full", _full_disk, lasts_s=2, says="recording stale: File too large"),
    Fault("the disk is read-only after a restart", _read_only_disk, lasts_s=2, says="recording stale", restarts=True),
    Fault("the token is rotated, the old one refused", _other_token),
    Fault("the certificate authority is rotated", _other_authority),
    Fault("the application is edited", _edited, lasts_s=6),
    Fault("an edit of the application is refused", _badly_edited, lasts_s=6, says="weight"),
    Fault("Slack's token is wrong for a while", _wrong_slack_token, lasts_s=2),
    Fault("the API server answers 429, 500, 504 in turns", _api_in_turns),
    Fault("no memory is left", _no_memory, during=False, lasts_s=6, restarts=True),
    Fault("KEDA's operator is down", _keda_down, lasts_s=4),
    Fault("KEDA's webhook is down", _refusing("scaledobjects"), lasts_s=8, says="ScaledObject"),
    Fault("a webhook refuses the Ingress", _refusing("ingresses"), during=False, lasts_s=9, says="webhook"),
    Fault("an HPA is lowered by hand", _hpa_by_hand, lasts_s=3),
    Fault("Argo CD reverts floors", _argo_on_floors, lasts_s=6),
    Fault("Argo CD reverts the routing action", _argo_on_the_ingress, lasts_s=5, says="argocd-controller", rewritten=True),
    Fault("a rollout restart", _rollout, lasts_s=3),
    Fault("a drain", _drain, lasts_s=3, rewritten=True),
)


@pytest.mark.parametrize("fault", [pytest.param(one, id=one.name) for one in FAULTS])
def test_each_mode_change_is_made_once_and_reported_once(fault: Fault, tmp_path: Path) -> None:
    """Nothing lost or doubled, no orphaned floor, and people can read what is wrong where they can do something."""
    with Faulted(tmp_path) as world:
        counts = world.play(fault)
    assert counts.remembered == counts.notified == BOTH
    assert [mode for mode, _ in itertools.groupby(["cost", *counts.routed])] == ["cost", *BOTH]
    assert fault.rewritten or counts.routed == BOTH
    assert counts.orphans == []
    assert counts.restarts == 0 or fault.restarts


def test_the_page_lists_each_fault_in_this_order() -> None:
    """And no other: people read there which faults were played."""
    page = (Path(__file__).parents[2] / "docs" / "laboratory" / "reliability.md").read_text()
    section = page.partition("## Faults around the process")[2].partition("\n## ")[0]
    listed = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    assert listed[1:] == [one.name for one in FAULTS[1:]]
