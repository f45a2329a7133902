"""Credentials that are not there at once, as those of an instance whose metadata service does not answer yet."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from controller.clients.aws import AwsClients
from controller.errors import Forbidden
from controller.signals.cloudwatch import CloudWatchPoller
from failover_testbed.clocks import ManualClock
from tests.support.applications import application

CREDENTIALS = (
    b'{"Code": "Success", "AccessKeyId": "AK", "SecretAccessKey": "testing", "Token": "testing", "Expiration": "2999-01-01T00:00:00Z"}'
)


class MetadataService:
    """The metadata service of an instance with a role. It refuses everything while `answers` is False."""

    def __init__(self) -> None:
        self.answers = False
        self.asked = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._send(b"session")

            def do_GET(self) -> None:
                service.asked += 1
                self._send(b"role" if self.path.endswith("/security-credentials/") else CREDENTIALS)

            def _send(self, content: bytes) -> None:
                self.send_response(HTTPStatus.OK if service.answers else HTTPStatus.SERVICE_UNAVAILABLE)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MetadataService]:
    """Nothing else has credentials."""
    keys, others = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_EC2_METADATA_DISABLED")
    for name in (*keys, *others):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    service = MetadataService()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    thread = Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


def test_credentials_that_come_later_are_used(metadata: MetadataService) -> None:
    """No client is made without any: it would stay so for as long as the process runs."""
    clock = ManualClock(0.0)
    clients = AwsClients("eu-central-1", clock=clock)
    with pytest.raises(Forbidden, match="no AWS credentials"):
        clients.client("sts")
    metadata.answers = True
    clock.advance(60)
    client = clients.client("sts")
    assert clients.client("sts") is client
    assert "X-Amz-Credential=AK%2F" in client.generate_presigned_url("get_caller_identity")


def test_a_token_that_is_being_replaced_is_no_bug(metadata: MetadataService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Botocore passes on that there is no such file. No poll recorded why it had no answer, and the next did the same."""
    assert not metadata.answers
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/failoverctl")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    poller = CloudWatchPoller(AwsClients("eu-central-1"), ManualClock(0.0))
    poller.poll([application()], {})
    assert poller.source().problem == "no answer from CloudWatch (CredentialsNotRenewed)"


def test_they_are_sought_at_most_every_ten_seconds(metadata: MetadataService) -> None:
    """A search takes two seconds where nothing answers, and every call would wait for one."""
    clock = ManualClock(0.0)
    clients = AwsClients("eu-central-1", clock=clock)
    for service in ("sts", "ec2", "sts"):
        with pytest.raises(Forbidden, match="no AWS credentials"):
            clients.client(service)
    asked = metadata.asked
    clock.advance(10)
    with pytest.raises(Forbidden, match="no AWS credentials"):
        clients.client("sts")
    assert (asked > 0, metadata.asked) == (True, 2 * asked)
