"""The half of the load-balancer controller that registers pods with target groups, on its own thread and in its own time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from controller.clients.kube import Object
from controller.clock import Clock
from controller.errors import RemoteError

_RETRY_S: Final = 5.0
_SERVICE_LABEL: Final = "kubernetes.io/service-name"

log = structlog.get_logger(__name__)


class Caller(Protocol):
    """Makes one recorded AWS call."""

    def __call__(self, operation: str, target_group: str, *, since: float, **arguments: object) -> Mapping[str, Any]:
        """See `LoadBalancerController`."""


@dataclass(slots=True, eq=False)
class Binding:
    """A TargetGroupBinding.

    Attributes:
        namespace: Its own and its Service's.
        service: Whose endpoints are the targets.
        name: Its name, which is the target group's too.
        arn: Of the target group.
        since: When the change was seen that made it due, monotonic.
    """

    namespace: str
    service: str
    name: str
    arn: str
    since: float
    registered: dict[str, int] = field(default_factory=dict)  # port by address
    ending: bool = False
    gone: threading.Event = field(default_factory=threading.Event)


class TargetsWorker:
    """Keeps the targets of every binding equal to the ready endpoints of its Service.

    Args:
        clock: Time.
        call: Makes the AWS calls.
        unbound: Called once a binding that ends has no targets any more.
    """

    def __init__(self, clock: Clock, call: Callable[..., Mapping[str, Any]], unbound: Callable[[Binding], None]) -> None:
        self._clock, self._call, self._unbound = clock, call, unbound
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._slices: dict[tuple[str, str], dict[str, dict[str, int]]] = {}  # Service -> slice name -> port by ready address
        self._bindings: dict[str, Binding] = {}
        self._dirty: set[str] = set()
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="lbc-targets", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Ends the thread, waiting at most `timeout_s` real seconds."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def idle(self) -> bool:
        """Whether every binding has its targets."""
        with self._lock:
            return not self._dirty and not self._busy

    def knows(self, arn: str) -> bool:
        """Whether there is a binding of that target group."""
        with self._lock:
            return arn in self._bindings

    def bind(self, binding: Binding) -> None:
        """Takes a new binding."""
        with self._lock:
            self._bindings[binding.arn] = binding
            self._dirty.add(binding.arn)
        self._wake.set()

    def unbind(self, arn: str, since: float, timeout_s: float) -> bool:
        """Ends a binding and waits for it.

        Args:
            arn: Of its target group.
            since: When the change was seen that ends it, monotonic.
            timeout_s: Longest wait, seconds of the clock.

        Returns:
            Whether it is gone.
        """
        with self._lock:
            binding = self._bindings.get(arn)
            if binding is None:
                return True
            binding.ending, binding.since = True, since
            self._dirty.add(arn)
        self._wake.set()
        return self._clock.wait(binding.gone, timeout_s)

    def endpoint_slice(self, kind: str, obj: Object) -> None:
        """Takes one EndpointSlice as the watch delivered it."""
        metadata = obj["metadata"]
        service = (str(metadata["namespace"]), str((metadata.get("labels") or {}).get(_SERVICE_LABEL, "")))
        ports = obj.get("ports") or [{}]
        port = int(ports[0].get("port") or 80)
        ready = {
            str(endpoint["addresses"][0]): port
            for endpoint in obj.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
        }
        with self._lock:
            slices = self._slices.setdefault(service, {})
            if kind == "DELETED":
                slices.pop(str(metadata["name"]), None)
            else:
                slices[str(metadata["name"])] = ready
            now = self._clock.monotonic()
            for binding in self._bindings.values():
                if (binding.namespace, binding.service) == service:
                    binding.since = now
                    self._dirty.add(binding.arn)
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                due = [self._bindings[arn] for arn in self._dirty if arn in self._bindings]
                due.sort(key=lambda one: (one.ending, one.name))  # what comes is registered before what goes is removed
                self._dirty.clear()
                self._busy = True
            for binding in due:
                if not self._stop.is_set():
                    self._attempt(binding)
            with self._lock:
                self._busy = False

    def _attempt(self, binding: Binding) -> None:
        try:
            self._reconcile(binding)
        except RemoteError as error:
            if not self._clock.wait(self._stop, _RETRY_S):
                log.info("lbc.targets", binding=binding.name, error=str(error))
                with self._lock:
                    self._dirty.add(binding.arn)
                self._wake.set()
        except Exception:  # a bug here must be seen, and must not end the thread
            log.exception("lbc.targets.failed", binding=binding.name)

    def _reconcile(self, binding: Binding) -> None:
        """Registers first, then deregisters.

        Raises:
            RemoteError: A call failed.
        """
        with self._lock:
            slices = self._slices.get((binding.namespace, binding.service), {})
            wanted = {} if binding.ending else {address: port for ready in slices.values() for address, port in ready.items()}
        new = {address: port for address, port in wanted.items() if address not in binding.registered}
        if new:
            self._send("RegisterTargets", binding, new)
            binding.registered |= new
        old = {address: port for address, port in binding.registered.items() if address not in wanted}
        if old:
            self._send("DeregisterTargets", binding, old)
            binding.registered = {address: port for address, port in binding.registered.items() if address in wanted}
        if binding.ending:
            self._unbound(binding)
            with self._lock:
                self._bindings.pop(binding.arn, None)
            binding.gone.set()

    def _send(self, operation: str, binding: Binding, targets: Mapping[str, int]) -> None:
        entries = [{"Id": address, "Port": port} for address, port in sorted(targets.items())]
        self._call(operation, binding.name, since=binding.since, TargetGroupArn=binding.arn, Targets=entries)
