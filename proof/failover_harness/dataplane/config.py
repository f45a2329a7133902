"""Makes Envoy's configuration from the state of ELBv2, so that Envoy behaves like the Application Load Balancer. Pure.

The behaviour of target groups:

- Envoy first chooses a group by weight, then a target in it; it never falls back to another group.
- A group without targets, or with targets not checked yet, answers 503. A group whose targets all fail still gets requests.
- A sticky client's cookie takes precedence over the weights while the rule is sticky and still names the group.
- A group that no rule names is absent, and so not checked.
- Requests are not retried.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from failover_harness.dataplane.elb import Action, Fixed, Forward, Group, HealthCheck, Listener, Rule, State

Object = dict[str, Any]

COOKIE: Final = "AWSALBTG"
TARGET_HEADER: Final = "x-target"
"""Response header: the address that answered or was tried; absent if none was."""

GROUP_HEADER: Final = "x-target-group"
"""Request header: the target group of the chosen target."""

NOBODY: Final = "nobody"
"""The name of a cluster that never exists: requests routed to it get a 503."""

IDLE_S: Final = 60
"""The load balancer's default idle timeout, seconds; it also closes its own idle connections to targets after it."""

_CONNECT_S: Final = 10
_SOURCE: Final = "x-connecting-ip"  # Envoy sets it and ignores a client's value
_TYPE: Final = "type.googleapis.com/envoy"
_OCTETS: Final = 4
_OCTET_BITS: Final = 8
_MANY: Final = 100_000  # Envoy's circuit breakers would answer 503; the load balancer has no such limit


@dataclass(frozen=True, slots=True)
class Resources:
    """Envoy's resources by the names with which they refer to one another."""

    listeners: Mapping[str, Object] = field(default_factory=dict)
    routes: Mapping[str, Object] = field(default_factory=dict)
    clusters: Mapping[str, Object] = field(default_factory=dict)
    endpoints: Mapping[str, Object] = field(default_factory=dict)


Address = Callable[[str], str]
"""Maps an address in the VPC to the loopback address that serves it."""


def resources(
    state: State,
    places: Mapping[str, tuple[str, int]],
    address: Address,
    folder: str,
    *,
    checked: Container[str] = (),
    first_check_s: float = 0.0,
) -> Resources:
    """Makes all of Envoy's resources.

    Args:
        state: The state of ELBv2.
        checked: ARNs of the groups with at least one checked target. Envoy counts unchecked targets as failing and would use them if there
            are no others; the load balancer answers 503.
        places: Address and port of each listener by ARN; listeners without one are left out.
        address: Maps a target's address to a loopback address.
        folder: Folder of the route and endpoint files that Envoy watches.
        first_check_s: Longest random wait before the first check of a new target, seconds.
    """
    used = state.used()
    groups = {name(group.arn): group for group in state.groups if group.arn in used}
    listeners = {name(one.arn): one for one in state.listeners if one.arn in places}
    return Resources(
        {key: _listener(key, places[one.arn], folder) for key, one in listeners.items()},
        {key: _routes(key, one, checked) for key, one in listeners.items()},
        {key: _cluster(key, group, folder, first_check_s) for key, group in groups.items()},
        {key: _endpoints(key, group, address) for key, group in groups.items()},
    )


def name(arn: str) -> str:
    """The unique part of an ARN, for names of files and cookies. A group recreated under its old name has another."""
    return re.sub(r"[^A-Za-z0-9-]", ".", arn.rsplit(":", 1)[-1].partition("/")[2])


# --- routes -----------------------------------------------------------------------------------------------------------------------------


def _routes(key: str, listener: Listener, checked: Container[str]) -> Object:
    ordered = sorted(listener.rules, key=lambda rule: rule.priority)
    routes = [route for rule in ordered for route in _actions(_match(rule), rule.action, checked)]
    routes += _actions({"prefix": "/"}, listener.default, checked)
    return {
        "@type": f"{_TYPE}.config.route.v3.RouteConfiguration",
        "name": key,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        "request_headers_to_remove": [_SOURCE],
        "response_headers_to_add": [_header(TARGET_HEADER, "%UPSTREAM_HOST%")],
    }


def _match(rule: Rule) -> Object:
    match: Object = {}
    headers: list[Object] = []
    for condition, values in rule.conditions:
        field, _, header = condition.partition(":")
        match field:
            case "path-pattern":
                match["safe_regex"] = {"regex": "|".join(_pattern(value) for value in values)}
            case "host-header":
                hosts = "|".join(_pattern(value.lower()) for value in values)
                headers.append({"name": ":authority", "string_match": {"safe_regex": {"regex": f"(?i)({hosts})(:[0-9]+)?"}}})
            case "http-header":
                regex = "|".join(_pattern(value) for value in values)
                headers.append({"name": header.lower(), "string_match": {"safe_regex": {"regex": f"(?i)({regex})"}}})
            case "source-ip":
                networks = "|".join(_network(value) for value in values)
                headers.append({"name": _SOURCE, "string_match": {"safe_regex": {"regex": networks}}})
            case unknown:
                raise ValueError(f"the data plane does not support conditions on {unknown}")
    if "safe_regex" not in match:
        match["prefix"] = "/"
    return match | ({"headers": headers} if headers else {})


def _pattern(value: str) -> str:
    """A regular expression for a pattern of ELBv2, in which ``*`` matches any characters and ``?`` exactly one."""
    return re.escape(value).replace(r"\*", ".*").replace(r"\?", ".")


def _network(cidr: str) -> str:
    """A regular expression for an IPv4 network whose prefix ends at an octet.

    Raises:
        ValueError: It is another kind of network.
    """
    base, _, bits = cidr.partition("/")
    octets, whole = base.split("."), int(bits or 32)
    if len(octets) != _OCTETS or whole % _OCTET_BITS or not 0 <= whole <= _OCTETS * _OCTET_BITS:
        raise ValueError(f"the data plane does not support the network {cidr}")
    kept = octets[: whole // _OCTET_BITS]
    return r"\.".join([*kept, *[r"[0-9]+"] * (_OCTETS - len(kept))])


def _actions(match: Object, action: Action, checked: Container[str]) -> list[Object]:
    """The routes of a rule: a sticky client's cookie comes before the weights."""
    if isinstance(action, Fixed):
        return [{"match": match, "direct_response": _answer(action.status, action.body)}]
    sticky = [_pinned(match, arn, checked) for arn, _ in action.weights] if action.stickiness_s else []
    return [*sticky, {"match": match} | _weighted(action, checked)]


def _pinned(match: Object, arn: str, checked: Container[str]) -> Object:
    cookie = {"name": "cookie", "string_match": {"safe_regex": {"regex": f"(.*; *)?{COOKIE}={re.escape(name(arn))}(;.*)?"}}}
    headers = [*match.get("headers", []), cookie]
    return {
        "match": match | {"headers": headers},
        "route": _to() | {"cluster": _cluster_of(arn, checked)},
        "request_headers_to_add": [_header(GROUP_HEADER, name(arn))],
    }


def _weighted(action: Forward, checked: Container[str]) -> Object:
    """A weighted choice. AWS's behaviour without any weight is unknown; here it is a 503."""
    if not any(weight for _, weight in action.weights):
        return {"direct_response": _answer(503, "no target group has a weight")}
    clusters = []
    for arn, weight in action.weights:
        chosen: Object = {
            "name": _cluster_of(arn, checked),
            "weight": weight,
            "request_headers_to_add": [_header(GROUP_HEADER, name(arn))],
        }
        if action.stickiness_s:
            # Set once and not renewed: whether AWS renews it is unknown, and this way stickiness ends.
            cookie = f"{COOKIE}={name(arn)}; Max-Age={action.stickiness_s}; Path=/"
            chosen["response_headers_to_add"] = [_header("set-cookie", cookie)]
        clusters.append(chosen)
    return {"route": _to() | {"weighted_clusters": {"clusters": clusters}}}


def _cluster_of(arn: str, checked: Container[str]) -> str:
    return name(arn) if arn in checked else NOBODY


def _to() -> Object:
    return {"timeout": "0s", "idle_timeout": f"{IDLE_S}s", "cluster_not_found_response_code": "SERVICE_UNAVAILABLE"}


def _answer(status: int, body: str) -> Object:
    return {"status": status, "body": {"inline_string": body}}


def _header(key: str, value: str) -> Object:
    return {"header": {"key": key, "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}


# --- listeners --------------------------------------------------------------------------------------------------------------------------


def _listener(key: str, place: tuple[str, int], folder: str) -> Object:
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "alb",
        "rds": {"route_config_name": key, "config_source": _file(f"{folder}/{key}.routes.json")},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"}}],
        "stream_idle_timeout": f"{IDLE_S}s",
        "generate_request_id": False,
        "early_header_mutation_extensions": [_connecting_address()],
        "local_reply_config": {"mappers": [_gateway_error(502, ["UF", "UC", "UPE"]), _gateway_error(504, ["UT"])]},
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    where = {"socket_address": {"address": place[0], "port_value": place[1]}}
    return {"@type": f"{_TYPE}.config.listener.v3.Listener", "name": key, "address": where, "filter_chains": [chain]}


def _connecting_address() -> Object:
    """Copies the connecting address into a header: source-ip conditions need it, and Envoy's routes match only headers."""
    header = {"header": {"key": _SOURCE, "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}}
    mutation = {"append": header | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    kind = f"{_TYPE}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return {"name": "connecting-address", "typed_config": {"@type": kind, "mutations": [mutation]}}


def _gateway_error(status: int, flags: list[str]) -> Object:
    """Replaces Envoy's status for a failing target with the load balancer's."""
    return {"filter": {"response_flag_filter": {"flags": flags}}, "status_code": status}


def _file(path: str) -> Object:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


# --- clusters ---------------------------------------------------------------------------------------------------------------------------


def _cluster(key: str, group: Group, folder: str, first_check_s: float) -> Object:
    protocol = f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions"
    options = {
        "@type": protocol,
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_S}s"},
    }
    many = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _MANY)
    return {
        "@type": f"{_TYPE}.config.cluster.v3.Cluster",
        "name": key,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _file(f"{folder}/{key}.endpoints.json")},
        "connect_timeout": f"{_CONNECT_S}s",
        "load_balancing_policy": {"policies": [{"typed_extension_config": _policy(group.algorithm)}]},
        # In "panic" Envoy uses failing targets. At 1 % it does so only if none of up to a hundred targets is healthy.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}, "ignore_new_hosts_until_first_hc": True},
        # A deregistered target gets no new requests and finishes the present ones.
        "ignore_health_on_host_removal": True,
        "health_checks": [_check(group.check, first_check_s)],
        "circuit_breakers": {"thresholds": [many]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def _policy(algorithm: str) -> Object:
    kinds = {
        "round_robin": ("round_robin", "RoundRobin", {}),
        "least_outstanding_requests": ("least_request", "LeastRequest", {"selection_method": "FULL_SCAN"}),
    }
    if algorithm not in kinds:
        raise ValueError(f"the data plane does not support the algorithm {algorithm}")
    package, kind, settings = kinds[algorithm]
    typed = {"@type": f"{_TYPE}.extensions.load_balancing_policies.{package}.v3.{kind}"} | settings
    return {"name": f"envoy.load_balancing_policies.{package}", "typed_config": typed}


def _check(check: HealthCheck, first_check_s: float) -> Object:
    """A new target becomes healthy or unhealthy with its first check; later the thresholds apply."""
    interval = f"{check.interval_s:g}s"
    return {
        "timeout": f"{check.timeout_s:g}s",
        "interval": interval,
        "no_traffic_interval": interval,  # otherwise a minute for a group at weight 0
        "initial_jitter": f"{first_check_s:g}s",
        "healthy_threshold": check.healthy_after,
        "unhealthy_threshold": check.unhealthy_after,
        "http_health_check": {
            "path": check.path,
            "expected_statuses": _ranges(check.codes),
            "retriable_statuses": [{"start": 100, "end": 600}],  # otherwise one wrong status is enough, whatever the threshold
        },
    }


def _ranges(codes: str) -> list[Object]:
    ranges = []
    for part in codes.split(","):
        first, _, last = part.strip().partition("-")
        ranges.append({"start": int(first), "end": int(last or first) + 1})
    return ranges


def _endpoints(key: str, group: Group, address: Address) -> Object:
    hosts = [_host(address(target.address), target.port) for target in group.targets]
    return {
        "@type": f"{_TYPE}.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": key,
        "endpoints": [{"locality": {}, "lb_endpoints": hosts}] if hosts else [],
    }


def _host(address: str, port: int) -> Object:
    return {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
