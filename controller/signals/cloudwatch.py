"""Demand, latency and errors from CloudWatch. It is slow, so these values confirm and never trigger alone.

CloudWatch has one value a minute, and the newest minutes are still incomplete when they first appear. So the window ends at a full
period, periods that ended less than a minute ago are left out, and every value carries the end of its period, which shows its age.

A missing value means different things:

- a unit's counter: nothing was published, which is not the same as no demand: None;
- a 5xx count: CloudWatch has it only if it is not zero: 0, if the load balancer counted requests in the same period;
- the load balancer's request count: there were no requests, or it is late: the error ratio is unknown. The exception is a period in which
  the load balancer itself answered 5xx: it refuses requests for an empty target group before it chooses a target and does not count them,
  so in such a period every request failed.

``error ratio = (elb 5xx + target 5xx) / (requests + elb 5xx)``: the load balancer's own 5xx are added to the denominator because its 503s
for empty target groups are not among the requests. Its 502s and 504s are, so they count twice there: the ratio may be too low by up to a
half (all requests fail with 504: 0.5), never too high.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from controller.clients.aws import ATTEMPTS, AwsClients, translated, why_forbidden
from controller.clock import Clock
from controller.errors import Forbidden, Rejected, RemoteError
from controller.foreign import shown
from controller.policy.account import SETTLED_S
from controller.policy.model import Application, Sample, Source
from controller.signals.budget import CallBudget

QUERIES_A_CALL: Final = 500
"""Most queries of one GetMetricData call."""

_LOAD_BALANCER_NAMESPACE: Final = "AWS/ApplicationELB"
_REQUESTS: Final = "RequestCount"
_ELB_5XX: Final = "HTTPCode_ELB_5XX_Count"
_TARGET_5XX: Final = "HTTPCode_Target_5XX_Count"
_MINUTE_S: Final = 60
_PAGES: Final = 20
_BACKOFF_MIN_S: Final = 30.0
_BACKOFF_MAX_S: Final = 300.0
_REFUSED_S: Final = 600.0  # how long a query that CloudWatch refuses is left out
_LOOKBACK_S: Final = 300.0  # at least: CloudWatch is late by one to three minutes, whatever the period
_RECENT: Final = 2  # periods that a metric may be behind and is still asked only for what comes after its last value
_EARLY: Final = 0.1  # by what share of an interval a poll may come early: the timer's jitter must not make it wait for one more
_MAX_VALUE: Final = 1e300
_NEVER: Final = (0, 0)


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One metric query. Equal queries of several applications are sent once.

    Attributes:
        namespace: CloudWatch namespace.
        metric: Metric name.
        stat: ``Sum``, ``Average``, ``Maximum`` or a percentile such as ``p95``.
        period_s: Seconds of one value.
        dimensions: Names and values in the order in which they were published.
    """

    namespace: str
    metric: str
    stat: str
    period_s: int
    dimensions: tuple[tuple[str, str], ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """A poll puts each of 13,000 queries into a dozen dictionaries."""
        fields = (self.namespace, self.metric, self.stat, self.period_s, self.dimensions)
        object.__setattr__(self, "_hash", hash(fields))

    def __hash__(self) -> int:
        return self._hash


@dataclass(slots=True)
class Series:
    """The answer to one query: values by the start of their period, seconds since the Unix epoch."""

    points: dict[float, float]
    complete: bool = True  # False: CloudWatch had an internal error; missing values may exist
    forbidden: bool = False


_HARMLESS: Final = MetricQuery(_LOAD_BALANCER_NAMESPACE, _REQUESTS, "Sum", _MINUTE_S)
"""A query in which nothing can be wrong. CloudWatch has no value for it, because the load balancers' have dimensions."""


def get_metric_data(
    clients: AwsClients, queries: Sequence[MetricQuery], start: float, end: float, budget: CallBudget
) -> dict[MetricQuery, Series]:
    """Queries up to `QUERIES_A_CALL` metrics, all pages.

    Args:
        clients: The AWS client factory.
        queries: The queries.
        start: Start of the window, seconds since the Unix epoch, inclusive.
        end: End of the window, exclusive.
        budget: Is charged for calls beyond the one that the caller took.

    Returns:
        A series for each query; empty if there is no value.

    Raises:
        RemoteError: A call failed.
    """
    found = {query: Series({}) for query in queries}
    names = {f"q{number}": query for number, query in enumerate(queries)}
    arguments: dict[str, Any] = {
        "MetricDataQueries": [_query(name, query) for name, query in names.items()],
        "StartTime": datetime.fromtimestamp(start, UTC),
        "EndTime": datetime.fromtimestamp(end, UTC),
        "ScanBy": "TimestampDescending",
    }
    for page in range(_PAGES):
        budget.charge(1 if page else 0)
        answer = _call(clients, arguments, budget)
        results = answer.get("MetricDataResults")
        for result in results if isinstance(results, list) else []:
            query = names.get(str(result.get("Id"))) if isinstance(result, dict) else None
            if query is not None:
                _collect(result, found[query])
        token = answer.get("NextToken")
        if not token:
            return found
        if token == arguments.get("NextToken"):
            break
        arguments["NextToken"] = token
    for series in found.values():  # the pages do not end: the values read are valid, but missing ones may exist
        series.complete = False
    return found


def _call(clients: AwsClients, arguments: Mapping[str, Any], budget: CallBudget) -> Mapping[str, Any]:
    """Makes one request and accounts for botocore's retries.

    Raises:
        RemoteError: The request failed.
    """
    try:
        with translated("cloudwatch", "GetMetricData"):
            answer = clients.client("cloudwatch").get_metric_data(**arguments)
    except RemoteError as error:
        budget.charge(ATTEMPTS - 1 if not isinstance(error, Forbidden | Rejected) else 0)
        raise
    answer = answer if isinstance(answer, dict) else {}
    metadata = answer.get("ResponseMetadata")
    retries = metadata.get("RetryAttempts") if isinstance(metadata, dict) else 0
    budget.charge(retries if isinstance(retries, int) and 0 < retries < ATTEMPTS else 0)
    return answer


def _query(name: str, query: MetricQuery) -> dict[str, Any]:
    dimensions = [{"Name": key, "Value": value} for key, value in query.dimensions]
    metric = {"Namespace": query.namespace, "MetricName": query.metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": query.period_s, "Stat": query.stat}, "ReturnData": True}


def _collect(result: Mapping[str, Any], series: Series) -> None:
    """Adds one result to its series. Its status is that of its last page, because earlier pages always say PartialData."""
    status = result.get("StatusCode", "Complete")
    series.forbidden = status == "Forbidden"
    series.complete = series.forbidden or status == "Complete"
    stamps, values = result.get("Timestamps"), result.get("Values")
    # Values and times pair by position, in any order; a value without a time is useless.
    for stamp, value in zip(stamps if isinstance(stamps, list) else [], values if isinstance(values, list) else [], strict=False):
        usable = isinstance(stamp, datetime) and isinstance(value, int | float) and not isinstance(value, bool)
        if usable and 0 <= value < _MAX_VALUE:  # excludes NaN and infinity, too
            series.points[_epoch(stamp)] = float(value)


def _epoch(stamp: datetime) -> float:
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


# --- the window -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """The periods to query, and which of them are used.

    Attributes:
        start: Start of the oldest period, seconds since the Unix epoch, a multiple of the period.
        end: End of the newest whole period.
        settled: End of the newest period that is used; later ones are still incomplete.
        period_s: Length of a period, seconds.
    """

    start: float
    end: float
    settled: float
    period_s: int

    @classmethod
    def at(cls, now: float, period_s: int, *, lookback: int, lag: int) -> Window:
        """The window at a time.

        Args:
            now: Seconds since the Unix epoch.
            period_s: Length of a period, seconds; 1, 5, 10, 30 or a multiple of 60.
            lookback: Most periods that are used.
            lag: For how many times `SETTLED_S` after its end a period is left out.
        """
        step = max(_MINUTE_S, period_s)  # ends on a minute even if the periods are shorter
        end = math.floor(now / step) * step
        settled = math.floor((now - lag * SETTLED_S) / step) * step
        return cls(start=settled - lookback * period_s, end=end, settled=settled, period_s=period_s)

    def since(self, start: float) -> Window:
        """This window from a later period on.

        Args:
            start: The start of that period; an earlier one than the window's counts as the window's.
        """
        return replace(self, start=max(self.start, min(start, self.settled - self.period_s)))

    def used(self, points: Mapping[float, float]) -> list[tuple[float, float]]:
        """The ends and values of the settled periods, newest first."""
        ends = ((start + self.period_s, value) for start, value in points.items())
        return sorted(((end, value) for end, value in ends if self.start < end <= self.settled), reverse=True)


# --- the poller -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The queries of one application, made for these two."""

    application: Application
    balancer: str
    counters: Mapping[str, MetricQuery]
    latencies: Mapping[str, MetricQuery]
    load_balancer: tuple[MetricQuery, MetricQuery, MetricQuery] | None  # requests, its own 5xx, its targets' 5xx

    def all(self) -> Iterable[MetricQuery]:
        """Every query."""
        yield from self.counters.values()
        yield from self.latencies.values()
        yield from self.load_balancer or ()


@dataclass(slots=True)
class _Answers:
    """What the batches of one poll have brought, without the series of units: a thousand applications have more than ten thousand.

    Attributes:
        complete: Whether any series was complete.
        incomplete: Whether any was not.
        forbidden: Whether CloudWatch forbade any.
        with_values: Whether any had a value.
        load_balancers: The complete series of load balancers' metrics, whose ratio needs three that may come in different batches.
    """

    complete: bool = False
    incomplete: bool = False
    forbidden: bool = False
    with_values: bool = False
    load_balancers: dict[MetricQuery, Series] = field(default_factory=dict)

    def add(self, found: Mapping[MetricQuery, Series]) -> None:
        """Adds a batch."""
        for query, series in found.items():
            self.complete = self.complete or series.complete
            self.incomplete = self.incomplete or not series.complete
            self.forbidden = self.forbidden or series.forbidden
            self.with_values = self.with_values or bool(series.points)
            if query.namespace == _LOAD_BALANCER_NAMESPACE and series.complete:
                self.load_balancers[query] = series

    def of_load_balancer(self, queries: Sequence[MetricQuery]) -> list[Series]:
        """The series of a load balancer's queries; [] until each is answered in full, because a missing answer is not a count of 0."""
        found = [self.load_balancers[query] for query in queries if query in self.load_balancers]
        return found if len(found) == len(queries) else []


def _owners(wanted: Mapping[str, _Wanted], refused: Container[MetricQuery]) -> dict[MetricQuery, tuple[str, ...]]:
    """The keys of the applications that want each query."""
    owners: dict[MetricQuery, tuple[str, ...]] = {}
    for key, each in wanted.items():
        alone = (key,)
        for query in each.all():
            if query not in refused:
                before = owners.setdefault(query, alone)
                owners[query] = before if key in before else (*before, key)
    return owners


class CloudWatchPoller:
    """Keeps the newest settled values of every unit and load balancer. Threads may share it; call `poll` from one thread at a time.

    Args:
        clients: The AWS client factory.
        clock: The clock.
        now: What time it is for AWS, seconds since the Unix epoch; None: as `clock` says. Values carry times of this clock.
        enabled: False: makes no calls, and `source` says so.
        latency_stat: Statistic of a unit's latency: a percentile, or ``Average`` for endpoints without percentiles (moto).
        lag: For how many minutes after its end a period is not used because it may still be incomplete.
        lookback: Number of periods that are used beyond those.
        interval_s: Shortest time between two polls, seconds. CloudWatch has only one value a minute, and each query costs money.
        freshness_s: How old the last good answer may be before `source` counts as stale, seconds.
        budget: Budget of GetMetricData calls; None: a new one. A poll waits for it, for at most one interval.
        stop: Ends such a wait early when set.
        before: Called before each call; may wait for a bounded time.
    """

    def __init__(
        self,
        clients: AwsClients,
        clock: Clock,
        *,
        now: Callable[[], float] | None = None,
        enabled: bool = True,
        latency_stat: str = "p95",
        lag: int = 1,
        lookback: int = 5,
        interval_s: float = 60.0,
        freshness_s: float = 300.0,
        budget: CallBudget | None = None,
        stop: threading.Event | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        if lag < 0 or lookback < 1:
            raise ValueError(f"lag must not be negative and lookback at least 1, got {lag} and {lookback}")
        self._clients = clients
        self._clock, self._now = clock, now or clock.now
        self._enabled = enabled
        self._latency_stat = latency_stat
        self._lag = lag
        self._lookback = lookback
        self._interval_s = interval_s
        self._freshness_s = freshness_s
        self._budget = budget or CallBudget(1, 10, clock)
        self._stop = stop or threading.Event()
        self._before = before
        self._lock = threading.Lock()
        self._samples: dict[MetricQuery, Sample] = {}  # of units, by the query that each answers: to no other it is an answer
        self._error_ratios: dict[MetricQuery, Sample] = {}  # by the query for the load balancer's requests
        self._wanted_by: dict[str, _Wanted] = {}
        self._polls = self._calls = 0
        self._asked: dict[MetricQuery, tuple[int, int]] = {}  # with which of these polls and calls it was sent last
        self._answered: dict[MetricQuery, float] = {}  # when it was answered in full last
        self._newest: dict[MetricQuery, float] = {}  # of a unit: the end of the newest period that had a value
        self._refused: dict[MetricQuery, tuple[float, str]] = {}  # until when (monotonic) it is left out, and CloudWatch's message
        self._due = -math.inf
        self._backoff_s = 0.0
        self._last_ok: float | None = None
        self._seen = False
        self._forbidden = False
        self._problem = "" if enabled else "disabled by configuration"

    # --- reading ------------------------------------------------------------------------------------------------------------------------

    def demand(self, application: str, unit: str) -> Sample | None:
        """Requests in the newest settled period of a unit; None if CloudWatch has none within the window."""
        with self._lock:
            wanted = self._wanted_by.get(application)
            return self._sample(wanted.counters.get(unit)) if wanted is not None else None

    def latency(self, application: str, unit: str) -> Sample | None:
        """Latency of a unit in the newest settled period, seconds; None if CloudWatch has none within the window."""
        with self._lock:
            wanted = self._wanted_by.get(application)
            return self._sample(wanted.latencies.get(unit)) if wanted is not None else None

    def error_ratio(self, application: str) -> Sample | None:
        """Share of the requests that ended in a 5xx, 0 to 1; None if unknown. For a shared load balancer it covers all of its requests."""
        with self._lock:
            wanted = self._wanted_by.get(application)
            return self._error_ratios.get(wanted.load_balancer[0]) if wanted is not None and wanted.load_balancer else None

    def _sample(self, query: MetricQuery | None) -> Sample | None:
        return self._samples.get(query) if query is not None else None

    def source(self, application: str = "") -> Source:
        """How fresh CloudWatch's answers are; absent while disabled, forbidden, or before the first value of any metric.

        An application of which CloudWatch refuses every metric was never answered, whatever it says of others.

        Args:
            application: Whose; "": of anything.
        """
        with self._lock:
            never = self._last_ok is not None and not self._seen
            problem = self._problem or ("CloudWatch has no value of any metric yet" if never else "")
            absent = not self._enabled or self._forbidden or never
            last_ok = self._last_ok
            if last_ok is not None and (wanted := self._wanted_by.get(application)) is not None:
                # The load balancer's metrics are wanted only once it is known, which must not make the others seem old.
                every = [*wanted.counters.values(), *wanted.latencies.values()]
                mine = [query for query in every if query not in self._refused]
                if any(query not in self._answered for query in mine) or (every and not mine):
                    last_ok = None
                elif mine:
                    last_ok = min(self._answered[query] for query in mine)
            return Source(
                "cloudwatch",
                required=False,
                last_ok=last_ok,
                budget_s=self._freshness_s,
                absent=absent,
                problem=problem,
                disabled=not self._enabled,
            )

    # --- polling ------------------------------------------------------------------------------------------------------------------------

    def poll(self, applications: Iterable[Application], load_balancers: Mapping[str, str]) -> None:
        """Polls everything if a poll is due. Never raises; after a failure the last values stay and age.

        Args:
            applications: All applications; the values of others are dropped.
            load_balancers: CloudWatch's ``LoadBalancer`` dimension by application key, as far as known.
        """
        applications, now = list(applications), self._clock.monotonic()
        kept = self._wanted_by.keys() & {one.key for one in applications}
        if len(kept) < len(self._wanted_by):
            self._prune({key: self._wanted_by[key] for key in kept})
        if not self._enabled or now < self._due:
            return
        wanted = {one.key: self._wanted(one, load_balancers.get(one.key, "")) for one in applications}
        self._prune(wanted)
        self._refused = {query: refusal for query, refusal in self._refused.items() if refusal[0] > now}
        owners = _owners(wanted, self._refused)
        windows = {period_s: self._window(period_s) for period_s in _periods(owners)}
        answers, problem, failure = _Answers(), "", None
        try:
            self._polls += 1
            for batch in self._batches(owners):
                found: dict[MetricQuery, Series] = {}
                window = windows[batch[0].period_s]
                try:
                    self._fetch(batch, window.since(min(self._start(query, window) for query in batch)), found, now + self._interval_s)
                finally:  # what was answered before a failure counts
                    answers.add(found)
                    self._store({key: wanted[key] for query in found for key in owners[query]}, windows, found, answers)
        except RemoteError as error:
            failure = error
        except _BudgetSpentError:
            problem = "call budget is spent; the rest follows with the next poll"
        self._conclude(now, answers, failure, problem)

    def _window(self, period_s: int) -> Window:
        lookback = max(self._lookback, math.ceil(_LOOKBACK_S / period_s))
        return Window.at(self._now(), period_s, lookback=lookback, lag=self._lag)

    def _wanted(self, application: Application, balancer: str) -> _Wanted:
        """What to query. The queries stay the same objects from poll to poll: what is known of each is kept by them."""
        known = self._wanted_by.get(application.key)
        if known is None or known.application is not application:
            known = _Wanted(application, "", *self._unit_queries(application), None)
        if known.balancer == balancer:
            return known
        return replace(
            known, balancer=balancer, load_balancer=_balancer_queries(balancer, application.metric_period_s) if balancer else None
        )

    def _unit_queries(self, application: Application) -> tuple[dict[str, MetricQuery], dict[str, MetricQuery]]:
        """The queries of each unit's requests and latency."""
        period_s = application.metric_period_s
        counters, latencies = {}, {}
        for unit in application.units if application.metric_namespace else ():
            counter, latency = unit.counter_metric or f"{unit.name}-counter", unit.latency_metric or f"{unit.name}-latency"
            counters[unit.name] = MetricQuery(application.metric_namespace, counter, "Sum", period_s)
            latencies[unit.name] = MetricQuery(application.metric_namespace, latency, self._latency_stat, period_s)
        return counters, latencies

    def _start(self, query: MetricQuery, window: Window) -> float:
        """The start of the oldest period that is still to be read of a query.

        That is the newest one whose value is known: botocore takes most of a poll to read values, and of 13,000 metrics it would read those
        of the five minutes before again every minute. What has no value lately may have an older one that comes late, and a load balancer's
        ratio needs three metrics of one period, so these get the whole window.
        """
        newest = self._newest.get(query, -math.inf)
        lately = newest >= window.settled - _RECENT * max(_MINUTE_S, query.period_s)
        return newest - query.period_s if lately else window.start

    def _batches(self, queries: Collection[MetricQuery]) -> list[list[MetricQuery]]:
        """The queries in calls' worth of one period each, those that were sent longest ago first: none is left out for ever.

        Those of load balancers come together: they need the whole window, and nothing else in their call can do with less. The three of one
        are only of use in the same poll, so they have one turn.
        """
        oldest: dict[tuple[tuple[str, str], ...], tuple[int, int]] = {}
        for query in queries:
            if query.namespace == _LOAD_BALANCER_NAMESPACE:
                asked = self._asked.get(query, _NEVER)
                oldest[query.dimensions] = min(asked, oldest.get(query.dimensions, asked))

        def turn(query: MetricQuery) -> tuple[int, bool, int, tuple[tuple[str, str], ...]]:
            if query.namespace == _LOAD_BALANCER_NAMESPACE:
                poll, call = oldest[query.dimensions]
                return poll, True, call, query.dimensions
            poll, call = self._asked.get(query, _NEVER)
            return poll, False, call, ()

        ordered = sorted(queries, key=turn)
        by_period = ([query for query in ordered if query.period_s == period_s] for period_s in _periods(ordered))
        batches = [mine[first : first + QUERIES_A_CALL] for mine in by_period for first in range(0, len(mine), QUERIES_A_CALL)]
        return sorted(batches, key=lambda batch: turn(batch[0]))

    def _fetch(self, queries: Sequence[MetricQuery], window: Window, found: dict[MetricQuery, Series], until: float) -> None:
        """Queries one batch. If CloudWatch refuses it, queries its halves, so that one wrong name does not blind all applications.

        What CloudWatch says to every request, it does not say of a metric: no metric is left out for that.

        Raises:
            RemoteError: CloudWatch did not answer, or refuses every request.
            _BudgetSpentError: The call budget is spent.
        """
        refusal = self._ask(queries, window, found, until)
        if refusal is None:
            return
        general = self._ask([_HARMLESS], window, {}, until)
        if general is not None:
            raise general
        self._narrow(queries, refusal, window, found, until)

    def _narrow(
        self, queries: Sequence[MetricQuery], refusal: Rejected, window: Window, found: dict[MetricQuery, Series], until: float
    ) -> None:
        """Finds the metrics because of which CloudWatch refused a batch, and queries the others.

        Raises:
            RemoteError: CloudWatch did not answer.
            _BudgetSpentError: The call budget is spent.
        """
        if len(queries) == 1:
            said = f"CloudWatch refuses metric {queries[0].namespace}/{queries[0].metric}: {shown(str(refusal))}"
            self._refused[queries[0]] = (self._clock.monotonic() + _REFUSED_S, said)
            return
        middle = len(queries) // 2
        for half in (queries[:middle], queries[middle:]):
            again = self._ask(half, window, found, until)
            if again is not None:
                self._narrow(half, again, window, found, until)

    def _ask(self, queries: Sequence[MetricQuery], window: Window, found: dict[MetricQuery, Series], until: float) -> Rejected | None:
        """Sends one call.

        Returns:
            Why CloudWatch refuses it; None if it answered, and `found` has the series.

        Raises:
            RemoteError: CloudWatch did not answer.
            _BudgetSpentError: The call budget is spent.
        """
        self._before()
        if not self._budget.wait(timeout_s=until - self._clock.monotonic(), stop=self._stop):
            raise _BudgetSpentError
        with self._lock:
            self._calls += 1
            self._asked.update(dict.fromkeys(queries, (self._polls, self._calls)))
        try:
            found.update(get_metric_data(self._clients, queries, window.start, window.settled, self._budget))
        except Rejected as error:
            return error
        return None

    def _store(
        self, wanted: Mapping[str, _Wanted], windows: Mapping[int, Window], found: Mapping[MetricQuery, Series], answers: _Answers
    ) -> None:
        """Stores the new values of a batch. A series that is missing or incomplete keeps the last value if it has no better one.

        Args:
            wanted: The applications of which `found` has a series.
            windows: By length of a period.
            found: The series of the batch.
            answers: What the batches have brought so far, this one included.
        """
        now = self._clock.now()
        with self._lock:
            self._answered.update(dict.fromkeys((query for query, series in found.items() if series.complete or series.forbidden), now))
            for each in wanted.values():
                for query in (*each.counters.values(), *each.latencies.values()):
                    if query in found:
                        sample, keep = self._judged(query, found[query], windows[query.period_s])
                        _replace(self._samples, query, sample, keep=keep)
                if each.load_balancer and (series := answers.of_load_balancer(each.load_balancer)):
                    requests = each.load_balancer[0]
                    _replace(self._error_ratios, requests, _ratio(windows[requests.period_s], series), keep=False)

    def _judged(self, query: MetricQuery, series: Series, window: Window) -> tuple[Sample | None, bool]:
        """The newest settled value of a unit's metric, and whether the one before stays where there is none.

        It stays while it is in the window: perhaps the query was only about what came after it.
        """
        used = window.used(series.points)
        if used:
            self._newest[query] = window.settled if used[0][0] == window.settled else used[0][0]  # most share one number
        keep = not series.complete or self._newest.get(query, -math.inf) > window.start
        return (Sample(used[0][1], used[0][0]) if used else None), keep

    def _conclude(self, now: float, answers: _Answers, failure: RemoteError | None, problem: str) -> None:
        """Records the result of the poll and when the next one is due."""
        with self._lock:
            self._seen = self._seen or answers.with_values
            if failure is not None:
                self._forbidden = isinstance(failure, Forbidden)
                self._problem = _reason(failure)
                self._backoff_s = _BACKOFF_MAX_S if self._forbidden else min(_BACKOFF_MAX_S, max(_BACKOFF_MIN_S, 2 * self._backoff_s))
                self._due = now + max(self._interval_s, self._backoff_s)
                return
            self._forbidden, self._backoff_s = False, 0.0
            early_s = _EARLY * self._interval_s
            in_time = now - self._due < self._interval_s  # then the next one is due when it would be if this one had not come late
            self._due = (min(now, self._due + early_s) if in_time else now) + self._interval_s - early_s
            if answers.forbidden:
                problem = problem or "CloudWatch forbids some of the metrics"
            elif answers.incomplete:
                problem = problem or "CloudWatch answered in part (PartialData or InternalError)"
            self._problem = problem or next((said for _, said in self._refused.values()), "")
            if not problem or answers.complete:
                self._last_ok = self._clock.now()

    def _prune(self, wanted: Mapping[str, _Wanted]) -> None:
        queries = {query for each in wanted.values() for query in each.all()}
        with self._lock:
            self._wanted_by = dict(wanted)
            self._asked = {query: at for query, at in self._asked.items() if query in queries}
            self._answered = {query: at for query, at in self._answered.items() if query in queries}
            self._newest = {query: at for query, at in self._newest.items() if query in queries}
            self._samples = {query: sample for query, sample in self._samples.items() if query in queries}
            self._error_ratios = {query: sample for query, sample in self._error_ratios.items() if query in queries}


def _balancer_queries(balancer: str, period_s: int) -> tuple[MetricQuery, MetricQuery, MetricQuery]:
    """The queries of a load balancer's requests and its two kinds of errors. AWS publishes its own metrics once a minute."""
    longer, dimension = max(_MINUTE_S, period_s), (("LoadBalancer", balancer),)
    requests, own, targets = (
        MetricQuery(_LOAD_BALANCER_NAMESPACE, metric, "Sum", longer, dimension) for metric in (_REQUESTS, _ELB_5XX, _TARGET_5XX)
    )
    return requests, own, targets


class _BudgetSpentError(Exception):
    """The call budget is spent."""


def _periods(queries: Iterable[MetricQuery]) -> list[int]:
    return sorted({query.period_s for query in queries})


def _replace(into: dict[MetricQuery, Sample], key: MetricQuery, sample: Sample | None, *, keep: bool) -> None:
    """Stores the sample. Without one, drops the last unless it should be kept. An older sample never replaces a newer one."""
    last = into.get(key)
    if sample is None:
        if not keep:
            into.pop(key, None)
    elif last is None or sample.at >= last.at:
        into[key] = sample


def _ratio(window: Window, series: Sequence[Series]) -> Sample | None:
    """The error ratio of the newest settled period that has one; see the module's docstring."""
    requests, own, targets = (dict(window.used(one.points)) for one in series)
    for end in sorted(requests.keys() | own.keys(), reverse=True):
        failed = own.get(end, 0.0)
        total = requests.get(end, 0.0) + failed
        if total > 0:
            return Sample(min(1.0, (failed + (targets.get(end, 0.0) if end in requests else 0.0)) / total), end)
    return None


def _reason(error: RemoteError) -> str:
    if isinstance(error, Forbidden):
        return why_forbidden(error, "cloudwatch:GetMetricData")
    return f"no answer from CloudWatch ({error.code or shown(str(error))})"
