"""Reads vLLM's own metrics and computes the difference between two scrapes. Pure.

Names as of vLLM's V1 engine (docs.vllm.ai, "Production Metrics"; unchanged since 0.8): the counter `vllm:request_success_total` with the
label `finished_reason`, the histogram `vllm:e2e_request_latency_seconds`, the gauges `vllm:num_requests_running` and `…_waiting`.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

COUNTER = "vllm:request_success"
LATENCY = "vllm:e2e_request_latency_seconds"
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
TOKENS = {"vllm:prompt_tokens_total": "prompt", "vllm:generation_tokens_total": "generated"}
MOST_ANSWERS = 100_000
"""Requests between two scrapes of which latencies are made: more of them would keep the event loop busy for seconds."""
LARGEST = 2.0**53
"""Beyond it a count is no whole number any more."""
UNSERVED = frozenset({"abort", "error"})
"""Values of `finished_reason` that are no answer: the client left, or the engine failed."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals since the engine started, over all its models and replicas."""

    answered: float = 0.0
    """Requests that got an answer."""
    buckets: Mapping[float, float] = field(default_factory=dict)
    """Upper bound in seconds to requests up to it; infinity included."""
    running: float = 0.0
    waiting: float = 0.0
    tokens: Mapping[str, float] = field(default_factory=dict)
    """By kind: of prompts, and generated."""


def parse(text: str) -> Totals:
    """Read the text of `/metrics`.

    Raises:
        ValueError: it is not in Prometheus's format, has no counter of requests in it, or a number that is no count.
    """
    answered, found = 0.0, False
    buckets: dict[float, float] = defaultdict(float)
    sums: dict[str, float] = defaultdict(float)
    for sample in _samples(text):
        if sample.name == f"{COUNTER}_total":
            found = True
            answered += 0.0 if sample.labels.get("finished_reason") in UNSERVED else _count(sample)
        elif sample.name == f"{LATENCY}_bucket":
            buckets[_bound(sample)] += _count(sample)
        elif sample.name in {RUNNING, WAITING, *TOKENS}:
            sums[sample.name] += _count(sample)
    if not found:
        raise ValueError(f"there is no {COUNTER}_total: not the metrics of vLLM, or of a version that names them otherwise")
    return Totals(answered, dict(buckets), sums[RUNNING], sums[WAITING], {kind: sums[name] for name, kind in TOKENS.items()})


def _samples(text: str) -> Iterator[Sample]:
    try:
        for family in text_string_to_metric_families(text):
            yield from family.samples
    except (IndexError, KeyError) as error:  # the parser raises these, beside ValueError, for lines that it cannot read
        raise ValueError("it is not in Prometheus's format") from error


def _count(sample: Sample) -> float:
    if not 0 <= sample.value <= LARGEST:  # NaN is none either
        raise ValueError(f"{sample.name} is {str(sample.value)[:40]}, which is no count")
    return float(sample.value)


def _bound(sample: Sample) -> float:
    bound = float(sample.labels.get("le", "nan"))
    if math.isnan(bound):
        raise ValueError(f"{sample.name} has a bucket without a bound")
    return bound


def between(before: Totals, after: Totals) -> list[float]:
    """A latency in seconds for each request that was answered between two scrapes.

    The engine reports how many requests took up to 0.3 s, 0.5 s and so on, not how long each took. Within a bucket they are spread evenly,
    so a latency is wrong by at most the width of its bucket, and the number is exact up to `MOST_ANSWERS`.
    """
    if after.answered < before.answered:
        before = Totals()  # the engine has been restarted, and counts from 0
    count = min(MOST_ANSWERS, round(after.answered - before.answered))
    bounds = sorted(after.buckets)
    filled = [max(0.0, after.buckets[bound] - before.buckets.get(bound, 0.0)) for bound in bounds]
    return [_quantile(bounds, filled, (number + 0.5) / count) for number in range(count)]


def _quantile(bounds: list[float], cumulated: list[float], part: float) -> float:
    """As `histogram_quantile` of PromQL: linear within the bucket; beyond the last finite bound that bound."""
    total = cumulated[-1] if cumulated else 0.0
    below, lower = 0.0, 0.0
    for bound, up_to in zip(bounds, cumulated, strict=True):
        if up_to >= part * total and up_to > below:
            return lower if math.isinf(bound) else lower + (bound - lower) * (part * total - below) / (up_to - below)
        below, lower = up_to, lower if math.isinf(bound) else bound
    return 0.0  # no histogram: the number counts, the latency is not known


class Tokens(Collector):
    """The tokens of the engine since the adapter began, over its restarts: `model_server_tokens_total` for Prometheus."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = dict.fromkeys(TOKENS.values(), 0.0)

    def add(self, before: Totals, after: Totals) -> None:
        """Add those between two scrapes. An engine that has been restarted counts from 0."""
        for kind, count in after.tokens.items():
            since = before.tokens.get(kind, 0.0)
            self._counts[kind] += count - since if count >= since else count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One counter."""
        family = CounterMetricFamily("model_server_tokens", "Tokens of the engine, of prompts and generated.", labels=["kind"])
        for kind, count in self._counts.items():
            family.add_metric([kind], count)
        yield family
