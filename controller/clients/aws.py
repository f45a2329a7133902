"""The only factory of AWS clients, so that no call uses botocore's default time-outs (60 s to connect, 60 s to read)."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from controller.clients.calls import CallMeter
from controller.clients.deadline import Deadline, DeadlineError, current
from controller.clock import Clock, SystemClock
from controller.errors import Forbidden, NotFound, Rejected, RemoteError, Unavailable
from controller.foreign import shown

if TYPE_CHECKING:  # boto3 takes half a second of CPU to import: only what asks AWS pays for it
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

_BUSY: Final = frozenset({
    "RequestLimitExceeded", "TooManyRequestsException", "SlowDown", "BandwidthLimitExceeded", "LimitExceededException",
    "TransactionInProgressException",
})  # fmt: skip
_THROTTL: Final = "Throttl"
"""What the other codes of a request that came too soon have in common: Throttling, Throttled and KMSThrottling of SNS, and more."""
_AGAIN: Final = frozenset({408, 429})  # HTTP statuses that ask for a later request, whatever the code
_FORBIDDEN: Final = frozenset({
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "ExpiredToken", "ExpiredTokenException",
    "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "RequestExpired", "InvalidSignatureException",
    "IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
    "RequestTimeTooSkewed",
})  # fmt: skip
_BY_TIME: Final = frozenset({"RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"})
"""What AWS says of a signature that is more than five minutes from its own time, and of one that was made with a wrong key."""
_DENIED: Final = ("AccessDenied", "UnauthorizedOperation")
_MAX_ERROR_TEXT: Final = 300

_OF_CREDENTIALS: Final = {
    "AssumeRoleWithWebIdentity": "its trust policy must name this cluster's OIDC provider, the namespace and the ServiceAccount",
    "AssumeRole": "its trust policy must name who assumes it",
    "GetRoleCredentials": "the SSO session does not have it",
}
"""The calls with which botocore gets credentials, before and between those that it is to make; and what to see to where one is refused."""
_NOT_RENEWED: Final = "CredentialsNotRenewed"

_NO_CREDENTIALS: Final = "NoCredentials"
_NO_REGION: Final = "NoRegion"
_NO_SSO: Final = "NoSSOSession"
_NO_PROFILE: Final = "NoProfile"
_BAD_REGION: Final = "InvalidRegion"
_BAD_ENDPOINT: Final = "InvalidEndpoint"
_UNSET: Final = {
    _NO_CREDENTIALS: "no AWS credentials: set AWS_PROFILE, or give the pods a role",
    _NO_REGION: "no AWS region: set AWS_REGION, or aws.region in the settings",
    _NO_SSO: "the AWS SSO session has expired: run `aws sso login`",
    _NO_PROFILE: "AWS_PROFILE names no profile of the AWS configuration: `aws configure list-profiles` lists them",
    _BAD_REGION: "AWS_REGION, or aws.region in the settings, is no name of a region",
    _BAD_ENDPOINT: "AWS_ENDPOINT_URL, or that of one service, is no URL",
}
"""What is missing or wrong in the environment, by the code that we give it: botocore raises these before it sends anything."""

REGION_VARIABLE: Final = "AWS_REGION"
"""Kubernetes and every other AWS SDK set and read it; boto3 reads AWS_DEFAULT_REGION alone."""

CONNECT_S: Final = 2
READ_S: Final = 5
CHECKS_REQUESTS: Final = False
"""Whether botocore compares each request with its model before it sends it, as AWS does behind it. Of a call of 500 metric queries that
took 6 ms of 26. Tests do."""
ATTEMPTS: Final = 3
CALL_S: Final = 25.0
"""How long a call may take, with its attempts, the pauses between them and the search for credentials, seconds."""
_SOUGHT_S: Final = 10.0
"""How long credentials that were not found are not sought again, seconds: where no metadata service answers, a search takes two."""


class AwsClients:
    """Creates one client per service and keeps it. Safe to share between threads.

    Args:
        region: AWS region; None: from the environment or the instance.
        meter: Counts every request, retries included; None: no counting.
        clock: Times the searches for credentials; None: the machine's.
    """

    def __init__(self, region: str | None = None, meter: CallMeter | None = None, clock: Clock | None = None) -> None:
        self._region, self._meter, self._clock = region, meter, clock or SystemClock()
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._lock = threading.Lock()  # clients may be shared between threads, the session that makes them may not
        self._session: boto3.session.Session | None = None
        self._unfound_until = -math.inf  # when credentials are sought again, monotonic

    # botocore makes its clients at run time; they have no static type
    def client(self, service: str, region: str | None = None) -> Any:  # noqa: ANN401
        """The client of one service, e.g. ``elbv2``. `AWS_ENDPOINT_URL` is honoured, as by every AWS SDK.

        Args:
            service: botocore's name of it.
            region: Another region than that of the application, for services that answer in few regions; None: that one.

        Raises:
            RemoteError: No region or no credentials are configured, or botocore cannot use what is.
        """
        from botocore.config import Config

        with self._lock:
            if (service, region) not in self._clients:
                config = Config(
                    connect_timeout=CONNECT_S,
                    read_timeout=READ_S,
                    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                    user_agent_extra="failoverctl",
                    parameter_validation=CHECKS_REQUESTS,
                )
                with translated(service, "client"):
                    named = self._region or os.environ.get(REGION_VARIABLE) or None
                    self._session = self._session or _session(named)
                    if region or self._session.region_name:  # without one botocore says what is missing
                        self._require_credentials(self._session, service)
                    client = _made(self._session, service, region, config)
                    client.meta.events.register("before-send", partial(self._count, service))
                    client.meta.events.register_first("needs-retry", _in_time)
                    self._clients[service, region] = client
            return self._clients[service, region]

    def region(self) -> str:
        """The region of the clients that were made without another one; "" where none was made, or none is configured."""
        with self._lock:
            return "" if self._session is None else self._session.region_name or ""

    def _require_credentials(self, session: boto3.session.Session, service: str) -> None:
        """Makes sure that there are credentials before a client is made. A client that is made without stays without.

        An instance's metadata service may not answer for a moment, as while its node starts: the next search may find them.

        Raises:
            Forbidden: None were found now, or a moment ago.
        """
        if self._clock.monotonic() >= self._unfound_until:
            if session.get_credentials() is not None:
                return
            self._unfound_until = self._clock.monotonic() + _SOUGHT_S
        raise _unset(service, "client", _NO_CREDENTIALS)

    def _count(self, service: str, **_: object) -> None:
        """Counts an attempt. Botocore calls it first, and would take a return value for the service's answer."""
        if self._meter is not None:
            self._meter.count(service)


def _in_time(**_: object) -> None:
    """Ends a call that is late before it is tried once more.

    Raises:
        DeadlineError: It is late.
    """
    call = current()
    if call is not None:
        call.require()


def _made(session: boto3.session.Session, service: str, region: str | None, config: Config) -> Any:  # noqa: ANN401 - see `AwsClients.client`
    from botocore.exceptions import BotoCoreError

    try:
        return session.client(service, region_name=region, config=config)
    except BotoCoreError:
        raise  # some are a ValueError, too
    except ValueError as error:  # the only one that botocore raises as it is
        raise _unset(service, "client", _BAD_ENDPOINT) from error


def _session(region: str | None) -> boto3.session.Session:
    """A session that knows what the controller calls, and whose answers have times in UTC.

    Botocore converts each time to the machine's time zone with dateutil. CloudWatch sends one with each value: with 13,000 metrics that was
    a quarter of what the idle controller computed.
    """
    import boto3
    import botocore.session

    from controller.clients.aws_models import make_loader

    core = botocore.session.get_session()
    core.register_component("data_loader", make_loader())
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parsed_time)
    return boto3.session.Session(botocore_session=core, region_name=region)


def parsed_time(value: Any) -> datetime:  # noqa: ANN401 - any JSON, or the text of an XML element
    """A time in an answer.

    Raises:
        ResponseParserError: It is none.
    """
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        from botocore.utils import parse_timestamp  # not before the numbers, which come by the thousand

        parsed: datetime = parse_timestamp(value)
    except (OverflowError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: botocore's of a number beyond the year 9999
        from botocore.parsers import ResponseParserError

        raise ResponseParserError(f"no time: {error}") from error
    return parsed


def method_of(operation: str) -> str:
    """The name of an operation's method on a client of boto3."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


@contextmanager
def translated(service: str, operation: str) -> Iterator[None]:
    """Turns botocore's exceptions into ours.

    Args:
        service: For the message, e.g. ``cloudwatch``.
        operation: For the message, e.g. ``GetMetricData``.

    Raises:
        RemoteError: One of its subclasses by error code, see `controller.errors`.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        InvalidRegionError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        ProfileNotFound,
        SSOError,
        TokenRetrievalError,
    )
    from botocore.parsers import ResponseParserError

    try:
        with Deadline(CALL_S):
            yield
    except DeadlineError as error:
        raise Unavailable(f"{service} {operation}: no whole answer in {CALL_S:g} s", code=type(error).__name__) from error
    except ClientError as error:
        raise _translate(service, operation, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise _unset(service, operation, _NO_CREDENTIALS) from error
    except ProfileNotFound as error:
        raise _unset(service, operation, _NO_PROFILE) from error
    except NoRegionError as error:
        raise _unset(service, operation, _NO_REGION) from error
    except InvalidRegionError as error:
        raise _unset(service, operation, _BAD_REGION) from error
    except (SSOError, TokenRetrievalError) as error:
        raise _unset(service, operation, _NO_SSO) from error
    except (BotoCoreError, ResponseParserError) as error:  # the latter if the answer is not from AWS, such as a proxy's HTML page
        raise Unavailable(f"{service} {operation}: {type(error).__name__}", code=type(error).__name__) from error
    except (OSError, RuntimeError) as error:  # a token's file that is being replaced; credentials that have expired before they come
        raise Unavailable(f"{service} {operation}: no credentials: {shown(str(error), _MAX_ERROR_TEXT)}", code=_NOT_RENEWED) from error


def why_forbidden(error: Forbidden, permission: str) -> str:
    """Why AWS refuses us, and what a person can do.

    Args:
        error: What `translated` raised.
        permission: The IAM action of the call, e.g. ``cloudwatch:GetMetricData``.
    """
    call, _, said = error.code.rpartition(": ")
    if call in _OF_CREDENTIALS:
        return f"AWS gives us no credentials: {call} of our role is refused ({said}); {_OF_CREDENTIALS[call]}"
    if error.code.startswith(_DENIED):
        return f"IAM does not allow {permission}"
    if error.code in _BY_TIME:
        return f"AWS does not accept our signature: this machine's clock, or the secret key, is wrong ({error.code})"
    return f"{_UNSET.get(error.code, 'AWS does not accept our credentials')} ({error.code})"


def _unset(service: str, operation: str, code: str) -> Forbidden:
    return Forbidden(f"{service} {operation}: {_UNSET[code]}", code=code)


def _translate(service: str, operation: str, error: ClientError) -> RemoteError:
    body = error.response.get("Error", {})
    code, text = shown(str(body.get("Code", ""))), shown(str(body.get("Message", "")), _MAX_ERROR_TEXT)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kind: type[RemoteError]
    call = str(error.operation_name)
    if code in _BUSY or _THROTTL in code or status in _AGAIN or status >= 500:  # noqa: PLR2004
        kind = Unavailable
    elif call in _OF_CREDENTIALS:  # whatever is wrong with it, the call itself was not made
        kind, code = Forbidden, f"{call}: {code}"
    elif code in _FORBIDDEN:
        kind = Forbidden
    elif code.endswith(("NotFound", "NotFoundException")) or code in {"NoSuchResourceException", "ResourceNotFound"}:
        kind = NotFound
    else:
        kind = Rejected
    return kind(f"{service} {operation}: {code} {text}".rstrip(), status=status, code=code)
