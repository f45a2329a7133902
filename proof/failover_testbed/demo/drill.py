"""Where `failoverctl drill --simulate` takes place: the demo's cluster and account, the production controller, and a page of its users."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from controller.clients.aws import AwsClients
from controller.clients.kube import KubeSession, connect
from controller.clock import Clock
from controller.policy.model import Application
from controller.service.logs import configure_logging
from controller.service.wiring import Service
from controller.settings import LogFormat, LogLevel, LogSettings
from controller.signals.node_labels import ZONE_LABEL
from failover_testbed.demo.clock import PacedClock
from failover_testbed.demo.environment import STATE_NAMESPACE, Environment
from failover_testbed.demo.play import demo_settings, environment_variables
from failover_testbed.demo.player import Progress
from failover_testbed.demo.scenario import builtin, load_scenario
from failover_testbed.kube_api import KubeStore
from failover_testbed.page import page
from failover_testbed.running import running

_SCENARIO: Final = "seed"
_ZONE: Final = "us-west-2a"
_LASTS_S: Final = 3 * 3600.0
"""The scenario's time; longer than the longest drill and the longest wait for a return by default."""


@dataclass(frozen=True, slots=True)
class DrillPlace:
    """A cluster in cost mode whose cheapest unit has one zone, with its controller.

    Attributes:
        application: The application.
        session: The cluster's API server.
        state_namespace: Where the controller keeps its state.
        aws: The account.
        clock: The time of all parts.
        factor: How many times as fast as real time it runs at most.
        url: A page that fails as often as the application's requests do.
        zone: The zone of the cheapest unit's NodePool.
    """

    application: Application
    session: KubeSession
    state_namespace: str
    aws: AwsClients
    clock: Clock
    factor: float
    url: str
    zone: str


@contextmanager
def drill_place() -> Iterator[DrillPlace]:
    """Starts everything, and ends it.

    Raises:
        ConfigError: moto is not installed.
        FailoverError: The environment or the controller cannot be started, or the controller failed.
    """
    configure_logging(LogSettings(level=LogLevel.ERROR, format=LogFormat.CONSOLE))
    scenario = load_scenario(builtin(_SCENARIO))
    (application,) = scenario.applications.values()
    calm = replace(scenario, file=scenario.file.model_copy(update={"events": (), "duration_s": _LASTS_S}))
    clock = PacedClock(scenario.file.factor)
    with environment_variables({}), Environment(calm, clock) as environment, environment_variables(environment.environment()):
        restrict(environment.api.store, application.units[0].node_pool, _ZONE)
        session = connect(kubeconfig=str(environment.kubeconfig("controller")))
        service = Service(demo_settings(), session, clock)
        share = Share(environment.progress())
        with running(service), page(lambda _: 503 if share.fails(environment.progress()) else 200) as url:
            yield DrillPlace(application, session, STATE_NAMESPACE, AwsClients(), clock, scenario.file.factor, url, _ZONE)


def restrict(store: KubeStore, pool: str, *zones: str) -> None:
    """Leaves a NodePool these zones."""
    kept = [one for one in store.get("NodePool", pool)["spec"]["template"]["spec"]["requirements"] if one["key"] != ZONE_LABEL]
    requirements = [*kept, {"key": ZONE_LABEL, "operator": "In", "values": [*zones]}]
    store.patch("NodePool", pool, {"spec": {"template": {"spec": {"requirements": requirements}}}})


class Share:
    """Which of the requests to a page fail: the share of the application's requests that failed since the request before.

    Args:
        progress: What the application has served, and what failed.
    """

    def __init__(self, progress: Progress) -> None:
        self._lock = threading.Lock()
        self._before, self._owed = progress, 0.0

    def fails(self, progress: Progress) -> bool:
        """Whether the next request fails."""
        with self._lock:
            served, failed = progress.served - self._before.served, progress.failed - self._before.failed
            if served + failed > 0:
                self._before = progress
                self._owed += failed / (served + failed)
            fails = self._owed >= 1
            self._owed -= fails
            return fails
