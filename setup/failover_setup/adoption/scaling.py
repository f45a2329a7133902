"""Reads KEDA's ScaledObjects: floor and ceiling, the counter and the throughput of a replica."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.objects import Object, field_owners, integer, items, mapping, name_of, text
from controller.policy.model import Mode, WorkloadKind
from controller.policy.plan import FIELD_MANAGER
from controller.signals.workload_kinds import Owner
from controller.signals.workloads import DEFAULT_PERIOD_S, TRIGGER_TYPE, scaler_metric
from failover_setup.adoption.facts import Fact, assumed, missing, read
from failover_setup.adoption.observe import Observation

COUNTER: Final = "-counter"
LATENCY: Final = "-latency"

_DEFAULT_CEILING: Final = 100  # KEDA's maxReplicaCount
_OF_SEVERAL: Final = "; it has other triggers on CloudWatch: enter that of the unit's requests"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_METRIC: Final = re.compile(r'SELECT\s+\w+\(\s*"?([^")\s]+)"?\s*\)', re.IGNORECASE)
_SPACE: Final = re.compile(r'FROM\s+(?:SCHEMA\(\s*)?"([^"]+)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Scaling:
    """The values of a unit's ScaledObject.

    Attributes:
        facts: Facts of the unit, by key.
        space: CloudWatch namespace of its counter, "" if it is unknown.
        counter: Name of the counter, "" if it is unknown.
        period_s: Period of the target, seconds; None if there is no trigger on CloudWatch.
    """

    facts: Mapping[str, Fact]
    space: str = ""
    counter: str = ""
    period_s: int | None = None


def scaling(observed: Observation, workload: Owner, mode: Mode) -> Scaling:
    """Reads the ScaledObject of a workload.

    Args:
        observed: The objects of the stack.
        workload: Kind and name of the workload.
        mode: The live mode: in capacity mode a target may be the adjusted one.
    """
    found = [one for one in observed.scaled_objects if _scales(one, workload)]
    if not found:
        return Scaling({"throughput": missing(f"no ScaledObject scales the {workload.kind}; its target would state it")})
    obj = found[0]
    name, spec = name_of(obj), mapping(obj, "spec")
    more = f"; so do {', '.join(sorted(name_of(one) for one in found[1:]))}, which KEDA does not allow" if len(found) > 1 else ""
    where = f"ScaledObject {name}"
    facts = {
        "scaledObject": Fact(name, f"it scales {workload.name}{more}", sure=not more),
        "minReplicas": _floor(obj, where),
        "maxReplicas": read(integer(spec, "maxReplicaCount") or _DEFAULT_CEILING, where),
    }
    if facts["minReplicas"].value > facts["maxReplicas"].value:
        facts["minReplicas"] = assumed(facts["maxReplicas"].value, f"{where} has a floor above its ceiling")
    triggers = [one for one in items(spec, "triggers") if text(one, "type") == TRIGGER_TYPE]
    if not triggers:
        return Scaling(facts | {"throughput": missing(f"{where} has no trigger on CloudWatch; its target would state it")})
    counts = [one for one in triggers if _counts_requests(one)]
    return _from_trigger(facts, (counts or triggers)[0], where, mode, sure=len(counts) == 1 or len(triggers) == 1)


def _floor(obj: Object, where: str) -> Fact:
    """The floor. One that the controller has raised for capacity mode, or for the cheapest fleet, would stay for ever in the file."""
    floor = integer(obj, "spec", "minReplicaCount") or 0
    if FIELD_MANAGER in field_owners(obj, "spec", "minReplicaCount"):
        return assumed(floor, f"{where}, whose floor the controller has written: enter that of normal operation")
    return read(floor, where)


def _scales(obj: Object, workload: Owner) -> bool:
    target = mapping(obj, "spec", "scaleTargetRef")
    return workload == (text(target, "kind") or WorkloadKind.DEPLOYMENT, text(target, "name"))


def _counts_requests(trigger: Object) -> bool:
    """Whether a trigger may be on a counter of requests: it sums up, which nobody does with latencies or with the length of a queue."""
    return scaler_metric(trigger).statistic.upper() == "SUM"


def _from_trigger(facts: dict[str, Fact], trigger: Object, where: str, mode: Mode, *, sure: bool) -> Scaling:
    """The facts of a trigger; `sure`: it is the only one that may be on the unit's counter."""
    metadata = mapping(trigger, "metadata")
    expression = text(metadata, "expression")
    counter = text(metadata, "metricName") or _group(_METRIC, expression)
    period_s = scaler_metric(trigger).period_s or DEFAULT_PERIOD_S
    if counter:
        facts["counterMetric"] = Fact(counter, f"trigger of {where}" + ("" if sure else _OF_SEVERAL), sure=sure)
    try:
        target = float(text(metadata, "targetMetricValue"))
    except ValueError:
        target = 0.0
    if target <= 0:
        facts["throughput"] = missing(f"{where} has no targetMetricValue")
    elif mode is Mode.CAPACITY:
        facts["throughput"] = assumed(target, f"target of {where}, which capacity mode may have adjusted: enter the maximum")
    else:
        facts["throughput"] = Fact(target, f"target of {where}, per {period_s} s" + ("" if sure else _OF_SEVERAL), sure=sure)
    return Scaling(facts, text(metadata, "namespace") or _group(_SPACE, expression), counter, period_s)


def _group(pattern: re.Pattern[str], value: str) -> str:
    found = pattern.search(value)
    return found[1] if found else ""


def metric_facts(found: list[Scaling]) -> dict[str, Fact]:
    """The facts of ``spec.metrics``."""
    spaces = sorted({one.space for one in found if one.space})
    periods = sorted({one.period_s for one in found if one.period_s is not None})
    facts: dict[str, Fact] = {}
    if len(spaces) == 1:
        facts["namespace"] = read(spaces[0], "the triggers of the ScaledObjects")
    elif spaces:
        facts["namespace"] = assumed(spaces[0], f"the triggers name {', '.join(spaces)}; only one can be read")
    if periods:
        period_s = periods[0]
        others = f"; some have {', '.join(map(str, periods[1:]))} s: throughput must count in the same period" if len(periods) > 1 else ""
        legal = period_s % _MINUTE_S == 0 and _MINUTE_S <= period_s <= _HOUR_S
        rounded = period_s if legal else _MINUTE_S
        unfit = "" if legal else f"; the triggers' {period_s} s is no multiple of 60"
        origin = f"metricStatPeriod of the triggers; KEDA's default is {DEFAULT_PERIOD_S}{others}{unfit}"
        facts["periodSeconds"] = Fact(rounded, origin, sure=not others and legal)
    return facts


def latency_metric(counter: str) -> str:
    """The name of the latency metric that belongs to a counter in the AWS sample; "" if the counter is not named as there."""
    return f"{counter.removesuffix(COUNTER)}{LATENCY}" if counter.endswith(COUNTER) and counter != COUNTER else ""
