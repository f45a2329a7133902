"""A model that is on this machine already: used where it is, after the same checks."""

from pathlib import Path

from failover_model_server.download import manifest, verify
from failover_model_server.download.files import RemoteFile
from failover_model_server.download.plan import MODEL_INDEX, Plan, make_plan, read_model_index
from failover_model_server.errors import LoadError

LARGEST_LISTING = 10_000
"""Files in a directory that is taken for a model; a wrong path (/, a home directory) is refused instead of being walked for minutes."""


def check(field: str, directory: Path, *, variant: str, compiled: bool, revision: str = "") -> Plan:
    """Check a directory: everything that is needed is there, and no file is cut off.

    Args:
        field: the setting, for messages.
        directory: of the model.
        variant: precision to prefer, as fp16.
        compiled: the model is compiled artifacts.
        revision: what the manifest must say, where there is one; empty: anything.

    Raises:
        LoadError: with the file that is missing or wrong.
    """
    if not directory.is_dir():
        raise LoadError(f"{field}: {str(directory)!r} is not a directory")
    recorded = manifest.read(directory)
    if recorded is not None and (fault := manifest.first_fault(directory, recorded.files)):
        raise LoadError(f"{field}: {directory} is not what its {manifest.FILE} says: {fault}")
    if recorded is not None and revision and recorded.revision != revision:
        raise LoadError(f"revision: {directory} holds {recorded.revision} of {recorded.source}, the setting says {revision}")
    index = directory / MODEL_INDEX
    content = read_model_index(index.read_bytes()) if index.is_file() and not compiled else None
    plan = make_plan(_listing(directory), variant=variant, compiled=compiled, model_index=content)
    verify.weights(directory, plan.chosen)
    return plan


def _listing(directory: Path) -> tuple[RemoteFile, ...]:
    found = []
    for path in directory.rglob("*"):  # links to directories are not followed; those to files, as in the hub's cache, are
        if path.is_file():
            found.append(RemoteFile(path.relative_to(directory).as_posix(), path.stat().st_size))
        if len(found) > LARGEST_LISTING:
            raise LoadError(f"model: {directory} holds more than {LARGEST_LISTING} files, so it is no model's directory")
    return tuple(found)
