"""Where requests are counted for the autoscaler."""

from types import TracebackType
from typing import Self

from prometheus_client import Counter

from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings


class Sink:
    """Counts nothing: without CloudWatch, Prometheus alone counts. Also the interface of those that do."""

    def answered(self, seconds: float) -> None:
        """A request got its result, so long after it arrived. Neither blocks nor raises."""

    def rejected(self) -> None:
        """A request was turned away: queue full, or not ready. Neither blocks nor raises."""

    async def __aenter__(self) -> Self:
        """Begin to publish."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Publish what is left."""


def counters(settings: Settings, dropped: Counter) -> Sink:
    """What the settings ask for. `dropped` counts data points that were given up.

    Raises:
        LoadError: CloudWatch is asked for and its library or its region is missing.
    """
    if not settings.cloudwatch:
        return Sink()
    try:
        from failover_model_server.telemetry.cloudwatch import CloudWatch, client
    except ImportError as error:
        raise LoadError(f"cloudwatch: {error}; install the extra, failover-model-server[aws]") from error
    return CloudWatch(settings, client(settings), dropped)
