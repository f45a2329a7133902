"""HTTP in front of the store: authentication, authorization, audit, routing and the bodies of answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from controller.clock import Clock
from failover_testbed.kube_api import bodies, requests, statuses
from failover_testbed.kube_api.auth import ANONYMOUS, Access, AuditLog, AuditRecord, FaultQueue, Identity, forbidden
from failover_testbed.kube_api.bodies import Call
from failover_testbed.kube_api.discovery import discover
from failover_testbed.kube_api.field_sets import dump
from failover_testbed.kube_api.records import Page
from failover_testbed.kube_api.registry import Registry, Resource
from failover_testbed.kube_api.store import Store
from failover_testbed.kube_api.watch import WatchHub, WatchRequest

_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_OPEN_PATHS = ("/healthz", "/readyz", "/livez", "/version")
_DEFAULT_WATCH_S = 1800

_INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with "
    "the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


class KubeApp:
    """The ASGI application.

    Args:
        registry: The served resources.
        store: The stored objects.
        hub: Feeds watches.
        clock: Time of the audit log.
        tokens: Identity by bearer token; read at every request.
        audit: Records the requests.
        faults: Failures to inject.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        hub: WatchHub,
        clock: Clock,
        tokens: Mapping[str, Identity],
        audit: AuditLog,
        faults: FaultQueue,
    ) -> None:
        self._registry = registry
        self._store = store
        self._hub = hub
        self._clock = clock
        self._tokens = tokens
        self._audit = audit
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        body = await request.body()
        target = requests.parse_target(request.method, request.url.path, request.query_params)
        identity = self._identity(request)
        arrived = self._clock.now()
        try:
            response = self._answer(request, body, target, identity)
        except statuses.ApiError as error:
            response = _error_response(error)
        self._audit.add(
            AuditRecord(
                time=arrived,
                user=identity.user if identity else "",
                access=target.access,
                query=request.url.query,
                content_type=request.headers.get("content-type", ""),
                body=body,
                code=response.status_code,
            )
        )
        await response(scope, receive, send)

    def _identity(self, request: Request) -> Identity | None:
        """The sender; None if the token is unknown."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self._tokens.get(token.strip()) if scheme.lower() == "bearer" else ANONYMOUS

    def _answer(self, request: Request, body: bytes, target: requests.Target, identity: Identity | None) -> Response:
        if identity is None:
            raise statuses.unauthorized()
        injected = self._faults.take(target.access)
        if injected is not None:
            raise injected
        _check_accept(request.headers.get("accept", ""))
        if not target.access.resource:
            if identity is ANONYMOUS and request.url.path not in _OPEN_PATHS:
                raise forbidden(identity, target.access)
            return discover(self._registry, request.method, request.url.path)
        if not identity.may(target.access):
            raise forbidden(identity, target.access)
        resource = requests.resolve(self._registry, target)
        call = Call(request, body, target.access, resource, identity)
        handler = self._HANDLERS.get(target.access.verb)
        if handler is None:
            raise statuses.unsupported(f"{request.method} on a collection ({target.access.verb})")
        return handler(self, call)

    def _get(self, call: Call) -> Response:
        found = self._store.get(call.resource, call.namespace, call.access.name)
        return _json_response(found.full)

    def _list(self, call: Call) -> Response:
        selector = call.selector()
        _check_list_options(call.query, self._store.resource_version)
        limit = requests.integer(call.query, "limit")
        token = call.query.get("continue")
        if not limit and not token:
            page = self._store.select(call.resource, call.namespace, selector)
        else:
            start = requests.decode_continue(token) if token else None
            try:
                page = self._store.page(call.resource, call.namespace, selector, limit or _unlimited(), start)
            except LookupError as error:
                raise _list_expired(str(error.args[0])) from error
        return _json_response(_list_body(call.resource, page))

    def _watch(self, call: Call) -> Response:
        timeout = requests.integer(call.query, "timeoutSeconds")
        watch = WatchRequest(
            resource=call.resource,
            namespace=call.namespace,
            selector=call.selector(),
            start=requests.resource_version(call.query),
            initial=requests.initial_events(call.query),
            bookmarks=requests.truthy(call.query.get("allowWatchBookmarks")),
            timeout_s=float(timeout or _DEFAULT_WATCH_S),
        )
        abort: Callable[[], None] | None = call.request.scope.get("state", {}).get("abort")
        return StreamingResponse(_lines(self._hub.stream(watch), abort), media_type="application/json")

    def _create(self, call: Call) -> Response:
        if call.access.name:
            raise statuses.method_not_allowed()
        requests.check_field_validation(call.query)
        pretend = requests.dry_run(call.query, "CreateOptions")
        writer = self._store.writer(call.manager())
        created = self._store.create(call.resource, call.namespace, call.object(), writer, dry_run=pretend)
        return _json_response(created.full, 201)

    def _update(self, call: Call) -> Response:
        if not call.access.name:
            raise statuses.method_not_allowed()
        requests.check_field_validation(call.query)
        pretend = requests.dry_run(call.query, "UpdateOptions")
        writer = self._store.writer(call.manager(), call.access.subresource)
        name = call.access.name
        stored, created = self._store.replace(call.resource, call.namespace, name, call.object(), writer, dry_run=pretend)
        return _json_response(stored.full, 201 if created else 200)

    def _patch(self, call: Call) -> Response:
        kind = call.content_type()
        if kind not in (_JSON_PATCH, _MERGE_PATCH, _APPLY_PATCH):
            accepted = ", ".join((_JSON_PATCH, _MERGE_PATCH, _APPLY_PATCH))
            why = f"patches of type {kind!r} - accepted media types include: {accepted}"
            raise statuses.unsupported(why, 415)
        requests.check_field_validation(call.query)
        pretend = requests.dry_run(call.query, "PatchOptions")
        force = call.query.get("force")
        if kind == _APPLY_PATCH:
            return self._apply(call, force=requests.truthy(force), pretend=pretend)
        if force is not None:
            text = "Forbidden: may not be specified for non-apply patch"
            raise statuses.invalid("PatchOptions.meta.k8s.io", "", [("force", "FieldValueForbidden", text)])
        patcher = bodies.json_patcher(call.body) if kind == _JSON_PATCH else bodies.merge_patcher(call.body)
        writer = self._store.writer(call.manager(), call.access.subresource)
        stored = self._store.patch(call.resource, call.namespace, call.access.name, patcher, writer, dry_run=pretend)
        return _json_response(stored.full)

    def _apply(self, call: Call, *, force: bool, pretend: bool) -> Response:
        manager = call.query.get("fieldManager")
        if not manager:
            text = "Required value: is required for apply patch"
            raise statuses.invalid("PatchOptions.meta.k8s.io", "", [("fieldManager", "FieldValueRequired", text)])
        access = call.access
        create = Access("create", access.group, access.resource, access.subresource, access.namespace, access.name)

        def may_create() -> None:
            if not call.identity.may(create):
                raise forbidden(call.identity, create)

        stored, created = self._store.apply(
            call.resource,
            call.namespace,
            access.name,
            bodies.parse_yaml(call.body),
            self._store.writer(manager, access.subresource),
            force=force,
            dry_run=pretend,
            may_create=may_create,
        )
        return _json_response(stored.full, 201 if created else 200)

    def _delete(self, call: Call) -> Response:
        if call.access.subresource:
            raise statuses.unsupported("DELETE on a subresource")
        options = bodies.delete_options(call)
        stored, gone = self._store.delete(call.resource, call.namespace, call.access.name, options)
        if not gone or call.resource.returns_deleted:
            return _json_response(stored.full)
        details = {
            "name": call.access.name,
            "group": call.resource.group,
            "kind": call.resource.plural,
            "uid": stored.obj["metadata"]["uid"],
        }
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {key: value for key, value in details.items() if value},
        }
        return _json_response(dump(status))

    _HANDLERS: Mapping[str, Callable[[KubeApp, Call], Response]] = {
        "get": _get,
        "list": _list,
        "watch": _watch,
        "create": _create,
        "update": _update,
        "patch": _patch,
        "delete": _delete,
    }


def _unlimited() -> int:
    return 2**62


def _check_accept(accept: str) -> None:
    offers = [offer.strip().lower() for offer in accept.split(",")] if accept else ["*/*"]
    for offer in offers:
        kind, *parameters = (part.strip() for part in offer.split(";"))
        # Clients that also accept plain JSON get it; those that accept only a Table or metadata are refused.
        if kind in ("*/*", "application/*", "application/json") and not any(item.startswith("as=") for item in parameters):
            return
    raise statuses.failure(406, "NotAcceptable", f"the emulated Kubernetes API answers in application/json only, not in {accept!r}")


def _check_list_options(query: Mapping[str, str], current: int) -> None:
    match = query.get("resourceVersionMatch")
    rv = requests.resource_version(query)
    if match == "Exact":
        raise statuses.unsupported("resourceVersionMatch=Exact")
    if rv is not None and rv > current:
        details = {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }
        raise statuses.failure(504, "Timeout", f"Timeout: Too large resource version: {rv}, current: {current}", details)


def _list_expired(key: str) -> statuses.ApiError:
    error = statuses.expired(_INCONSISTENT)
    error.status["metadata"] = {"continue": requests.encode_continue(-1, key)}
    return error


def _list_body(resource: Resource, page: Page) -> str:
    metadata: dict[str, Any] = {"resourceVersion": str(page.rv)}
    if page.next_key is not None:
        metadata["continue"] = requests.encode_continue(page.rv, page.next_key)
    if page.remaining is not None:
        metadata["remainingItemCount"] = page.remaining
    items = ",".join(item.item for item in page.items)
    head = f'{{"kind":"{resource.list_kind}","apiVersion":"{resource.api_version}"'
    return f'{head},"metadata":{dump(metadata)},"items":[{items}]}}'


async def _lines(stream: AsyncGenerator[str], abort: Callable[[], None] | None) -> AsyncIterator[str]:
    async with contextlib.aclosing(stream):
        async for line in stream:
            if line:
                yield line
            elif abort is not None:
                abort()


def _json_response(body: str, code: int = 200) -> Response:
    return Response(body, status_code=code, media_type="application/json")


def _error_response(error: statuses.ApiError) -> Response:
    if error.text:
        return PlainTextResponse(error.text, status_code=error.code, headers=error.headers)
    return Response(dump(error.status), status_code=error.code, headers=error.headers, media_type="application/json")
