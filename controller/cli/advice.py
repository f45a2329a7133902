"""What fixes the errors that people meet first: the variable to set or the command to run."""

from __future__ import annotations

from typing import Final

from controller.clients.kube import UNREACHABLE
from controller.errors import ConfigError, FailoverError, Forbidden, NotFound, Unavailable

_UNAUTHORIZED: Final = 401

_NO_APPLICATION: Final = (
    "name the application files with --applications or FAILOVERCTL_APPLICATIONS; "
    "`failoverctl init` lists the stacks of the cluster, and writes the file of the chosen stack"
)
_NO_SETTINGS: Final = "name the settings file with --settings or FAILOVERCTL_SETTINGS; without one the defaults count"
_NOT_AUTHENTICATED: Final = (
    "log in again (`aws sso login`), make the kubeconfig anew (`aws eks update-kubeconfig --name CLUSTER`), or choose another --context; "
    "`kubectl auth whoami` shows whether it worked"
)
_NOT_ALLOWED: Final = (
    "let somebody grant it: docs/permissions.md lists what each command needs; `kubectl auth can-i --list` shows what you may do"
)
_NO_SERVER: Final = (
    "is it the right cluster (--context, --kubeconfig, KUBECONFIG), and do you need a VPN? `kubectl version` asks the same server"
)
_NO_KIND: Final = "is it the right cluster (--context)? `failoverctl doctor --cluster` says which components are missing"


def advice(error: FailoverError) -> str:
    """What to do about an error, "" where its own text says it or nothing is known."""
    match error:
        case ConfigError() if "found no settings file" in str(error):
            return _NO_SETTINGS
        case ConfigError() if "found no file" in str(error) or "no application file found" in str(error):
            return _NO_APPLICATION
        case Forbidden(status=status) if status == _UNAUTHORIZED:
            return _NOT_AUTHENTICATED
        case Forbidden(status=status) if status:
            return _NOT_ALLOWED
        case Unavailable(code=code) if code in UNREACHABLE:
            return _NO_SERVER
        case NotFound():
            return _NO_KIND
        case _:
            return ""
