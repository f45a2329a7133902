"""Takes snapshots for the service, `plan` and `status`: of the cluster, the external sources, and their freshness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from controller.clock import Clock
from controller.policy.model import Application, Offerings, Snapshot, Source
from controller.signals.cluster import ClusterView
from controller.signals.external import ExternalSources
from controller.signals.snapshots import SnapshotBuilder
from controller.signals.waits import Waits
from controller.signals.watch import WatchHealth
from controller.signals.watches import sources_of


class ClusterObserver:
    """Observes applications.

    Args:
        view: The view of the cluster.
        external: CloudWatch, EC2 and the load balancer.
        health: Returns the health of the watches that fill the view.
        clock: The clock.
        watch_budget_s: How old the last answer of a watch may be, seconds: twice the idle limit, so that one lost stream raises no alert.
        also: Further sources.
        installation: See `Snapshot.installation`.
    """

    def __init__(
        self,
        view: ClusterView,
        external: ExternalSources,
        health: Callable[[], Iterable[WatchHealth]],
        clock: Clock,
        *,
        watch_budget_s: float = 180.0,
        also: Callable[[], tuple[Source, ...]] | None = None,
        installation: str = "",
    ) -> None:
        self._view, self._external, self._health, self._clock = view, external, health, clock
        self._watch_budget_s, self._also, self._waits, self._installation = watch_budget_s, also, Waits(), installation
        self.configure(())

    def configure(self, applications: Iterable[Application]) -> None:
        """Replaces the applications. It needs all of them, because several units may share a NodePool."""
        self._builder = SnapshotBuilder(self._view, applications, self._waits)

    def sources(self, application: Application) -> tuple[Source, ...]:
        """How fresh the sources are that decisions about an application depend on."""
        watched = sources_of(self._health(), application, self._watch_budget_s)
        return (*watched, *(self._also() if self._also is not None else ()), *self._external.sources(application))

    def stale(self, applications: Iterable[Application]) -> list[str]:
        """The names of the sources that no decision about some of these applications can do without, and that are stale.

        Only watches are such sources, and applications of one namespace whose routing objects are in one namespace have the same.
        """
        health, now = list(self._health()), self._clock.now()
        ones = {(one.namespace, one.routing_namespace): one for one in applications}.values()
        sources = (source for one in ones for source in sources_of(health, one, self._watch_budget_s))
        return sorted({source.name for source in sources if source.required and source.stale(now)})

    def snapshot(self, application: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """See `controller.service.application_pass.Observer.snapshot`."""
        now, sources, external = self._clock.now(), self.sources(application), self._external.of(application)
        made = self._builder.build(application, now, (*sources, *further), external, leader=leader, epoch=epoch)
        return replace(made, installation=self._installation)

    def ask(self, application: str, probes: Mapping[str, Offerings]) -> None:
        """See `controller.service.application_pass.Observer.ask`."""
        self._external.ask(application, probes)
