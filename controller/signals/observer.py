"""Takes snapshots for the service and for `plan` and `status`: cluster, external sources, and how fresh each of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.clock import Clock
from controller.policy.model import Application, Snapshot, Source
from controller.signals.cluster import ClusterView
from controller.signals.external import ExternalSources
from controller.signals.snapshots import SnapshotBuilder


class ClusterObserver:
    """Observes applications.

    Args:
        view: The cluster.
        external: CloudWatch, EC2 and the load balancer.
        sources: How fresh the cluster's objects are, for one application.
        clock: Time.
        applications: All of them: a NodePool that several units share is judged accordingly.
    """

    def __init__(
        self,
        view: ClusterView,
        external: ExternalSources,
        sources: Callable[[Application], tuple[Source, ...]],
        clock: Clock,
        applications: Iterable[Application] = (),
    ) -> None:
        self._view, self._external, self._sources, self._clock = view, external, sources, clock
        self.configure(applications)

    def configure(self, applications: Iterable[Application]) -> None:
        """Replaces the applications."""
        self._builder = SnapshotBuilder(self._view, applications)

    def snapshot(self, application: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """See `controller.service.application_pass.Observer.snapshot`."""
        now = self._clock.now()
        sources = (*self._sources(application), *self._external.sources(), *further)
        return self._builder.build(application, now, sources, self._external.of(application), leader=leader, epoch=epoch)
