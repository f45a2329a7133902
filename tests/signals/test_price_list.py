"""AWS's price list, answered by an HTTP server in the wire format of its API: well, refused, strange, and seldom asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clients.aws import AwsClients
from controller.policy.model import PriceSource
from controller.signals.price_list import EVERY_S, MOST_TYPES, PriceList, hourly_price
from controller.signals.prices import KEPT_S, Quote
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, seed_units

INF2 = ("inf2.xlarge", "us-west-2a", "on-demand")


def product(dollars: str, unit: str = "Hrs", **more: Any) -> str:
    """A document of the list, with what is read of it."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": dollars}, "beginRange": "0", **more}
    return json.dumps({"product": {"sku": "A"}, "terms": {"OnDemand": {"A.J": {"priceDimensions": {"A.J.6": dimension}}}}})


class Api:
    """The API on loopback.

    Attributes:
        prices: By instance type, the documents of an answer.
        refusal: An error code in the place of all answers; "" for none.
        asked: The filters of each request.
    """

    def __init__(self) -> None:
        self.prices: dict[str, list[str]] = {"inf2.xlarge": [product("0.7582000000")]}
        self.refusal, self.asked = "", list[dict[str, str]]()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                filters = {one["Field"]: one["Value"] for one in wanted["Filters"]}
                api.asked.append(filters)
                body = {"FormatVersion": "aws_v1", "PriceList": api.prices.get(filters["instanceType"], [])}
                answer = json.dumps({"__type": api.refusal, "message": "no"} if api.refusal else body).encode()
                self.send_response(400 if api.refusal else 200)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The clients' endpoint."""
    made = Api()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.server.server_address[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_on_demand_price_of_the_region(api: Api) -> None:
    """In every zone the same; nothing is known of spot instances."""
    made = PriceList(AwsClients("us-west-2"), ManualClock(NOW))
    assert made.source().stale(NOW)
    made.poll(seed_units()[:1])
    assert made.quote(INF2) == made.quote(("inf2.xlarge", "", "on-demand")) == Quote(0.7582, PriceSource.PRICE_LIST, NOW)
    assert made.quote(("inf2.xlarge", "us-west-2a", "spot")) is None
    assert (api.asked[0]["regionCode"], api.asked[0]["operatingSystem"], made.source().stale(NOW)) == ("us-west-2", "Linux", False)


def test_an_answer_stays_for_half_a_day(api: Api) -> None:
    """Each type takes one call in that time, and what is no longer used is dropped."""
    clock = ManualClock(NOW)
    made = PriceList(AwsClients("us-west-2"), clock)
    for _ in range(3):
        made.poll(seed_units())
    types = {unit.instance_type for unit in seed_units()}
    assert len(api.asked) == len(types)
    clock.advance(EVERY_S)
    made.poll(seed_units()[:1])
    assert len(api.asked) == len(types) + 1
    made.poll(seed_units()[1:2])
    assert made.quote(INF2) is None


def test_what_the_list_does_not_have_is_not_asked_again_at_once(api: Api) -> None:
    """An unknown type has no price, and neither has one with two."""
    api.prices = {"inf2.xlarge": [product("0.7582"), product("0.9")]}
    made = PriceList(AwsClients("us-west-2"), ManualClock(NOW))
    for _ in range(2):
        made.poll(seed_units()[:1])
    assert (made.quote(INF2), len(api.asked), made.source().problem) == (None, 1, "")


def test_without_the_permission_it_is_absent_and_seldom_asked(api: Api) -> None:
    """The operator reads which permission it needs; the last prices stay for a day."""
    clock = ManualClock(NOW)
    made = PriceList(AwsClients("us-west-2"), clock)
    made.poll(seed_units()[:1])
    api.refusal = "AccessDeniedException"
    clock.advance(EVERY_S)
    for _ in range(5):
        made.poll(seed_units()[:1])
    assert len(api.asked) == 2
    assert made.source().absent
    assert "pricing:GetProducts" in made.source().problem
    assert made.quote(INF2) is not None
    clock.advance(KEPT_S - EVERY_S + 1)
    assert made.quote(INF2) is None
    api.refusal = ""
    made.poll(seed_units()[:1])
    assert (made.quote(INF2) is not None, made.source().problem, made.source().absent) == (True, "", False)


def test_the_number_of_types_is_bounded(api: Api) -> None:
    """A catalog of a thousand kinds makes no thousand calls."""
    clock = ManualClock(NOW)
    made = PriceList(AwsClients("us-west-2"), clock)
    units = tuple(replace(seed_units()[0], name=f"u{number}", instance_type=f"a{number}.large") for number in range(MOST_TYPES + 5))
    for _ in range(8):
        made.poll(units)
    assert len(api.asked) == MOST_TYPES


@pytest.mark.parametrize(
    ("products", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([product("0.5"), product("0.0")], 0.5, id="a reservation of capacity costs nothing here"),
        pytest.param([product("0.5"), product("0.5")], 0.5, id="twice the same"),
        pytest.param([product("0.5"), product("0.6")], None, id="two prices"),
        pytest.param([product("0.5", "Quantity")], None, id="not by the hour"),
        pytest.param([product("NaN")], None, id="not a number"),
        pytest.param([product("cheap")], None, id="a word"),
        pytest.param(["[]", "{}", "null", "{", '{"terms": {"OnDemand": 1}}'], None, id="other documents"),
    ],
)
def test_the_price_of_an_hour(products: list[str], expected: float | None) -> None:
    """What is not understood says nothing."""
    assert hourly_price(products) == expected


_JSON = st.recursive(st.none() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@given(st.lists(st.text(max_size=50) | st.builds(lambda one: json.dumps({"terms": {"OnDemand": {"a": one}}}), _JSON), max_size=4))
def test_documents_of_any_shape_are_read_or_left_out(products: list[str]) -> None:
    """Never an error."""
    hourly_price(products)
