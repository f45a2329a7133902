"""Karpenter's own metrics from a real HTTP server: well, stale, malformed, too long, slow, and from a standby replica."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clients.aws import AwsClients
from controller.clock import SystemClock
from controller.policy.model import OFFERINGS_SOURCE, Memory, PriceSource
from controller.routing.conclusion import conclude
from controller.service.pollers import make_external
from controller.settings import Settings
from controller.signals.cluster import ClusterView
from controller.signals.karpenter_metrics import GAUGE, PRICE_GAUGE, KarpenterMetrics, NoGaugeError, UnusableError, parse
from controller.signals.prices import KEPT_S, Quote
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, application, snapshot

LABELS = '{{capacity_type="{}",instance_type="{}",zone="{}"}}'


def sample(kind: str, zone: str, value: str, capacity_type: str = "on-demand") -> str:
    return f"{GAUGE}{LABELS.format(capacity_type, kind, zone)} {value}"


HEALTHY = "\n".join(
    (
        "# HELP karpenter_build_info A metric with a constant '1' value",
        "# TYPE karpenter_build_info gauge",
        'karpenter_build_info{version="1.14.1"} 1',
        f"# HELP {GAUGE} Instance type offering availability, based on instance type, capacity type, and zone",
        f"# TYPE {GAUGE} gauge",
        sample("inf2.xlarge", "us-west-2a", "0"),
        sample("inf2.xlarge", "us-west-2b", "1"),
        sample("inf2.xlarge", "us-west-2b", "0", "spot"),
        sample("g5.xlarge", "us-west-2a", "0"),
        f"{GAUGE}_of_another_name 0",
        "a line of another metric that } nobody can read",
        "",
    )
)
INF2 = (("inf2.xlarge", "us-west-2a", "on-demand"), ("inf2.xlarge", "us-west-2b", "spot"))


class Endpoint:
    """An HTTP server on loopback.

    Attributes:
        answers: Bodies in order, the last one for ever.
        status: HTTP status.
        pause_s: Seconds before each piece of ten bytes of a body.
        requests: The number of requests.
    """

    def __init__(self) -> None:
        self.answers: list[bytes] = [HEALTHY.encode()]
        self.status, self.pause_s, self.requests = 200, 0.0, 0
        self.ended = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.requests += 1
                body = endpoint.answers.pop(0) if len(endpoint.answers) > 1 else endpoint.answers[0]
                self.send_response(endpoint.status)
                if endpoint.status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/metrics")
                self.end_headers()
                pieces = [body[at : at + 10] for at in range(0, len(body), 10)] if endpoint.pause_s else [body]
                try:
                    for piece in pieces:
                        if endpoint.ended.wait(endpoint.pause_s):
                            return
                        self.wfile.write(piece)
                except OSError:
                    return  # the client hung up

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/metrics"

    def close(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Answers like Karpenter's leader."""
    made = Endpoint()
    yield made
    made.close()


def poller(endpoint: Endpoint, clock: ManualClock | SystemClock | None = None, **changes: Any) -> KarpenterMetrics:
    return KarpenterMetrics(
        endpoint.url, clock or ManualClock(NOW), **{"timeout_s": 2.0, "max_bytes": 65_536, "freshness_s": 90.0, **changes}
    )


def test_the_offerings_of_the_types_that_are_asked_about(endpoint: Endpoint) -> None:
    """Those with the value 0; lines of other metrics are not parsed."""
    made = poller(endpoint)
    assert made.source().stale(NOW)
    made.poll()
    assert made.unavailable({"inf2.xlarge", "trn1.2xlarge"}) == INF2
    assert (made.unavailable(()), made.source().stale(NOW), made.source().problem) == ((), False, "")


def test_an_answer_is_known_only_while_it_is_fresh(endpoint: Endpoint) -> None:
    """Then nothing is known until the next good answer."""
    clock = ManualClock(NOW)
    made = poller(endpoint, clock)
    made.poll()
    endpoint.status = 503
    clock.advance(90)
    made.poll()
    assert made.unavailable({"inf2.xlarge"}) == INF2
    assert "HTTP 503" in made.source().problem
    clock.advance(1)
    assert made.unavailable({"inf2.xlarge"}) == ()
    assert made.source().stale(clock.now())
    endpoint.status = 200
    made.poll()
    assert (made.unavailable({"inf2.xlarge"}), made.source().problem) == (INF2, "")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(b"<html>no metrics here</html>", f"no {GAUGE}", id="something else"),
        pytest.param(b"", f"no {GAUGE}", id="nothing"),
        pytest.param(f'{GAUGE}{{instance_type="inf2.xlarge" 0\n'.encode(), "malformed", id="a line that ends early"),
        pytest.param(sample("inf2.xlarge", "us-west-2a", "0").encode()[:-1], "malformed", id="an answer that was cut"),
        pytest.param(f"{GAUGE} 0\n".encode(), "malformed", id="no labels"),
        pytest.param(sample("inf2.xlarge", "", "0").encode(), "malformed", id="an empty label"),
        pytest.param(sample("inf2.xlarge", "us-west-2a", "NaN").encode(), "malformed", id="not a number"),
        pytest.param(sample("inf2.xlarge", "us-west-2a", "0.5").encode(), "malformed", id="neither 0 nor 1"),
        pytest.param(sample("inf2.xlarge", "us-west-2a", "yes").encode(), "malformed", id="a word"),
        pytest.param(GAUGE.encode() + b'{zone="\xff"} 0', "not UTF-8", id="not a text"),
        pytest.param(HEALTHY.encode() + b"# " + b"x" * 70_000, "more than 65536 bytes", id="more than is read"),
    ],
)
def test_an_answer_that_cannot_be_used_leaves_things_unknown(endpoint: Endpoint, body: bytes, problem: str) -> None:
    """Even if most of its lines are good: who knows what else is wrong. The operator gets an alert that names the URL."""
    endpoint.answers = [body]
    made = poller(endpoint)
    made.poll()
    assert made.unavailable({"inf2.xlarge"}) == ()
    assert problem in made.source().problem
    concluded = conclude(Memory(), replace(snapshot(), sources=(made.source(),)))
    (alert,) = [one for one in concluded.decision.alerts if one.key == OFFERINGS_SOURCE]
    assert (alert.severity, endpoint.url in alert.text) == ("warning", True)
    assert any(one.startswith(f"{OFFERINGS_SOURCE} stale") for one in concluded.decision.degraded)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_error_or_a_redirect_is_no_answer(endpoint: Endpoint, status: int) -> None:
    """A redirect is not followed: it could lead anywhere."""
    endpoint.status = status
    made = poller(endpoint)
    made.poll()
    assert f"HTTP {status}" in made.source().problem
    assert endpoint.requests == 1


def test_nobody_listens() -> None:
    """A refused connection is a problem with a name."""
    endpoint = Endpoint()
    endpoint.close()
    made = poller(endpoint)
    made.poll()
    assert "refused" in made.source().problem


@pytest.mark.parametrize("pause_s", [pytest.param(60.0, id="hangs"), pytest.param(0.15, id="a little at a time")])
def test_a_server_that_takes_too_long_is_cut_off(endpoint: Endpoint, pause_s: float) -> None:
    """One that sends nothing, and one that never lets the read time out."""
    endpoint.pause_s = pause_s
    made = poller(endpoint, SystemClock(), timeout_s=0.4)
    worker = threading.Thread(target=made.poll, daemon=True)
    worker.start()
    worker.join(20)
    assert not worker.is_alive()
    assert made.source().problem
    assert made.unavailable({"inf2.xlarge"}) == ()


def priced(kind: str, zone: str, value: str, capacity_type: str = "on-demand") -> str:
    return sample(kind, zone, value, capacity_type).replace(GAUGE, PRICE_GAUGE)


def test_the_price_of_an_instance(endpoint: Endpoint) -> None:
    """Of each offering; without a zone the highest. What Karpenter gives no price is not known."""
    spot, unknown = ("inf2.xlarge", "us-west-2a", "spot"), ("g5.xlarge", "us-west-2a", "on-demand")
    lines = (priced(*spot[:2], "0.31", "spot"), priced("inf2.xlarge", "us-west-2b", "0.35", "spot"), priced(*unknown[:2], "0"))
    endpoint.answers = [(HEALTHY + "\n".join((*lines, ""))).encode()]
    clock = ManualClock(NOW)
    made = poller(endpoint, clock)
    assert made.quote(spot) is None
    made.poll()
    assert made.quote(spot) == Quote(0.31, PriceSource.KARPENTER, NOW)
    assert made.quote(("inf2.xlarge", "", "spot")) == Quote(0.35, PriceSource.KARPENTER, NOW)
    assert (made.quote(unknown), made.quote(("inf2.xlarge", "us-west-2c", "spot"))) == (None, None)
    assert made.unavailable({"inf2.xlarge"}) == INF2
    clock.advance(KEPT_S)
    assert made.quote(spot) is not None, "prices change within days, and a scrape that fails must not change the weights"
    clock.advance(1)
    assert made.quote(spot) is None


def test_without_prices_the_rest_is_read(endpoint: Endpoint) -> None:
    """An older Karpenter has none, and who has a discount switches them off; then a strange one spoils nothing."""
    endpoint.answers = [(HEALTHY + f"{PRICE_GAUGE} cheap\n").encode()]
    made = poller(endpoint, prices=False)
    made.poll()
    assert (made.unavailable({"inf2.xlarge"}), made.source().problem) == (INF2, "")
    strict = poller(endpoint)
    strict.poll()
    assert "malformed" in strict.source().problem


def test_a_standby_replica_behind_the_same_service_is_passed_over(endpoint: Endpoint) -> None:
    """It has no gauge. A bounded number of further connections tries to reach the leader."""
    endpoint.answers = [b"up 1\n", b"up 1\n", HEALTHY.encode()]
    made = poller(endpoint)
    made.poll()
    assert (made.unavailable({"inf2.xlarge"}), endpoint.requests) == (INF2, 3)
    endpoint.answers = [b"up 1\n"]
    made.poll()
    assert endpoint.requests == 3 + 4
    assert made.unavailable({"inf2.xlarge"}) == INF2, "while the last good answer is fresh"


@given(
    st.text(max_size=200)
    | st.text(max_size=60).map(lambda tail: f"{GAUGE}{{{tail}")
    | st.text(max_size=60).map(lambda tail: f"{GAUGE} {tail}")
)
def test_text_of_any_shape_is_read_or_refused(text: str) -> None:
    """Never another error."""
    try:
        parse(text)
    except UnusableError:
        return


def test_many_samples_are_refused() -> None:
    """A bound on what is parsed, beside the bound on bytes."""
    with pytest.raises(UnusableError, match="more than"):
        parse("\n".join([sample("a.b", "c", "0")] * 100_001))
    with pytest.raises(NoGaugeError):
        parse("up 1\n")


def test_a_snapshot_has_what_concerns_the_unit(endpoint: Endpoint) -> None:
    """Without a poller there is nothing."""
    made, app = poller(endpoint), application()
    made.poll()
    builder = SnapshotBuilder(ClusterView(ManualClock(NOW), lambda: None), [app])
    seen = builder.build(app, NOW, (), ExternalSignals(offerings=made), leader=True, epoch=1)
    assert seen.units["sd21-inf2"].unavailable == INF2
    assert seen.units["sd21-trn1"].unavailable == ()
    assert builder.build(app, NOW, (), ExternalSignals(), leader=True, epoch=1).units["sd21-inf2"].unavailable == ()


def test_the_settings_decide_whether_it_is_read(endpoint: Endpoint) -> None:
    """Without a URL there is no such source; with one, it is polled and named."""
    view = ClusterView(ManualClock(NOW), lambda: None)
    for karpenter, named in (({}, False), ({"metrics_url": endpoint.url}, True)):
        settings = Settings.model_validate({"aws": {"apis": []}, "karpenter": karpenter})
        external = make_external(settings, view, ManualClock(NOW), AwsClients("us-west-2"))
        for name in external.polls:
            external.poll(name, [])
        assert [one.stale(NOW) for one in external.sources(application()) if one.name == OFFERINGS_SOURCE] == ([False] if named else [])
    assert endpoint.requests == 1
