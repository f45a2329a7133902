"""From Ingresses to rules: decoding like Go, validation, listeners, groups and target group settings. Without servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from controller.routing.names import PREFIX
from failover_testbed.cluster import manifests
from failover_testbed.lbc.annotations import BuildError, HealthCheck
from failover_testbed.lbc.elb_limits import refusal
from failover_testbed.lbc.group import Group, group_of, held_by
from failover_testbed.lbc.model import Fixed, Forward, RuleModel, StackModel, TargetKey, Tolerance, build, references
from failover_testbed.lbc.rule_changes import changes, rendered
from tests.testbed.lbc.cluster import APP, CAPACITY, ingress

SERVICES: dict[tuple[str, str], dict[str, Any]] = {
    (service["metadata"]["namespace"], service["metadata"]["name"]): service for service in manifests.services(APP)
}


def model(*members: Mapping[str, Any], services: Mapping[tuple[str, str], Any] = SERVICES) -> StackModel:
    return build(members, lambda namespace, name: services.get((namespace, name)))


def live(action: str) -> Forward | Fixed:
    """The fake's model of an action."""
    return model(ingress(action=action)).listeners[0].rules[0].action


def forward(*tuples: Mapping[str, Any], **config: Any) -> str:
    return json.dumps({"type": "forward", "forwardConfig": {"targetGroups": list(tuples), **config}})


INF2 = {"serviceName": "sd21-inf2", "servicePort": 80, "weight": 40}
TRN1 = {"serviceName": "sd21-trn1", "servicePort": 80, "weight": 20}
KEY_INF2, KEY_TRN1 = (TargetKey("default", "sd21", name, 80) for name in ("sd21-inf2", "sd21-trn1"))
BOTH = Forward(((KEY_INF2, 40), (KEY_TRN1, 20)))


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(
            '{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"sd21-inf2","ServicePort":"80","Weight":40},'
            '{"SERVICENAME":"sd21-trn1","serviceport":80,"weight":20}]}}',
            id="keys without regard to case",
        ),
        pytest.param(forward(INF2 | {"weigth": 1, "x": {"y": []}}, TRN1), id="unknown keys are ignored"),
        pytest.param(forward(INF2, TRN1).replace('"weight": 40', '"weight": 7, "Weight": 40'), id="the last of duplicates wins"),
        pytest.param(forward(INF2 | {"servicePort": "080"}, TRN1 | {"servicePort": "+80"}), id="a port in a string is a number"),
        pytest.param(forward(INF2, TRN1, targetGroupStickinessConfig=None), id="null is nothing"),
        pytest.param(" \n" + forward(INF2, TRN1) + "\t", id="white space around it"),
    ],
)
def test_what_go_decodes_alike(action: str) -> None:
    assert live(action) == BOTH


@pytest.mark.parametrize(
    "action",
    [
        pytest.param("", id="blank"),
        pytest.param(forward(INF2, TRN1) + "x", id="text behind it"),
        pytest.param("[]", id="an array"),
        pytest.param('{"type":"forward', id="cut in a string"),
        pytest.param('{"type":3}', id="type is a number"),
        pytest.param(forward(INF2, TRN1).replace("40", "40.0"), id="weight with a fraction"),
        pytest.param(forward(INF2, TRN1).replace("40", "4e1"), id="weight with an exponent"),
        pytest.param(forward(INF2, TRN1).replace("40", '"40"'), id="weight in quotes"),
        pytest.param(forward(INF2, TRN1).replace("40", "true"), id="weight is a boolean"),
        pytest.param(forward(INF2, TRN1).replace("40", "2147483648"), id="weight beyond 32 bits"),
        pytest.param(forward(INF2, TRN1).replace("40", "NaN"), id="weight is no number"),
        pytest.param(forward(INF2 | {"servicePort": 80.5}, TRN1), id="port with a fraction"),
        pytest.param(forward(INF2 | {"servicePort": True}, TRN1), id="port is a boolean"),
        pytest.param(forward(INF2 | {"serviceName": 7}, TRN1), id="Service is a number"),
        pytest.param('{"type":"forward","forwardConfig":[]}', id="forwardConfig is an array"),
        pytest.param('{"type":"forward","forwardConfig":{"targetGroups":{}}}', id="targetGroups is an object"),
        pytest.param('{"type":"forward","forwardConfig":{"targetGroups":["a"]}}', id="a target group is a string"),
        pytest.param(forward(INF2, targetGroupStickinessConfig={"enabled": "true"}), id="enabled in quotes"),
        pytest.param(forward(INF2, targetGroupStickinessConfig={"enabled": True, "durationSeconds": 9.5}), id="duration with a fraction"),
        pytest.param('{"type":"forward","forwardConfig":{},"ForwardConfig":{}}', id="two objects, which Go would merge"),
        pytest.param("[" * 100_000, id="too deep"),
    ],
)
def test_what_go_does_not_decode(action: str) -> None:
    with pytest.raises(BuildError, match=r"^ingress: default/sd21: failed to parse json annotation, alb.*weighted-routing: "):
        live(action)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (forward({**INF2, "weight": None}, TRN1), "invalid ForwardConfig: weight must be set when route to multiple target groups"),
        (
            forward({"servicePort": 80}),
            "invalid ForwardConfig: invalid TargetGroupTuple: missing serviceName or targetGroupARN/targetGroupName",
        ),
        (forward({"serviceName": "sd21-inf2"}), "invalid ForwardConfig: invalid TargetGroupTuple: missing servicePort"),
        (forward(INF2 | {"targetGroupARN": "arn"}), "either serviceName or targetGroupARN/targetGroupName"),
        (forward({"targetGroupName": "mine"}), "does not support target groups by ARN or name"),
        ('{"type":"forward","targetGroupARN":"arn"}', "does not support target groups by ARN or name"),
        ('{"type":"forward","targetGroupARN":"arn","forwardConfig":{}}', "either ForwardConfig or TargetGroupARN/TargetGroupName"),
        ('{"type":"redirect","redirectConfig":{}}', "does not support redirect actions"),
        ('{"type":"fixed-response"}', "missing FixedResponseConfig"),
        ('{"type":"Forward"}', "unknown action type: Forward"),
        ("{}", "unknown action type: "),
    ],
)
def test_what_the_controller_refuses_by_itself(action: str, words: str) -> None:
    with pytest.raises(BuildError, match=words):
        live(action)


def test_weights_out_of_range_and_no_target_groups_are_left_to_aws() -> None:
    assert live(forward(INF2 | {"weight": 1000}, TRN1 | {"weight": -1})) == Forward(((KEY_INF2, 1000), (KEY_TRN1, -1)))
    assert live(forward()) == Forward(())


def test_a_number_and_a_name_of_the_same_port_are_two_target_groups() -> None:
    made = model(ingress(action=forward(INF2, INF2 | {"servicePort": "http"})))
    assert {group.key.port for group in made.target_groups if group.key.service == "sd21-inf2"} == {80, "http"}


def test_conditions_of_an_action_join_those_of_the_rule() -> None:
    source = '{"field":"source-ip","sourceIPConfig":{"values":["192.0.2.1/32"]}}'
    conditions = f'[{{"Field":"path-pattern","pathPatternConfig":{{"values":["/x"]}}}},{source}]'
    made = model(ingress(annotations={f"{PREFIX}/conditions.{APP.route.part}": conditions}))
    assert made.listeners[0].rules[0].conditions == (("path-pattern", ("/*", "/x")), ("source-ip", ("192.0.2.1/32",)))


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({"conditions.weighted-routing": '[{"field":"http-header"}]'}, "conditions of 'http-header'"),
        (
            {"conditions.weighted-routing": '[{"field":"host-header","hostHeaderConfig":{"regexValues":["x"]}}]'},
            "regexvalues of a host",
        ),
        ({"conditions.weighted-routing": "{}"}, "failed to parse json annotation"),
        ({"transforms.weighted-routing": "[]"}, "the annotation alb.ingress.kubernetes.io/transforms.weighted-routing"),
        ({"ssl-redirect": "443"}, "the annotation alb.ingress.kubernetes.io/ssl-redirect"),
        ({"target-type": "instance"}, "target-type instance"),
        ({"healthcheck-protocol": "HTTPS"}, "a healthcheck-protocol other than HTTP"),
        ({"healthcheck-port": "metrics"}, "named health check ports"),
        ({"healthcheck-interval-seconds": "soon"}, "failed to parse int64 annotation, .*healthcheck-interval-seconds: soon"),
        ({"target-group-attributes": "slow_start"}, "failed to parse stringMap annotation"),
        ({"target-group-attributes": "target_group_health.x=1"}, "the target group attribute target_group_health.x"),
        ({"scheme": "public"}, "unknown scheme: public"),
        ({"group.order": "first"}, "failed to parse int64 annotation, .*group.order: first"),
        ({"listen-ports": "["}, "failed to parse json annotation, .*listen-ports"),
        ({"listen-ports": '[{"TCP":80}]'}, "list of HTTP and HTTPS"),
        ({"listen-ports": "[]"}, "empty listen ports"),
        ({"listen-ports": '[{"HTTPS":443}]'}, "finding a certificate"),
        ({"certificate-arn": "a,b"}, "more than one certificate"),
    ],
)
def test_what_is_not_emulated_or_cannot_be_read_is_refused_by_name(annotations: dict[str, str], words: str) -> None:
    """Nothing is ignored silently, because the real controller would act on it."""
    with pytest.raises(BuildError, match=words):
        model(ingress(annotations={f"{PREFIX}/{name}": value for name, value in annotations.items()}))


@pytest.mark.parametrize("field", ["defaultBackend", "tls"])
def test_parts_of_the_spec_that_are_not_emulated_are_refused(field: str) -> None:
    made = ingress()
    made["spec"][field] = {"x": 1}
    with pytest.raises(BuildError, match=rf"does not support spec\.{field}"):
        model(made)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({"path": "/", "pathType": "Prefix"}, ("/*",)),
        ({"path": "/a/", "pathType": "Prefix"}, ("/a", "/a/*")),
        ({"path": "/a", "pathType": "Exact"}, ("/a",)),
        ({"path": "/a*", "pathType": "ImplementationSpecific"}, ("/a*",)),
        ({"pathType": "ImplementationSpecific"}, ("/*",)),
    ],
)
def test_paths_become_patterns(path: dict[str, str], expected: tuple[str, ...]) -> None:
    made = ingress()
    made["spec"]["rules"] = [{"http": {"paths": [{**path, "backend": {"service": {"name": "sd21-all", "port": {"number": 80}}}}]}}]
    assert model(made).listeners[0].rules[0].conditions == (("path-pattern", expected),)


def test_paths_are_ordered_exact_then_longest_prefix_then_the_rest() -> None:
    backend = {"service": {"name": "sd21-all", "port": {"name": "http"}}}
    paths = [("/*", "ImplementationSpecific"), ("/a", "Prefix"), ("/a/b", "Prefix"), ("/x", "Exact")]
    made = ingress()
    made["spec"]["rules"] = [{"http": {"paths": [{"path": path, "pathType": kind, "backend": backend} for path, kind in paths]}}]
    assert [rule.conditions[0][1][0] for rule in model(made).listeners[0].rules] == ["/x", "/a/b", "/a", "/*"]
    made["spec"]["rules"][0]["http"]["paths"][1]["path"] = "/a*"
    with pytest.raises(BuildError, match="prefix path shouldn't contain wildcards"):
        model(made)


def test_settings_of_target_groups_come_from_the_service_before_the_ingress() -> None:
    services = json.loads(json.dumps({name: service for (_, name), service in SERVICES.items()}))
    services["sd21-all"]["metadata"]["annotations"] = {
        f"{PREFIX}/healthcheck-interval-seconds": "7",
        f"{PREFIX}/target-group-attributes": "load_balancing.algorithm.type=least_outstanding_requests",
    }
    annotations = {
        "healthcheck-path": "/health",
        "healthcheck-timeout-seconds": "3",
        "healthy-threshold-count": "4",
        "target-group-attributes": "stickiness.enabled=true, ",
    }
    made = build([ingress(annotations={f"{PREFIX}/{n}": v for n, v in annotations.items()})], lambda _, name: services.get(name))
    groups = {group.key.service: group for group in made.target_groups}
    assert groups["sd21-inf2"].check == HealthCheck(path="/health", timeout_s=3, healthy=4)
    assert groups["sd21-inf2"].attributes == (("stickiness.enabled", "true"),)
    assert groups["sd21-all"].check == HealthCheck(path="/health", timeout_s=3, healthy=4, interval_s=7)
    assert groups["sd21-all"].attributes == (("load_balancing.algorithm.type", "least_outstanding_requests"),)
    services["sd21-all"]["metadata"]["annotations"] = {f"{PREFIX}/scheme": "internal"}
    with pytest.raises(BuildError, match=r"the annotation alb\.ingress\.kubernetes\.io/scheme"):
        build([ingress()], lambda _, name: services.get(name))


@pytest.mark.parametrize(
    ("tolerance", "action", "services", "refused"),
    [
        pytest.param(Tolerance(service=False), CAPACITY, {}, 'Service "sd21-all" not found', id="the only Service of an action"),
        pytest.param(Tolerance(service=False), forward(INF2, TRN1), {}, 'Service "sd21-all" not found', id="the Service of a rule"),
        pytest.param(Tolerance(action=False), None, SERVICES, "missing actions.weighted-routing configuration", id="the action"),
    ],
)
def test_what_is_missing_stops_the_group_where_the_flags_say_so(
    tolerance: Tolerance, action: str | None, services: Mapping[tuple[str, str], Any], refused: str
) -> None:
    """By default it is answered with 503; the flags of our install guide keep the old rules instead."""
    known = services or {key: one for key, one in SERVICES.items() if key[1] != "sd21-all"}
    made = ingress(action=action or "")
    if action is None:
        del made["metadata"]["annotations"][f"{PREFIX}/actions.weighted-routing"]
    build([made], lambda namespace, name: known.get((namespace, name)))
    with pytest.raises(BuildError, match=refused):
        build([made], lambda namespace, name: known.get((namespace, name)), tolerance)


class TestGroups:
    """The Ingresses of one load balancer."""

    def test_an_explicit_group_reaches_over_namespaces_and_names_its_things_differently(self) -> None:
        group = group_of(ingress(annotations={f"{PREFIX}/group.name": "shared"}))
        assert group == Group("", "shared")
        assert (group.stack, group.finalizer) == ("shared", "group.ingress.k8s.aws/shared")
        assert group.labels == {"ingress.k8s.aws/stack": "shared"}
        assert group.balancer.startswith("k8s-shared-")
        alone = group_of(ingress())
        assert alone == Group("default", "sd21")
        assert alone.stack == "default/sd21"
        assert alone.labels == {"ingress.k8s.aws/stack-namespace": "default", "ingress.k8s.aws/stack-name": "sd21"}

    def test_who_belongs_to_none_and_who_is_still_held(self) -> None:
        other = ingress()
        other["spec"]["ingressClassName"] = "nginx"
        assert group_of(other) is None
        leaving = ingress()
        leaving["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["group.ingress.k8s.aws/g", "other"]}
        assert group_of(leaving) is None
        assert held_by(leaving) == {Group("", "g")}
        with pytest.raises(BuildError, match="invalid ingress group"):
            group_of(ingress(annotations={f"{PREFIX}/group.name": "No Name"}))

    def test_priorities_follow_group_order_then_namespace_and_name(self) -> None:
        members = [
            ingress("b", action=CAPACITY, annotations={f"{PREFIX}/group.order": "5"}),
            ingress("c", annotations={f"{PREFIX}/group.order": "-3"}),
            ingress("a", annotations={f"{PREFIX}/group.order": "5"}),
        ]
        rules = model(*members).listeners[0].rules
        owners = [rule.action.targets[0][0].ingress for rule in rules if isinstance(rule.action, Forward)]
        assert list(dict.fromkeys(owners)) == ["c", "a", "b"]
        assert len(owners) == 3 * 7

    def test_two_ingresses_with_the_same_service_have_a_target_group_each(self) -> None:
        made = model(ingress("a"), ingress("b"))
        assert [group.key.resource for group in made.target_groups if group.key.service == "sd21-all"] == [
            "default/a-sd21-all:80",
            "default/b-sd21-all:80",
        ]

    def test_one_that_is_wrong_stops_all_and_is_named(self) -> None:
        with pytest.raises(BuildError, match=r"^ingress: default/b: failed to parse json annotation"):
            model(ingress("a"), ingress("b", action="{"))

    def test_members_that_contradict_each_other_are_refused(self) -> None:
        with pytest.raises(BuildError, match="conflicting scheme"):
            model(ingress("a"), ingress("b", annotations={f"{PREFIX}/scheme": "internal"}))
        ports = {"listen-ports": '[{"HTTPS":80}]', "certificate-arn": "arn"}
        with pytest.raises(BuildError, match="conflicting listeners on port 80"):
            model(ingress("a"), ingress("b", annotations={f"{PREFIX}/{n}": v for n, v in ports.items()}))

    def test_a_listener_has_the_rules_of_those_that_listen_on_it(self) -> None:
        both = {"listen-ports": '[{"HTTP":8080,"HTTPS":443},{"HTTP":80}]', "certificate-arn": "arn"}
        made = model(ingress("a", annotations={f"{PREFIX}/{n}": v for n, v in both.items()}), ingress("b"))
        assert [(one.listen.port, one.listen.protocol, len(one.rules)) for one in made.listeners] == [
            (80, "HTTP", 14),
            (443, "HTTPS", 7),
            (8080, "HTTP", 7),
        ]

    def test_a_certificate_alone_makes_https(self) -> None:
        made = model(ingress(annotations={f"{PREFIX}/certificate-arn": "arn"}))
        assert [(one.listen.port, one.listen.certificate) for one in made.listeners] == [(443, "arn")]


def test_the_services_that_an_ingress_needs() -> None:
    needed = {unit.backend.service for unit in APP.units} | {"sd21-all", APP.route.part}
    assert references(ingress()) == needed
    assert references(ingress(action=forward({"ServiceName": "other"}))) == needed | {"other"}
    assert references(ingress(action="{")) == needed


class TestMatching:
    """Which rules are kept, moved, modified, created and deleted."""

    ARNS: Final = {KEY_INF2: "arn-inf2", KEY_TRN1: "arn-trn1"}

    def rule(self, host: str, *targets: tuple[TargetKey, int | None]) -> RuleModel:
        return RuleModel((("host-header", (host,)),), Forward(targets))

    def found(self, *rules: tuple[int, RuleModel]) -> list[dict[str, Any]]:
        """Rules as ELBv2 describes them; their ARNs are their hosts."""
        default = {"Priority": "default", "RuleArn": "default", "Actions": [{"Type": "fixed-response"}], "Conditions": []}
        made = [(priority, rendered(rule, priority, self.ARNS)) for priority, rule in rules]
        return [
            {
                "Priority": str(priority),
                "RuleArn": one.model.conditions[0][1][0],
                "Conditions": one.conditions,
                "Actions": one.actions,
            }
            for priority, one in made
        ] + [default]

    def changes(self, wanted: list[RuleModel], found: list[dict[str, Any]]) -> tuple[Any, ...]:
        todo = changes([rendered(rule, priority, self.ARNS) for priority, rule in enumerate(wanted, start=1)], found)
        return todo.priorities, [arn for arn, _ in todo.modify], [one.priority for one in todo.create], todo.delete

    def test_nothing_changes(self) -> None:
        a, b = self.rule("a", (KEY_INF2, 1)), self.rule("b", (KEY_TRN1, None))
        assert self.changes([a, b], self.found((1, a), (2, b))) == ({}, [], [], [])

    def test_what_differs_at_its_priority_is_modified_in_place(self) -> None:
        a, other = self.rule("a", (KEY_INF2, 40), (KEY_TRN1, 20)), self.rule("a", (KEY_INF2, 0), (KEY_TRN1, 20))
        assert self.changes([other], self.found((1, a))) == ({}, ["a"], [], [])

    def test_a_new_rule_in_front_moves_the_others_before_it_is_created(self) -> None:
        a, b, new = self.rule("a", (KEY_INF2, 1)), self.rule("b", (KEY_INF2, 1)), self.rule("new", (KEY_TRN1, 1))
        assert self.changes([new, a, b], self.found((1, a), (2, b))) == ({"a": 2, "b": 3}, [], [1], [])

    def test_what_goes_makes_room_for_what_moves(self) -> None:
        a, b, c = (self.rule(name, (KEY_INF2, 1)) for name in "abc")
        assert self.changes([c], self.found((1, a), (2, b), (3, c))) == ({"c": 1, "b": 50_000, "a": 49_999}, [], [], ["a", "b"])

    def test_what_is_left_over_goes_last(self) -> None:
        a, b = self.rule("a", (KEY_INF2, 1)), self.rule("b", (KEY_INF2, 1))
        assert self.changes([a], self.found((1, a), (2, b))) == ({}, [], [], ["b"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ""),
        ({"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2}, ""),
        ({"HealthCheckIntervalSeconds": 4}, "HealthCheckIntervalSeconds must be between 5 and 300"),
        ({"HealthyThresholdCount": 11}, "HealthyThresholdCount must be between 2 and 10"),
        ({"Conditions": [{"Field": "host-header", "HostHeaderConfig": {"Values": list("abcdef")}}]}, "5 condition values"),
        ({"Actions": [{"Type": "fixed-response"}]}, ""),
    ],
)
def test_what_aws_refuses_and_moto_takes(arguments: dict[str, Any], words: str) -> None:
    assert words in refusal(arguments)
    assert bool(words) == bool(refusal(arguments))


def test_no_weight_above_zero_counts_as_refused() -> None:
    """AWS's behaviour is unknown, so nothing may depend on it."""
    tuples = [{"TargetGroupArn": name, "Weight": 0} for name in "ab"]
    assert "above 0" in refusal({"Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": tuples}}]})
