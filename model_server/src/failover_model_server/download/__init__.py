"""From the name of a model to a verified directory on this machine."""

from pathlib import Path

from failover_model_server.download import local, store
from failover_model_server.download.offline import go_offline
from failover_model_server.download.source import Location, Source, locate
from failover_model_server.download.transfer import Progress
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

__all__ = ["Progress", "fetch", "get", "locate", "open_source", "runs_compiled", "wanted"]


def fetch(settings: Settings, progress: Progress) -> Path:
    """The directory of `settings.model` (or of `settings.compiled_model`, where the backend runs compiled artifacts), fetched if need be.

    Blocking; called on a thread of its own in DOWNLOADING. Afterwards this process fetches no models any more.

    Raises:
        LoadError: not found, not complete, not allowed; the message says which file and what to do.
    """
    if not settings.model and not settings.compiled_model:
        progress(0, 0)
        return Path()  # a task without weights
    directory = get(settings, progress)
    go_offline()
    return directory


def get(settings: Settings, progress: Progress) -> Path:
    """The same, on a machine that does not serve it: a staging job, an init container. Raises as `fetch` does."""
    location, compiled = wanted(settings)
    if location.scheme == "file":
        directory = Path(location.path)
        field = "compiled_model" if compiled else "model"
        plan = local.check(field, directory, variant=settings.variant, compiled=compiled, revision=location.revision)
        progress(plan.bytes_chosen, plan.bytes_chosen)
        return directory
    request = store.Request(location, settings.variant, compiled, settings.cache_dir, settings.download_timeout)
    try:
        return store.fetch(request, open_source(settings, location), progress)
    except OSError as error:  # of the disk: those of the line are the source's to understand
        raise LoadError(f"cache_dir: {error.filename or settings.cache_dir}: {error.strerror or error}") from error


def wanted(settings: Settings) -> tuple[Location, bool]:
    """Where the model is that this server needs, and whether it is compiled artifacts."""
    if runs_compiled(settings):
        return locate("compiled_model", settings.compiled_model, settings.compiled_revision), True
    return locate("model", settings.model, settings.revision), False


def runs_compiled(settings: Settings) -> bool:
    """Whether the model that this server needs is compiled artifacts."""
    return settings.backend == "neuron" and bool(settings.compiled_model)


def open_source(settings: Settings, location: Location) -> Source:
    """The source of a location that is not on this machine."""
    if location.scheme == "hf":
        from failover_model_server.download.hub import HubSource

        token = settings.hub_token.get_secret_value() if settings.hub_token else None
        return HubSource(location, token=token, endpoint=settings.hub_endpoint or None)
    if location.scheme == "s3":
        from failover_model_server.download.s3 import S3Source

        return S3Source(location)
    raise LoadError(f"model: {location.name} is on this machine; nothing is fetched")
