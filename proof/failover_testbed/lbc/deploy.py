"""Makes AWS match the model of a group, in the order of the AWS Load Balancer Controller.

It creates missing target groups, then the load balancer and its listeners. Then it **modifies the rules**, and only after that creates the
TargetGroupBindings, whose targets another worker registers. Last it deregisters and deletes what is no longer needed. A rule that moves to
a target group without earlier references therefore has no targets for a moment. With standby rules, a mode change is a single ModifyRule.

It keeps no state: like the real controller, it reads what exists from ELBv2 by tags each time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.clock import Clock
from controller.errors import Rejected
from failover_testbed.lbc.annotations import HealthCheck, Listen
from failover_testbed.lbc.elb_calls import Calls, Why
from failover_testbed.lbc.group import Group
from failover_testbed.lbc.kube_writes import KubeWrites
from failover_testbed.lbc.model import Forward, ListenerModel, StackModel, TargetGroupModel, TargetKey
from failover_testbed.lbc.rule_changes import Wanted, changes, rendered
from failover_testbed.lbc.targets import TargetsWorker

_UNBIND_S: Final = 60.0
_DELETE_ATTEMPTS: Final = 10
_DELETE_PAUSE_S: Final = 2.0
_NOT_FOUND: Final = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "ContentType": "text/plain"}}]


@dataclass(frozen=True, slots=True)
class Deployed:
    """The resources of a group in AWS.

    Attributes:
        load_balancer: Its ARN, "" if there is none.
        hostname: Its DNS name.
        listeners: ARN by port.
    """

    load_balancer: str
    hostname: str
    listeners: Mapping[int, str]


class Deployer:
    """Deploys models.

    Args:
        clock: Time.
        calls: Calls AWS.
        kube: Writes to Kubernetes.
        targets: Registers targets.
        stop: Ends every wait.
    """

    def __init__(self, clock: Clock, calls: Calls, kube: KubeWrites, targets: TargetsWorker, stop: threading.Event) -> None:
        self._clock, self._calls, self._kube, self._targets, self._stop = clock, calls, kube, targets, stop
        self._services: dict[str, str] = {}

    def service_of(self, target_group: str) -> str:
        """The Service of a target group, "" if this process has not seen the group.

        Args:
            target_group: Its ARN.
        """
        return self._services.get(target_group, "")

    def deploy(self, group: Group, model: StackModel, since: float) -> Deployed:
        """Makes AWS match a model.

        Args:
            group: The group.
            model: The group's model; without listeners, everything of the group is deleted.
            since: When the change was seen, monotonic seconds.

        Raises:
            RemoteError: A call failed; the steps after it were not done.
        """
        present = self._target_groups(group)
        wanted = {one.key: one for one in model.target_groups}
        arns = {key: self._sync_target_group(group, one, present.get(key.resource), since) for key, one in wanted.items()}
        load_balancer, hostname = self._sync_load_balancer(group, model, since)
        listeners = self._sync_listeners(group, load_balancer, [one.listen for one in model.listeners], since)
        for listener in model.listeners:  # one after another: for a moment they differ
            self._sync_rules(group, listener, listeners[listener.listen.port], arns, since)
        for key, arn in arns.items():
            name = _name(arn)
            self._kube.create_binding(group, key, name, arn, self._calls.network.vpc)
            self._targets.bind(key, name, arn)
        self._remove(group, [arn for _, (arn, _) in sorted(present.items()) if arn not in arns.values()], since)
        return Deployed(load_balancer, hostname, listeners)

    # --- target groups ------------------------------------------------------------------------------------------------------------------

    def _target_groups(self, group: Group) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """ARN and description of a group's target groups, by resource name."""
        found = {str(one["TargetGroupArn"]): one for one in self._calls.describe("DescribeTargetGroups", "TargetGroups")}
        return {resource: (arn, found[arn]) for arn, resource in self._calls.tagged(list(found), group)}

    def _sync_target_group(
        self, group: Group, wanted: TargetGroupModel, present: tuple[str, Mapping[str, Any]] | None, since: float
    ) -> str:
        """Creates or modifies one target group.

        Returns:
            Its ARN.
        """
        settings = _settings(wanted.check)
        if present is None:
            key = wanted.key
            name = group.target_group(key.stem, key.resource)
            place = {"VpcId": self._calls.network.vpc, "TargetType": "ip", "Protocol": "HTTP", "Port": 1}
            tags = group.tags(key.resource)
            made = self._calls.write("CreateTargetGroup", Why(since, name), Name=name, Tags=tags, **place, **settings)
            arn = str(made["TargetGroups"][0]["TargetGroupArn"])
        else:
            arn, described = present
            if any(str(described.get(field)) != str(value) for field, value in settings.items()):
                self._calls.write("ModifyTargetGroup", Why(since, _name(arn)), TargetGroupArn=arn, **settings)
        self._services[arn] = wanted.key.service
        self._sync_attributes(arn, dict(wanted.attributes), since)
        return arn

    def _sync_attributes(self, arn: str, wanted: Mapping[str, str], since: float) -> None:
        """Sets attributes that differ. An attribute whose annotation was removed keeps its value."""
        described = self._calls.describe("DescribeTargetGroupAttributes", "Attributes", TargetGroupArn=arn) if wanted else []
        present = {entry["Key"]: str(entry["Value"]) for entry in described}
        changed = [{"Key": name, "Value": value} for name, value in wanted.items() if present.get(name) != value]
        if changed:
            self._calls.write("ModifyTargetGroupAttributes", Why(since, _name(arn)), TargetGroupArn=arn, Attributes=changed)

    def _remove(self, group: Group, unneeded: Sequence[str], since: float) -> None:
        """Deletes what is no longer referenced: first all bindings, then all target groups."""
        keys = self._kube.bindings(group) if unneeded else {}
        for arn in unneeded:
            if (key := keys.get(arn)) is not None:
                self._kube.delete_binding(key.namespace, _name(arn))
            if not self._targets.unbind(key, _name(arn), arn, _UNBIND_S):
                raise Rejected(f"targetGroupBinding {_name(arn)} is not deleted yet")
        for arn in unneeded:
            self._delete_target_group(arn, since)

    def _delete_target_group(self, arn: str, since: float) -> None:
        """Deletes a target group; tries again while a rule still refers to it."""
        for attempt in range(1, _DELETE_ATTEMPTS + 1):
            try:
                self._calls.write("DeleteTargetGroup", Why(since, _name(arn)), TargetGroupArn=arn)
            except Rejected as error:
                if error.code != "ResourceInUse" or attempt == _DELETE_ATTEMPTS or self._clock.wait(self._stop, _DELETE_PAUSE_S):
                    raise
            else:
                return

    # --- load balancer and listeners ----------------------------------------------------------------------------------------------------

    def _sync_load_balancer(self, group: Group, model: StackModel, since: float) -> tuple[str, str]:
        """Creates or deletes the load balancer.

        Returns:
            ARN and DNS name, "" if the model has no listeners.
        """
        found = {str(one["LoadBalancerArn"]): one for one in self._calls.describe("DescribeLoadBalancers", "LoadBalancers")}
        present = next((found[arn] for arn, _ in self._calls.tagged(list(found), group)), None)
        if not model.listeners:
            if present is not None:
                self._calls.write("DeleteLoadBalancer", Why(since), LoadBalancerArn=present["LoadBalancerArn"])
            return "", ""
        if present is None:
            network = self._calls.network
            place = {"Subnets": list(network.subnets.values()), "SecurityGroups": [network.security_group], "Scheme": model.scheme}
            tags = group.tags("LoadBalancer")
            made = self._calls.write("CreateLoadBalancer", Why(since), Name=group.balancer, Type="application", Tags=tags, **place)
            present = made["LoadBalancers"][0]
        elif present["Scheme"] != model.scheme:
            raise Rejected("the emulated load-balancer controller does not replace a load balancer to change its scheme")
        return str(present["LoadBalancerArn"]), str(present["DNSName"])

    def _sync_listeners(self, group: Group, load_balancer: str, wanted: Sequence[Listen], since: float) -> dict[int, str]:
        """Deletes and creates listeners.

        Returns:
            ARN by port.
        """
        if not load_balancer:
            return {}
        found = {int(one["Port"]): one for one in self._calls.describe("DescribeListeners", "Listeners", LoadBalancerArn=load_balancer)}
        arns = {port: str(one["ListenerArn"]) for port, one in found.items()}
        for port in found.keys() - {one.port for one in wanted}:
            self._calls.write("DeleteListener", Why(since), ListenerArn=arns.pop(port))
        for one in wanted:
            if one.port in arns:
                if found[one.port]["Protocol"] != one.protocol:
                    raise Rejected("the emulated load-balancer controller does not change the protocol of a listener")
                continue
            certificates = {"Certificates": [{"CertificateArn": one.certificate}]} if one.certificate else {}
            place = {"LoadBalancerArn": load_balancer, "Protocol": one.protocol, "Port": one.port, "DefaultActions": _NOT_FOUND}
            made = self._calls.write("CreateListener", Why(since), Tags=group.tags(str(one.port)), **place, **certificates)
            arns[one.port] = str(made["Listeners"][0]["ListenerArn"])
        return dict(sorted(arns.items()))

    # --- rules --------------------------------------------------------------------------------------------------------------------------

    def _sync_rules(self, group: Group, model: ListenerModel, listener: str, arns: Mapping[TargetKey, str], since: float) -> None:
        """Moves, modifies, creates and deletes rules, in this order."""
        wanted = [rendered(rule, priority, arns) for priority, rule in enumerate(model.rules, start=1)]
        todo = changes(wanted, self._calls.describe("DescribeRules", "Rules", ListenerArn=listener))
        if todo.priorities:
            moved = [{"RuleArn": arn, "Priority": priority} for arn, priority in todo.priorities.items()]
            self._calls.write("SetRulePriorities", Why(since), RulePriorities=moved)
        for arn, rule in todo.modify:
            self._calls.write("ModifyRule", _why(rule, since), RuleArn=arn, Conditions=rule.conditions, Actions=rule.actions)
        for rule in todo.create:
            place = {"ListenerArn": listener, "Priority": rule.priority, "Tags": group.tags(f"{model.listen.port}:{rule.priority}")}
            self._calls.write("CreateRule", _why(rule, since), Conditions=rule.conditions, Actions=rule.actions, **place)
        for arn in todo.delete:
            self._calls.write("DeleteRule", Why(since), RuleArn=arn)


def _why(rule: Wanted, since: float) -> Why:
    action = rule.model.action
    targets = action.targets if isinstance(action, Forward) else ()
    return Why(since, forward=tuple((key.service, weight) for key, weight in targets))


def _settings(check: HealthCheck) -> dict[str, Any]:
    return {
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": check.port,
        "HealthCheckPath": check.path,
        "HealthCheckIntervalSeconds": check.interval_s,
        "HealthCheckTimeoutSeconds": check.timeout_s,
        "HealthyThresholdCount": check.healthy,
        "UnhealthyThresholdCount": check.unhealthy,
        "Matcher": {"HttpCode": check.codes},
    }


def _name(arn: str) -> str:
    """The name of a target group and its binding."""
    return arn.split("/")[1]
