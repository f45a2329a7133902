"""Backends and tasks by name, from the entry points of installed distributions: others can add theirs without a change here."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from failover_model_server.backends.base import Backend
from failover_model_server.errors import LoadError
from failover_model_server.tasks.base import Task

BACKENDS = "failover_model_server.backends"
TASKS = "failover_model_server.tasks"


def backend(name: str) -> type[Backend]:
    """The backend of this name.

    Raises:
        LoadError: there is none, or its libraries are not installed.
    """
    found = _load(BACKENDS, name)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise LoadError(f"backend {name}: its entry point is not a Backend")
    return found


def task(name: str) -> type[Task[Any, Any]]:
    """The task of this name.

    Raises:
        LoadError: there is none, or its libraries are not installed.
    """
    found = _load(TASKS, name)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise LoadError(f"task {name}: its entry point is not a Task")
    return found


def names(group: str) -> list[str]:
    """All names in a group, sorted."""
    return sorted({point.name for point in entry_points(group=group)})


def _load(group: str, name: str) -> object:
    points: list[EntryPoint] = list(entry_points(group=group, name=name))
    kind = group.rsplit(".", 1)[-1].removesuffix("s")
    if not points:
        raise LoadError(f"{kind} {name!r}: there is none of this name; installed: {', '.join(names(group))}")
    try:
        return points[0].load()
    except ImportError as error:
        raise LoadError(f"{kind} {name!r}: {error}; install its extra, failover-model-server[{name}]") from error
