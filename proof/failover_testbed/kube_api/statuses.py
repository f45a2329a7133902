"""The errors of a Kubernetes API server, worded as by a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from failover_testbed.kube_api.registry import Resource

STALE = "the object has been modified; please apply your changes to the latest version and try again"


class ApiError(Exception):
    """A request that failed.

    Attributes:
        code: HTTP status.
        status: The body, a ``Status`` object; empty if `text` is sent instead.
        text: A plain-text body, as the real server sends for missing API groups and for throttling.
        headers: Extra response headers.
    """

    def __init__(self, code: int, status: Mapping[str, Any], *, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {status.get('message') or text}")
        self.code = code
        self.status = dict(status)
        self.text = text
        self.headers = dict(headers or {})


def failure(code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> ApiError:
    """An error with a ``Status`` body; `reason` may be "" if the real server gives none."""
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        body["reason"] = reason
    if details is not None:
        body["details"] = {key: value for key, value in details.items() if value}
    body["code"] = code
    return ApiError(code, body)


def _about(resource: Resource, name: str) -> dict[str, Any]:
    return {"name": name, "group": resource.group, "kind": resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    """404: the object is absent."""
    return failure(404, "NotFound", f'{resource.qualified} "{name}" not found', _about(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: an object of this name exists."""
    return failure(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _about(resource, name))


def conflict(resource: Resource, name: str, why: str = STALE) -> ApiError:
    """409: another client wrote first, or a precondition does not hold."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return failure(409, "Conflict", message, _about(resource, name))


def delete_conflict(resource: Resource, name: str, why: str) -> ApiError:
    """409 of a DELETE precondition; here the real server names the kind, not the plural."""
    message = f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": {why}'
    return failure(409, "Conflict", message, {"name": name, "group": resource.group, "kind": resource.kind})


def invalid(kind: str, name: str, errors: Sequence[tuple[str, str, str]]) -> ApiError:
    """422: the object breaks a rule.

    Args:
        kind: ``Kind`` or ``Kind.group``, "" if the real server gives none.
        name: The object's name.
        errors: For each broken rule (field, cause such as ``FieldValueInvalid``, text after the field).
    """
    texts = [f"{field}: {text}" for field, _, text in errors]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    bare, _, group = kind.partition(".")
    causes = [{"reason": cause, "message": text, "field": field} for field, cause, text in errors]
    details = {"name": name, "group": group, "kind": bare, "causes": causes}
    return failure(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details)


def bad_request(message: str) -> ApiError:
    """400."""
    return failure(400, "BadRequest", message)


def unprocessable_patch() -> ApiError:
    """422 of a JSON patch that does not fit the object, a failed ``test`` included; the real server does not say which operation."""
    return failure(422, "Invalid", "the server rejected our request due to an error in our request", {})


def expired(message: str) -> ApiError:
    """410: the resourceVersion or continue token is too old."""
    return failure(410, "Expired", message)


def unsupported(what: str, code: int = 501) -> ApiError:
    """The error for what only the real server supports."""
    reason = "UnsupportedMediaType" if code == 415 else "NotImplemented"  # noqa: PLR2004
    return failure(code, reason, f"the emulated Kubernetes API does not support {what}")


def unauthorized() -> ApiError:
    """401."""
    return failure(401, "Unauthorized", "Unauthorized")


def no_such_path() -> ApiError:
    """404 of a path that no API group serves, for example of a CRD that is not installed."""
    return ApiError(404, {}, text="404 page not found\n")


def method_not_allowed() -> ApiError:
    """405."""
    return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def no_such_resource() -> ApiError:
    """404 of a path that a built-in API group does not have, for example of a subresource."""
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def no_namespace(name: str) -> ApiError:
    """404: the namespace of a new object does not exist."""
    return failure(404, "NotFound", f'namespaces "{name}" not found', {"name": name, "kind": "namespaces"})


def too_many_requests(retry_after_s: int) -> ApiError:
    """429 as API priority and fairness sends it: plain text, not a ``Status``."""
    text = "Too many requests, please try again later.\n"
    return ApiError(429, {}, text=text, headers={"Retry-After": str(retry_after_s)})
