"""Exceptions of botocore become our errors."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from controller.clients.aws import translated, why_forbidden
from controller.errors import Forbidden, NotFound, Rejected, RemoteError, Unavailable


def _client_error(code: str, status: int, operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


WEB_IDENTITY = "AssumeRoleWithWebIdentity"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        pytest.param(_client_error("Throttling", 400), Unavailable, id="throttled"),
        pytest.param(_client_error("Throttled", 429), Unavailable, id="throttled, as SNS says it"),
        pytest.param(_client_error("KMSThrottling", 400), Unavailable, id="throttled by KMS behind it"),
        pytest.param(_client_error("PriorRequestNotComplete", 429), Unavailable, id="a code that only its status explains"),
        pytest.param(_client_error("SlowDown", 400), Unavailable, id="throttled in other words"),
        pytest.param(_client_error("InternalError", 500), Unavailable, id="a failure of theirs"),
        pytest.param(_client_error("AccessDenied", 403), Forbidden, id="not permitted"),
        pytest.param(_client_error("ExpiredToken", 403), Forbidden, id="an expired token"),
        pytest.param(_client_error("InvalidSignatureException", 400), Forbidden, id="a signature by a wrong clock, of the JSON protocol"),
        pytest.param(_client_error("IncompleteSignature", 400), Forbidden, id="an incomplete signature"),
        pytest.param(_client_error("IncompleteSignatureException", 400), Forbidden, id="the same, of the JSON protocol"),
        pytest.param(_client_error("MissingAuthenticationToken", 403), Forbidden, id="no signature"),
        pytest.param(_client_error("MissingAuthenticationTokenException", 400), Forbidden, id="the same, of the JSON protocol"),
        pytest.param(_client_error("LoadBalancerNotFound", 400), NotFound, id="not there"),
        pytest.param(_client_error("ValidationError", 400), Rejected, id="a wrong request"),
        pytest.param(NoCredentialsError(), Forbidden, id="no credentials"),
        pytest.param(NoRegionError(), Forbidden, id="no region"),
        pytest.param(ProfileNotFound(profile="typo"), Forbidden, id="no such profile"),
        pytest.param(UnauthorizedSSOTokenError(), Forbidden, id="no SSO session"),
        pytest.param(TokenRetrievalError(provider="sso", error_msg="x"), Forbidden, id="an SSO session that cannot be renewed"),
        pytest.param(ConnectTimeoutError(endpoint_url="https://x"), Unavailable, id="no answer"),
        pytest.param(ResponseParserError("not XML"), Unavailable, id="a proxy's HTML page"),
        pytest.param(_client_error("InvalidIdentityToken", 400, WEB_IDENTITY), Forbidden, id="a role that cannot be assumed"),
        pytest.param(_client_error("Throttling", 400, WEB_IDENTITY), Unavailable, id="a role that cannot be assumed now"),
        pytest.param(FileNotFoundError(2, "No such file", "token"), Unavailable, id="a token's file that is being replaced"),
        pytest.param(RuntimeError("the refreshed credentials are still expired"), Unavailable, id="credentials that have expired"),
    ],
)
def test_errors_are_translated(raised: Exception, expected: type[RemoteError]) -> None:
    """Nothing above the clients sees an exception of botocore's."""
    with pytest.raises(expected), translated("service", "Operation"):
        raise raised


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (_client_error("AccessDeniedException", 403), "IAM does not allow ec2:DescribeInstances"),
        (
            _client_error("SignatureDoesNotMatch", 403),
            "AWS does not accept our signature: this machine's clock, or the secret key, is wrong (SignatureDoesNotMatch)",
        ),
        (_client_error("ExpiredToken", 403), "AWS does not accept our credentials (ExpiredToken)"),
        (
            _client_error("AccessDenied", 403, WEB_IDENTITY),
            "AWS gives us no credentials: AssumeRoleWithWebIdentity of our role is refused (AccessDenied); "
            "its trust policy must name this cluster's OIDC provider, the namespace and the ServiceAccount",
        ),
        (NoCredentialsError(), "no AWS credentials: set AWS_PROFILE, or give the pods a role (NoCredentials)"),
        (NoRegionError(), "no AWS region: set AWS_REGION, or aws.region in the settings (NoRegion)"),
        (
            ProfileNotFound(profile="typo"),
            "AWS_PROFILE names no profile of the AWS configuration: `aws configure list-profiles` lists them (NoProfile)",
        ),
        (UnauthorizedSSOTokenError(), "the AWS SSO session has expired: run `aws sso login` (NoSSOSession)"),
    ],
)
def test_what_is_refused_says_what_to_do(raised: Exception, says: str) -> None:
    """In the words that `plan` and `status` show."""
    with pytest.raises(Forbidden) as caught, translated("ec2", "DescribeInstances"):
        raise raised
    assert why_forbidden(caught.value, "ec2:DescribeInstances") == says
