"""A fake of the AWS Load Balancer Controller: reconciles Ingresses and Gateways with ELBv2, with the real one's order of writes and faults.

It talks HTTP to both sides, with its own identity. It reconciles groups (`group`): Ingresses that share a load balancer, or one Gateway. It
builds the whole model of a group (`model`, `gateway`) before it writes anything (`deploy`), and reports an error in one Ingress on all
Ingresses of the group. What differs between Ingresses and Gateways is in `owners`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from controller.clients.kube import ENDPOINT_SLICES, INGRESSES, SERVICES, KubeSession, Object, Resource
from controller.clock import Clock
from controller.errors import RemoteError
from controller.signals.watch import Watch
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.lbc.annotations import BuildError
from failover_testbed.lbc.deploy import Deployed, Deployer
from failover_testbed.lbc.elb_calls import Calls, Write
from failover_testbed.lbc.faults import Faults
from failover_testbed.lbc.gateway import LoadError
from failover_testbed.lbc.gateway_kinds import GATEWAY_CLASSES, GATEWAY_KINDS, GATEWAYS, Key, Seen, key_of
from failover_testbed.lbc.group import Group, Owner
from failover_testbed.lbc.kube_writes import KubeWrites
from failover_testbed.lbc.model import StackModel, Tolerance, fingerprint
from failover_testbed.lbc.owners import Gateways, Ingresses, Owners
from failover_testbed.lbc.targets import TargetsWorker
from failover_testbed.lbc.work_queue import RETRY_MAX_S, WorkQueue

_NOTHING: Final = StackModel("internal", (), ())

log = structlog.get_logger(__name__)


class LoadBalancerController:
    """Reconciles every Ingress of class ``alb``, and every Gateway of a class with its controller.

    Args:
        session: Connection to the API server, with the controller's identity.
        clock: Time.
        aws: The emulated account.
        namespaces: The namespaces that it watches.
        lag_s: Seconds of the clock between seeing a change and acting on it; see `Faults`, which may be set at any time.
        tolerance: What it makes of rules whose Service or action does not exist.
        gateways: Whether it found the definitions of the Gateway API when it started; without them it serves Ingresses alone.
    """

    def __init__(
        self,
        session: KubeSession,
        clock: Clock,
        aws: EmulatedAws,
        namespaces: tuple[str, ...],
        *,
        lag_s: float = 0.8,
        tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
        gateways: bool = False,
    ) -> None:
        self._clock, self._faults = clock, Faults(lag_s=lag_s)
        self._lock = threading.Lock()
        self._wake, self._stop, self._synced = threading.Event(), threading.Event(), threading.Event()
        kinds = (SERVICES, INGRESSES, *(GATEWAY_KINDS if gateways else ()))
        self._objects: dict[str, dict[Key, Object]] = {one.plural: {} for one in (SERVICES, INGRESSES, GATEWAY_CLASSES, *GATEWAY_KINDS)}
        self._seen: dict[tuple[str, Key], str] = {}  # by kind and name: the parts of an object whose change starts a reconcile
        self._deployed: dict[Group, Deployed] = {}
        self._queue: WorkQueue[Group] = WorkQueue(clock)
        self._calls, self._kube = Calls(clock, aws, self._stop), KubeWrites(session, clock)
        self._targets = TargetsWorker(clock, self._calls, self._kube, self._synced, self._stop)
        self._deployer = Deployer(clock, self._calls, self._kube, self._targets, self._stop)
        self._owners: dict[Owner, Owners] = {Owner.INGRESS: Ingresses(self._kube, tolerance), Owner.GATEWAY: Gateways(self._kube, clock)}
        watched: list[tuple[Resource, str | None]] = [(one, namespace) for namespace in namespaces for one in (ENDPOINT_SLICES, *kinds)]
        watched += [(GATEWAY_CLASSES, None)] if gateways else []
        self._unlisted = {(resource.plural, str(namespace)) for resource, namespace in watched}
        self._watches = [Watch(session, resource, namespace, self, clock) for resource, namespace in watched]
        self._thread = threading.Thread(target=self._run, name="lbc-ingress", daemon=True)

    # --- life ---------------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts watching and reconciling."""
        self._targets.start()
        self._thread.start()
        for watch in self._watches:
            watch.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stops both workers; the watches end with the API server's connections.

        Args:
            timeout_s: Longest wait, real seconds.
        """
        for watch in self._watches:
            watch.stop()
        self._stop.set()
        self._wake.set()
        self._targets.join(timeout_s)
        self._thread.join(timeout_s)

    @property
    def faults(self) -> Faults:
        """The active faults; a new value applies at once."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        with self._lock:
            resumed, self._faults = self._faults.paused and not faults.paused, faults
        self._calls.set_faults(faults)
        self._targets.set_faults(faults)
        if resumed:
            self._queue.restart()
            self._queue_everything()
        self._wake.set()

    # --- what others may know -----------------------------------------------------------------------------------------------------------

    def writes(self) -> list[Write]:
        """Every call that changed AWS, oldest first."""
        return self._calls.writes()

    @property
    def changes(self) -> int:
        """A number that grows with every change of ELBv2; the number of writes unless a ModifyRule is late."""
        return self._calls.changes

    def listener(self, key: str) -> str:
        """The ARN of the listener with the lowest port, "" if there is none yet; see `listeners`."""
        return next(iter(self.listeners(key).values()), "")

    def listeners(self, key: str) -> dict[int, str]:
        """The ARNs of the listeners of a load balancer, by ascending port.

        Args:
            key: ``namespace/name`` of an Ingress, of a route, which stands for the first Gateway that it names, or of a Gateway.
        """
        deployed = self._deployed_for(key)
        return dict(deployed.listeners) if deployed else {}

    def load_balancer(self, key: str) -> str:
        """The ARN of a load balancer, "" if there is none yet; see `listeners`."""
        deployed = self._deployed_for(key)
        return deployed.load_balancer if deployed else ""

    def service_of(self, target_group: str) -> str:
        """The Service of a target group, "" if this controller did not create it."""
        return self._deployer.service_of(target_group)

    def settled(self) -> bool:
        """Whether no known change is pending; an Ingress or a Gateway that failed counts as done."""
        known = any(self._objects[kind.plural] for kind in (INGRESSES, GATEWAYS))
        return self._synced.is_set() and known and self._queue.idle() and self._targets.idle()

    def _deployed_for(self, key: str) -> Deployed | None:
        namespace, _, name = key.partition("/")
        with self._lock:
            groups = (owners.shown_for((namespace, name), self._objects) for owners in self._owners.values())
            group = next((one for one in groups if one is not None), None)
            return None if group is None else self._deployed.get(group)

    # --- what the watches deliver -------------------------------------------------------------------------------------------------------

    def rewound(self, resource: Resource, namespace: str | None, /) -> None:
        """See `controller.signals.watch.Sink`. The emulated API is never restored from a backup."""

    def listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object], /) -> None:
        """See `controller.signals.watch.Sink`. It misses deletions between two lists; the emulated API delivers all of them."""
        for obj in objects:
            self.changed(resource, None, "ADDED", obj)
        with self._lock:
            self._unlisted.discard((resource.plural, str(namespace)))
            if not self._unlisted:
                self._synced.set()
        self._wake.set()
        self._targets.wake()

    def changed(self, resource: Resource, _namespace: str | None, kind: str, obj: Object, /) -> None:
        """See `controller.signals.watch.Sink`."""
        key = key_of(obj)
        if resource is ENDPOINT_SLICES:
            self._targets.endpoint_slice(kind, obj)
            return
        if resource is SERVICES:
            self._targets.service(kind, obj)
        with self._lock:
            store = self._objects[resource.plural]
            before = store.pop(key, None)
            if kind != "DELETED":
                store[key] = obj
            seen = "" if kind == "DELETED" else fingerprint(obj)
            if seen == self._seen.get((resource.plural, key)):
                return
            self._seen[resource.plural, key] = seen
            objects = self._copied()
        versions = [one for one in (before, obj) if one is not None]
        self._due(group for owners in self._owners.values() for group in owners.concerned(resource, versions, objects))

    def _copied(self) -> Seen:
        """The objects at this moment; the caller holds the lock."""
        return {plural: dict(store) for plural, store in self._objects.items()}

    def _due(self, groups: Iterable[Group]) -> None:
        for group in sorted(groups):
            self._queue.add(group)
        self._wake.set()

    # --- the loop -----------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        synced_at = self._clock.monotonic()
        while not self._stop.is_set():
            self._clock.wait(self._wake, self._pause_s(synced_at))
            self._wake.clear()
            faults = self._faults
            if faults.paused or not self._synced.is_set():
                continue
            if self._clock.monotonic() >= synced_at + faults.sync_period_s:
                synced_at = self._clock.monotonic()
                self._queue_everything()
            for group, since in self._queue.take(faults.lag_s):
                failed = not self._stop.is_set() and not self._reconcile(group, since)
                self._queue.done(group, failed=failed)

    def _pause_s(self, synced_at: float) -> float:
        """Seconds until the next work if nothing changes."""
        faults = self._faults
        if faults.paused or not self._synced.is_set():
            return RETRY_MAX_S
        until_sync = max(0.0, synced_at + faults.sync_period_s - self._clock.monotonic())
        return self._queue.pause(faults.lag_s, min(until_sync, RETRY_MAX_S))

    def _queue_everything(self) -> None:
        with self._lock:
            objects = self._copied()
        self._due(group for owners in self._owners.values() for group in owners.groups(objects))

    def _reconcile(self, group: Group, since: float) -> bool:
        """Reconciles a group, or writes the error as an event on each of its Ingresses, or on its Gateway.

        Returns:
            Whether it succeeded.
        """
        with self._lock:
            objects = self._copied()
        owners = self._owners[group.owner]
        found = owners.members(group, objects)
        if found is None:
            return True
        members, leaving = found
        failed = ("FailedAddFinalizer", "Failed add finalizer due to")
        try:
            for member in members:
                self._kube.hold(owners.resource, member, group.finalizer)
            failed = ("FailedDeployModel", "Failed deploy model due to")
            self._deploy(group, owners.build(members, objects) if members else _NOTHING, members, since)
            for one in leaving:
                self._kube.release(owners.resource, one, group.finalizer)
        except LoadError as error:
            log.info("lbc.not_loaded", group=group.stack, error=str(error))
            return False
        except BuildError as error:
            self._report(owners, members, "FailedBuildModel", f"Failed build model due to {error}")
            return False
        except RemoteError as error:
            if not self._stop.is_set():
                self._report(owners, members, failed[0], f"{failed[1]} {error}")
            return False
        except Exception:  # a bug must be visible and must not end the thread
            log.exception("lbc.failed", group=group.stack)
            return True
        self._report(owners, members, "SuccessfullyReconciled", "Successfully reconciled", kind="Normal")
        return True

    def _deploy(self, group: Group, model: StackModel, members: Sequence[Object], since: float) -> None:
        deployed = self._deployer.deploy(group, model, since)
        with self._lock:
            self._deployed[group] = deployed
        for member in members:
            self._owners[group.owner].deployed(member, deployed)

    def _report(self, owners: Owners, members: Sequence[Object], reason: str, message: str, kind: str = "Warning") -> None:
        for member in members:
            self._kube.event(owners.resource, member, kind, reason, message)
            if kind == "Warning":
                try:
                    owners.failed(member)
                except RemoteError as error:
                    log.info("lbc.status", group=member["metadata"]["name"], error=str(error))
