"""One look at everything for `plan` and `status`: the same view, snapshot, `decide` and `plan` as the running service, without writing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.clients.aws import AwsClients
from controller.clients.kube import KubeSession
from controller.clock import Clock
from controller.errors import RemoteError, StateError
from controller.policy.decide import decide
from controller.policy.model import Application, Decision, Memory, Plan, Snapshot, Source, Verb
from controller.policy.plan import plan
from controller.service.store import ConfigMapStore
from controller.service.wiring import make_outside
from controller.settings import Settings
from controller.signals.cluster import ClusterView, sources_of
from controller.signals.once import observe_once
from controller.signals.snapshots import SnapshotBuilder


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an application shows.

    Attributes:
        snapshot: What is observed.
        memory: What the running controller remembers.
        decision: What would be decided now.
        made: What would be applied now.
        coming: What would be applied once the guards that only wait have opened; None where nothing is held back.
    """

    snapshot: Snapshot
    memory: Memory
    decision: Decision
    made: Plan
    coming: Plan | None


def look(settings: Settings, session: KubeSession, clock: Clock, applications: Mapping[str, Application]) -> dict[str, Look]:
    """Looks at every application once.

    Args:
        settings: For namespaces, time-outs and which AWS APIs may be asked.
        session: Connection to the API server.
        clock: Time.
        applications: All of them; they share one look at the cluster.

    Returns:
        By key.

    Raises:
        RemoteError: The API server gave no usable answer at all.
    """
    view = ClusterView(clock, lambda: None)
    everything = list(applications.values())
    health = observe_once(session, view, clock, everything, cluster_wide=settings.kubernetes.cluster_wide)
    outside = make_outside(settings, view, clock, AwsClients(settings.aws.region))
    outside.verify(everything)
    outside.poll_metrics(everything)
    outside.poll_capacity(everything)
    builder = SnapshotBuilder(view, everything)
    store = ConfigMapStore(session, settings.kubernetes.state_namespace)
    found = {}
    for key, application in applications.items():
        sources = (*sources_of(health, application, settings.freshness.watch_s), *outside.sources())
        memory, epoch, state = _stored(store, key)
        snapshot = builder.build(application, clock.now(), (*sources, *state), outside.of(application), leader=True, epoch=epoch)
        found[key] = _judge(snapshot, memory)
    return found


def _stored(store: ConfigMapStore, key: str) -> tuple[Memory, int, tuple[Source, ...]]:
    try:
        stored = store.load(key)
    except (RemoteError, StateError) as error:
        return Memory(), 0, (Source("state", required=False, last_ok=None, budget_s=0.0, absent=True, problem=str(error)),)
    return stored.memory, stored.epoch, ()


def _judge(snapshot: Snapshot, memory: Memory) -> Look:
    kept, decision = decide(memory, snapshot)
    made = plan(decision, snapshot)
    coming = None
    if decision.wanted in {Verb.FAILOVER, Verb.FALLBACK}:
        _, preview = decide(memory, snapshot, preview=True)
        if preview.verb is decision.wanted:
            coming = plan(preview, snapshot)
    return Look(snapshot, kept, decision, made, coming)
