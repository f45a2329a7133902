"""Which applications a controller runs, by which content of their files: so that people learn where it is not what they read themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from controller.policy.model import Application

KEY: Final = "configured"
"""The key of the published status: fingerprints by application."""
_DIGITS: Final = 12  # hexadecimal: two versions of one file never share them by chance


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


def _written(value: Any) -> Any:  # noqa: ANN401 - any part of an application
    if is_dataclass(value):
        known = {one.name: (getattr(value, one.name), one) for one in fields(value)}
        return {name: _written(found) for name, (found, one) in known.items() if found != _default(one)}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_written(one) for one in value] if isinstance(value, tuple) else value


def _default(one: Any) -> Any:  # noqa: ANN401 - a field of any part of an application
    return one.default if one.default_factory is MISSING else one.default_factory()
