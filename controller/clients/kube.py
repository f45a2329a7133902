"""A thin Kubernetes client over plain dictionaries.

The `kubernetes` package supplies the parts that are hard to get right: kubeconfig, in-cluster tokens and their rotation, exec plugins such
as ``aws eks get-token``, TLS. Its typed models are not used: parsing a watch of thousands of objects into them costs several times the
memory and time of plain dictionaries.
Bodies are sent byte for byte as given, so that the bytes of a plan are the bytes that are applied.
"""

from __future__ import annotations

import binascii
import copy
import errno
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode
from urllib.request import getproxies

import urllib3

from controller.clients.calls import CallMeter
from controller.clients.deadline import PIECE, Deadline, content_of
from controller.errors import ConfigError, Conflict, Forbidden, Gone, NotFound, Rejected, RemoteError, TooLarge, Unavailable
from controller.foreign import decode, decode_page, shown

if TYPE_CHECKING:  # it takes half a second of CPU to import: only what connects pays for it
    from kubernetes import client as kubernetes_client

UNREACHABLE: Final = {
    "NewConnectionError": "the connection is refused",
    "NameResolutionError": "the name cannot be resolved",
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "no answer in time",
    "SSLError": "TLS failed: another certificate than the kubeconfig names",
    "ProxyError": "the proxy does not connect",
    "ProtocolError": "the connection broke",
    "DeadlineError": "no answer in time",
}
"""What urllib3's exceptions mean to people, by name."""

JSON: Final = "application/json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"

_NO_LISTENER: Final = frozenset({None, errno.ECONNREFUSED})
_SERVICE: Final = "kubernetes"  # name in the call meter
_NOT_SUCCESS: Final = 300  # from here on; redirects are not followed
_UNPROCESSABLE: Final = 422
_SERVER_ERROR: Final = 500
_KINDS: Final[Mapping[int, type[RemoteError]]] = {
    401: Forbidden, 403: Forbidden, 404: NotFound, 408: Unavailable, 409: Conflict, 410: Gone, 429: Unavailable,
}  # fmt: skip
_MAX_ERROR_TEXT: Final = 500
_MAX_CODE: Final = 64
_MAX_CAUSES: Final = 16
LARGEST: Final = 12 * 1024 * 1024
"""The longest answer, and the longest line of a watch, bytes: etcd refuses objects over about 1.5 MiB, whose text in JSON may be six times
as long."""
_ERROR: Final = 64 * 1024  # bytes that are read of an error's answer
_WHOLE: Final = 6  # times the time-out of a read: how long a whole answer may take
_DEFAULT_NAMESPACE: Final = "default"
_THIS_MACHINE: Final = "localhost,127.0.0.0/8,::1"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object as the API names it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    earlier: tuple[str, ...] = ()  # versions that an older server has in the place of `version`, the newest first

    @property
    def name(self) -> str:
        """``plural.group``, as RBAC and error messages write it; ``plural`` alone in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """``group/version``, or ``version`` alone in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of the collection (over all namespaces where `namespace` is None) or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        tail = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{scope}/{self.plural}{tail}"


PODS: Final = Resource("", "v1", "pods", "Pod")
EVENTS: Final = Resource("", "v1", "events", "Event")
SERVICES: Final = Resource("", "v1", "services", "Service")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
STATEFUL_SETS: Final = Resource("apps", "v1", "statefulsets", "StatefulSet")
ROLLOUTS: Final = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
LEADER_WORKER_SETS: Final = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet")
DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet")
API_SERVICES: Final = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)
INGRESS_CLASSES: Final = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False)
INGRESSES: Final = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")
HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GRPC_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute")
GATEWAYS: Final = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
REFERENCE_GRANTS: Final = Resource("gateway.networking.k8s.io", "v1", "referencegrants", "ReferenceGrant", earlier=("v1beta1",))
# The load-balancer controller served v1beta1 alone until the middle of 2026.
LISTENER_RULE_CONFIGURATIONS: Final = Resource(
    "gateway.k8s.aws", "v1", "listenerruleconfigurations", "ListenerRuleConfiguration", earlier=("v1beta1",)
)
LOAD_BALANCER_CONFIGURATIONS: Final = Resource(
    "gateway.k8s.aws", "v1", "loadbalancerconfigurations", "LoadBalancerConfiguration", earlier=("v1beta1",)
)
TARGET_GROUP_CONFIGURATIONS: Final = Resource(
    "gateway.k8s.aws", "v1", "targetgroupconfigurations", "TargetGroupConfiguration", earlier=("v1beta1",)
)
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
NODE_CLAIMS: Final = Resource("karpenter.sh", "v1", "nodeclaims", "NodeClaim", namespaced=False)
NODE_POOLS: Final = Resource("karpenter.sh", "v1", "nodepools", "NodePool", namespaced=False)
NODE_CLASSES: Final = Resource("karpenter.k8s.aws", "v1", "ec2nodeclasses", "EC2NodeClass", namespaced=False)
SCALED_OBJECTS: Final = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
TRIGGER_AUTHENTICATIONS: Final = Resource("keda.sh", "v1alpha1", "triggerauthentications", "TriggerAuthentication")
CLUSTER_TRIGGER_AUTHENTICATIONS: Final = Resource(
    "keda.sh", "v1alpha1", "clustertriggerauthentications", "ClusterTriggerAuthentication", namespaced=False
)
TARGET_GROUP_BINDINGS: Final = Resource("elbv2.k8s.aws", "v1beta1", "targetgroupbindings", "TargetGroupBinding")
# EKS Auto Mode has kinds of its own beside, or in place of, those of the controllers that one installs: docs/research/auto-mode.md.
AUTO_NODE_CLASSES: Final = Resource("eks.amazonaws.com", "v1", "nodeclasses", "NodeClass", namespaced=False)
AUTO_TARGET_GROUP_BINDINGS: Final = Resource("eks.amazonaws.com", "v1", "targetgroupbindings", "TargetGroupBinding")
FAILOVER_APPLICATIONS: Final = Resource("failoverctl.dev", "v1alpha1", "failoverapplications", "FailoverApplication")

# The kinds that decisions depend on; only `doctor` reads the others.
RESOURCES: Final[Mapping[str, Resource]] = {
    resource.name: resource
    for resource in (
        PODS, EVENTS, SERVICES, CONFIG_MAPS, DEPLOYMENTS, INGRESSES, ENDPOINT_SLICES, LEASES, NODE_CLAIMS, NODE_POOLS, NODE_CLASSES,
        SCALED_OBJECTS, TARGET_GROUP_BINDINGS, STATEFUL_SETS, ROLLOUTS, LEADER_WORKER_SETS, HTTP_ROUTES, GRPC_ROUTES,
        GATEWAYS, REFERENCE_GRANTS, LISTENER_RULE_CONFIGURATIONS, LOAD_BALANCER_CONFIGURATIONS, TARGET_GROUP_CONFIGURATIONS,
    )
}  # fmt: skip


class KubeSession:
    """Connections to one API server as one identity. Safe to share between threads.

    Args:
        configuration: Host, TLS and credentials as the `kubernetes` package loaded them.
        connect_s: Time-out for connecting, seconds.
        read_s: Time-out for each read of an ordinary answer, seconds; a whole answer may take six times as long.
    """

    def __init__(self, configuration: kubernetes_client.Configuration, *, connect_s: float = 2.0, read_s: float = 5.0) -> None:
        self._configuration = configuration
        self._host = configuration.host.rstrip("/")
        self.meter = CallMeter()
        """Counts the requests of this session. Other clients may share it."""
        self._timeout = urllib3.Timeout(connect=connect_s, read=read_s)
        self._connect_s, self._whole_s = connect_s, _WHOLE * read_s
        # ApiClient builds the pool with the CA, client certificate and proxy settings of the configuration; retries are ours to decide.
        configuration.retries = False
        if not configuration.verify_ssl:  # the kubeconfig says so; else each request would say it once more
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        configuration.connection_pool_maxsize = 32
        from kubernetes import client as kubernetes_client

        self._api = kubernetes_client.ApiClient(configuration)
        self._pool: urllib3.PoolManager = self._api.rest_client.pool_manager
        self._acting_as = ""

    @property
    def host(self) -> str:
        """The API server's URL."""
        return self._host

    def acting_as(self, user: str) -> KubeSession:
        """The same connections as another user, which the API server allows to whom it grants ``impersonate``."""
        other = copy.copy(self)
        other._acting_as = user  # noqa: SLF001 - our own
        return other

    def close(self) -> None:
        """Closes idle connections."""
        self._pool.clear()

    def get(self, resource: Resource, namespace: str | None, name: str, *, deadline_s: float | None = None) -> Object:
        """Reads one object.

        Raises:
            RemoteError: See `controller.errors`.
        """
        return self.request("GET", resource.path(namespace, name), deadline_s=deadline_s)

    def create(
        self, resource: Resource, namespace: str | None, body: Object, *, field_manager: str, deadline_s: float | None = None
    ) -> Object:
        """Creates one object.

        Raises:
            Conflict: It exists already.
            RemoteError: See `controller.errors`.
        """
        query = (("fieldManager", field_manager),)
        return self.request("POST", resource.path(namespace), query=query, body=json.dumps(body), deadline_s=deadline_s)

    def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Object,
        *,
        field_manager: str,
        deadline_s: float | None = None,
    ) -> Object:
        """Replaces one object under the resourceVersion in its metadata.

        Raises:
            Conflict: Another writer was first.
            RemoteError: See `controller.errors`.
        """
        query = (("fieldManager", field_manager),)
        return self.request("PUT", resource.path(namespace, name), query=query, body=json.dumps(body), deadline_s=deadline_s)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: str | None = None,
        content_type: str = JSON,
        deadline_s: float | None = None,
        each: Callable[[Any], None] | None = None,
        most_bytes: int = LARGEST,
    ) -> Object:
        """Sends one request and returns the decoded answer.

        Args:
            method: HTTP method.
            path: URL path, see `Resource.path`.
            query: Query parameters in order.
            body: Sent as it is, UTF-8.
            content_type: Of the body.
            deadline_s: When the answer is no longer of use, seconds from now. The server gets it too, as a limit for processing the
                request. None: the session's time-outs apply.
            each: Called with each object of a list as soon as it is decoded; the answer is then without them. None: it has them.
            most_bytes: The longest answer that is read.

        Raises:
            TooLarge: The answer is longer.
            RemoteError: One of its subclasses by status, see `controller.errors`.
        """
        timeout = self._timeout
        if deadline_s is not None:
            timeout = urllib3.Timeout(total=deadline_s, connect=min(self._connect_s, deadline_s))
            query = (*query, ("timeout", f"{round(deadline_s * 1000)}ms"))
        with self._in_time(method, path, Deadline(self._whole_s if deadline_s is None else deadline_s)):
            response = self._send(method, path, query, body, content_type, timeout)
            content = content_of(response, most_bytes)
        if len(content) > most_bytes:
            raise TooLarge(f"{method} {path}: the answer is longer than {most_bytes} bytes")
        try:
            decoded = decode(content) if each is None else decode_page(content, each)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"{method} {path}: the answer is not JSON", status=response.status) from error
        if not isinstance(decoded, dict):
            raise Unavailable(f"{method} {path}: the answer is not an object", status=response.status)
        return decoded

    @contextmanager
    def stream(
        self, path: str, query: Sequence[tuple[str, str]], *, idle_s: float, at_most_s: float | None = None
    ) -> Iterator[Iterator[Object]]:
        """Opens a watch and yields an iterator over its decoded lines.

        Args:
            path: URL path of the collection.
            query: Query parameters.
            idle_s: Longest time without a whole line before the stream counts as dead, seconds. Empty lines are none.
            at_most_s: When the stream ends whatever the server sends, seconds; None: never.

        Raises:
            RemoteError: The stream could not be opened, broke, or timed out.
        """
        timeout = urllib3.Timeout(connect=self._connect_s, read=idle_s)
        deadline = Deadline(idle_s, at_most_s)
        with self._in_time("watch", path, deadline):
            response = self._send("GET", path, query, None, JSON, timeout)
            try:
                yield self._lines(response, path, deadline)
            finally:
                response.close()
                response.release_conn()

    @contextmanager
    def _in_time(self, method: str, path: str, deadline: Deadline) -> Iterator[None]:
        """Ends what is done within the block at a deadline, and says that no answer came."""
        try:
            with deadline:
                yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(method, path, error) from error

    def _lines(self, response: urllib3.BaseHTTPResponse, path: str, deadline: Deadline) -> Iterator[Object]:
        line = bytearray()
        try:
            for piece in response.stream(PIECE, decode_content=False):
                first, *others = piece.split(b"\n")
                line += first
                for following in others:
                    decoded = decode(line) if line.strip() else None
                    line = bytearray(following)
                    if isinstance(decoded, dict):
                        deadline.renew()
                        yield decoded
                if len(line) > LARGEST:
                    raise Unavailable(f"watch {path}: a line is longer than {LARGEST} bytes")
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"watch {path}: a line is not JSON") from error

    def _send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: str | None,
        content_type: str,
        timeout: urllib3.Timeout,
    ) -> urllib3.BaseHTTPResponse:
        """Sends a request. Of a success, nothing but the head is read."""
        url = f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = self._headers(method, path, content_type if body is not None else None)
        self.meter.count(_SERVICE)
        try:
            response = self._pool.request(
                method,
                url,
                body=None if body is None else body.encode(),
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError):
            raise
        except ValueError:  # a header that HTTP does not allow: its text would show the token
            raise Unavailable(f"{method} {path}: the credentials cannot be sent as a header") from None
        if response.status >= _NOT_SUCCESS:
            raise _error(method, path, response, content_type)
        return response

    def _unreachable(self, method: str, path: str, error: Exception) -> Unavailable:
        """That no answer came, in words; the exception's own text repeats the URL and more."""
        name, cause = type(error).__name__, error.__cause__
        words = f"{self.host}: {UNREACHABLE[name]}" if name in UNREACHABLE else name
        if isinstance(error, urllib3.exceptions.NewConnectionError) and isinstance(cause, OSError) and cause.errno not in _NO_LISTENER:
            words = f"{self.host}: no connection ({shown(cause.strerror or type(cause).__name__)})"  # as this machine says it
        return Unavailable(f"{method} {path}: {words}", code=name)

    def _headers(self, method: str, path: str, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": JSON, "User-Agent": "failoverctl"}
        if content_type:
            headers["Content-Type"] = content_type
        try:
            # Runs the configuration's refresh hook, so that rotated in-cluster and exec-plugin tokens are picked up.
            token = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except Exception as error:  # noqa: BLE001 - a credential plugin may raise anything, and its text may contain a secret
            raise Unavailable(f"{method} {path}: the credentials could not be refreshed ({type(error).__name__})") from None
        basic = self._configuration.get_basic_auth_token() if self._configuration.username else None
        if token or basic:
            headers["Authorization"] = str(token or basic).strip()
        if self._acting_as:
            headers["Impersonate-User"] = self._acting_as
        return headers


def _error(method: str, path: str, response: urllib3.BaseHTTPResponse, content_type: str) -> RemoteError:
    """Translates an error answer into a `RemoteError`. Its text is cut, and never contains the request's headers."""
    content = content_of(response, _ERROR)
    reason, text = "", content.decode(errors="replace")
    causes: tuple[str, ...] = ()
    try:
        status = decode(content)
        reason, text = str(status.get("reason", "")), str(status.get("message", text))
        causes = tuple(shown(str(one.get("reason", "")), _MAX_CODE) for one in status["details"]["causes"][:_MAX_CAUSES])
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        pass
    kind = _KINDS.get(response.status, Unavailable if response.status >= _SERVER_ERROR else Rejected)
    if response.status == _UNPROCESSABLE and content_type == JSON_PATCH:
        kind = Conflict  # a failed "test" operation: the answer does not say which, but ours are all preconditions
    return kind(
        f"{method} {path}: {response.status} {shown(text, _MAX_ERROR_TEXT).strip()}",
        status=response.status,
        code=shown(reason, _MAX_CODE),
        retry_after_s=_seconds(response.headers.get("Retry-After")),
        causes=causes,
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) <= _MAX_CODE else None


def connect(*, kubeconfig: str | None = None, context: str | None = None, connect_s: float = 2.0, read_s: float = 5.0) -> KubeSession:
    """Finds the API server the way kubectl does.

    Args:
        kubeconfig: Path of a kubeconfig; None: ``$KUBECONFIG``, then the in-cluster service account, then ``~/.kube/config``.
        context: Context within it; None: its current one.
        connect_s: Time-out for connecting, seconds.
        read_s: Time-out for reading an answer, seconds.

    Raises:
        ConfigError: There is no usable configuration.
    """
    from kubernetes import client as kubernetes_client
    from kubernetes import config as kubernetes_config

    configuration = kubernetes_client.Configuration()
    in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ and Path(kubernetes_config.incluster_config.SERVICE_TOKEN_FILENAME).exists()
    plugin = _PluginErrors()
    try:
        if kubeconfig is None and context is None and "KUBECONFIG" not in os.environ and in_cluster:
            # Before each request anew: where the API server's keys change, it refuses the old token at once.
            load = partial(kubernetes_config.load_incluster_config, try_refresh_token=False)
            load(configuration)
            configuration.refresh_api_key_hook = load  # type: ignore[assignment]
        else:
            with plugin.heard():
                kubernetes_config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except Exception as error:  # for a broken file the package raises various errors, such as YAML, type and base64 errors
        raise ConfigError(
            f"no Kubernetes API server: {_where(kubeconfig)}: {_unusable(error)}\n"
            "  fix: name a kubeconfig with KUBECONFIG or --kubeconfig, and one of its contexts with --context "
            "(`kubectl config get-contexts`), or run inside a cluster"
        ) from error
    if plugin.said:
        raise ConfigError(f"the kubeconfig's credential plugin failed: {plugin.said}\n  fix: {plugin.fix}")
    _choose_proxy(configuration)
    try:
        return KubeSession(configuration, connect_s=connect_s, read_s=read_s)
    except (urllib3.exceptions.HTTPError, ValueError, ImportError) as error:  # none of them by its text, which may show a password
        why = "SOCKS needs the package PySocks" if isinstance(error, ImportError) else "allowed: a URL such as http://proxy.example:3128"
        raise ConfigError(
            f"no Kubernetes API server: the proxy cannot be used; {why}\n"
            "  fix: HTTPS_PROXY, or proxy-url in the kubeconfig; NO_PROXY names hosts that are reached without it"
        ) from None


def context_namespace(*, kubeconfig: str | None = None, context: str | None = None) -> str:
    """The namespace of the kubeconfig's context, ``default`` where it names none.

    Args:
        kubeconfig: Path of a kubeconfig; None: ``$KUBECONFIG``, then ``~/.kube/config``.
        context: Context within it; None: its current one.
    """
    from kubernetes import config as kubernetes_config

    try:
        contexts, active = kubernetes_config.list_kube_config_contexts(config_file=kubeconfig)  # type: ignore[no-untyped-call]
        chosen = next((one for one in contexts if one["name"] == context), active)
        return str(chosen["context"].get("namespace") or _DEFAULT_NAMESPACE)
    except Exception:  # noqa: BLE001 - in a pod there is no such file, and for a broken one the package raises various errors
        return _DEFAULT_NAMESPACE


def _choose_proxy(configuration: kubernetes_client.Configuration) -> None:
    """Takes a proxy of the environment as kubectl does: it may have no scheme, and nothing on this machine is reached through it.

    These are the rules of Go's golang.org/x/net/http/httpproxy. A proxy that the kubeconfig names is left alone.
    """
    if (proxy := configuration.proxy) and proxy in getproxies().values():
        configuration.no_proxy = f"{configuration.no_proxy or ''},{_THIS_MACHINE}"
        configuration.proxy = proxy if "://" in proxy else f"http://{proxy}"


def _where(kubeconfig: str | None) -> str:
    """The kubeconfig files that are read."""
    return "kubeconfig " + (kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")


def _unusable(error: Exception) -> str:
    """What is wrong with them, in words: of a value that is no mapping or no base64 the package repeats Python's own error."""
    match error:
        case binascii.Error():
            return "found text that is no base64 in a field whose name ends with -data"
        case TypeError() | AttributeError():
            return "found something else; allowed: a mapping with clusters, users, contexts and current-context"
        case _:
            said = str(error).replace("Invalid kube-config file. No configuration found.", "there is no such file")
            return shown(" ".join(said.split()), _MAX_ERROR_TEXT)


class _PluginErrors(logging.Handler):
    """What the `kubernetes` package says of a credential plugin that failed: it logs that, and goes on without credentials."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the first error."""
        self.said = self.said or shown(record.getMessage(), _MAX_ERROR_TEXT)

    @property
    def fix(self) -> str:
        """What to do about it."""
        if "No such file or directory" in self.said:
            return "install that program (for EKS the AWS CLI), or put it into PATH"
        if "sso" in self.said.lower() or "expired" in self.said.lower():
            return "aws sso login, with --profile or AWS_PROFILE as the kubeconfig uses it"
        return "run the command under users[].user.exec of the kubeconfig; `aws sts get-caller-identity` shows whether you are logged in"

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listens instead of the root logger's handlers, which would print a line of their own."""
        root = logging.getLogger()
        before, root.handlers = root.handlers, [self]
        try:
            yield
        finally:
            root.handlers = before
