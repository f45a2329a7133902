"""What EC2 reports about capacity without a launch: where a type is offered, what is reserved, how much quota is left.

None of it proves that an instance is available now: offerings are a catalogue, a quota is an upper bound, and only a launch shows a
shortage. So zones and free reservations bound what refusals must name, the end of a Capacity Block is acted on, and the rest are sentences
for people. All of it changes rarely and shares EC2's
request buckets with Karpenter, so polls are rare and answers are kept. Each part may be missing (no permission, an emulator) without
the others.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controller.clients.aws import AwsClients, why_forbidden
from controller.clock import Clock
from controller.errors import Forbidden, NotFound, RemoteError, Unavailable
from controller.foreign import shown
from controller.policy.model import Reservation, Source, Unit
from controller.signals.aws_calls import AwsCalls
from controller.signals.budget import CallBudget
from controller.signals.cloudwatch import QUERIES_A_CALL, MetricQuery, get_metric_data

_QUOTAS: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"), ("Standard", "L-1216C47A")),
    **dict.fromkeys(("g", "vt"), ("G and VT", "L-DB2E81BA")),
    "inf": ("Inf", "L-1945791B"),
    "p": ("P", "L-417A185B"),
    "trn": ("Trn", "L-2C3B7624"),
}
"""Name and code of the On-Demand vCPU quota by the first letters of an instance family."""

_OFFERINGS: Final = "offerings"
_RESERVATIONS: Final = "capacity reservations"
_QUOTA: Final = "vCPU quotas"
_USE: Final = "vCPUs in use"
_PERMISSIONS: Final = {
    _OFFERINGS: "ec2:DescribeInstanceTypeOfferings",
    _RESERVATIONS: "ec2:DescribeCapacityReservations",
    _QUOTA: "servicequotas:GetServiceQuota",
    _USE: "cloudwatch:GetMetricData",
}
_SLOW_S: Final = 21_600.0  # offerings and quotas change within days
_ENDED_S: Final = 86_400.0  # how long a Capacity Block that ended is remembered
_SHOWN_S: Final = 1_800.0  # how long reservations and vCPUs in use are shown after the last good answer
_BACKOFF_MIN_S: Final = 60.0
_BACKOFF_MAX_S: Final = 3_600.0
_FILTER_VALUES: Final = 100  # of one request; EC2 takes 200
_USE_PERIOD_S: Final = 300
_USE_PERIODS: Final = 12  # the use metric is published every five minutes, with gaps where nothing runs
_VCPU_FRACTION: Final = {"large": 2, "xlarge": 4}
_MAX_LIMIT: Final = 1e9  # vCPUs; also keeps NaN and infinity out of the sentences


@dataclass(frozen=True, slots=True)
class _Quota:
    """One vCPU quota and the metric of its usage."""

    limit: float
    use: MetricQuery | None


@dataclass(slots=True)
class _Part:
    """The state of one part: when it is due, and its problem."""

    due: float = -math.inf
    backoff_s: float = 0.0
    last_ok: float | None = None
    problem: str = ""
    absent: bool = False


class Ec2Poller:
    """Keeps what EC2 and Service Quotas report on the units' instance types. Threads may share it; call `poll` from one thread at a time.

    botocore's EC2 client is made on the first poll that needs it: it costs about 16 MiB.

    Args:
        clients: The AWS client factory.
        clock: The clock.
        enabled: False: makes no calls, and `source` says so.
        reservations: Whether to poll capacity reservations (moto has none).
        quotas: Whether to poll quotas and their usage (moto has none of EC2's).
        interval_s: Shortest time between two polls of reservations and vCPUs in use, seconds.
        freshness_s: How old the last good answer may be before `source` counts as stale, seconds. Offerings and quotas are polled three
            times in it, or every six hours if that is sooner.
        budget: Budget of calls to EC2 and Service Quotas; None: a new one.
    """

    def __init__(
        self,
        clients: AwsClients,
        clock: Clock,
        *,
        enabled: bool = True,
        reservations: bool = True,
        quotas: bool = True,
        interval_s: float = 300.0,
        freshness_s: float = 1_800.0,
        budget: CallBudget | None = None,
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._freshness_s = freshness_s
        self._budget = budget or CallBudget(0.5, 20, clock)
        self._calls = AwsCalls(clients, self._budget)
        slow_s = min(_SLOW_S, freshness_s / 3)
        self._every_s = {_OFFERINGS: slow_s, _RESERVATIONS: interval_s, _QUOTA: slow_s, _USE: interval_s}
        wanted = {_OFFERINGS: enabled, _RESERVATIONS: enabled and reservations, _QUOTA: enabled and quotas, _USE: enabled and quotas}
        self._parts = {name: _Part() for name, on in wanted.items() if on}
        self._lock = threading.Lock()
        self._types: frozenset[str] = frozenset()
        self._zones: dict[str, tuple[str, ...]] = {}
        self._reserved: tuple[Reservation, ...] | None = None
        self._blocks: dict[str, Reservation] = {}
        self._quotas: dict[str, _Quota] = {}
        self._used: dict[str, float] = {}

    # --- reading ------------------------------------------------------------------------------------------------------------------------

    def offered_zones(self, instance_type: str) -> tuple[str, ...]:
        """The zones of the region in which EC2 offers the type, sorted; () if unknown or offered nowhere."""
        with self._lock:
            return self._zones.get(instance_type, ())

    def reservations(self, instance_types: Collection[str]) -> tuple[Reservation, ...] | None:
        """The account's active capacity reservations of these types; None where they are not known."""
        with self._lock:
            known = self._reserved
        return None if known is None else tuple(one for one in known if one.instance_type in instance_types)

    def blocks(self, instance_types: Collection[str]) -> tuple[Reservation, ...]:
        """The account's Capacity Blocks of these types whose end is known: also while EC2 does not answer, and for a day after the end."""
        with self._lock:
            return tuple(one for one in self._blocks.values() if one.instance_type in instance_types)

    def notes(self, instance_type: str) -> tuple[str, ...]:
        """Sentences for people about the capacity of a type; () if nothing is known."""
        with self._lock:
            notes = (self._offering_note(instance_type), self._reservation_note(instance_type), self._quota_note(instance_type))
            return tuple(note for note in notes if note)

    def source(self) -> Source:
        """How fresh EC2's answers are; absent while disabled or while every part fails. Names the missing parts."""
        with self._lock:
            parts = self._parts.values()
            last_ok = max((part.last_ok for part in parts if part.last_ok is not None), default=None)
            problem = _together((part.problem, name) for name, part in self._parts.items() if part.problem)
            absent = all(part.absent for part in parts)
            return Source(
                "ec2",
                required=False,
                last_ok=last_ok,
                budget_s=self._freshness_s,
                absent=absent,
                problem=problem if self._parts else "disabled by configuration",
                disabled=not self._parts,
            )

    # --- polling ------------------------------------------------------------------------------------------------------------------------

    def poll(self, units: Iterable[Unit]) -> None:
        """Polls what is due. Never raises; a part that fails keeps its last values and is named in `source`.

        Args:
            units: All deployment units; values of other instance types are dropped.
        """
        types = frozenset(name for unit in units for name in (unit.instance_type, *unit.instance_types) if name)
        with self._lock:
            new = types - self._types
            self._types = types
            self._zones = {name: zones for name, zones in self._zones.items() if name in types}
            if self._reserved is not None:
                self._reserved = tuple(one for one in self._reserved if one.instance_type in types)
            if new:  # a new type is worth a call although the others are not due yet
                for part in self._parts.values():
                    part.due = part.due if part.problem else -math.inf
        if not types:
            return
        for name, ask in (
            (_OFFERINGS, self._ask_offerings),
            (_RESERVATIONS, self._ask_reservations),
            (_QUOTA, self._ask_quotas),
            (_USE, self._ask_use),
        ):
            if name in self._parts:
                self._run(name, ask, sorted(types))

    def _run(self, name: str, ask: Callable[[Sequence[str]], bool], types: Sequence[str]) -> None:
        """Polls one part if it is due, and records the result."""
        part, now = self._parts[name], self._clock.monotonic()
        if now < part.due or not self._budget.take():
            return
        try:
            asked = ask(types)
        except RemoteError as error:
            with self._lock:
                part.absent = isinstance(error, Forbidden) or not isinstance(error, Unavailable)
                part.problem = _reason(error, _PERMISSIONS[name])
                part.backoff_s = min(_BACKOFF_MAX_S, max(_BACKOFF_MIN_S, 2 * part.backoff_s))
                part.due = now + part.backoff_s
                if part.last_ok is None or self._clock.now() - part.last_ok > _SHOWN_S:
                    self._forget(name)
            return
        if not asked:
            self._budget.charge(-1)
        with self._lock:
            part.absent, part.problem, part.backoff_s, part.due = not asked, "", 0.0, now + self._every_s[name]
            part.last_ok = self._clock.now() if asked else part.last_ok

    def _forget(self, name: str) -> None:
        """Drops numbers that change by the minute and can no longer be confirmed. Zones and limits stay true for long."""
        if name == _RESERVATIONS:
            self._reserved = None
        elif name == _USE:
            self._used = {}

    # Each of these polls one part, and returns whether there was anything to poll.

    def _ask_offerings(self, types: Sequence[str]) -> bool:
        zones: dict[str, set[str]] = {name: set() for name in types}
        for chunk in _chunks(types):
            arguments = {"LocationType": "availability-zone", "Filters": [{"Name": "instance-type", "Values": chunk}]}
            for entry in self._calls.pages("DescribeInstanceTypeOfferings", "InstanceTypeOfferings", arguments):
                name, zone = entry.get("InstanceType"), entry.get("Location")
                if isinstance(name, str) and isinstance(zone, str) and name in zones:
                    zones[name].add(zone)
        with self._lock:
            self._zones = {name: tuple(sorted(found)) for name, found in zones.items()}
        return True

    def _ask_reservations(self, types: Sequence[str]) -> bool:
        found: list[Reservation] = []
        for chunk in _chunks(types):
            filters = [{"Name": "instance-type", "Values": chunk}, {"Name": "state", "Values": ["active"]}]
            entries = self._calls.pages("DescribeCapacityReservations", "CapacityReservations", {"Filters": filters})
            found += [_reservation(one) for one in entries if one.get("State") == "active" and one.get("InstanceType") in types]
        with self._lock:
            self._reserved = tuple(sorted(found, key=lambda one: (one.instance_type, one.zone, one.id)))
            known = {**self._blocks, **{one.id: one for one in self._reserved if one.block}}
            oldest = self._clock.now() - _ENDED_S
            self._blocks = {name: one for name, one in known.items() if one.ends_at is not None and one.ends_at > oldest}
        return True

    def _ask_quotas(self, types: Sequence[str]) -> bool:
        quotas: dict[str, _Quota] = {}
        missing: NotFound | None = None
        codes = sorted({quota[1] for name in types if (quota := _quota_of(name))})
        for first, code in enumerate(codes):
            self._budget.charge(1 if first else 0)
            try:
                answer = self._calls.call("service-quotas", "GetServiceQuota", {"ServiceCode": "ec2", "QuotaCode": code})
            except NotFound as error:
                missing = error  # this region or emulator lacks this quota and may have the others
                continue
            if (found := _quota(answer.get("Quota"))) is not None:
                quotas[code] = found
        if missing and not quotas:
            raise missing
        with self._lock:
            self._quotas = quotas
            self._parts[_USE].due = -math.inf  # the metric's name is known only now
        return bool(codes)

    def _ask_use(self, _: Sequence[str]) -> bool:
        with self._lock:
            queries = {quota.use: code for code, quota in self._quotas.items() if quota.use}
        if not queries:
            return False
        end = math.floor(self._clock.now() / _USE_PERIOD_S) * _USE_PERIOD_S
        start = end - _USE_PERIODS * _USE_PERIOD_S
        # The current period counts here: usage is a level, not a sum.
        found = get_metric_data(self._clients, list(queries)[:QUERIES_A_CALL], start, end + _USE_PERIOD_S, self._budget)
        with self._lock:
            self._used = {queries[query]: series.points[max(series.points)] for query, series in found.items() if series.points}
        return True

    # --- sentences ----------------------------------------------------------------------------------------------------------------------

    def _offering_note(self, instance_type: str) -> str:
        if instance_type in self._zones and not self._zones[instance_type]:
            return f"EC2 does not offer {instance_type} in any zone of this region"
        return ""

    def _reservation_note(self, instance_type: str) -> str:
        reserved = [one for one in self._reserved or () if one.instance_type == instance_type and one.total]
        if not reserved:
            return ""
        free, total = Counter[str](), Counter[str]()
        for one in reserved:
            free[one.zone] += one.free
            total[one.zone] += one.total
        zones = ", ".join(f"{zone} {free[zone]} of {count}" for zone, count in sorted(total.items()))
        bound = sum(one.free for one in reserved if one.targeted)
        targeted = f"; {bound} of the free ones only for launches that name the reservation" if bound else ""
        return f"capacity reservations for {instance_type}: {free.total()} of {total.total()} instances free ({zones}){targeted}"

    def _quota_note(self, instance_type: str) -> str:
        family = _quota_of(instance_type)
        quota = self._quotas.get(family[1]) if family else None
        if family is None or quota is None:
            return ""
        needs = vcpus(instance_type)
        size = f" (an {instance_type} needs {needs})" if instance_type[0] in "aeiou" else f" (a {instance_type} needs {needs})"
        size = size if needs else ""
        used = self._used.get(family[1])
        if used is None:
            return f"On-Demand vCPU quota {family[0]} {quota.limit:.0f}, use unknown{size}"
        left = max(0.0, quota.limit - used)
        return f"On-Demand vCPU quota {family[0]} {quota.limit:.0f}, {used:.0f} in use: {left:.0f} left{size}"


def vcpus(instance_type: str) -> int | None:
    """The number of vCPUs of an instance type by its size: ``large`` 2, ``xlarge`` 4, ``Nxlarge`` 4 N, as in all accelerated families.

    Returns:
        The number; None if the size does not say (``metal``, ``medium``).
    """
    match = re.fullmatch(r"(\d{0,3})(x?large)", instance_type.partition(".")[2])
    if not match or (match[1] and match[2] == "large"):
        return None
    return _VCPU_FRACTION[match[2]] * int(match[1] or 1)


def _quota_of(instance_type: str) -> tuple[str, str] | None:
    """Name and code of the On-Demand vCPU quota that counts a type; None if unknown."""
    match = re.match(r"[a-z]+", instance_type)
    return _QUOTAS.get(match[0]) if match else None


def _quota(answer: object) -> _Quota | None:
    """Limit and usage metric of a quota as Service Quotas describes it; None if there is no usable limit."""
    limit = answer.get("Value") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(limit, int | float) or not 0 <= limit < _MAX_LIMIT:
        return None
    return _Quota(float(limit), _use_query(answer.get("UsageMetric")))


def _use_query(metric: object) -> MetricQuery | None:
    """The query for a quota's usage, from Service Quotas' own description of the metric."""
    if not isinstance(metric, dict):
        return None
    namespace, name, dimensions = metric.get("MetricNamespace"), metric.get("MetricName"), metric.get("MetricDimensions")
    if not isinstance(namespace, str) or not isinstance(name, str) or not isinstance(dimensions, dict):
        return None
    pairs = tuple(sorted((str(key), str(value)) for key, value in dimensions.items()))
    return MetricQuery(namespace, name, str(metric.get("MetricStatisticRecommendation") or "Maximum"), _USE_PERIOD_S, pairs)


def _reservation(entry: Mapping[str, Any]) -> Reservation:
    """A reservation as EC2 describes it. What it does not say is the harmless value."""
    ends = entry.get("EndDate")
    return Reservation(
        id=shown(str(entry.get("CapacityReservationId") or "")),
        instance_type=shown(str(entry.get("InstanceType") or "")),
        zone=shown(str(entry.get("AvailabilityZone") or entry.get("AvailabilityZoneId") or "?")),
        free=_count(entry.get("AvailableInstanceCount")),
        total=_count(entry.get("TotalInstanceCount")),
        block=entry.get("ReservationType") == "capacity-block",
        targeted=entry.get("InstanceMatchCriteria") == "targeted",
        ends_at=ends.timestamp() if isinstance(ends, datetime) else None,
    )


def _chunks(types: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(types), _FILTER_VALUES):
        yield list(types[first : first + _FILTER_VALUES])


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _together(problems: Iterable[tuple[str, str]]) -> str:
    """Each problem once, after the names of the parts that have it."""
    parts: dict[str, list[str]] = {}
    for problem, name in problems:
        parts.setdefault(problem, []).append(name)
    return "; ".join(f"{', '.join(names)}: {problem}" for problem, names in parts.items())


def _reason(error: RemoteError, permission: str) -> str:
    if isinstance(error, Forbidden):
        return why_forbidden(error, permission)
    return shown(str(error))
