"""AWS as the benchmark's applications meet it: every call takes 0.2 s, and each application has a load balancer of its own.

It answers ELBv2 and CloudWatch itself, from nothing but names and what the Ingresses ask for: moto searches all rules and all metrics for
every query, which at 1,000 applications would measure moto. EC2 and its quotas are moto's. A routing action takes effect a second after the
Ingress has it, as if the load-balancer controller had written it.

It runs as a process of its own until its standard input ends, and then prints what it answered as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from benchmarks.fleet import ACTION, READY, UNITS, account_arn, hostname
from controller.clients.kube import INGRESSES, connect
from controller.errors import RemoteError
from controller.objects import entries, mapping, name_of, text
from controller.routing.names import action_key
from failover_harness.controllers.front import Answer, Front
from failover_testbed.aws.server import EmulatedAws

CALL_S: Final = 0.2
_APPLIES_S: Final = 1.0
_ELB: Final = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
_METRICS: Final = "GraniteServiceVersion20100801.GetMetricData"
_PUBLISH: Final = "GraniteServiceVersion20100801.PutMetricData"
_JSON: Final = "application/x-amz-json-1.0"
_PORT: Final = 8000

_VALUES: Final = ((re.compile(r"-counter$"), 55.0), (re.compile(r"-latency$"), 0.4), (re.compile(r"^RequestCount$"), 275.0))
"""The value of every period, by the name of a metric; 0 for others: the applications are at rest."""


class Routing:
    """The actions that the Ingresses ask for, from a watch of its own.

    Args:
        kubeconfig: Of an identity that may read Ingresses.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._session = connect(kubeconfig=str(kubeconfig))
        self._lock = threading.Lock()
        self._actions: dict[str, list[tuple[float, str]]] = {}  # by Ingress: since when (monotonic), the last two
        self.ready = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def action(self, name: str) -> str:
        """The action that the load balancer of this Ingress has by now; "" for an unknown one."""
        with self._lock:
            seen = self._actions.get(name, [])
        old = [action for since, action in seen if since + _APPLIES_S <= time.monotonic()]
        return old[-1] if old else (seen[0][1] if seen else "")

    def names(self) -> list[str]:
        """The names of all Ingresses, in order."""
        with self._lock:
            return sorted(self._actions)

    def _run(self) -> None:
        while True:
            try:
                listed = self._session.request("GET", INGRESSES.path())
                for one in entries(listed, "items"):
                    self._take(one)
                self.ready.set()
                query = (("watch", "true"), ("resourceVersion", text(listed, "metadata", "resourceVersion")), ("timeoutSeconds", "600"))
                with self._session.stream(INGRESSES.path(), query, idle_s=600) as changes:
                    for change in changes:
                        self._take(mapping(change, "object"))
            except RemoteError:
                time.sleep(0.2)

    def _take(self, ingress: Mapping[str, Any]) -> None:
        action = str(mapping(ingress, "metadata", "annotations").get(action_key(ACTION), ""))
        with self._lock:
            seen = self._actions.setdefault(name_of(ingress), [])
            if not seen or seen[-1][1] != action:
                seen.append((time.monotonic(), action))
                del seen[:-2]


class Answers(Front):
    """Answers ELBv2 and CloudWatch, and forwards the rest to moto.

    Args:
        aws: moto, running.
        routing: What the Ingresses ask for.
    """

    def __init__(self, aws: EmulatedAws, routing: Routing) -> None:
        super().__init__(aws)
        self._routing = routing
        self._elb: Mapping[str, Callable[[Mapping[str, str]], Sequence[Mapping[str, Any]]]] = {
            "DescribeLoadBalancers": self._load_balancers,
            "DescribeListeners": self._listeners,
            "DescribeRules": self._rules,
            "DescribeTargetHealth": self._health,
        }
        self.counted: Counter[str] = Counter()
        self.verified: dict[str, list[float]] = {}
        self.measured: dict[str, list[float]] = {}

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """See the base class."""
        time.sleep(CALL_S)
        target = headers.get("X-Amz-Target", "")
        form = {} if target else dict(urllib.parse.parse_qsl(body.decode(errors="replace")))
        action = target.rpartition(".")[2] or form.get("Action", "")
        with self.lock:
            self.counted[action] += 1
        if target == _METRICS:
            return self._metric_data(json.loads(body))
        if target == _PUBLISH:
            return 200, _JSON, b"{}"
        if action in self._elb:
            return _described(action, *_page(self._elb[action](form), form))
        return self._forwarded(action, path, headers, body)

    def report(self) -> dict[str, Any]:
        """What was answered: calls by operation, and when each application was verified and each metric was read (Unix time)."""
        with self.lock:
            return {"calls": dict(self.counted), "verified": self.verified, "measured": self.measured}

    def _load_balancers(self, form: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        names = [form["Names.member.1"]] if "Names.member.1" in form else self._routing.names()
        return [
            {"LoadBalancerArn": _load_balancer(name), "DNSName": hostname(name), "LoadBalancerName": name, "Type": "application"}
            for name in names
        ]

    def _listeners(self, form: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        name = form["LoadBalancerArn"].split("/")[2]
        arn = account_arn(f"listener/app/{name}/0123456789abcdef/fedcba9876543210")
        return [{"ListenerArn": arn, "LoadBalancerArn": form["LoadBalancerArn"], "Port": 80, "Protocol": "HTTP"}]

    def _rules(self, form: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        name = form["ListenerArn"].split("/")[2]
        with self.lock:
            self.verified.setdefault(name, []).append(time.time())
        condition = {"Field": "path-pattern", "Values": ["/*"], "PathPatternConfig": {"Values": ["/*"]}}
        asked = json.loads(self._routing.action(name) or "{}")
        groups = [
            {"TargetGroupArn": _group(text(one, "serviceName")), "Weight": one.get("weight", 1)}
            for one in entries(asked, "forwardConfig", "targetGroups")
        ]
        forward = {"TargetGroups": groups, "TargetGroupStickinessConfig": {"Enabled": "false"}}
        action = {"Type": "forward", "Order": 1, "ForwardConfig": forward}
        rule = {"RuleArn": form["ListenerArn"], "Priority": "1", "Conditions": [condition], "Actions": [action], "IsDefault": "false"}
        return [rule]

    def _health(self, form: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        count = READY * (UNITS if form["TargetGroupArn"].split("/")[1].endswith("-all") else 1)
        healthy = {"TargetHealth": {"State": "healthy"}}
        return [{"Target": {"Id": f"10.1.0.{number + 1}", "Port": _PORT}, **healthy} for number in range(count)]

    def _metric_data(self, asked: Mapping[str, Any]) -> Answer:
        """One page: 500 series of some minutes are far below a page's 100,800 values."""
        results, now = [], time.time()
        for query in asked["MetricDataQueries"]:
            metric, period = query["MetricStat"]["Metric"], query["MetricStat"]["Period"]
            name = metric["MetricName"]
            of = ",".join([name, *(one["Value"] for one in metric.get("Dimensions", ()))])
            with self.lock:
                self.measured.setdefault(of, []).append(now)
            value = next((value for pattern, value in _VALUES if pattern.search(name)), 0.0)
            stamps = list(range(int(asked["StartTime"]), int(asked["EndTime"]), period))
            results.append(
                {"Id": query["Id"], "Label": name, "StatusCode": "Complete", "Timestamps": stamps, "Values": [value] * len(stamps)}
            )
        return 200, _JSON, json.dumps({"MetricDataResults": results, "Messages": []}).encode()


def _load_balancer(name: str) -> str:
    return account_arn(f"loadbalancer/app/{name}/0123456789abcdef")


def _group(service: str) -> str:
    return account_arn(f"targetgroup/{service}/0123456789abcdef")


_LISTED: Final = {
    "DescribeLoadBalancers": "LoadBalancers",
    "DescribeListeners": "Listeners",
    "DescribeRules": "Rules",
    "DescribeTargetHealth": "TargetHealthDescriptions",
}


def _page(found: Sequence[Mapping[str, Any]], form: Mapping[str, str]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The page that was requested, and the marker of the next; "" after the last."""
    start, size = int(form.get("Marker", "0")), int(form.get("PageSize", "400"))
    return found[start : start + size], str(start + size) if start + size < len(found) else ""


def _described(action: str, found: Sequence[Mapping[str, Any]], marker: str) -> Answer:
    """An answer of ELBv2."""
    page = {_LISTED[action]: found, **({"NextMarker": marker} if marker else {})}
    result = _xml({f"{action}Result": page, "ResponseMetadata": {"RequestId": "benchmark"}})
    return 200, "text/xml", f'<{action}Response xmlns="{_ELB}">{result}</{action}Response>'.encode()


def _xml(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "".join(f"<member>{_xml(inner)}</member>" for inner in value)
    return escape(str(value))


def main() -> None:
    """Serves until its standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", type=Path, required=True)
    options = parser.parse_args()
    routing = Routing(options.kubeconfig)
    routing.ready.wait(60)
    with EmulatedAws() as aws, Answers(aws, routing) as answers:
        print(json.dumps({**aws.environment(), "AWS_ENDPOINT_URL": answers.endpoint}), flush=True)
        sys.stdin.read()
        print(json.dumps(answers.report()), flush=True)


if __name__ == "__main__":
    main()
