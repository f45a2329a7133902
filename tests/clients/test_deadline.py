"""No peer that sends a byte now and then is waited for without end, whichever client asks it. Without a deadline each test here hangs."""

from __future__ import annotations

import gc
import gzip
import io
import socket
import threading
from pathlib import Path

import pytest
import urllib3

from controller.clients import aws, kube
from controller.clients.aws import AwsClients, translated
from controller.clients.deadline import _WATCHED, PIECE, Deadline, DeadlineError, content_of, current
from controller.clients.kube import LEASES, KubeSession
from controller.clock import SystemClock
from controller.errors import Unavailable
from controller.notifiers.endpoint import post
from controller.signals.karpenter_metrics import KarpenterMetrics
from failover_harness.waiting import wait_for
from tests.clients.dripping import DRIPS, dripping
from tests.clients.test_kube import configuration

SOON_S = 0.5
SOONER_S = 0.25
"""Where nothing but the deadline is expected, on whatever part of the answer it falls."""
MOST_S = 20
"""A test that takes longer has met no deadline: generous, for a busy machine."""
WATCHED = [name for name in DRIPS if name != "body"]  # a watch has no length


pytestmark = pytest.mark.timeout(MOST_S)


@pytest.mark.parametrize("drip", DRIPS)
def test_a_request_to_the_api_server_ends_by_its_deadline(drip: str) -> None:
    """As the Lease is read, and with the session's own limit where none is given."""
    with dripping(drip) as port:
        session = KubeSession(configuration(f"http://127.0.0.1:{port}"), read_s=SOONER_S / kube._WHOLE)
        with pytest.raises(Unavailable):
            session.get(LEASES, "shop", "lease", deadline_s=SOONER_S)
        session = KubeSession(configuration(f"http://127.0.0.1:{port}"), read_s=2.0)
        session._whole_s = SOONER_S
        with pytest.raises(Unavailable):
            session.request("GET", "/x")


@pytest.mark.parametrize("drip", WATCHED)
def test_a_watch_ends_when_it_says_nothing(drip: str) -> None:
    """Empty lines say nothing."""
    with dripping(drip) as port:
        session = KubeSession(configuration(f"http://127.0.0.1:{port}"))
        with pytest.raises(Unavailable), session.stream("/x", (), idle_s=SOONER_S, at_most_s=30) as lines:
            next(lines)


@pytest.mark.parametrize("drip", DRIPS)
def test_a_call_of_aws_ends_by_its_deadline(drip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all its attempts."""
    for name, value in (("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "us-west-2")):
        monkeypatch.setenv(name, value)
    with dripping(drip) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        client = AwsClients().client("elbv2")
        monkeypatch.setattr(aws, "CALL_S", SOONER_S)
        with pytest.raises(Unavailable, match="no whole answer in"), translated("elbv2", "DescribeRules"):
            client.describe_rules(ListenerArn="arn")


@pytest.mark.parametrize("drip", DRIPS)
def test_a_message_to_a_receiver_ends_by_its_deadline(drip: str) -> None:
    """Where the head has come the receiver has answered, however long the rest takes."""
    with dripping(drip) as port:
        if drip in {"status", "head"}:
            with pytest.raises(DeadlineError):
                post(f"http://127.0.0.1:{port}/x", b"{}", {}, SOON_S, 50_000)
        else:
            assert post(f"http://127.0.0.1:{port}/x", b"{}", {}, SOON_S, 50_000)[0] == 200


@pytest.mark.parametrize("drip", DRIPS)
def test_a_scrape_of_metrics_ends_by_its_deadline(drip: str) -> None:
    """Nothing is known then, and `source` gives the reason."""
    with dripping(drip) as port:
        metrics = KarpenterMetrics(f"http://127.0.0.1:{port}/metrics", SystemClock(), timeout_s=SOONER_S, max_bytes=10**6, freshness_s=60.0)
        metrics.poll()
        assert metrics.source().problem
        assert metrics.source().last_ok is None


def test_what_is_renewed_goes_on_until_the_end() -> None:
    """A watch whose server never ends it is ended all the same."""
    deadline = Deadline(3600.0, at_most_s=0.2)
    deadline.renew()
    with dripping("chunks") as port, pytest.raises(DeadlineError), deadline:
        post(f"http://127.0.0.1:{port}/x", b"{}", {}, 3600.0, 50_000)
    assert current() is None


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    """What it raises is its own."""
    with Deadline(3600.0):
        pass
    with pytest.raises(ValueError, match="a bug"), Deadline(3600.0):
        raise ValueError("a bug")


def _until_late(seconds: float, error: BaseException | None = None) -> None:
    """A block that goes on until its deadline has passed, without a socket that waits, and then raises something."""
    with Deadline(seconds) as deadline:
        wait_for("the end", lambda: deadline._late)
        if error is not None:
            raise error


def test_a_block_that_ends_too_late_has_no_result() -> None:
    """Whether it raises or not: what is answered by then is of no use. What ends the process goes on."""
    with pytest.raises(DeadlineError):
        _until_late(0.05)
    with pytest.raises(DeadlineError) as caught:
        _until_late(0.05, ValueError("a bug"))
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(KeyboardInterrupt):
        _until_late(0.05, KeyboardInterrupt())


def _connected_late(port: int) -> None:
    with Deadline(0.05) as deadline:
        wait_for("the end", lambda: deadline._late)
        with pytest.raises(DeadlineError):
            socket.create_connection(("127.0.0.1", port))


def test_nothing_begins_after_the_deadline() -> None:
    """A second attempt of a call that is late would only prolong it."""
    with dripping("head") as port, pytest.raises(DeadlineError):
        _connected_late(port)


def _asked_over_tls(port: int) -> None:
    with Deadline(SOON_S):
        urllib3.PoolManager(cert_reqs="CERT_NONE").request("GET", f"https://127.0.0.1:{port}/x", timeout=2 * MOST_S, retries=False)


def test_a_handshake_that_never_ends_is_ended() -> None:
    """Also where the library would wait longer. Nothing is sent yet that Python would report: the socket is found when it connects."""
    with dripping("handshake") as port, pytest.raises(DeadlineError):
        _asked_over_tls(port)


def test_a_socket_that_is_closed_already_does_not_end_the_thread_that_watches() -> None:
    """No later call would have a deadline."""
    with socket.socket() as closed:
        deadline = Deadline(3600.0)
        deadline.sending(closed)
    deadline.expire()
    with pytest.raises(DeadlineError, match="no whole answer in time"):
        deadline.require()


def test_a_deadline_within_another_may_be_the_sooner_one() -> None:
    """After it the outer one counts again, and nothing is kept of either."""
    with Deadline(3600.0) as outer:
        with pytest.raises(DeadlineError):
            _until_late(0.05)
        assert current() is outer
        assert not outer._late
    assert current() is None
    assert outer not in _WATCHED._calls


def test_a_deadline_within_another_is_not_the_later_one() -> None:
    """However often it is renewed."""

    def within() -> None:
        with Deadline(0.2), Deadline(3600.0) as inner:
            inner.renew()
            wait_for("the end", lambda: inner._late)

    with pytest.raises(DeadlineError):
        within()


def test_the_thread_that_watches_does_not_keep_the_process_from_ending() -> None:
    """It never ends by itself."""
    with Deadline(3600.0):
        assert [one.daemon for one in threading.enumerate() if one.name == "deadlines"] == [True]


class Endless(io.RawIOBase):
    """The body of an answer that never ends."""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 < size <= PIECE, "what claims to be endless must not be read at once"
        return b"x" * size


def test_an_answer_without_end_is_read_no_further_than_it_may_be() -> None:
    """A little more than that shows that it is longer."""
    content = content_of(urllib3.HTTPResponse(Endless(), preload_content=False), 3 * PIECE)
    assert content == b"x" * 4 * PIECE


def test_what_claims_to_be_compressed_stays_as_it_came() -> None:
    """The client requests no compression, and a few bytes may become gigabytes."""
    body = gzip.compress(b"x" * 1000)
    answer = urllib3.HTTPResponse(io.BytesIO(body), headers={"Content-Encoding": "gzip"}, preload_content=False)
    assert content_of(answer, 1000) == body


def test_a_call_leaves_no_descriptor_behind() -> None:
    """The copy of a socket is closed with the call. The sender's sockets are of this process too, and end with its threads."""
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with dripping("head") as port, pytest.raises(DeadlineError):
            post(f"http://127.0.0.1:{port}/x", b"{}", {}, 0.2)
    gc.collect()
    wait_for("as few descriptors as before", lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
