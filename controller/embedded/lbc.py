"""A double of the AWS Load Balancer Controller: from Ingresses to ELBv2, with the real one's order of writes, and its faults.

One reconcile: create missing target groups, create and **modify rules**, and only then make the TargetGroupBindings whose targets another
worker registers; what is not needed any more is deregistered and deleted last. Moving the rule to a target group that was not referenced
before therefore leaves it empty for a moment; with standby rules a switch is one ModifyRule and nothing else.

It works over HTTP on both sides, as an identity of its own.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from controller.clients.aws import translated
from controller.clients.kube import (
    ENDPOINT_SLICES,
    EVENTS,
    INGRESSES,
    MERGE_PATCH,
    SERVICES,
    TARGET_GROUP_BINDINGS,
    KubeSession,
    Object,
    Resource,
)
from controller.clock import Clock, format_rfc3339
from controller.embedded.aws import EmulatedAws
from controller.embedded.lbc_model import BuildError, Fixed, Forward, RuleModel, TargetKey, build, target_keys
from controller.embedded.lbc_targets import Binding, TargetsWorker
from controller.embedded.world import stable_hash
from controller.errors import NotFound, Rejected, RemoteError
from controller.signals.watch import Watch

MAX_TARGET_GROUPS: Final = 5
MAX_WEIGHT: Final = 999

_MANAGER: Final = "elbv2.k8s.aws"
_CLUSTER: Final = "emulated"
_INGRESS_FINALIZER: Final = "ingress.k8s.aws/resources"
_BINDING_FINALIZER: Final = "elbv2.k8s.aws/resources"
_RETRY_BASE_S: Final = 2.0
_RETRY_MAX_S: Final = 1000.0
_REMOVAL_S: Final = 60.0
_CONFIGS: Final = {"host-header": "HostHeaderConfig", "path-pattern": "PathPatternConfig", "source-ip": "SourceIpConfig"}

log = structlog.get_logger(__name__)

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Write:
    """One call that changes AWS.

    Attributes:
        action: The API's name of it.
        target_group: The name of the target group concerned, "" where it is about none.
        after_s: Seconds of the clock since the change of the Ingress or of the endpoints was seen.
        at: When, seconds since the Unix epoch.
        forward: Weight by Service that a rule was given; None of the weight where the action states none.
    """

    action: str
    target_group: str
    after_s: float
    at: float
    forward: tuple[tuple[str, int | None], ...] = ()


@dataclass(slots=True)
class _Stack:
    """What was made for one Ingress."""

    load_balancer: str
    listener: str
    hostname: str
    groups: dict[TargetKey, tuple[str, str]] = field(default_factory=dict)  # name and ARN


class LoadBalancerController:
    """Reconciles every Ingress of class ``alb``.

    Args:
        session: Connection to the API server, as the controller's own identity.
        clock: Time.
        aws: The emulated account.
        namespaces: Where it watches.
        lag_s: Seconds of the clock from seeing a change to acting on it.
    """

    def __init__(self, session: KubeSession, clock: Clock, aws: EmulatedAws, namespaces: tuple[str, ...], *, lag_s: float = 0.8) -> None:
        self._session, self._clock, self._aws, self._lag_s = session, clock, aws, lag_s
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._ingresses: dict[Key, Object] = {}
        self._services: dict[Key, Object] = {}
        self._seen: dict[Key, str] = {}  # what of each Ingress makes a reconcile
        self._dirty: dict[Key, float] = {}  # since when (monotonic)
        self._retries: dict[Key, tuple[int, float]] = {}  # failures in a row, and when to try again (monotonic)
        self._stacks: dict[Key, _Stack] = {}
        self._names: dict[str, str] = {}  # Service by target group ARN
        self._writes: list[Write] = []
        self._since = 0.0
        self._busy = False
        self._targets = TargetsWorker(clock, self._call, self._unbound)
        self._watches = [
            Watch(session, resource, namespace, self, clock)
            for namespace in namespaces
            for resource in (SERVICES, ENDPOINT_SLICES, INGRESSES)
        ]
        self._thread = threading.Thread(target=self._run, name="lbc-ingress", daemon=True)

    # --- life ---------------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts watching and reconciling."""
        self._targets.start()
        self._thread.start()
        for watch in self._watches:
            watch.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stops both workers; the watches end with the API server's connections.

        Args:
            timeout_s: Longest wait, real seconds.
        """
        for watch in self._watches:
            watch.stop()
        self._stop.set()
        self._wake.set()
        self._targets.stop(timeout_s)
        self._thread.join(timeout_s)

    # --- what others may know -----------------------------------------------------------------------------------------------------------

    def writes(self) -> list[Write]:
        """Every call that changed AWS, oldest first."""
        with self._lock:
            return list(self._writes)

    @property
    def changes(self) -> int:
        """How many there were."""
        return len(self._writes)

    def listener(self, key: str) -> str:
        """The ARN of the listener of an Ingress (``namespace/name``), "" where there is none yet."""
        stack = self._stack(key)
        return stack.listener if stack else ""

    def load_balancer(self, key: str) -> str:
        """The ARN of the load balancer of an Ingress, "" where there is none yet."""
        stack = self._stack(key)
        return stack.load_balancer if stack else ""

    def service_of(self, target_group: str) -> str:
        """The Service that a target group was made for, "" where it is none of ours."""
        return self._names.get(target_group, "")

    def settled(self) -> bool:
        """Whether nothing is left to be done that it knows of; an Ingress that failed counts as done."""
        with self._lock:
            idle = not self._dirty and not self._busy and bool(self._ingresses)
        return idle and self._targets.idle()

    def _stack(self, key: str) -> _Stack | None:
        namespace, _, name = key.partition("/")
        with self._lock:
            return self._stacks.get((namespace, name))

    # --- what the watches deliver -------------------------------------------------------------------------------------------------------

    def listed(self, resource: Resource, _namespace: str | None, objects: Sequence[Object], /) -> None:
        """See `controller.signals.watch.Sink`. What disappeared between two lists is not noticed; the emulated API loses none."""
        for obj in objects:
            self.changed(resource, None, "ADDED", obj)

    def changed(self, resource: Resource, _namespace: str | None, kind: str, obj: Object, /) -> None:
        """See `controller.signals.watch.Sink`."""
        key = (str(obj["metadata"].get("namespace", "")), str(obj["metadata"]["name"]))
        if resource is ENDPOINT_SLICES:
            self._targets.endpoint_slice(kind, obj)
            return
        with self._lock:
            store = self._ingresses if resource is INGRESSES else self._services
            if kind == "DELETED":
                store.pop(key, None)
            else:
                store[key] = obj
            if resource is INGRESSES:
                self._note_ingress(key, kind, obj)
            else:
                for other in self._ingresses:
                    if other[0] == key[0] and key[1] in json.dumps(self._ingresses[other]):
                        self._dirty.setdefault(other, self._clock.monotonic())
        self._wake.set()

    def _note_ingress(self, key: Key, kind: str, obj: Object) -> None:
        """Marks an Ingress for a reconcile if its annotations or spec changed; its status is our own."""
        if kind == "DELETED" or obj.get("spec", {}).get("ingressClassName") != "alb":
            self._seen.pop(key, None)
            return
        seen = json.dumps([obj["metadata"].get("annotations"), obj.get("spec")], sort_keys=True)
        if self._seen.get(key) != seen:
            self._seen[key] = seen
            self._retries.pop(key, None)
            self._dirty.setdefault(key, self._clock.monotonic())

    # --- the loop -----------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._clock.wait(self._wake, self._pause())
            self._wake.clear()
            if self._due() and not self._clock.wait(self._stop, self._lag_s):
                with self._lock:  # what changes from here on is for the next round
                    due, self._dirty, self._busy = self._dirty, {}, True
                for key, since in due.items():
                    self._since = since
                    self._reconcile(key)
                with self._lock:
                    self._busy = False

    def _pause(self) -> float:
        with self._lock:
            now = self._clock.monotonic()
            return max(0.0, min((at - now for _, at in self._retries.values()), default=_RETRY_MAX_S))

    def _due(self) -> bool:
        """Whether an Ingress is to be reconciled; those whose retry is due are marked."""
        with self._lock:
            now = self._clock.monotonic()
            for key, (failures, at) in self._retries.items():
                if now >= at:
                    self._retries[key] = (failures, now + _RETRY_MAX_S)
                    self._dirty.setdefault(key, now)
            return bool(self._dirty)

    def _reconcile(self, key: Key) -> None:
        with self._lock:
            ingress = self._ingresses.get(key)
        if ingress is None:
            return
        try:
            rules = build(ingress, lambda name: self._services.get((key[0], name)))
        except BuildError as error:
            self._failed(key, ingress, "FailedBuildModel", f"Failed build model due to ingress: {key[0]}/{key[1]}: {error}")
            return
        try:
            self._deploy(key, ingress, rules)
        except RemoteError as error:
            if not self._stop.is_set():
                self._failed(key, ingress, "FailedDeployModel", f"Failed deploy model due to {error}")
            return
        except Exception:  # a bug here must be seen, and must not end the thread
            log.exception("lbc.failed", ingress="/".join(key))
            return
        with self._lock:
            self._retries.pop(key, None)
        self._event(ingress, "Normal", "SuccessfullyReconciled", "Successfully reconciled")

    def _failed(self, key: Key, ingress: Object, reason: str, message: str) -> None:
        with self._lock:
            failures = self._retries.get(key, (0, 0.0))[0] + 1
            pause = min(_RETRY_MAX_S, _RETRY_BASE_S * 2.0 ** min(failures, 10))
            self._retries[key] = (failures, self._clock.monotonic() + pause)
        self._event(ingress, "Warning", reason, message)

    # --- one reconcile ------------------------------------------------------------------------------------------------------------------

    def _deploy(self, key: Key, ingress: Object, rules: tuple[RuleModel, ...]) -> None:
        """Brings AWS to the model.

        Raises:
            RemoteError: A call failed; what comes after it was not done.
        """
        stack = self._stacks.get(key)
        wanted = list(target_keys(rules))
        if stack is None:
            self._add_finalizer(key, ingress)
        groups = dict(stack.groups) if stack else {}
        for target in wanted:
            if target not in groups:
                groups[target] = self._create_target_group(key, target)
                self._names[groups[target][1]] = target[0]
                if stack is not None:
                    stack.groups[target] = groups[target]
        if stack is None:
            stack = self._create_load_balancer(key, ingress)
            stack.groups = groups
            with self._lock:
                self._stacks[key] = stack
        self._sync_rules(key, stack, rules)
        for target in wanted:
            self._bind(key, target, stack.groups[target])
        if not (ingress.get("status", {}).get("loadBalancer") or {}).get("ingress"):
            self._write_status(key, stack)
        for target in [target for target in stack.groups if target not in wanted]:
            self._unbind(key, stack.groups[target])
        for target in [target for target in stack.groups if target not in wanted]:
            name, arn = stack.groups[target]
            self._call("DeleteTargetGroup", name, TargetGroupArn=arn)
            del stack.groups[target]

    def _create_target_group(self, key: Key, target: TargetKey) -> tuple[str, str]:
        service, port = target
        name = f"k8s-{_short(key[0])}-{_short(service)}-{stable_hash(_CLUSTER, *key, service, port)}"
        answer = self._call(
            "CreateTargetGroup",
            name,
            Name=name,
            Protocol="HTTP",
            Port=1,
            VpcId=self._aws.network.vpc,
            TargetType="ip",
            HealthCheckPath="/health",
            HealthCheckIntervalSeconds=15,
            Tags=self._tags(key, f"{key[0]}/{key[1]}-{service}:{port}"),
        )
        return name, str(answer["TargetGroups"][0]["TargetGroupArn"])

    def _create_load_balancer(self, key: Key, ingress: Object) -> _Stack:
        network = self._aws.network
        annotations = ingress["metadata"].get("annotations") or {}
        made = self._call(
            "CreateLoadBalancer",
            "",
            Name=f"k8s-{_short(key[0])}-{_short(key[1])}-{stable_hash(_CLUSTER, *key)}",
            Subnets=list(network.subnets.values()),
            SecurityGroups=[network.security_group],
            Scheme=annotations.get("alb.ingress.kubernetes.io/scheme", "internal"),
            Type="application",
            Tags=self._tags(key, "LoadBalancer"),
        )["LoadBalancers"][0]
        fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "ContentType": "text/plain"}}]
        listener = self._call(
            "CreateListener",
            "",
            LoadBalancerArn=made["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=fixed,
            Tags=self._tags(key, "80"),
        )["Listeners"][0]
        # Since v3.2.0 the host name is written in lower case.
        return _Stack(made["LoadBalancerArn"], listener["ListenerArn"], str(made["DNSName"]).lower())

    def _sync_rules(self, key: Key, stack: _Stack, rules: tuple[RuleModel, ...]) -> None:
        """Creates, then modifies in place, then deletes."""
        with translated("elbv2", "DescribeRules"):
            found = self._aws.client("elbv2").describe_rules(ListenerArn=stack.listener)["Rules"]
        present = {int(rule["Priority"]): rule for rule in found if rule["Priority"] != "default"}
        wanted = {priority: self._rule(stack, rule) for priority, rule in enumerate(rules, start=1)}
        models = dict(enumerate(rules, start=1))
        for priority, (conditions, action) in wanted.items():
            if priority not in present:
                tags = self._tags(key, f"80:{priority}")
                place = {"ListenerArn": stack.listener, "Priority": priority, "Tags": tags}
                self._write_rule("CreateRule", models[priority], Conditions=conditions, Actions=[action], **place)
        for priority, (conditions, action) in wanted.items():
            rule = present.get(priority)
            if rule is not None and not _same(rule, conditions, action):
                self._write_rule("ModifyRule", models[priority], RuleArn=rule["RuleArn"], Conditions=conditions, Actions=[action])
        for priority in present.keys() - wanted.keys():
            self._call("DeleteRule", "", RuleArn=present[priority]["RuleArn"])

    def _rule(self, stack: _Stack, rule: RuleModel) -> tuple[list[Object], Object]:
        conditions: list[Object] = [{"Field": name, _CONFIGS[name]: {"Values": list(values)}} for name, values in rule.conditions]
        if isinstance(rule.action, Fixed):
            fixed = {"StatusCode": rule.action.status, "ContentType": "text/plain", "MessageBody": rule.action.body}
            return conditions, {"Type": "fixed-response", "FixedResponseConfig": fixed}
        tuples = [
            {"TargetGroupArn": stack.groups[target][1]} | ({} if weight is None else {"Weight": weight})
            for target, weight in rule.action.targets
        ]
        config: Object = {"TargetGroups": tuples}
        if rule.action.stickiness is not None:
            enabled, duration = rule.action.stickiness
            config["TargetGroupStickinessConfig"] = {"Enabled": enabled} | ({"DurationSeconds": duration} if duration else {})
        return conditions, {"Type": "forward", "ForwardConfig": config}

    def _write_rule(self, operation: str, rule: RuleModel, **arguments: Any) -> None:  # noqa: ANN401 - whatever the API takes
        """Sends a rule, after refusing what AWS refuses and moto does not."""
        targets = rule.action.targets if isinstance(rule.action, Forward) else ()
        if len(targets) > MAX_TARGET_GROUPS:
            text = f"An action may have {MAX_TARGET_GROUPS} target groups"  # AWS's own words are not known
            raise Rejected(f"operation error Elastic Load Balancing v2: {operation}, ValidationError: {text}", status=400)
        if any(weight is not None and not 0 <= weight <= MAX_WEIGHT for _, weight in targets):
            text = f"The weight for each target group must be between 0 and {MAX_WEIGHT}, inclusive"
            raise Rejected(f"operation error Elastic Load Balancing v2: {operation}, ValidationError: {text}", status=400)
        forward = tuple((target[0], weight) for target, weight in targets)
        self._call(operation, "", forward, **arguments)

    # --- TargetGroupBindings ------------------------------------------------------------------------------------------------------------

    def _bind(self, key: Key, target: TargetKey, group: tuple[str, str]) -> None:
        """Makes the binding, which is what gets the targets registered, later and by somebody else."""
        name, arn = group
        if self._targets.knows(arn):
            return
        port: int | str = target[1]
        body = {
            "apiVersion": TARGET_GROUP_BINDINGS.api_version,
            "kind": TARGET_GROUP_BINDINGS.kind,
            "metadata": {
                "name": name,
                "namespace": key[0],
                "labels": {"ingress.k8s.aws/stack-namespace": key[0], "ingress.k8s.aws/stack-name": key[1]},
                "finalizers": [_BINDING_FINALIZER],
            },
            "spec": {
                "ipAddressType": "ipv4",
                "serviceRef": {"name": target[0], "port": port},
                "targetGroupARN": arn,
                "targetGroupProtocol": "HTTP",
                "targetType": "ip",
                "vpcID": self._aws.network.vpc,
            },
        }
        self._session.create(TARGET_GROUP_BINDINGS, key[0], body, field_manager=_MANAGER)
        self._targets.bind(Binding(key[0], target[0], name, arn, self._since))

    def _unbind(self, key: Key, group: tuple[str, str]) -> None:
        """Deletes the binding and waits until its targets are deregistered."""
        name, arn = group
        self._session.request("DELETE", TARGET_GROUP_BINDINGS.path(key[0], name))
        if not self._targets.unbind(arn, self._since, _REMOVAL_S):
            raise Rejected(f"targetGroupBinding {key[0]}/{name} is not deleted yet")

    def _unbound(self, binding: Binding) -> None:
        """Lets a binding go whose targets are deregistered; on the targets' worker."""
        path = TARGET_GROUP_BINDINGS.path(binding.namespace, binding.name)
        body = json.dumps({"metadata": {"finalizers": None}})
        self._session.request("PATCH", path, query=(("fieldManager", _MANAGER),), body=body, content_type=MERGE_PATCH)

    # --- Kubernetes ---------------------------------------------------------------------------------------------------------------------

    def _add_finalizer(self, key: Key, ingress: Object) -> None:
        finalizers = ingress["metadata"].get("finalizers") or []
        if _INGRESS_FINALIZER not in finalizers:
            body = json.dumps({"metadata": {"finalizers": [*finalizers, _INGRESS_FINALIZER]}})
            path = INGRESSES.path(*key)
            self._session.request("PATCH", path, query=(("fieldManager", _MANAGER),), body=body, content_type=MERGE_PATCH)

    def _write_status(self, key: Key, stack: _Stack) -> None:
        body = json.dumps({"status": {"loadBalancer": {"ingress": [{"hostname": stack.hostname, "ports": [{"port": 80}]}]}}})
        path = INGRESSES.path(*key) + "/status"
        self._session.request("PATCH", path, query=(("fieldManager", _MANAGER),), body=body, content_type=MERGE_PATCH)

    def _event(self, ingress: Object, kind: str, reason: str, message: str) -> None:
        """Events are best effort, there as here."""
        metadata, stamp = ingress["metadata"], format_rfc3339(self._clock.now())
        name = f"{metadata['name']}.{stable_hash(reason, message, length=16)}"
        path = EVENTS.path(metadata["namespace"], name)
        try:
            try:
                before = self._session.request("GET", path)
                change = json.dumps({"count": int(before.get("count") or 1) + 1, "lastTimestamp": stamp})
                self._session.request("PATCH", path, query=(("fieldManager", _MANAGER),), body=change, content_type=MERGE_PATCH)
            except NotFound:
                involved = {"kind": "Ingress", "apiVersion": INGRESSES.api_version, "name": metadata["name"], "uid": metadata.get("uid")}
                body: Object = {
                    "metadata": {"name": name, "namespace": metadata["namespace"]},
                    "involvedObject": involved | {"namespace": metadata["namespace"]},
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "source": {"component": "ingress"},
                    "firstTimestamp": stamp,
                    "lastTimestamp": stamp,
                    "count": 1,
                    "reportingComponent": "ingress",
                    "reportingInstance": "",
                }
                self._session.create(EVENTS, metadata["namespace"], body, field_manager=_MANAGER)
        except RemoteError as error:
            log.debug("lbc.event", error=str(error))

    # --- AWS ----------------------------------------------------------------------------------------------------------------------------

    def _call(
        self,
        operation: str,
        target_group: str,
        forward: tuple[tuple[str, int | None], ...] = (),
        since: float | None = None,
        **arguments: Any,  # noqa: ANN401 - whatever the API takes
    ) -> Mapping[str, Any]:
        """Makes one call that changes AWS, and records it.

        Raises:
            RemoteError: It failed.
        """
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        call: Callable[..., Mapping[str, Any]] = getattr(self._aws.client("elbv2"), method)
        with translated("elbv2", operation):
            answer = call(**arguments)
        after_s = self._clock.monotonic() - (self._since if since is None else since)
        with self._lock:
            self._writes.append(Write(operation, target_group, after_s, self._clock.now(), forward))
        return answer

    @staticmethod
    def _tags(key: Key, resource: str) -> list[dict[str, str]]:
        tags = {
            "elbv2.k8s.aws/cluster": _CLUSTER,
            "ingress.k8s.aws/stack": f"{key[0]}/{key[1]}",
            "ingress.k8s.aws/resource": resource,
        }
        return [{"Key": name, "Value": value} for name, value in tags.items()]


def _short(name: str) -> str:
    """A name's part of a load balancer's or target group's name: its first eight letters and digits."""
    return re.sub(r"[^A-Za-z0-9]", "", name)[:8]


def _same(rule: Mapping[str, Any], conditions: list[Object], action: Object) -> bool:
    """Whether a rule in AWS is as wanted. Stickiness counts only where it is stated; of a single target group the weight does not."""
    if _conditions(rule.get("Conditions", [])) != _conditions(conditions):
        return False
    live = rule["Actions"][-1]
    if live["Type"] != action["Type"]:
        return False
    if action["Type"] == "fixed-response":
        mine, theirs = action["FixedResponseConfig"], live.get("FixedResponseConfig", {})
        return all(mine.get(name) == theirs.get(name) for name in ("StatusCode", "MessageBody"))
    config, wanted = live.get("ForwardConfig", {}), action["ForwardConfig"]
    if _tuples(config.get("TargetGroups", [])) != _tuples(wanted["TargetGroups"]):
        return False
    sticky = wanted.get("TargetGroupStickinessConfig")
    return sticky is None or _stickiness(config.get("TargetGroupStickinessConfig") or {}) == _stickiness(sticky)


def _conditions(entries: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for entry in entries:
        field_name = str(entry["Field"])
        values = (entry.get(_CONFIGS.get(field_name, "")) or {}).get("Values") or entry.get("Values") or []
        found[field_name] = found.get(field_name, frozenset()) | frozenset(values)
    return found


def _tuples(groups: list[Mapping[str, Any]]) -> list[tuple[str, int]]:
    if len(groups) == 1:
        return [(str(groups[0]["TargetGroupArn"]), 0)]
    return sorted((str(group["TargetGroupArn"]), int(group.get("Weight", 1))) for group in groups)


def _stickiness(config: Mapping[str, Any]) -> tuple[bool, int]:
    enabled = config.get("Enabled") is True
    return enabled, int(config.get("DurationSeconds") or 0) if enabled else 0
