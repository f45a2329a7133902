"""Utilisation of the accelerators, from the usual exporters of a cluster.

=============================== ======================================== =====================================
metric                          who exports it                           values
=============================== ======================================== =====================================
neuroncore_utilization_ratio    neuron-monitor-prometheus, by NeuronCore 0 to 1
DCGM_FI_DEV_GPU_UTIL            dcgm-exporter, by GPU                    percent of the time with any kernel
DCGM_FI_PROF_GR_ENGINE_ACTIVE   dcgm-exporter, by GPU, where enabled     0 to 1
pod_neuroncore_utilization, ... CloudWatch Container Insights            percent
=============================== ======================================== =====================================
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from controller.clients.aws import AwsClients
from controller.clock import Clock
from controller.errors import ConfigError, RemoteError, Unavailable
from controller.signals.budget import CallBudget
from controller.signals.cloudwatch import MetricQuery, get_metric_data

KNOWN: Final[Mapping[str, float]] = {
    "neuroncore_utilization_ratio": 1.0,
    "DCGM_FI_DEV_GPU_UTIL": 100.0,
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1.0,
}
"""The value of each known metric at full use. The first metric that the exporter has is taken."""

REFRESHED_S: Final[Mapping[str, float]] = {"DCGM_FI_DEV_GPU_UTIL": 30.0, "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 30.0}
"""The exporter's default refresh interval of a metric, seconds, for metrics that it does not refresh at every scrape."""

CLOUDWATCH_STEP_S: Final = 180.0
"""Shortest step with CloudWatch, seconds: it contains two whole minutes at any start."""

_EVERY_S: Final = 2.0
_TIMEOUT: Final = urllib3.Timeout(connect=2.0, read=3.0)
_SIZE_LIMIT: Final = 8 * 1024 * 1024
_FILLING: Final = 5  # the first fifth of a step is not counted, as everywhere
_END_S: Final = 10.0
_OK: Final = 200
_MINUTE_S: Final = 60
_CLOUDWATCH_WAIT_S: Final = 180.0
_CLOUDWATCH_EVERY_S: Final = 15.0
_PERCENT: Final = 100.0


class ExporterUse:
    """Scrapes an exporter every two seconds during a step.

    Args:
        url: URL of its metrics, http or https.
        match: Labels that a series must have, such as ``pod``: an exporter shows every device of its node.
    """

    def __init__(self, url: str, match: Mapping[str, str]) -> None:
        self._url = url
        self._match = match
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        self._series: dict[tuple[tuple[str, str], ...], list[float]] = defaultdict(list)
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def metric(self) -> str:
        """The metric that the exporter has now.

        Raises:
            ConfigError: The exporter does not answer, or has no known metric with these labels.
        """
        try:
            found = self._values()
        except Unavailable as error:
            raise ConfigError(f"--accelerator-metrics: {error}") from error
        if found is None:
            labels = "".join(f", {name}={value}" for name, value in self._match.items())
            raise ConfigError(f"--accelerator-metrics: found no {' | '.join(KNOWN)}{labels}; allowed: an exporter that has one")
        return found[0]

    def start(self) -> None:
        """See `failover_setup.breaking_point.run.AcceleratorUse.start`."""
        self._series.clear()
        self._done.clear()
        self._thread = threading.Thread(target=self._scrape, name="accelerator use", daemon=True)
        self._thread.start()

    def stop(self) -> float | None:
        """See `failover_setup.breaking_point.run.AcceleratorUse.stop`."""
        self._done.set()
        if self._thread is not None:
            self._thread.join(_END_S)
        means = [sum(kept) / len(kept) for kept in (values[len(values) // _FILLING :] for values in self._series.values()) if kept]
        return max(means, default=None)

    def _scrape(self) -> None:
        while not self._done.wait(_EVERY_S):
            try:
                found = self._values()
            except Unavailable:
                continue  # if no scrape of a step succeeds, its use is unknown
            for labels, value in found[1].items() if found else ():
                self._series[labels].append(value)

    def _values(self) -> tuple[str, dict[tuple[tuple[str, str], ...], float]] | None:
        """The metric and its series, 0 to 1; None if there is none.

        Raises:
            Unavailable: The exporter gave no usable answer.
        """
        values: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(dict)
        for name, labels, value in _parsed(self._text()):
            if self._match.items() <= labels.items() and math.isfinite(value):
                values[name][tuple(sorted(labels.items()))] = value / KNOWN[name]
        return next(((name, values[name]) for name in KNOWN if name in values), None)

    def _text(self) -> str:
        try:
            response = self._http.request("GET", self._url, preload_content=False)
            try:
                content = response.read(_SIZE_LIMIT + 1)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"the exporter does not answer: {type(error).__name__}") from error
        if response.status != _OK or len(content) > _SIZE_LIMIT:
            raise Unavailable(f"the exporter answered {response.status} with {len(content)} bytes", status=response.status)
        return content.decode(errors="replace")


def _parsed(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """The samples of known metrics.

    Raises:
        Unavailable: The text is not in Prometheus's format.
    """
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in KNOWN:
                    yield sample.name, sample.labels, sample.value
    except (ValueError, KeyError, IndexError) as error:
        raise Unavailable("the exporter's answer is not Prometheus text") from error


class CloudWatchUse:
    """Queries CloudWatch after a step for the whole minutes in it, and waits until it has them.

    Args:
        clients: The AWS client factory.
        clock: The time.
        namespace: CloudWatch namespace, such as ContainerInsights.
        metric: A percentage, such as pod_gpu_utilization.
        dimensions: Exactly the dimensions of the published metric.
    """

    def __init__(self, clients: AwsClients, clock: Clock, namespace: str, metric: str, dimensions: Mapping[str, str]) -> None:
        self._clients = clients
        self._clock = clock
        self._query = MetricQuery(namespace, metric, "Average", _MINUTE_S, tuple(dimensions.items()))
        self._budget = CallBudget(1, 10, clock)
        self._started = 0.0

    def start(self) -> None:
        """See `failover_setup.breaking_point.run.AcceleratorUse.start`."""
        self._started = self._clock.now()

    def stop(self) -> float | None:
        """See `failover_setup.breaking_point.run.AcceleratorUse.stop`; waits up to three minutes for CloudWatch."""
        start = math.ceil(self._started / _MINUTE_S) * _MINUTE_S
        end = math.floor(self._clock.now() / _MINUTE_S) * _MINUTE_S
        if end <= start:
            return None
        until = self._clock.monotonic() + _CLOUDWATCH_WAIT_S
        while True:
            points = self._points(start, end)
            wanted = (end - start) // _MINUTE_S
            if len(points) >= wanted or self._clock.monotonic() >= until:
                return sum(points) / len(points) / _PERCENT if points else None
            self._clock.wait(threading.Event(), _CLOUDWATCH_EVERY_S)

    def _points(self, start: float, end: float) -> list[float]:
        try:
            series = get_metric_data(self._clients, [self._query], start, end, self._budget)[self._query]
        except RemoteError:
            return []  # unknown: the other limits judge the step, and its line says so
        return [value for at, value in series.points.items() if start <= at < end]
