"""Which applications a controller runs, by which content of their files: so that people learn where it is not what they read themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from controller import objects
from controller.clients.kube import Object
from controller.foreign import shown
from controller.policy import text
from controller.policy.model import Application

KEY: Final = "configured"
"""The key of the published status: fingerprints by application."""
_DIGITS: Final = 12  # hexadecimal: two versions of one file never share them by chance
_NAMED: Final = 3  # of the other applications, where one is missing


class Configured:
    """The fingerprints of applications, computed anew only where there are others: of a thousand it takes a tenth of a second."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Application, ...], Mapping[str, str]] = ((), {})

    def of(self, applications: tuple[Application, ...]) -> Mapping[str, str]:
        """By application; the argument is the same object until the applications are configured anew."""
        if self._last[0] is not applications:
            self._last = (applications, {one.key: fingerprint(one) for one in applications})
        return self._last[1]


def fingerprint(application: Application) -> str:
    """A text that differs where the meaning of the application file does.

    What has its default is left out, so that versions with more fields agree on a file that does not use them.
    """
    return hashlib.sha256(json.dumps(_written(application), sort_keys=True).encode()).hexdigest()[:_DIGITS]


def difference(published: Object, application: Application) -> str:
    """Why the controller that published a status does not run an application as its file is read here; "" where it does, or may.

    Args:
        published: The status of the process.
        application: As it is read here.
    """
    configured = published.get(KEY)
    if isinstance(configured, Mapping) and configured.get(application.key, fingerprint(application)) != fingerprint(application):
        return f"the controller runs {application.key} by another content of its file than is read here"
    return absence(published, application)


def absence(published: Object, application: Application) -> str:
    """Why the controller that published a status does not run an application at all; "" where it does, or may."""
    configured = published.get(KEY)
    if not isinstance(configured, Mapping) or application.key in configured:
        return ""  # a version that did not publish them may run it
    others = sorted(shown(str(key)) for key in configured)
    more = [f"{len(others) - _NAMED} more"] if len(others) > _NAMED else []
    runs = f"it runs {text.listing([*others[:_NAMED], *more])}" if others else "it runs none"
    return f"the controller does not run {application.key}: no application file that it uses names it ({runs})"


def remedy(published: Object) -> str:
    """What makes the controller run an application as its file is read here.

    Args:
        published: The status of the process.
    """
    if objects.text(published, "configError"):
        return "it refuses the files that it has, see configError in `failoverctl status --json`: correct them"
    return "give it the file (with Helm: applications.files); it takes over a changed ConfigMap within two minutes"


def _written(value: Any) -> Any:  # noqa: ANN401 - any part of an application
    if is_dataclass(value):
        known = {one.name: (getattr(value, one.name), one) for one in fields(value)}
        return {name: _written(found) for name, (found, one) in known.items() if found != _default(one)}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_written(one) for one in value] if isinstance(value, tuple) else value


def _default(one: Any) -> Any:  # noqa: ANN401 - a field of any part of an application
    return one.default if one.default_factory is MISSING else one.default_factory()
