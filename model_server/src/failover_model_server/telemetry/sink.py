"""What counts requests for the autoscaler."""

from types import TracebackType
from typing import Self


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
