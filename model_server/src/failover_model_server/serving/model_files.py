"""The model's files, before anything of the accelerator is imported."""

from pathlib import Path

from failover_model_server import download
from failover_model_server.compiled import artifact
from failover_model_server.settings import Settings


def prepare(settings: Settings, progress: download.Progress) -> Path:
    """The directory of the model, fetched if need be; compiled artifacts fit this machine. Blocks.

    Args:
        settings: The model, and where its files are kept.
        progress: Called with the bytes that are here and all of them.

    Raises:
        LoadError: the files cannot be had, as `download.fetch` says, or the artifacts were compiled for something else.
    """
    directory = download.fetch(settings, progress)
    if download.runs_compiled(settings):
        # The accelerator's own complaint would come after minutes, and name no field.
        artifact.check(directory, settings, artifact.Runtime.here())
    return directory
