"""Parses the load-balancer controller's annotations except actions: listeners, health checks and target group attributes. Pure.

The fake refuses annotations that it does not emulate, because the real controller would act on them. It also refuses misspelt ones, which
the real controller ignores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.routing.names import PREFIX
from failover_testbed.lbc.go_json import DecodeError, decode

_HEALTH: Final = frozenset(
    {
        "healthcheck-path", "healthcheck-port", "healthcheck-protocol", "healthcheck-interval-seconds", "healthcheck-timeout-seconds",
        "healthy-threshold-count", "unhealthy-threshold-count", "success-codes", "target-group-attributes",
    }
)  # fmt: skip
_INGRESS: Final = _HEALTH | {"certificate-arn", "group.name", "group.order", "listen-ports", "scheme", "target-type"}
_NAMED: Final = ("actions.", "conditions.")
_ATTRIBUTES: Final = frozenset(
    {
        "deregistration_delay.timeout_seconds", "load_balancing.algorithm.type", "slow_start.duration_seconds", "stickiness.enabled",
        "stickiness.lb_cookie.duration_seconds", "stickiness.type",
    }
)  # fmt: skip
_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443


class BuildError(Exception):
    """The Ingresses do not make a valid load balancer. The controller then writes only an event with this message."""


def unsupported(what: str) -> BuildError:
    """The error for a feature that the fake does not emulate."""
    return BuildError(f"the emulated load-balancer controller does not support {what}")


def cannot_decode(key: str, raw: str, why: DecodeError) -> BuildError:
    """The error for an annotation that is not the expected JSON, worded as by the real controller."""
    return BuildError(f"failed to parse json annotation, {key}: {raw}: {why}")


@dataclass(frozen=True, slots=True)
class Listen:
    """A listener's port. `certificate` is an ARN, "" for HTTP."""

    port: int
    protocol: str
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Health check of a target group. The defaults are the load-balancer controller's, not AWS's."""

    path: str = "/"
    port: str = "traffic-port"
    interval_s: int = 15
    timeout_s: int = 5
    healthy: int = 2
    unhealthy: int = 2
    codes: str = "200"


def check_ingress(annotations: Mapping[str, Any]) -> None:
    """Refuses annotations that are not emulated.

    Raises:
        BuildError: An annotation or value is not emulated.
    """
    _check(annotations, _INGRESS)
    kind = annotations.get(f"{PREFIX}/target-type", "instance")
    if kind != "ip":
        raise unsupported(f"target-type {kind} (which is also the default); only ip")
    if _setting(annotations, "healthcheck-protocol", "HTTP") != "HTTP":
        raise unsupported("a healthcheck-protocol other than HTTP")


def _check(annotations: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in sorted(annotations):
        name = key.removeprefix(f"{PREFIX}/")
        if name != key and name not in known and not (known is _INGRESS and name.startswith(_NAMED)):
            raise unsupported(f"the annotation {key}")


def _setting(annotations: Mapping[str, Any], name: str, default: str) -> str:
    return str(annotations.get(f"{PREFIX}/{name}", default))


def _number(annotations: Mapping[str, Any], name: str, default: int) -> int:
    raw = _setting(annotations, name, str(default))
    try:
        return int(raw)
    except ValueError:
        raise BuildError(f"failed to parse int64 annotation, {PREFIX}/{name}: {raw}") from None


def scheme(annotations: Mapping[str, Any]) -> str | None:
    """The scheme, ``internal`` or ``internet-facing``; None if there is no annotation.

    Raises:
        BuildError: The value is neither.
    """
    raw = annotations.get(f"{PREFIX}/scheme")
    if raw not in {None, "internal", "internet-facing"}:
        raise BuildError(f"unknown scheme: {raw}")
    return raw


def order(annotations: Mapping[str, Any]) -> int:
    """The order of an Ingress in its group; namespace and name decide between equal ones.

    Raises:
        BuildError: The value is not a number.
    """
    return _number(annotations, "group.order", 0)


def listeners(annotations: Mapping[str, Any]) -> tuple[Listen, ...]:
    """The listeners of an Ingress, in the order of their ports.

    Raises:
        BuildError: They cannot be read, or need a feature that is not emulated.
    """
    certificate = _setting(annotations, "certificate-arn", "")
    if "," in certificate:
        raise unsupported("more than one certificate")
    key = f"{PREFIX}/listen-ports"
    if key not in annotations:
        return (Listen(_HTTPS_PORT, "HTTPS", certificate) if certificate else Listen(_HTTP_PORT, "HTTP"),)
    raw = str(annotations[key])
    try:
        entries = decode(raw, fold=False)
    except DecodeError as error:
        raise cannot_decode(key, raw, error) from None
    found: dict[int, Listen] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        for protocol, port in entry.items() if isinstance(entry, dict) else [("", entry)]:
            if protocol not in {"HTTP", "HTTPS"} or type(port) is not int:
                raise BuildError(f"listen-ports must be a list of HTTP and HTTPS with a port, found {raw}")
            if protocol == "HTTPS" and not certificate:
                raise unsupported("finding a certificate for HTTPS; state certificate-arn")
            found[port] = Listen(port, protocol, certificate if protocol == "HTTPS" else "")
    if not found:
        raise BuildError("empty listen ports")
    return tuple(found[port] for port in sorted(found))


def target_group(ingress: Mapping[str, Any], service: Mapping[str, Any]) -> tuple[HealthCheck, tuple[tuple[str, str], ...]]:
    """Health check and attributes of a Service's target group. The Service's annotations take precedence over the Ingress'.

    Raises:
        BuildError: A value cannot be read, or an annotation of the Service is not emulated.
    """
    _check(service, _HEALTH)
    both = {**ingress, **service}
    default = HealthCheck()
    port = _setting(both, "healthcheck-port", default.port)
    if port != default.port and not port.isdecimal():
        raise unsupported("named health check ports")
    check = HealthCheck(
        path=_setting(both, "healthcheck-path", default.path),
        port=port,
        interval_s=_number(both, "healthcheck-interval-seconds", default.interval_s),
        timeout_s=_number(both, "healthcheck-timeout-seconds", default.timeout_s),
        healthy=_number(both, "healthy-threshold-count", default.healthy),
        unhealthy=_number(both, "unhealthy-threshold-count", default.unhealthy),
        codes=_setting(both, "success-codes", default.codes),
    )
    return check, tuple(sorted(_attributes(_setting(both, "target-group-attributes", "")).items()))


def _attributes(raw: str) -> dict[str, str]:
    key, found = f"{PREFIX}/target-group-attributes", {}
    for entry in filter(None, (part.strip() for part in raw.split(","))):
        name, equals, value = entry.partition("=")
        if not equals or not name.strip():
            raise BuildError(f"failed to parse stringMap annotation, {key}: {raw}")
        if name.strip() not in _ATTRIBUTES:
            raise unsupported(f"the target group attribute {name.strip()}")
        found[name.strip()] = value.strip()
    return found
