"""What verification reads from the Ingress and the TargetGroupBindings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.routing.ingress.read import group_of, listener_ports, live_rules
from controller.routing.port import LiveRule
from controller.signals.load_balancer.request import target_groups

PREFIX = "alb.ingress.kubernetes.io"


def path(name: str, at: str = "/", kind: str = "Prefix", port: object = None) -> dict[str, Any]:
    port = {"name": "use-annotation"} if port is None else port
    return {"path": at, "pathType": kind, "backend": {"service": {"name": name, "port": port}}}


def ingress(*rules: tuple[str, list[dict[str, Any]]], **annotations: str) -> dict[str, Any]:
    spelled = {f"{PREFIX}/{name.replace('__', '.').replace('_', '-')}": value for name, value in annotations.items()}
    return {
        "metadata": {"name": "sd21", "namespace": "default", "annotations": spelled},
        "spec": {"rules": [{**({"host": host} if host else {}), "http": {"paths": paths}} for host, paths in rules]},
    }


def conditions(rules: tuple[LiveRule, ...]) -> list[dict[str, set[str]]]:
    return [{name: set(values) for name, values in rule.conditions} for rule in rules]


@pytest.mark.parametrize(
    ("entry", "patterns"),
    [
        (path("live"), {"/*"}),
        (path("live", "/v1"), {"/v1", "/v1/*"}),
        (path("live", "/v1/"), {"/v1", "/v1/*"}),
        (path("live", "/v1", "Exact"), {"/v1"}),
        (path("live", "/v?/*", "ImplementationSpecific"), {"/v?/*"}),
        (path("live", "", "ImplementationSpecific"), {"/*"}),
    ],
)
def test_paths_become_the_patterns_that_the_load_balancer_controller_makes(entry: dict[str, Any], patterns: set[str]) -> None:
    """Or the live rule would never be found."""
    assert conditions(live_rules(ingress(("", [entry])), "live")) == [{"path-pattern": patterns}]


def test_a_host_is_a_condition_and_standby_hosts_are_left_out() -> None:
    """No request can reach a host under .invalid."""
    rules = live_rules(
        ingress(("Sd21.example", [path("live")]), ("standby-cost.invalid", [path("live"), path("standby-cost")]), ("", [path("other")])),
        "live",
    )
    assert conditions(rules) == [{"host-header": {"sd21.example"}, "path-pattern": {"/*"}}]
    assert rules[0].label == "sd21.example /*"


def test_every_path_that_uses_the_action_is_a_rule_of_its_own() -> None:
    """Without duplicates, and only with the port name that marks an action."""
    paths = [path("live", "/a"), path("live", "/b"), path("live", "/a/"), path("live", "/c", port={"number": 80})]
    assert [rule.label for rule in live_rules(ingress(("", paths)), "live")] == ["/a /a/*", "/b /b/*"]


def test_the_conditions_annotation_is_part_of_the_rule() -> None:
    """Its hosts and paths join the Ingress's own; keys are read in any case, as Go does."""
    annotation = """[
      {"field": "host-header", "hostHeaderConfig": {"values": ["B.example"]}},
      {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Model", "Values": ["sd21"]}},
      {"field": "query-string", "queryStringConfig": {"values": [{"key": "v", "value": "2"}]}},
      {"field": "path-pattern", "pathPatternConfig": {"regexValues": ["^/x$"]}}
    ]"""
    rules = live_rules(ingress(("a.example", [path("live")]), conditions__live=annotation), "live")
    assert conditions(rules) == [
        {
            "host-header": {"a.example", "b.example"},
            "http-header:x-model": {"sd21"},
            "query-string": {"v=2"},
            "path-pattern": {"/*", "regex:^/x$"},
        }
    ]


def test_regular_expressions_are_taken_without_their_leading_slash() -> None:
    """As the load-balancer controller does, and only for paths that are ImplementationSpecific."""
    paths = [path("live", "/v[0-9]+/.*", "ImplementationSpecific"), path("live", "/a", "Exact")]
    rules = live_rules(ingress(("", paths), use_regex_path_match="true"), "live")
    assert conditions(rules) == [{"path-pattern": {"regex:v[0-9]+/.*"}}, {"path-pattern": {"/a"}}]


@pytest.mark.parametrize(
    ("annotations", "ports"),
    [
        ({}, set()),
        ({"listen_ports": '[{"HTTP": 80}, {"HTTPS": 443}]'}, {80, 443}),
        ({"listen_ports": '[{"HTTP": 80, "HTTPS": 443}]', "ssl_redirect": "443"}, {443}),
        ({"listen_ports": "not json"}, set()),
        ({"listen_ports": '[{"HTTP": true, "SMTP": 25}, 7]'}, set()),
    ],
)
def test_the_listeners_are_read_where_the_ingress_names_them(annotations: dict[str, str], ports: set[int]) -> None:
    """Elsewhere the IngressClass or the certificates decide, and we do not guess."""
    assert listener_ports(ingress(**annotations)) == ports


def binding(service: str, arn: str, *, namespace: str = "default", port: object = 80, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": namespace,
            "labels": {f"ingress.k8s.aws/{name.replace('_', '-')}": value for name, value in labels.items()},
        },
        "spec": {"serviceRef": {"name": service, "port": port}, "targetGroupARN": arn},
    }


OWN = {"stack_namespace": "default", "stack_name": "sd21"}


def test_the_bindings_of_the_ingress_give_its_target_groups() -> None:
    """By Service and port; numbers in strings are numbers, names stay names."""
    bindings = [binding("inf2", "a", **OWN), binding("trn1", "b", port="80", **OWN), binding("trn1", "c", port="http", **OWN)]
    assert target_groups(bindings, "default", (("default", "sd21"),)) == {
        ("inf2", 80): ("a",),
        ("trn1", 80): ("b",),
        ("trn1", "http"): ("c",),
    }


@pytest.mark.parametrize(
    "other",
    [
        binding("inf2", "x", stack_namespace="default", stack_name="another"),
        binding("inf2", "x", stack_namespace="other", stack_name="sd21"),
        binding("inf2", "x"),
        binding("inf2", "x", namespace="other", **OWN),
        {**binding("inf2", "x", **OWN), "spec": {"serviceRef": {"name": "inf2"}, "targetGroupARN": "x"}},
        {**binding("inf2", "", **OWN)},
        {"metadata": {**binding("inf2", "x", **OWN)["metadata"], "deletionTimestamp": "2026-11-24T00:00:00Z"}, "spec": {}},
        {},
    ],
)
def test_other_bindings_are_left_out(other: dict[str, Any]) -> None:
    """Another Ingress's target groups hang on another load balancer."""
    assert target_groups([other, binding("inf2", "a", **OWN)], "default", (("default", "sd21"),)) == {("inf2", 80): ("a",)}


def test_in_an_explicit_group_all_target_groups_of_a_service_are_given() -> None:
    """Two Ingresses of the group may have one each; the labels do not tell which is whose."""
    bindings = [binding("inf2", "b", stack="group"), binding("inf2", "a", stack="group")]
    assert target_groups(bindings, "default", (("default", "sd21"),)) == {("inf2", 80): ("a", "b")}


def test_a_target_group_of_another_load_balancer_is_not_ours() -> None:
    """Its healthy targets say nothing of the target group that our rule names, which may have none."""
    own, internal, public = binding("all", "a", **OWN), binding("all", "x", stack="internal"), binding("all", "b", stack="public")
    assert target_groups([own, internal], "default", (("default", "sd21"),)) == {("all", 80): ("a",)}
    assert target_groups([internal, public], "default", (("default", "sd21"),), "public") == {("all", 80): ("b",)}
    assert target_groups([internal, public], "default", (("default", "sd21"),)) == {("all", 80): ("b", "x")}, (
        "an IngressClass may name the group"
    )
    named = ingress(group__name="public")
    assert (group_of(named), group_of(ingress())) == ("public", "")


def _auto(arn: str, **labels: str) -> dict[str, Any]:
    named = {f"ingress.eks.amazonaws.com/{name.replace('_', '-')}": value for name, value in labels.items()}
    return {"metadata": {"namespace": "default", "labels": named}, "spec": binding("inf2", arn)["spec"]}


def test_the_bindings_of_auto_mode_count_with_their_own_labels() -> None:
    """EKS Auto Mode labels differently. A cluster may have bindings of both; those of another Ingress do not count."""
    own, other = _auto("a", stack_namespace="default", stack_name="sd21"), _auto("x", stack_namespace="default", stack_name="another")
    assert target_groups([own, other], "default", (("default", "sd21"),)) == {("inf2", 80): ("a",)}
    assert target_groups([own, binding("inf2", "b", **OWN)], "default", (("default", "sd21"),)) == {("inf2", 80): ("a", "b")}
    assert target_groups([_auto("c", stack="group")], "default", (("default", "sd21"),)) == {("inf2", 80): ("c",)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["live", "/", "Prefix", "9" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "rules", "http", "paths", "backend", "service", "name", "port", "host", "labels", "annotations"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["metadata", "spec"]), JSON), st.text() | st.sampled_from(["[" * 5000, '[{"field": {}}]', "1" * 5000])
)
def test_no_object_however_broken_breaks_the_reading(anything: dict[str, Any], annotation: str) -> None:
    """Anybody may write an annotation."""
    annotated = ingress(("", [path("live")]), conditions__live=annotation, listen_ports=annotation)
    assert live_rules(annotated, "live")
    listener_ports(annotated)
    live_rules(anything, "live")
    listener_ports(anything)
    target_groups([anything], "default", (("default", "sd21"),))
