"""Makes the pollers of AWS, of load balancers and of Karpenter's metrics: a command that observes once needs no more of the service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from controller.clients.aws import AwsClients
from controller.clock import Clock
from controller.mode_changes_first import ModeChangesFirst
from controller.policy.model import QUEUE_SOURCE
from controller.settings import AwsApi, Settings
from controller.signals.budget import CallBudget
from controller.signals.cloudwatch import CloudWatchPoller
from controller.signals.cluster import ClusterView
from controller.signals.ec2 import Ec2Poller
from controller.signals.external import ExternalSources, Poll
from controller.signals.load_balancer.verifier import Verifier
from controller.signals.price_list import PriceList
from controller.signals.prices import FirstKnown, Quotes
from controller.signals.refusal_queue import POLL_S, RefusalQueue
from controller.signals.reservation_probe import ReservationProbe
from controller.signals.snapshots import ExternalSignals

VERIFICATION_S: Final = 5.0
"""Time between two reads of the load balancer while a change is not verified, seconds."""
_ELBV2_BURST: Final = 40.0
_CLOUDWATCH_S: Final = 60.0  # the shortest period of a metric
_EC2_S: Final = 300.0  # offerings change within days
_KARPENTER_METRICS_S: Final = 15.0  # Karpenter refreshes its gauge once a minute
_PRICES_S: Final = 15.0  # a few prices are read in each run until all are known; then a run asks nothing for hours


def make_external(
    settings: Settings,
    view: ClusterView,
    clock: Clock,
    clients: AwsClients,
    stop: threading.Event | None = None,
    *,
    busy: Callable[[], bool] = lambda: False,
    installation: str = "",
) -> ExternalSources:
    """Makes the pollers of the external sources that the settings enable.

    Args:
        settings: The settings.
        view: The view of the cluster.
        clock: The clock.
        clients: The AWS client factory.
        stop: Ends their waits when set.
        installation: Where the state is, to mark reservations with; "": none is made, and no queue is read, as in a dry run.
        busy: Whether many applications wait for a pass: CloudWatch's poll and the checks of load balancers let them go first.
    """
    aws, verifier = settings.aws, _verifier(settings, clients, clock)
    metrics = CloudWatchPoller(
        clients,
        clock,
        now=view.now,  # AWS's clock and the cluster's agree; this node's may be wrong
        enabled=AwsApi.CLOUDWATCH in aws.apis,
        latency_stat=aws.latency_stat,
        interval_s=_CLOUDWATCH_S,
        stop=stop,
        before=ModeChangesFirst(busy, clock, stop),
    )
    capacity = Ec2Poller(
        clients,
        clock,
        enabled=AwsApi.EC2 in aws.apis,
        reservations=AwsApi.RESERVATIONS in aws.apis,
        quotas=AwsApi.QUOTAS in aws.apis,
        interval_s=_EC2_S,
    )
    offerings, karpenter = None, settings.karpenter
    if karpenter.metrics_url is not None:
        from controller.signals.karpenter_metrics import KarpenterMetrics  # with the library of metrics, which commands rarely need

        offerings = KarpenterMetrics(karpenter.metrics_url, clock, prices=karpenter.prices_enabled)
    price_list = PriceList(clients, clock) if AwsApi.PRICES in aws.apis else None
    quotes: list[Quotes] = [one for one in (offerings, price_list) if one is not None]  # Karpenter's have spot instances, too
    polls = [
        Poll(
            "cloudwatch",
            _CLOUDWATCH_S,
            lambda chosen: metrics.poll(chosen, external.dimensions(chosen)),
            lambda application: metrics.source(application.key),
        ),
        Poll.of_units("ec2", _EC2_S, capacity),
    ]
    if offerings is not None:
        polls.append(Poll("karpenter-metrics", _KARPENTER_METRICS_S, lambda _: offerings.poll(), lambda _: offerings.source()))
    probe = ReservationProbe(clients, clock, installation) if installation and AwsApi.EC2 in aws.apis else None
    polls += [] if price_list is None else [Poll.of_units("prices", _PRICES_S, price_list)]
    polls += _queue(aws.refusal_queue_url, view, clock, clients) if installation else []  # a dry run takes nothing from a leader
    external = ExternalSources(
        view,
        verifier=verifier,
        signals=ExternalSignals(metrics, capacity, offerings=offerings, prices=FirstKnown(tuple(quotes)) if quotes else None, probe=probe),
        polls=polls,
        stop=stop,
        before=ModeChangesFirst(busy, clock, stop),
    )
    return external


def _queue(url: str | None, view: ClusterView, clock: Clock, clients: AwsClients) -> list[Poll]:
    """The row of the queue of refusals; none where the settings name no queue."""
    if url is None:
        return []
    queue = RefusalQueue(clients, clock, url, view.answered)
    return [Poll(QUEUE_SOURCE, POLL_S, lambda _: queue.poll(), lambda _: queue.source())]


def _verifier(settings: Settings, clients: AwsClients, clock: Clock) -> Verifier | None:
    if AwsApi.ELBV2 not in settings.aws.apis:
        return None
    calls_per_s = settings.polls.elbv2_calls_per_s
    # What comes in between two runs of the job must not be lost, or the rate could never be reached.
    budget = CallBudget(calls_per_s, max(_ELBV2_BURST, 2 * calls_per_s * VERIFICATION_S), clock)
    return Verifier(clients, clock, budget, retry_s=VERIFICATION_S)
