"""Where requests are counted for the autoscaler, as the settings say."""

from prometheus_client import Counter

from failover_model_server.background import Lost
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink


def counters(settings: Settings, dropped: Counter, lost: Lost) -> Sink:
    """The sink that the settings select.

    Args:
        settings: say whether and where requests are counted.
        dropped: counts data points that were given up.
        lost: called when the sink can publish no more.

    Raises:
        LoadError: the settings enable CloudWatch, and its library or its region is missing.
    """
    if not settings.cloudwatch:
        return Sink()
    try:
        from failover_model_server.telemetry.cloudwatch import CloudWatch, client
    except ImportError as error:
        raise LoadError(f"cloudwatch: {error}; install the extra, failover-model-server[aws]") from error
    return CloudWatch(settings, client(), dropped, lost)
