"""Everything this project raises on purpose.

::

    FailoverError
    ├── ConfigError          the user's file or setting is wrong: names the place, what was found, what is allowed
    ├── RemoteError          another system did not do what was asked
    │   ├── Unavailable      no usable answer: refused, timed out, 5xx, throttled (try again later)
    │   │   └── TooLarge     the answer is longer than what is read (ask for less)
    │   ├── Forbidden        401 or 403: a permission is missing (trying again does not help)
    │   ├── NotFound         404: the object or its kind is absent
    │   ├── Conflict         409 or a failed precondition: another writer was first (observe again, then decide again)
    │   ├── Gone             410: the resourceVersion is too old (list again)
    │   └── Rejected         any other 4xx: the request is wrong
    └── StateError           stored state cannot be read: unknown state means hold, never guess

Adapters translate library errors into these at the edge; nothing above `controller.clients` catches a library's exception.
"""

from __future__ import annotations


class FailoverError(Exception):
    """Base class; not raised itself."""


class ConfigError(FailoverError):
    """A file or setting is wrong.

    Args:
        message: One line or several, each naming file, place, what was found and what is allowed.
    """


class RemoteError(FailoverError):
    """Another system did not do what was asked.

    Attributes:
        status: HTTP status, 0 if there was no answer.
        code: The service's own error code or reason, "" if it stated none.
        retry_after_s: Seconds the service asked us to wait, None if it did not ask.
        causes: What exactly was refused, in the API server's words for machines, such as ``NamespaceTerminating``.
    """

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", retry_after_s: float | None = None, causes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.causes = causes


class Unavailable(RemoteError):
    """No usable answer: connection refused, time-out, 5xx or throttling. Trying again later may help."""


class TooLarge(Unavailable):
    """The answer is longer than what is read of one. Asking for less may help."""


class Forbidden(RemoteError):
    """401 or 403. A permission is missing; trying again does not help."""


class NotFound(RemoteError):
    """404. The object, or its whole kind (a CRD that is not installed), is absent."""


class Conflict(RemoteError):
    """409 or a failed precondition: another writer was first."""


class Gone(RemoteError):
    """410: the requested resourceVersion has been compacted away."""


class Rejected(RemoteError):
    """Any other 4xx: the request itself is wrong."""


class StateError(FailoverError):
    """Stored state exists but cannot be read."""
