"""Where requests are counted for the autoscaler, as the settings say."""

from prometheus_client import Counter

from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink


def counters(settings: Settings, dropped: Counter) -> Sink:
    """The sink that the settings select. `dropped` counts data points that were given up.

    Raises:
        LoadError: the settings enable CloudWatch, and its library or its region is missing.
    """
    if not settings.cloudwatch:
        return Sink()
    try:
        from failover_model_server.telemetry.cloudwatch import CloudWatch, client
    except ImportError as error:
        raise LoadError(f"cloudwatch: {error}; install the extra, failover-model-server[aws]") from error
    return CloudWatch(settings, client(settings), dropped)
