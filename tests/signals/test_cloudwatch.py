"""CloudWatch against a scripted endpoint: what is asked, what is used, and what missing data means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.clients.aws import AwsClients
from controller.policy.model import Application, Backend, Route, Sample, Unit
from controller.signals.budget import CallBudget
from controller.signals.cloudwatch import CloudWatchPoller, MetricQuery, Window
from failover_testbed.clocks import ManualClock

MINUTE = 1_800_000_000.0  # a whole hour
NOW = MINUTE + 17
DIMENSION = "app/sd21/0123456789abcdef"


def unit(name: str, **changes: Any) -> Unit:
    return Unit(name, Backend(name, 80), name, name, "inf2.xlarge", 0.76, 105, 0.67, **changes)


def application(name: str = "sd21", *units: Unit, period_s: int = 60, namespace: str = "hw-agnostic-infer") -> Application:
    return Application(
        name,
        "default",
        Route(name, "live"),
        Backend("all", 80),
        units or (unit("inf2"), unit("trn1")),
        metric_namespace=namespace,
        metric_period_s=period_s,
    )


APP = application()
KEY = "default/sd21"


@dataclass
class CloudWatch:
    """An endpoint that answers from `values`: metric name to values by minutes before the newest whole one (1 = just ended)."""

    values: dict[str, dict[float, float]] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    errors: list[Exception | None] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    fails: set[str] = field(default_factory=set)
    page: int = 500
    order: Callable[[list[tuple[datetime, float]]], Iterable[tuple[datetime, float]]] = reversed
    base: float = MINUTE
    calls: list[dict[str, Any]] = field(default_factory=list)

    def get_metric_data(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        queries = arguments["MetricDataQueries"]
        if any(query["MetricStat"]["Metric"]["MetricName"] in self.refuses for query in queries):
            raise refusal("ValidationError")
        if any(query["MetricStat"]["Metric"]["MetricName"] in self.fails for query in queries):
            raise refusal("InternalServiceFault", 500)
        first = int(arguments.get("NextToken", 0))
        results = []
        for query in queries[first : first + self.page]:
            name = query["MetricStat"]["Metric"]["MetricName"]
            period = query["MetricStat"]["Period"]
            every = [(datetime.fromtimestamp(self.base - ago * period, UTC), value) for ago, value in self.values.get(name, {}).items()]
            points = sorted((at, value) for at, value in every if arguments["StartTime"] <= at < arguments["EndTime"])
            pairs = list(self.order(points))
            results.append({
                "Id": query["Id"],
                "Label": name,
                "Timestamps": [stamp for stamp, _ in pairs],
                "Values": [value for _, value in pairs],
                "StatusCode": self.status.get(name, "Complete"),
            })  # fmt: skip
        answer: dict[str, Any] = {"MetricDataResults": results, "ResponseMetadata": {"RetryAttempts": 0}}
        if first + self.page < len(queries):
            answer["NextToken"] = str(first + self.page)
        return answer


class Clients(AwsClients):
    def __init__(self, endpoint: object) -> None:
        self._endpoint = endpoint  # nothing of the real factory is needed

    def client(self, service: str, region: str | None = None) -> Any:
        assert service == "cloudwatch"
        return self._endpoint


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetMetricData")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def endpoint() -> CloudWatch:
    return CloudWatch()


@pytest.fixture
def poller(endpoint: CloudWatch, clock: ManualClock) -> CloudWatchPoller:
    return CloudWatchPoller(Clients(endpoint), clock)


def poll(poller: CloudWatchPoller, *applications: Application) -> None:
    poller.poll(applications or (APP,), {KEY: DIMENSION})


# --- what is asked ----------------------------------------------------------------------------------------------------------------------


def test_counters_latencies_and_the_load_balancers_counts_come_in_one_call(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """Sum of the counter, p95 of the latency, both without dimensions; the load balancer's by its ARN's tail."""
    poll(poller)
    (call,) = endpoint.calls
    asked = {
        (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], stat["Stat"], stat["Period"], str(stat["Metric"]["Dimensions"]))
        for stat in (query["MetricStat"] for query in call["MetricDataQueries"])
    }
    dimensions = str([{"Name": "LoadBalancer", "Value": DIMENSION}])
    assert asked == {
        *(("hw-agnostic-infer", f"{name}-counter", "Sum", 60, "[]") for name in ("inf2", "trn1")),
        *(("hw-agnostic-infer", f"{name}-latency", "p95", 60, "[]") for name in ("inf2", "trn1")),
        *(
            ("AWS/ApplicationELB", name, "Sum", 60, dimensions)
            for name in ("RequestCount", "HTTPCode_ELB_5XX_Count", "HTTPCode_Target_5XX_Count")
        ),
    }
    assert len({query["Id"] for query in call["MetricDataQueries"]}) == 7
    assert call["EndTime"] == datetime.fromtimestamp(MINUTE - 60, UTC)
    assert call["StartTime"] == datetime.fromtimestamp(MINUTE - 6 * 60, UTC)


def test_it_asks_for_the_minutes_that_are_over_for_aws(endpoint: CloudWatch, clock: ManualClock) -> None:
    """A clock an hour ahead asked for an hour that has not come yet, and no demand was known. The last minute is not settled."""
    clock.step(3600.0)
    poll(CloudWatchPoller(Clients(endpoint), clock, now=lambda: clock.now() - 3600.0))
    assert endpoint.calls[0]["EndTime"] == datetime.fromtimestamp(MINUTE - 60, UTC)


def test_names_and_statistic_can_be_given(endpoint: CloudWatch, clock: ManualClock) -> None:
    """A unit may publish under other names, and an endpoint may have no percentiles."""
    poller = CloudWatchPoller(Clients(endpoint), clock, latency_stat="Average")
    poller.poll([application("sd21", unit("a", counter_metric="c", latency_metric="l"))], {})
    stats = [query["MetricStat"] for query in endpoint.calls[0]["MetricDataQueries"]]
    assert [(stat["Metric"]["MetricName"], stat["Stat"]) for stat in stats] == [("c", "Sum"), ("l", "Average")]


def test_an_application_without_a_namespace_has_only_its_load_balancer(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """And one without a load balancer too has nothing to ask."""
    poller.poll([application(namespace=""), application("other", namespace="")], {KEY: DIMENSION})
    assert len(endpoint.calls[0]["MetricDataQueries"]) == 3


def test_many_applications_are_queried_in_batches_of_five_hundred(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """What GetMetricData takes at once."""
    applications = [application(f"app{number}", unit(f"a{number}"), unit(f"b{number}")) for number in range(150)]
    poll(poller, *applications)
    assert [len(call["MetricDataQueries"]) for call in endpoint.calls] == [500, 100]


def test_a_ratio_whose_counts_come_in_two_batches_is_known(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """The series of units are dropped batch by batch; those of load balancers stay until all three of one are there."""
    endpoint.values = {
        "RequestCount": {2: 90},
        "HTTPCode_ELB_5XX_Count": {2: 10},
        "HTTPCode_Target_5XX_Count": {2: 5},
        "a98-counter": {2: 7},
    }
    applications = [APP, *(application(f"app{number}", unit(f"a{number}")) for number in range(100))]
    poller.poll(applications, {one.key: f"app/{one.name}/0123456789abcdef" for one in applications})
    split = [[query["MetricStat"]["Metric"]["MetricName"] for query in call["MetricDataQueries"]] for call in endpoint.calls]
    assert (split[0][-2:], split[1][0]) == (["RequestCount", "HTTPCode_ELB_5XX_Count"], "HTTPCode_Target_5XX_Count")
    assert {poller.error_ratio(one.key) for one in applications} == {Sample(0.15, MINUTE - 60)}
    assert poller.demand("default/app98", "a98") == Sample(7, MINUTE - 60)


def test_the_same_metric_of_two_applications_is_queried_once(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """Each query costs money."""
    endpoint.values = {"inf2-counter": {2: 7}}
    poller.poll([APP, application("other")], {KEY: DIMENSION, "default/other": DIMENSION})
    assert len(endpoint.calls[0]["MetricDataQueries"]) == 7
    assert poller.demand(KEY, "inf2") == poller.demand("default/other", "inf2") == Sample(7, MINUTE - 60)


def test_applications_with_other_periods_have_windows_of_their_own(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """Aligned to the period: some endpoints start their periods at StartTime."""
    poller.poll([APP, application("slow", unit("slow"), period_s=300)], {})
    windows = [(call["StartTime"].timestamp(), call["EndTime"].timestamp()) for call in endpoint.calls]
    assert windows == [(MINUTE - 360, MINUTE - 60), (MINUTE - 1800, MINUTE - 300)]


def test_known_periods_are_not_read_again(endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock) -> None:
    """Of a thousand applications they were most of what a poll computed. A value that comes late, and an older one, are still found."""
    apps = [application(f"app{number}", unit(f"a{number}")) for number in range(250)]
    endpoint.values = {f"a{number}-{kind}": {2: 7, 3: 6, 4: 5} for number in range(250) for kind in ("counter", "latency")}
    dimensions = {one.key: f"app/{one.name}/0123456789abcdef" for one in apps}
    poller.poll(apps, dimensions)
    clock.advance(60)
    endpoint.base += 60
    endpoint.calls.clear()
    poller.poll(apps, dimensions)
    asked = [(len(call["MetricDataQueries"]), call["EndTime"].timestamp() - call["StartTime"].timestamp()) for call in endpoint.calls]
    assert asked == [(500, 120), (500, 300), (250, 300)]  # a load balancer's ratio needs the whole window
    assert poller.demand(apps[0].key, "a0") == Sample(7, MINUTE)
    endpoint.values["a0-counter"] = {4: 5}  # nothing new: the last value is still in the window
    clock.advance(60)
    endpoint.base += 60
    poller.poll(apps, dimensions)
    assert poller.demand(apps[0].key, "a0") == Sample(7, MINUTE)
    for _ in range(5):
        clock.advance(60)
        endpoint.base += 60
        endpoint.values["a0-counter"] = {}
        poller.poll(apps, dimensions)
    assert poller.demand(apps[0].key, "a0") is None
    assert poller.demand(apps[1].key, "a1") == Sample(7, MINUTE + 360)


def test_about_one_poll_a_minute_is_made(endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock) -> None:
    """However often it is asked."""
    for _ in range(60):
        poll(poller)
        clock.advance(2)
    assert len(endpoint.calls) == 3


def test_a_timer_that_comes_a_moment_early_does_not_skip_a_minute(
    endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock
) -> None:
    """The scheduler's timer and the time of the next poll are both a minute: with jitter every second poll would be left out."""
    for early in (0.0, 3.0, 0.0, 4.0, 0.0):
        clock.advance(60 - early)
        poll(poller)
    assert len(endpoint.calls) == 5


def test_a_poll_that_comes_late_does_not_skip_the_next_one(endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock) -> None:
    """On a busy machine a poll began eight seconds after its timer. The next one, in time again, seemed to be early, and was left out."""
    start = clock.now()
    for minute, late in enumerate((0.0, 8.0, 0.0, 30.0, 0.0, 50.0, 0.0)):
        clock.advance(start + 60 * minute + late - clock.now())
        poll(poller)
    assert len(endpoint.calls) == 7
    clock.advance(300)  # a pause is not made up for
    for _ in range(60):
        poll(poller)
        clock.advance(1)
    assert len(endpoint.calls) == 9


# --- what is used -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [reversed, list, lambda points: points[1:] + points[:1]])
def test_the_newest_settled_period_counts_in_whatever_order_it_comes(
    order: Callable[..., Any], endpoint: CloudWatch, poller: CloudWatchPoller
) -> None:
    """The period that just ended is still being filled, and the one that runs is not whole."""
    endpoint.order = order
    endpoint.values = {"inf2-counter": {0: 3, 1: 50, 2: 100, 3: 90}, "inf2-latency": {2: 0.7}}
    poll(poller)
    assert poller.demand(KEY, "inf2") == Sample(100, MINUTE - 60)
    assert poller.latency(KEY, "inf2") == Sample(0.7, MINUTE - 60)


@pytest.mark.parametrize(("lag", "value"), [(0, 50.0), (1, 100.0), (2, 90.0)])
def test_how_many_of_the_newest_periods_are_ignored_can_be_set(lag: int, value: float, endpoint: CloudWatch, clock: ManualClock) -> None:
    """Some publishers flush late."""
    endpoint.values = {"inf2-counter": {1: 50, 2: 100, 3: 90}}
    poller = CloudWatchPoller(Clients(endpoint), clock, lag=lag)
    poll(poller)
    assert poller.demand(KEY, "inf2") == Sample(value, MINUTE - 60 * lag)


def test_each_call_gives_way_to_mode_changes(endpoint: CloudWatch, clock: ManualClock) -> None:
    """A poll over a thousand applications computes for seconds. It goes on where it stopped."""
    endpoint.values, calls_before = {"a299-counter": {2: 7}}, list[int]()

    def wait() -> None:
        calls_before.append(len(endpoint.calls))
        clock.advance(5.0)

    poller = CloudWatchPoller(Clients(endpoint), clock, before=wait)
    poller.poll([application(f"app{number}", unit(f"a{number}"), unit(f"b{number}")) for number in range(300)], {})
    assert calls_before == [0, 1, 2]
    assert [len(call["MetricDataQueries"]) for call in endpoint.calls] == [500, 500, 200]
    assert poller.demand("default/app299", "a299") == Sample(7, MINUTE - 60)


def test_a_counter_that_was_never_published_is_not_a_demand_of_zero(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """And one that fell silent ends with the window."""
    endpoint.values = {"inf2-counter": {5: 80}}
    poll(poller)
    assert poller.demand(KEY, "trn1") is None
    assert poller.demand(KEY, "inf2") == Sample(80, MINUTE - 240)


def test_a_counter_that_fell_silent_ends_with_the_window(endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock) -> None:
    """Its last value is not today's demand."""
    endpoint.values = {"inf2-counter": {2: 80}}
    poll(poller)
    clock.advance(360)
    poll(poller)
    assert poller.demand(KEY, "inf2") is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), -1.0])
def test_values_that_no_counter_has_are_dropped(bad: float, endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """The next older one stands."""
    endpoint.values = {"inf2-counter": {2: bad, 3: 60}}
    poll(poller)
    assert poller.demand(KEY, "inf2") == Sample(60, MINUTE - 120)


def test_stamps_of_other_time_zones_and_of_none_mean_the_same_moment(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """The client gives the zone of the machine."""
    moment = datetime.fromtimestamp(MINUTE - 120, timezone(timedelta(hours=5, minutes=30)))
    naive = datetime.fromtimestamp(MINUTE - 120, UTC).replace(tzinfo=None)
    for number, stamp in enumerate((moment, naive)):
        endpoint.values = {"inf2-counter": {2: number + 1}}

        def stamped(points: list[tuple[datetime, float]], stamp: datetime = stamp) -> list[tuple[datetime, float]]:
            return [(stamp, value) for _, value in points]

        endpoint.order = stamped
        poller = CloudWatchPoller(Clients(endpoint), ManualClock(NOW))
        poll(poller)
        assert poller.demand(KEY, "inf2") == Sample(number + 1, MINUTE - 60)


@pytest.mark.parametrize(
    ("requests", "own", "targets", "ratio"),
    [
        ({2: 100}, {}, {}, Sample(0.0, MINUTE - 60)),
        ({2: 90}, {2: 10}, {2: 5}, Sample(0.15, MINUTE - 60)),
        ({2: 100}, {}, {2: 100}, Sample(1.0, MINUTE - 60)),
        ({}, {}, {}, None),
        ({}, {}, {2: 5}, None),
        ({3: 100}, {3: 0}, {3: 50}, Sample(0.5, MINUTE - 120)),
        ({}, {2: 40}, {}, Sample(1.0, MINUTE - 60)),
        ({3: 100}, {2: 40}, {}, Sample(1.0, MINUTE - 60)),
        ({1: 100, 2: 0}, {1: 100}, {}, None),
        ({2: 1}, {}, {2: 50}, Sample(1.0, MINUTE - 60)),
    ],
    ids=[
        "no 5xx is 0",
        "both kinds",
        "targets only",
        "nobody asked",
        "target errors without requests are late data",
        "the newest period that has requests",
        "every request met an empty target group",
        "the same after good periods",
        "the newest period is not settled",
        "never over 1",
    ],
)
def test_the_error_ratio_is_given_only_where_it_is_known(
    requests: dict[float, float],
    own: dict[float, float],
    targets: dict[float, float],
    ratio: Sample | None,
    endpoint: CloudWatch,
    poller: CloudWatchPoller,
) -> None:
    """A missing 5xx is 0 where requests were counted; 503s for empty target groups are not among the requests."""
    endpoint.values = {"RequestCount": requests, "HTTPCode_ELB_5XX_Count": own, "HTTPCode_Target_5XX_Count": targets}
    poll(poller)
    assert poller.error_ratio(KEY) == ratio


# --- what goes wrong --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [refusal("Throttling"), refusal("InternalServiceFault", 500), ReadTimeoutError(endpoint_url="x")])
def test_without_an_answer_the_last_values_stay_and_age(
    error: Exception, endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock
) -> None:
    """Each carries the end of its period."""
    endpoint.values = {"inf2-counter": {2: 100}, "RequestCount": {2: 10}}
    poll(poller)
    assert poller.source().problem == ""
    clock.advance(60)
    endpoint.errors = [error]
    poll(poller)
    assert poller.demand(KEY, "inf2") == Sample(100, MINUTE - 60)
    assert poller.error_ratio(KEY) == Sample(0, MINUTE - 60)
    source = poller.source()
    assert (source.name, source.required, source.absent, source.last_ok) == ("cloudwatch", False, False, NOW)
    assert source.problem.startswith("no answer from CloudWatch (")
    assert source.stale(NOW + 301)


def test_throttling_makes_the_polls_rarer_up_to_a_bound(endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock) -> None:
    """And the first success makes them normal again."""
    endpoint.errors = [refusal("Throttling")] * 7
    at = []
    for _ in range(2000):
        made = len(endpoint.calls)
        poll(poller)
        if len(endpoint.calls) > made:
            at.append(clock.now())
        clock.advance(1)
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert pauses[:8] == [60, 60, 120, 240, 300, 300, 300, 54]
    assert set(pauses[8:]) == {54}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (refusal("AccessDenied", 403), "IAM does not allow cloudwatch:GetMetricData"),
        (refusal("ExpiredToken", 403), "AWS does not accept our credentials (ExpiredToken)"),
        (NoCredentialsError(), "no AWS credentials: set AWS_PROFILE, or give the pods a role (NoCredentials)"),
    ],
)
def test_a_missing_permission_makes_cloudwatch_absent(error: Exception, says: str, endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """A named degradation, never a hold."""
    endpoint.errors = [error]
    poll(poller)
    assert (poller.source().absent, poller.source().problem) == (True, says)
    assert not poller.source().stale(NOW + 10_000)


def test_disabled_it_never_calls(endpoint: CloudWatch, clock: ManualClock) -> None:
    """And says that it is."""
    poller = CloudWatchPoller(Clients(endpoint), clock, enabled=False)
    poll(poller)
    assert endpoint.calls == []
    assert (poller.source().absent, poller.source().problem) == (True, "disabled by configuration")


def test_before_the_first_value_of_any_metric_cloudwatch_is_absent(
    endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock
) -> None:
    """Nobody publishes yet: no reason to hold. Before the first poll it is merely unknown."""
    assert (poller.source().absent, poller.source().last_ok) == (False, None)
    poll(poller)
    assert (poller.source().absent, poller.source().problem) == (True, "CloudWatch has no value of any metric yet")
    endpoint.values = {"trn1-counter": {1: 5}}
    clock.advance(60)
    poll(poller)
    assert (poller.source().absent, poller.source().problem) == (False, "")


@pytest.mark.parametrize("status", ["InternalError", "PartialData"])
def test_what_cloudwatch_could_not_tell_is_not_taken_for_missing(
    status: str, endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock
) -> None:
    """The last values stay; values that did come are good; a count of errors that did not come is not 0."""
    endpoint.values = {"inf2-counter": {2: 100}, "RequestCount": {2: 10}, "HTTPCode_ELB_5XX_Count": {2: 10}}
    poll(poller)
    clock.advance(60)
    endpoint.base += 60
    endpoint.values = {"trn1-counter": {2: 7}, "RequestCount": {2: 10}}
    endpoint.status = dict.fromkeys(("inf2-counter", "trn1-counter", "HTTPCode_ELB_5XX_Count"), status)
    poll(poller)
    assert poller.demand(KEY, "inf2") == Sample(100, MINUTE - 60)
    assert poller.demand(KEY, "trn1") == Sample(7, MINUTE)
    assert poller.error_ratio(KEY) == Sample(0.5, MINUTE - 60)
    assert poller.source().problem == "CloudWatch answered in part (PartialData or InternalError)"


def test_a_metric_that_is_forbidden_on_its_own_is_named(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """Cross-account metrics can be."""
    endpoint.status = {"inf2-counter": "Forbidden"}
    poll(poller)
    assert poller.source().problem == "CloudWatch forbids some of the metrics"


def test_all_pages_are_read(endpoint: CloudWatch, poller: CloudWatchPoller) -> None:
    """A page may hold a part of the queries."""
    endpoint.page = 1
    endpoint.values = {"inf2-counter": {2: 1}, "trn1-counter": {2: 2}}
    poll(poller)
    assert len(endpoint.calls) == 7
    assert poller.demand(KEY, "trn1") == Sample(2, MINUTE - 60)


@pytest.mark.parametrize("circle", [True, False])
def test_pages_that_never_end_are_given_up(circle: bool, clock: ManualClock) -> None:
    """What was read is kept; the rest is not taken for missing."""

    class Endless(CloudWatch):
        def get_metric_data(self, **arguments: Any) -> dict[str, Any]:
            token = "same" if circle else str(len(self.calls))
            return {**super().get_metric_data(**{**arguments, "NextToken": "0"}), "NextToken": token}

    endpoint = Endless(values={"inf2-counter": {2: 1}})
    poller = CloudWatchPoller(Clients(endpoint), clock)
    poll(poller)
    assert len(endpoint.calls) == (2 if circle else 20)
    assert poller.demand(KEY, "inf2") == Sample(1, MINUTE - 60)
    assert poller.source().problem == "CloudWatch answered in part (PartialData or InternalError)"


def test_one_metric_that_cloudwatch_refuses_does_not_blind_the_others(endpoint: CloudWatch, clock: ManualClock) -> None:
    """It is found by halving, named, left out for ten minutes, and then tried again."""
    endpoint.refuses = {"trn1-latency"}
    endpoint.values = {"inf2-counter": {2: 1}, "trn1-counter": {2: 2}, "RequestCount": {2: 3}}
    poller = CloudWatchPoller(Clients(endpoint), clock, budget=CallBudget(1, 100, clock))
    poll(poller)
    assert poller.demand(KEY, "inf2") == Sample(1, MINUTE - 60)
    assert poller.demand(KEY, "trn1") == Sample(2, MINUTE - 60)
    assert poller.error_ratio(KEY) == Sample(0, MINUTE - 60)
    assert poller.source().problem.startswith("CloudWatch refuses metric hw-agnostic-infer/trn1-latency: ")
    made = len(endpoint.calls)
    clock.advance(60)
    poll(poller)
    assert len(endpoint.calls) == made + 1
    assert "trn1-latency" in poller.source().problem
    endpoint.refuses = set()
    clock.advance(600)
    poll(poller)
    assert poller.source().problem == ""


def test_what_every_request_gets_is_not_about_a_metric(endpoint: CloudWatch, clock: ManualClock) -> None:
    """No metric is left out for it, it costs two calls, and the next poll has all values again."""
    endpoint.values = {"inf2-counter": {1: 1, 2: 1}}
    poller = CloudWatchPoller(Clients(endpoint), clock, budget=CallBudget(1, 100, clock))
    poll(poller)
    made, endpoint.errors = len(endpoint.calls), [refusal("InvalidAction")] * 100
    clock.advance(60)
    poll(poller)
    assert len(endpoint.calls) == made + 2
    assert poller.source(KEY).problem == "no answer from CloudWatch (InvalidAction)"
    endpoint.errors = []
    endpoint.base += 60
    clock.advance(60)
    poll(poller)
    assert (poller.source(KEY).problem, poller.source(KEY).last_ok) == ("", clock.now())


def test_an_application_whose_metrics_are_all_refused_has_no_fresh_source(endpoint: CloudWatch, clock: ManualClock) -> None:
    """Another one's answers say nothing of it."""
    refused = application("b", unit("b"))
    endpoint.refuses = {"b-counter", "b-latency"}
    endpoint.values = {"inf2-counter": {2: 1}}
    poller = CloudWatchPoller(Clients(endpoint), clock, budget=CallBudget(1, 100, clock))
    for _ in range(2):
        poller.poll([APP, refused], {})
        assert poller.source(KEY).last_ok == clock.now()
        assert poller.source(refused.key).last_ok is None
        clock.advance(60)


@pytest.mark.parametrize("changed", ["period", "counter", "namespace"])
def test_a_value_answers_no_other_query(endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock, changed: str) -> None:
    """The demand is counted in requests of a period: a value of another period, or of another counter, would be taken for it."""
    new = {
        "period": application(period_s=300),
        "counter": application("sd21", unit("inf2", counter_metric="renamed", latency_metric="p95"), unit("trn1")),
        "namespace": application(namespace="another"),
    }[changed]
    endpoint.values = {"inf2-counter": {2: 100}, "inf2-latency": {2: 0.5}, "RequestCount": {2: 7}}
    poll(poller)
    assert poller.demand(KEY, "inf2") == Sample(100, MINUTE - 60)
    endpoint.values = {"inf2-counter": {3: 30}, "renamed": {3: 30}}  # older ones
    endpoint.status = dict.fromkeys(("inf2-latency", "p95", "RequestCount"), "InternalError")
    clock.advance(60)
    poll(poller, new)
    assert (found := poller.demand(KEY, "inf2")) is not None
    assert found.value == 30
    assert poller.latency(KEY, "inf2") is None
    if changed == "period":
        assert poller.error_ratio(KEY) is None


def test_a_spent_budget_leaves_the_rest_for_the_next_poll(endpoint: CloudWatch, clock: ManualClock) -> None:
    """Half an answer is still used."""
    endpoint.values = {"inf2-counter": {2: 1}, "b-counter": {2: 1}}
    poller = CloudWatchPoller(Clients(endpoint), clock, budget=CallBudget(0.01, 1, clock))
    poller.poll([APP, application("b", unit("b"), period_s=300)], {})
    assert len(endpoint.calls) == 1
    assert poller.demand(KEY, "inf2") is not None
    assert poller.demand("default/b", "b") is None
    assert poller.source().problem == "call budget is spent; the rest follows with the next poll"


def test_a_budget_that_is_too_small_serves_everyone_in_turn(endpoint: CloudWatch, clock: ManualClock) -> None:
    """Every poll began with the same applications: of a thousand, 462 were answered, and the others never."""
    apps = [application(f"app{n}", unit(f"unit{n}")) for n in range(600)]
    endpoint.values, endpoint.page = {f"unit{n}-counter": {2: 1} for n in range(600)}, 500
    poller = CloudWatchPoller(Clients(endpoint), clock, budget=CallBudget(0.01, 1, clock))
    for _ in range(3):  # 1,200 queries, 500 a call, one call a poll
        poller.poll(apps, {})
        clock.advance(100)
    assert len(endpoint.calls) == 3
    assert all(poller.demand(app.key, app.units[0].name) is not None for app in apps)


def test_a_batch_that_always_fails_does_not_keep_the_others_waiting(endpoint: CloudWatch, clock: ManualClock) -> None:
    """It was not noted as sent, so that every poll began with it, failed, and asked for nothing else."""
    apps = [application(f"app{n}", unit(f"unit{n}")) for n in range(600)]
    endpoint.values, endpoint.page = {f"unit{n}-counter": {2: 1} for n in range(600)}, 500
    endpoint.fails = {"unit0-counter"}
    poller = CloudWatchPoller(Clients(endpoint), clock)
    for _ in range(4):  # 1,200 queries, 500 a call
        poller.poll(apps, {})
        clock.advance(600)
        endpoint.base += 600
    answered = [poller.demand(app.key, app.units[0].name) is not None for app in apps]
    assert not answered[0]
    assert all(answered[250:])


def test_a_poll_waits_for_its_budget(endpoint: CloudWatch, clock: ManualClock) -> None:
    """A thousand applications need 26 calls, and the bucket holds ten."""
    apps = [application(f"app{n}", *(unit(f"unit{n}-{m}") for m in range(5))) for n in range(1000)]
    poller, endpoint.page = CloudWatchPoller(Clients(endpoint), clock), 500
    poller.poll(apps, {app.key: f"app/lb-{n}/0" for n, app in enumerate(apps)})
    assert len(endpoint.calls) == 26
    assert clock.monotonic() < 60
    assert "budget" not in poller.source().problem


def test_what_was_not_answered_is_not_called_fresh(endpoint: CloudWatch, clock: ManualClock) -> None:
    """Each application has the age of its own values, whatever else CloudWatch answered."""
    apps = [application(f"app{n}", unit(f"unit{n}")) for n in range(400)]
    endpoint.values, endpoint.page = {f"unit{n}-counter": {2: 1} for n in range(400)}, 500
    poller = CloudWatchPoller(Clients(endpoint), clock, budget=CallBudget(0.01, 1, clock))
    poller.poll(apps, {})
    sources = [poller.source(app.key) for app in apps]
    assert [one.last_ok for one in sources] == [NOW] * 250 + [None] * 150
    assert sources[-1].stale(NOW)
    clock.advance(100)
    poller.poll(apps, {})
    assert [poller.source(app.key).last_ok for app in apps] == [NOW + 100] * 100 + [NOW] * 150 + [NOW + 100] * 150


def test_no_ratio_starves_where_the_budget_ends_between_its_counts(endpoint: CloudWatch, clock: ManualClock) -> None:
    """Its three counts are only of use in one poll: asked for in two, they parted for good."""
    apps = [application(f"app{n}", unit(f"unit{n}")) for n in range(334)]
    endpoint.values, endpoint.page = {"RequestCount": {2: 90}, "HTTPCode_ELB_5XX_Count": {2: 10}}, 500
    budget = CallBudget(0.001, 1, clock)
    poller = CloudWatchPoller(Clients(endpoint), clock, budget=budget)
    last: dict[str, float] = {}
    for _ in range(40):  # one call of four each time
        poller.poll(apps, {app.key: f"app/lb-{app.name}/0" for app in apps})
        last |= {app.key: one.at for app in apps if (one := poller.error_ratio(app.key)) is not None}
        clock.advance(1200)
        endpoint.base += 1200
    assert min(last[app.key] for app in apps) > MINUTE + 30 * 1200


def test_an_application_that_is_gone_is_forgotten(endpoint: CloudWatch, poller: CloudWatchPoller, clock: ManualClock) -> None:
    """At once, not with the next poll that is due."""
    endpoint.values = {"inf2-counter": {2: 1}, "inf2-latency": {2: 1}, "RequestCount": {2: 1}}
    poll(poller)
    poll(poller, application("other"))
    assert poller.demand(KEY, "inf2") is poller.latency(KEY, "inf2") is poller.error_ratio(KEY) is None
    assert not poller._samples
    assert not poller._error_ratios


@pytest.mark.parametrize(("lag", "lookback"), [(-1, 5), (0, 0)])
def test_a_window_that_makes_no_sense_is_refused(lag: int, lookback: int, endpoint: CloudWatch, clock: ManualClock) -> None:
    """At construction."""
    with pytest.raises(ValueError, match="lag must not be negative"):
        CloudWatchPoller(Clients(endpoint), clock, lag=lag, lookback=lookback)


# --- properties -------------------------------------------------------------------------------------------------------------------------


@given(
    now=st.floats(1e9, 4e9),
    period_s=st.sampled_from([1, 5, 10, 30, 60, 120, 300, 900, 3600]),
    lookback=st.integers(1, 20),
    lag=st.integers(0, 3),
)
def test_the_window_is_aligned_whole_and_in_the_past(now: float, period_s: int, lookback: int, lag: int) -> None:
    """Whatever the time is."""
    window = Window.at(now, period_s, lookback=lookback, lag=lag)
    assert window.start % period_s == window.end % period_s == window.end % 60 == 0
    assert now - max(60, period_s) < window.end <= now
    assert window.settled - window.start == lookback * period_s
    everything = {window.start + step * period_s: 1.0 for step in range(-3, lookback + lag + 3)}
    used = [end for end, _ in window.used(everything)]
    assert len(used) == lookback
    assert used == sorted(used, reverse=True)
    assert used[0] == window.settled


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.datetimes()
KEYS = st.sampled_from(["MetricDataResults", "Id", "Timestamps", "Values", "StatusCode", "NextToken", "ResponseMetadata", "RetryAttempts"])
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15)
RESULTS = st.lists(
    st.fixed_dictionaries(
        {"Id": st.sampled_from(["q0", "q1", "q4", "x"]), "Timestamps": ANYTHING, "Values": ANYTHING, "StatusCode": ANYTHING}
    )
    | ANYTHING,
    max_size=4,
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(answer=ANYTHING | st.fixed_dictionaries({"MetricDataResults": RESULTS}))
def test_no_answer_however_broken_is_an_exception(answer: Any) -> None:
    """And what is kept of it is a number that a counter can have."""

    class Broken:
        def get_metric_data(self, **_: Any) -> Any:
            return answer

    poller = CloudWatchPoller(Clients(Broken()), ManualClock(NOW))
    poll(poller)
    for sample in (poller.demand(KEY, "inf2"), poller.latency(KEY, "inf2"), poller.error_ratio(KEY)):
        assert sample is None or 0 <= sample.value < float("inf")


def test_a_query_is_a_value() -> None:
    """Equal ones are asked once."""
    assert len({MetricQuery("n", "m", "Sum", 60), MetricQuery("n", "m", "Sum", 60)}) == 1
