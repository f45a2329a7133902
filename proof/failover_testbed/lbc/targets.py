"""The part of the load-balancer controller that registers pods with target groups, on its own thread with its own lag."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from controller.clients.kube import Object
from controller.clock import Clock
from controller.errors import NotFound, RemoteError
from failover_testbed.lbc.annotations import BuildError, unsupported
from failover_testbed.lbc.elb_calls import Calls, Why
from failover_testbed.lbc.faults import Faults
from failover_testbed.lbc.kube_writes import KubeWrites
from failover_testbed.lbc.model import TargetKey, service_port
from failover_testbed.lbc.work_queue import RETRY_MAX_S, WorkQueue

_SERVICE_LABEL: Final = "kubernetes.io/service-name"

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Namespace and name of a Service."""


@dataclass(slots=True, eq=False)
class Binding:
    """A TargetGroupBinding.

    Attributes:
        key: The Service whose endpoints are the targets.
        name: The name of the binding and its target group.
        arn: ARN of the target group.
        ending: Whether it is being deleted.
        gone: Set once it is deleted.
    """

    key: TargetKey
    name: str
    arn: str
    ending: bool = False
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def service(self) -> Key:
        """The Service whose endpoints are the targets."""
        return self.key.namespace, self.key.service


class TargetsWorker:
    """Keeps each binding's targets equal to the ready endpoints of its Service.

    Args:
        clock: Time.
        calls: Calls AWS.
        kube: Writes to Kubernetes.
        synced: Set once all objects have been listed; until then a missing object does not count as deleted.
        stop: Ends the worker.
    """

    def __init__(self, clock: Clock, calls: Calls, kube: KubeWrites, synced: threading.Event, stop: threading.Event) -> None:
        self._clock, self._calls, self._kube, self._synced, self._stop = clock, calls, kube, synced, stop
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._faults = Faults()
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, dict[str, dict[str, int]]]] = {}  # Service -> slice -> name of a port -> port by ready address
        self._bindings: dict[str, Binding] = {}  # by ARN
        self._queue: WorkQueue[str] = WorkQueue(clock)
        self._thread = threading.Thread(target=self._run, name="lbc-targets", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Makes the worker check again whether it may work."""
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread after `stop` was set, at most `timeout_s` real seconds."""
        self._wake.set()
        self._thread.join(timeout_s)

    def idle(self) -> bool:
        """Whether every binding has its targets, or failed to get them."""
        return self._queue.idle()

    def set_faults(self, faults: Faults) -> None:
        """Sets the faults from now on; the end of a pause queues every binding."""
        with self._lock:
            resumed, self._faults = self._faults.paused and not faults.paused, faults
            arns = list(self._bindings) if resumed else []
        if resumed:
            self._queue.restart()
        self._due(arns)

    def bind(self, key: TargetKey, name: str, arn: str) -> None:
        """Adds a binding unless it is known."""
        with self._lock:
            if arn in self._bindings:
                return
            self._bindings[arn] = Binding(key, name, arn)
        self._due([arn])

    def unbind(self, key: TargetKey | None, name: str, arn: str, timeout_s: float) -> bool:
        """Removes a binding and waits until it is gone.

        Args:
            key: The Service whose endpoints are the targets; None if somebody has deleted the binding.
            name: The binding's name.
            arn: ARN of its target group.
            timeout_s: Longest wait, seconds of the clock.

        Returns:
            Whether it is gone.
        """
        with self._lock:
            binding = self._bindings.get(arn) if key is None else self._bindings.setdefault(arn, Binding(key, name, arn))
            if binding is None:
                return True
            binding.ending = True
        self._due([arn])
        return self._clock.wait(binding.gone, timeout_s)

    # --- what the watches deliver -------------------------------------------------------------------------------------------------------

    def service(self, kind: str, obj: Object) -> None:
        """Processes a Service from the watch."""
        key = (str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"]))
        with self._lock:
            if kind == "DELETED":
                self._services.pop(key, None)
            else:
                self._services[key] = obj
        self._changed(key)

    def endpoint_slice(self, kind: str, obj: Object) -> None:
        """Processes an EndpointSlice from the watch."""
        metadata = obj["metadata"]
        key = (str(metadata["namespace"]), str((metadata.get("labels") or {}).get(_SERVICE_LABEL, "")))
        addresses = [
            str(endpoint["addresses"][0])
            for endpoint in obj.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
        ]
        ports = {str(port.get("name") or ""): int(port["port"]) for port in obj.get("ports") or [] if port.get("port")}
        with self._lock:
            slices = self._slices.setdefault(key, {})
            if kind == "DELETED":
                slices.pop(str(metadata["name"]), None)
            else:
                slices[str(metadata["name"])] = {name: dict.fromkeys(addresses, port) for name, port in ports.items()}
        self._changed(key)

    def _changed(self, service: Key) -> None:
        with self._lock:
            arns = [binding.arn for binding in self._bindings.values() if binding.service == service]
        self._due(arns)

    def _due(self, arns: list[str]) -> None:
        for arn in arns:
            self._queue.add(arn)
        self._wake.set()

    # --- the thread ---------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            lag_s = self._lag_s()
            self._clock.wait(self._wake, RETRY_MAX_S if lag_s is None else self._queue.pause(lag_s, RETRY_MAX_S))
            self._wake.clear()
            lag_s = self._lag_s()
            due = [] if lag_s is None else self._queue.take(lag_s)
            for arn, since in sorted(due, key=lambda one: self._place(one[0])):
                self._queue.done(arn, failed=not self._stop.is_set() and not self._attempt(arn, since))

    def _lag_s(self) -> float | None:
        """How long a change waits, seconds; None while the worker may do nothing."""
        with self._lock:
            return None if self._faults.paused or not self._synced.is_set() else self._faults.targets_lag_s

    def _place(self, arn: str) -> tuple[bool, str]:
        """Sort key: bindings to register come before bindings to remove, each sorted by name."""
        with self._lock:
            binding = self._bindings.get(arn)
        return (True, "") if binding is None else (binding.ending, binding.name)

    def _attempt(self, arn: str, since: float) -> bool:
        """Reconciles a binding; returns whether it succeeded."""
        with self._lock:
            binding = self._bindings.get(arn)
        if binding is None:
            return True
        try:
            self._reconcile(binding, since)
        except (RemoteError, BuildError) as error:
            log.info("lbc.targets", binding=binding.name, error=str(error))
            return False
        except Exception:  # a bug must be visible and must not end the thread
            log.exception("lbc.targets.failed", binding=binding.name)
        return True

    def _reconcile(self, binding: Binding, since: float) -> None:
        """Deregisters targets, then registers targets, like the real controller.

        Raises:
            BuildError: The Service lacks the port, or an address has two ports.
            RemoteError: A call failed.
        """
        wanted = self._wanted(binding)
        registered = self._registered(binding)
        old = {address: port for address, port in registered.items() if wanted.get(address) != port}
        if old:
            self._send("DeregisterTargets", binding, old, since)
        new = {address: port for address, port in wanted.items() if registered.get(address) != port}
        if new:
            self._send("RegisterTargets", binding, new, since)
        if binding.ending:
            self._kube.release_binding(binding.key.namespace, binding.name)
            with self._lock:
                self._bindings.pop(binding.arn, None)
            binding.gone.set()

    def _wanted(self, binding: Binding) -> Mapping[str, int]:
        """The targets to register: port by address."""
        with self._lock:
            service = self._services.get(binding.service)
            slices = list(self._slices.get(binding.service, {}).values())
        if binding.ending:
            return {}
        if service is None:
            message = f'backend not found: Service "{binding.key.service}" not found'
            self._kube.binding_event(binding.key.namespace, binding.name, "BackendNotFound", message)
            return {}
        name = str(service_port(service, binding.key.port).get("name") or "")
        wanted: dict[str, int] = {}
        for address, port in (one for ready in slices for one in ready.get(name, {}).items()):
            if wanted.setdefault(address, port) != port:  # moto would keep only the last one
                raise unsupported(f"two ports of one address in a target group ({address})")
        return wanted

    def _registered(self, binding: Binding) -> dict[str, int]:
        try:
            described = self._calls.describe("DescribeTargetHealth", "TargetHealthDescriptions", TargetGroupArn=binding.arn)
        except NotFound:
            return {}
        entries: list[Mapping[str, Any]] = [entry["Target"] for entry in described]
        return {str(target["Id"]): int(target["Port"]) for target in entries}

    def _send(self, operation: str, binding: Binding, targets: Mapping[str, int], since: float) -> None:
        entries = [{"Id": address, "Port": port} for address, port in sorted(targets.items())]
        self._calls.write(operation, Why(since, binding.name), TargetGroupArn=binding.arn, Targets=entries)
