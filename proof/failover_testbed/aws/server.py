"""AWS as moto emulates it, over real HTTP on loopback.

moto keeps its state in the process, so a process has one emulated account, and starting or stopping it deletes everything. The server does
not read the user's AWS configuration. It prints nothing: moto's request log is off, and so are its tracebacks for calls that it does not
implement.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Final, Self

from controller.clients.aws import ATTEMPTS, CONNECT_S
from controller.clock import Clock, SystemClock
from controller.errors import ConfigError
from failover_testbed.aws.elb_patches import ElbPatches, FirstChecks, HealthSource
from failover_testbed.aws.fis import EmulatedFis
from failover_testbed.aws.reservation_calls import ReservationCalls, Reserving
from failover_testbed.loopback import unproxied

REGION: Final = "us-west-2"
ACCOUNT: Final = "123456789012"
ZONES: Final = (f"{REGION}a", f"{REGION}b", f"{REGION}c")

_IMAGES: Final = "MOTO_EC2_LOAD_DEFAULT_AMIS"
_KEY_ID: Final = "emulated"
_KEY: Final = "emulated"  # moto takes any
_STOP_S: Final = 5.0
_READ_S: Final = 60  # the fakes serve many at once on a busy machine; a client of ours has no reason to give up sooner


@dataclass(frozen=True, slots=True)
class Network:
    """The VPC of load balancers and nodes."""

    vpc: str
    subnets: Mapping[str, str]  # subnet id by zone
    security_group: str


class EmulatedAws:
    """An emulated AWS account. Use it as a context manager, or call `start` and `stop`.

    Attributes:
        target_health: Answers DescribeTargetHealth for registered targets at every call; may be set at any time. With None, targets are
            healthy once their first health check is due; see `FirstChecks`.
        checks: Those first checks.
        fis: The account's Fault Injection Service.
        reservations: Answers the calls about capacity reservations; may be set at any time. With None there are none of these calls.

    Args:
        clock: Time of the first checks; the system clock with None.
        machine_images: Whether the account can see moto's 1,300 machine images, which instances are started from. Making them takes a
            quarter of a second each time an account is made.
    """

    def __init__(self, clock: Clock | None = None, *, machine_images: bool = False) -> None:
        self.target_health: HealthSource | None = None
        self.checks = FirstChecks(SystemClock() if clock is None else clock)
        self.fis = EmulatedFis(SystemClock() if clock is None else clock)
        self.reservations: Reserving | None = None
        self._patches = (ElbPatches(self.checks, lambda: self.target_health), ReservationCalls(lambda: self.reservations))
        self._machine_images = machine_images
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._network: Network | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The URL of every emulated AWS service; only valid once started."""
        if self._server is None:
            raise RuntimeError("the emulated AWS is not running")
        host, port = self._server.server_address[:2]
        return f"http://{host}:{port}"

    @property
    def network(self) -> Network:
        """The VPC; only valid once started."""
        if self._network is None:
            raise RuntimeError("the emulated AWS is not running")
        return self._network

    def environment(self) -> dict[str, str]:
        """Environment variables that make every AWS SDK use this account only, without a proxy.

        The caller must also remove ``AWS_PROFILE`` from the environment.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": _KEY_ID,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_SESSION_TOKEN": _KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        } | unproxied()

    def start(self) -> None:
        """Serves an account that contains only a VPC, on a daemon thread.

        Raises:
            ConfigError: moto is not installed.
            RuntimeError: It was started before.
        """
        if self._server is not None:
            raise RuntimeError("the emulated AWS was started before")
        try:
            server = _make_server(self.fis)
        except ImportError as error:
            raise ConfigError(
                f"the emulated AWS needs moto, which is not installed ({error})\n"
                "  install it with: pip install 'mixed-accelerator-failover[demo]'"
            ) from error
        try:
            with _environment(machine_images=self._machine_images):
                _reset()
                self._network = _make_network()
            for one in self._patches:
                one.install()
        except BaseException:
            server.server_close()
            raise
        self._server = server
        # `stop` waits up to one poll interval for the loop to end.
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="emulated-aws", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops serving, closes the clients and deletes the account. Safe to call twice."""
        if self._server is None:
            return
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join(_STOP_S)
        self._server = self._thread = self._network = None
        for one in self._patches:
            one.restore()
        with _environment(machine_images=False):
            _reset()

    def client(self, service: str) -> Any:  # noqa: ANN401 - botocore makes its clients at run time; they have no static type
        """A boto client for the fakes, e.g. of ``elbv2``; safe to share between threads."""
        from botocore.config import Config

        with self._lock:
            if service not in self._clients:
                self._clients[service] = _session().create_client(
                    service,
                    region_name=REGION,
                    endpoint_url=self.endpoint,
                    aws_access_key_id=_KEY_ID,
                    aws_secret_access_key=_KEY,
                    config=Config(
                        connect_timeout=CONNECT_S,
                        read_timeout=_READ_S,
                        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                        user_agent_extra="emulated-lbc",
                        proxies={},
                    ),
                )
            return self._clients[service]


def _make_server(fis: EmulatedFis) -> Any:  # noqa: ANN401 - moto and werkzeug are optional and untyped here
    """Makes a server like moto's `ThreadedMotoServer`, without its log.

    Raises:
        ImportError: moto or what its server needs is missing.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Dispatcher(DomainDispatcherApplication):
        """Has FIS answered by what is emulated here."""

        def get_application(self, environ: Any) -> Any:  # noqa: ANN401
            """See the base class."""
            return fis if "/fis/aws4_request" in environ.get("HTTP_AUTHORIZATION", "") else super().get_application(environ)

    class SilentHandler(MotoRequestHandler):
        """Logs neither requests nor clients that disconnect."""

        def log(self, *_: object) -> None:
            """See the base class."""

        def handle(self) -> None:
            """Serves one connection; prints no traceback if the client disconnects."""
            try:
                super().handle()
            except OSError:
                self.close_connection = True

    def silent_app(service: Any) -> Any:  # noqa: ANN401
        app = create_backend_app(service)
        app.logger.disabled = True  # else a traceback on stderr for every call that moto does not implement
        app.register_error_handler(NotImplementedError, _not_emulated)
        return app

    server: Any = make_server("127.0.0.1", 0, Dispatcher(silent_app), threaded=True, request_handler=SilentHandler)
    server.log = lambda *_: None
    return server


def _not_emulated(error: Exception) -> tuple[str, int, dict[str, str]]:
    """The answer to a call that moto does not implement: an error that every SDK can parse and does not retry."""
    from xml.sax.saxutils import escape

    text = f"<Code>UnsupportedOperation</Code><Message>not emulated: {escape(str(error)[:200]) or type(error).__name__}</Message>"
    # Both EC2's form and that of the other query services: each SDK parser finds its own.
    body = f"<Response><Errors><Error>{text}</Error></Errors><Error>{text}</Error><RequestID>emulated</RequestID></Response>"
    return body, 400, {"Content-Type": "text/xml"}


def _reset() -> None:
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()


@cache
def _session() -> Any:  # noqa: ANN401 - see `EmulatedAws.client`
    """The process's session: each one parses the services' models again.

    It ignores the user's profile and files, because a profile that does not exist would be an error.
    """
    from botocore.session import Session

    hidden = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
    return Session(session_vars=hidden | {"credentials_file": (None, None, os.devnull, None)})


@contextmanager
def _environment(*, machine_images: bool) -> Iterator[None]:
    """Sets what moto reads while it makes an account: whether to make images, and no AWS profile: one that is missing is an error."""
    names = ("AWS_PROFILE", _IMAGES)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    if not machine_images:
        os.environ[_IMAGES] = "false"
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def _make_network() -> Network:
    """Makes the VPC in moto's own model: an EC2 client takes seconds to load, and nothing else needs one."""
    from moto.ec2.models import ec2_backends

    ec2 = ec2_backends[ACCOUNT][REGION]
    vpc = ec2.create_vpc("10.1.0.0/16").id
    subnets = {zone: ec2.create_subnet(vpc, f"10.1.{index}.0/24", availability_zone=zone).id for index, zone in enumerate(ZONES)}
    return Network(vpc, subnets, ec2.create_security_group("emulated-cluster", "nodes", vpc_id=vpc).id)
