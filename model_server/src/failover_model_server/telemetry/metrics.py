"""Prometheus metrics, in a registry of the server's own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from failover_model_server.lifecycle import State, Status

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Everything `/metrics` shows. Names begin with `model_server_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter("model_server_requests", "Requests by outcome.", ["outcome"], registry=r)
        self.request_seconds = Histogram(
            "model_server_request_seconds", "From arrival to answer, of requests that got a result.", buckets=SECONDS, registry=r
        )
        self.batch_seconds = Histogram("model_server_batch_seconds", "A batch on the accelerator.", buckets=SECONDS, registry=r)
        self.batch_items = Histogram("model_server_batch_items", "Requests in a batch, without padding.", buckets=SIZES, registry=r)
        self.padding = Counter("model_server_padding_items", "Items that only filled a batch up to its bucket.", registry=r)
        self.batch_failures = Counter("model_server_batch_failures", "Batches that raised.", registry=r)
        self.late = Counter("model_server_late_requests", "Requests that became too late while they waited, and were not run.", registry=r)
        self.queued = Gauge("model_server_queued_requests", "Requests that wait or are being prepared.", registry=r)
        self.running = Gauge("model_server_running_requests", "Requests on the accelerator.", registry=r)
        self.state = Gauge("model_server_state", "1 for the present state.", ["state"], registry=r)
        self.state_seconds = Gauge("model_server_start_seconds", "Time spent in each state on the way to READY.", ["state"], registry=r)
        self.download_bytes = Gauge("model_server_download_bytes", "Bytes of the model that are here.", registry=r)
        self.dropped = Counter(
            "model_server_cloudwatch_dropped", "Requests whose data points were given up since CloudWatch did not take them.", registry=r
        )
        for state in State:
            self.state.labels(state).set(state is State.STARTING)

    def changed(self, before: Status, after: Status) -> None:
        """A change of state; a `Listener`."""
        self.state.labels(before.state).set(0)
        self.state.labels(after.state).set(1)
        if after.state in {State.LOADING, State.WARMING, State.READY} and before.state is not State.WEDGED:
            self.state_seconds.labels(before.state).set(after.since - before.since)

    def batch(self, items: int, size: int, seconds: float) -> None:
        """A batch ran; of `Observer`."""
        self.batch_seconds.observe(seconds)
        self.batch_items.observe(items)
        self.padding.inc(size - items)

    def failed(self, items: int) -> None:  # noqa: ARG002 - of `Observer`
        """A batch raised; of `Observer`."""
        self.batch_failures.inc()
