"""Observes once for `plan` and `status`, without writing: the same view, snapshot, `decide` and `plan` as the running service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from controller.cli.common import Options
from controller.cli.published import difference, read_object
from controller.cli.replicas import read_replicas, unled
from controller.cli.selection import Selection, select
from controller.clients.aws import AwsClients
from controller.clients.kube import KubeSession, Object
from controller.clock import Clock
from controller.errors import RemoteError, StateError
from controller.objects import mapping
from controller.policy.model import Alert, Application, Decision, Memory, Plan, Snapshot, Source
from controller.policy.reasons import CRITICAL
from controller.policy.routing import existence
from controller.ports import StoredMemory
from controller.routing.conclusion import conclude
from controller.routing.kinds import routing_port
from controller.routing.port import Remedy
from controller.service.pollers import make_external
from controller.service.store import ConfigMapStore
from controller.signals.cluster import ClusterView
from controller.signals.observer import ClusterObserver
from controller.signals.once import observe_once


@dataclass(frozen=True, slots=True)
class Observation:
    """One observation of an application and what follows from it.

    Attributes:
        snapshot: The snapshot.
        memory: The memory of the running controller.
        decision: What would be decided now.
        made: What would be applied now.
        coming: The plan once the guards that only wait have opened; None if nothing is held back.
        remedy: Which standby rules the application lacks, and which of them may be added now.
        published: What the running controller says of the application in its object, see `controller.service.application_status.status_of`;
            None if there is none.
        difference: See `controller.cli.published.difference`.
        known: The alerts that the running controller stored. One observation cannot show some of them, such as a writer that it fights.
        unled: That no replica of the controller leads, in words; "" where one does, or nobody knows.
    """

    snapshot: Snapshot
    memory: Memory
    decision: Decision
    made: Plan
    coming: Plan | None
    remedy: Remedy = field(default_factory=Remedy)
    published: Object | None = None
    difference: str = ""
    known: tuple[Alert, ...] = ()
    unled: str = ""

    @property
    def alerts(self) -> list[Alert]:
        """The alerts of this observation and those of the controller, each once, what needs a person first."""
        each = {one.key: one for one in (*self.known, *self.decision.alerts)}
        return sorted(each.values(), key=lambda one: one.severity != CRITICAL)


class ApplicationObserver:
    """Observes applications, once or repeatedly, with one budget of AWS calls.

    Args:
        selection: Settings, connection, and all applications, because several units may share a NodePool.
        clock: The clock.
    """

    def __init__(self, selection: Selection, clock: Clock) -> None:
        self._settings, self._session, self._clock = settings, session, _ = selection.settings, selection.session, clock
        self._view = ClusterView(clock, lambda: None)
        self._external = make_external(settings, self._view, clock, AwsClients(settings.aws.region))
        self._applications = list(selection.applications.values())
        self._store = ConfigMapStore(session, settings.kubernetes.state_namespace)

    def observe(self, chosen: Sequence[Application]) -> dict[str, Observation]:
        """Observes these applications; they share one observation of the cluster.

        The routing object and the memory are read seconds apart. Where the controller changed the mode in between, the two contradict
        each other as if somebody had changed it by hand: then all of it is observed once more.

        Returns:
            The observations by key.

        Raises:
            RemoteError: The API server gave no usable answer at all.
        """
        found, contradict = self._observe(chosen)
        return self._observe(chosen)[0] if contradict else found

    def _observe(self, chosen: Sequence[Application]) -> tuple[dict[str, Observation], bool]:
        """The observations, and whether the controller remembers another mode than some routing object shows."""
        settings, clock = self._settings, self._clock
        health = observe_once(self._session, self._view, clock, chosen, cluster_wide=settings.kubernetes.cluster_wide)
        self._external.verify(chosen)
        for name in self._external.polls:
            self._external.poll(name, chosen)
        ours = settings.kubernetes.state_namespace
        observer = ClusterObserver(self._view, self._external, lambda: health, clock, installation=ours)
        observer.configure(self._applications)
        found, contradict = {}, False
        for application in chosen:
            stored, further = _stored(self._store, application.key)
            snapshot = observer.snapshot(application, leader=True, epoch=stored.epoch, further=further)
            published, apart = _said(self._session, application)
            seen = replace(judge(snapshot, stored.memory), remedy=self._remedy(snapshot), known=stored.alerts)
            seen = replace(seen, published=published, difference=apart)
            contradict = contradict or (stored.memory.mode is not None and seen.memory.mode is not stored.memory.mode)
            found[application.key] = seen
        return found, contradict

    def _remedy(self, snapshot: Snapshot) -> Remedy:
        application = snapshot.application
        obj = self._view.routing_object(application)
        return routing_port(application).remedy(application, snapshot.routing, obj, existence(snapshot)) if obj else Remedy()


def observed(options: Options, wanted: str | None, clock: Clock) -> list[Observation]:
    """Observes the applications that a command is about, once.

    Args:
        options: The common options.
        wanted: An application's key or name; None for all.
        clock: The clock.

    Raises:
        ConfigError: See `select`.
        RemoteError: The API server gave no usable answer at all.
    """
    selection = select(options, wanted)
    found = ApplicationObserver(selection, clock).observe(selection.chosen)
    nobody = unled(read_replicas(selection.session, selection.settings.kubernetes.state_namespace, clock))
    return [replace(found[one.key], unled=nobody) for one in selection.chosen]


def _stored(store: ConfigMapStore, key: str) -> tuple[StoredMemory, tuple[Source, ...]]:
    """The memory of an application as it is stored, and a source that says why it could not be read."""
    try:
        return store.load(key), ()
    except (RemoteError, StateError) as error:
        missing = Source("state", required=False, last_ok=None, budget_s=0.0, absent=True, problem=str(error))
        return StoredMemory(Memory(), "", 0), (missing,)


def _said(session: KubeSession, application: Application) -> tuple[Object | None, str]:
    """What the controller says of an application in its object, and why it does not run it as it is read here."""
    try:
        found = read_object(session, application)
    except RemoteError:
        return None, ""
    return dict(mapping(found, "status", "details")) or None, difference(found, application)


def judge(snapshot: Snapshot, memory: Memory) -> Observation:
    """Decides about a snapshot, and plans as well what would come once the guards that only wait have opened."""
    now = conclude(memory, snapshot)
    held_back, coming = now.decision.held_back, None
    if held_back is not None and held_back.changes_mode:
        preview = conclude(memory, snapshot, preview=True)
        if preview.decision.verb is held_back:
            coming = preview.plan
    return Observation(snapshot, now.memory, now.decision, now.plan, coming)
