"""One request for a resource, and the contents of its body."""

from __future__ import annotations

import json
from typing import Any

import yaml
from starlette.requests import Request

from failover_testbed.kube_api import patches, requests, selectors, statuses
from failover_testbed.kube_api.auth import Access, Identity
from failover_testbed.kube_api.records import DeleteOptions
from failover_testbed.kube_api.registry import Resource
from failover_testbed.kube_api.store import Patcher

_YAML = "application/yaml"
_BODY_TYPES = ("application/json", _YAML)


class Call:
    """One authorized request for a served resource."""

    def __init__(self, request: Request, body: bytes, access: Access, resource: Resource, identity: Identity) -> None:
        self.request = request
        self.query = request.query_params
        self.body = body
        self.access = access
        self.resource = resource
        self.identity = identity
        # For authorization a namespace is in its own scope, but it is stored at the cluster scope.
        self.namespace = access.namespace if resource.namespaced else ""

    def content_type(self) -> str:
        """The media type of the body, without parameters."""
        return self.request.headers.get("content-type", "").split(";")[0].strip().lower()

    def manager(self) -> str:
        """The field manager of an update."""
        return requests.field_manager(self.query, self.request.headers.get("user-agent", ""))

    def selector(self) -> selectors.Selector:
        """The selectors in the query."""
        return selectors.parse(self.resource, self.query.get("labelSelector", ""), self.query.get("fieldSelector", ""))

    def object(self) -> dict[str, Any]:
        """The object in the body."""
        kind = self.content_type() or _BODY_TYPES[0]
        if kind not in _BODY_TYPES:
            raise statuses.unsupported(f"bodies of type {kind!r} - accepted media types include: {', '.join(_BODY_TYPES)}", 415)
        if kind == _YAML:
            return parse_yaml(self.body)
        parsed = _parse_json(self.body)
        if not isinstance(parsed, dict):
            raise statuses.bad_request("the body is not an object")
        return parsed


def _parse_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        raise statuses.bad_request(f"the object provided is unrecognized: {error}") from error


def parse_yaml(body: bytes) -> dict[str, Any]:
    """The object in a YAML or JSON body.

    Raises:
        ApiError: 400.
    """
    # JSON first: programs send it, and parsing it is a hundred times as fast.
    try:
        parsed = json.loads(body)
    except ValueError:
        try:
            parsed = yaml.load(body, Loader=_KubernetesLoader)  # noqa: S506 - a SafeLoader without timestamps
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise statuses.bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(parsed, dict):
        raise statuses.bad_request("error decoding YAML: the body is not an object")
    return parsed


class _KubernetesLoader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: timestamps are strings."""


_KubernetesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def json_patcher(body: bytes) -> Patcher:
    """A function that applies a JSON patch to an object.

    Raises:
        ApiError: 400, 413, 501.
    """
    operations = patches.decode_json_patch(body)
    return lambda live: patches.json_patch(live, operations)


def merge_patcher(body: bytes) -> Patcher:
    """A function that applies a merge patch to an object.

    Raises:
        ApiError: 400.
    """
    try:
        patch = json.loads(body)
    except ValueError as error:
        raise statuses.bad_request(f"error decoding patch: {error}") from error
    if not isinstance(patch, dict):
        raise statuses.bad_request("error decoding patch: a merge patch of an object is an object")

    def merged(live: dict[str, Any]) -> dict[str, Any]:
        result = patches.merge_patch(live, patch)
        return result if isinstance(result, dict) else {}

    return merged


def delete_options(call: Call) -> DeleteOptions:
    """The delete options in a request's query and body.

    Raises:
        ApiError: 501 for any propagation policy but Background.
    """
    raw = call.object() if call.body.strip() else {}
    policy = call.query.get("propagationPolicy") or raw.get("propagationPolicy") or "Background"
    if policy != "Background" or raw.get("orphanDependents") is not None or "orphanDependents" in call.query:
        raise statuses.unsupported(f"the deletion propagation policy {policy!r} (only Background)")
    preconditions = raw.get("preconditions") or {}
    grace = requests.integer(call.query, "gracePeriodSeconds")
    pretend = requests.dry_run(call.query, "DeleteOptions") or raw.get("dryRun") == ["All"]
    return DeleteOptions(
        grace_seconds=raw.get("gracePeriodSeconds") if grace is None else grace,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        dry_run=pretend,
    )
