"""What an Ingress says, in every spelling the load-balancer controller accepts, and what it does not say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.policy.model import Mode, Override, Target
from controller.routing.annotations import MARKER, PAUSE_REASON, PAUSED_UNTIL, PIN_REASON, PINNED_MODE, PINNED_UNTIL, WRITTEN_BY
from controller.routing.ingress.action import format_action
from controller.routing.ingress.read import hostnames
from controller.routing.ingress.read import observe as observe_ingress
from controller.routing.names import action_key
from tests.signals.samples import moment
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, SERVICES, application

ACTION = action_key("weighted-routing")
APP = application()


def rule(service: str, port: Any) -> dict[str, Any]:
    """One rule with one path; `port` is the backend's port object, or a number."""
    port = {"number": port} if isinstance(port, int) else port
    return {"host": f"{service}.invalid", "http": {"paths": [{"path": "/", "backend": {"service": {"name": service, "port": port}}}]}}


LIVE = rule("weighted-routing", {"name": "use-annotation"})


def ingress(*rules: dict[str, Any], managed: list[Any] | None = None, annotations: dict[str, Any] | None = None) -> dict[str, Any]:
    """The application's Ingress."""
    metadata = {
        "name": "sd21",
        "namespace": "shop",
        "resourceVersion": "7",
        "uid": "uid-1",
        "annotations": annotations or {},
    }
    return {"metadata": metadata | ({"managedFields": managed} if managed is not None else {}), "spec": {"rules": [LIVE, *rules]}}


def with_annotations(annotations: dict[str, Any]) -> dict[str, Any]:
    """An Ingress with these annotations."""
    return {"metadata": {"annotations": annotations}}


def test_no_ingress() -> None:
    """It does not exist; nothing else is said."""
    assert not observe_ingress(APP, None).exists


def test_the_action_is_kept_byte_for_byte() -> None:
    """And read: targets in order, stickiness, the marker, version and uid."""
    action = format_action(COST_TARGETS, 200)
    seen = observe_ingress(APP, ingress(annotations={ACTION: action, MARKER: "cost"}))
    assert (seen.exists, seen.action, seen.targets, seen.stickiness_s, seen.problem) == (True, action, COST_TARGETS, 200, "")
    assert (seen.marker, seen.resource_version, seen.uid) == ("cost", "7", "uid-1")


def test_keys_are_case_insensitive() -> None:
    """The load-balancer controller decodes as Go does; Argo Rollouts writes capitals."""
    action = {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [{"ServiceName": name, "ServicePort": "80", "Weight": weight} for name, weight in (("a", 60), ("b", 40))],
            "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 30},
        },
    }
    seen = observe_ingress(APP, ingress(annotations={ACTION: json.dumps(action)}))
    assert (seen.targets, seen.stickiness_s, seen.problem) == ((Target("a", 80, 60), Target("b", 80, 40)), 30, "")


@pytest.mark.parametrize(
    "action",
    [
        "",
        "{",
        "[]",
        "null",
        '{"type":"redirect"}',
        '{"type":"forward"}',
        '{"type":"forward","forwardConfig":{"targetGroups":[]}}',
        '{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"a","servicePort":80,"weight":1.5}]}}',
        '{"type":"forward","forwardConfig":{"targetGroups":[{"targetGroupARN":"arn:aws:x"}]}}',
        "[" * 100_000,
    ],
)
def test_an_action_that_cannot_be_read_says_why(action: str) -> None:
    """No targets, and a problem in words; the text itself is kept."""
    seen = observe_ingress(APP, ingress(annotations={ACTION: action}))
    assert (seen.targets, seen.action) == ((), action)
    assert seen.problem


def test_a_missing_action_says_so() -> None:
    """The rule would then answer 503 by itself."""
    assert observe_ingress(APP, ingress()).problem == "the action annotation is missing"


# --- standby ---


def test_standby_by_direct_service() -> None:
    """A rule that forwards straight to a Service keeps its target group registered."""
    seen = observe_ingress(APP, ingress(rule("sd21-inf2", 80), rule("sd21-all", 80), rule("stranger", 80)))
    assert seen.standby == ("sd21-all", "sd21-inf2")


def test_standby_by_action() -> None:
    """A standby action keeps the target groups of all its Services, whatever their weight."""
    action = format_action(COST_TARGETS, 0)
    both = (rule("standby-cost", {"name": "use-annotation"}), rule("standby-all", {"name": "use-annotation"}))
    annotations = {action_key("standby-cost"): action, action_key("standby-all"): format_action(CAPACITY_TARGETS, 0)}
    assert observe_ingress(APP, ingress(*both, annotations=annotations)).standby == tuple(sorted((*SERVICES, "sd21-all")))


def test_the_live_rule_is_no_standby() -> None:
    """What is warm only while it is live is not warm."""
    assert observe_ingress(APP, ingress(annotations={ACTION: format_action(COST_TARGETS, 0)})).standby == ()


@pytest.mark.parametrize("port", [8000, {"name": "http"}, {"name": "80"}, {}, None, {"number": "80"}, {"number": True}, {"number": [80]}])
def test_another_port_literal_is_another_target_group(port: Any) -> None:
    """The literal is part of the target group's identity: `http` is not `80`, even where they are the same port."""
    assert observe_ingress(APP, ingress(rule("sd21-all", port))).standby == ()


def test_another_port_literal_in_an_action_does_not_count() -> None:
    """The same within a standby action; the other Services of that action count."""
    action = format_action((Target("sd21-all", "http", 1), Target("sd21-inf2", 80, 1)), 0)
    seen = observe_ingress(APP, ingress(rule("standby", {"name": "use-annotation"}), annotations={action_key("standby"): action}))
    assert seen.standby == ("sd21-inf2",)


OTHER, REDIRECT = (rule(name, {"name": "use-annotation"}) for name in ("other", "ssl-redirect"))
DEFAULT = {"service": {"name": "weighted-routing", "port": {"name": "use-annotation"}}}


@pytest.mark.parametrize(
    ("spec", "instead"),
    [
        ({"rules": [REDIRECT, LIVE]}, ()),
        ({"rules": [OTHER], "defaultBackend": DEFAULT}, ()),
        ({"rules": [rule("web", 80)]}, ()),
        ({}, ()),
        ({"rules": [REDIRECT, OTHER, OTHER]}, ("its rules use ssl-redirect, other:",)),
        ({"rules": [rule("weighted-routing", 80), OTHER]}, ("its rules use other:",)),
    ],
    ids=["a rule", "the default backend", "no action at all", "no rule", "others alone", "a Service of the action's name"],
)
def test_which_actions_the_rules_use_instead(spec: dict[str, Any], instead: tuple[str, ...]) -> None:
    unused = observe_ingress(APP, {**ingress(), "spec": spec}).unused
    assert unused == "" if not instead else instead[0] in unused


@pytest.mark.parametrize("action", ["", "{", None, 5])
def test_a_standby_action_that_cannot_be_read_keeps_nothing(action: Any) -> None:
    """Missing, broken or of the wrong type."""
    obj = ingress(rule("standby", {"name": "use-annotation"}))
    obj["metadata"]["annotations"][action_key("standby")] = action
    assert observe_ingress(APP, obj).standby == ()


# --- who wrote ---


def owns(manager: str, time: str, annotation: str = ACTION) -> dict[str, Any]:
    """A managedFields entry that owns one annotation."""
    return {"manager": manager, "time": time, "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{annotation}": {}}}}}


def test_which_other_actions_a_write_goes_on_naming() -> None:
    """Those that rules use and we wrote, as they are; what others wrote stays without us."""
    former, written = action_key("other"), format_action(COST_TARGETS, 0)
    ours = [owns("failoverctl", "2026-08-25T10:00:00Z", former), owns("failoverctl", "2026-08-25T10:00:00Z", action_key("gone"))]
    annotations = {former: written, action_key("gone"): written, action_key("ssl-redirect"): written}
    assert observe_ingress(APP, ingress(OTHER, REDIRECT, managed=ours, annotations=annotations)).kept == ((former, written),)
    assert (
        observe_ingress(APP, ingress(OTHER, managed=[owns("argocd", "2026-08-25T10:00:00Z", former)], annotations=annotations)).kept == ()
    )
    for broken in ("{", None, 5, f"{written}\n"):
        assert observe_ingress(APP, ingress(OTHER, managed=ours, annotations={former: broken})).kept == ()


@pytest.mark.parametrize(
    ("managed", "writer", "foreign"),
    [
        (None, "", False),
        ([], "", False),
        ([owns("failoverctl", "2026-08-25T10:00:00Z")], "failoverctl", False),
        ([owns("kubectl", "2026-08-25T10:00:00Z")], "kubectl", True),
        ([owns("argocd", "2026-08-25T11:00:00Z"), owns("failoverctl", "2026-08-25T10:00:00Z")], "argocd", False),
        ([owns("failoverctl", "2026-08-25T11:00:00Z"), owns("argocd", "2026-08-25T10:00:00Z")], "failoverctl", False),
        ([owns("kubectl", "2026-08-25T10:00:00Z", "other/annotation")], "", False),
        ([None, 5, {"fieldsV1": []}, {"manager": None, "time": 7}], "", False),
    ],
)
def test_who_wrote_the_action(managed: list[Any] | None, writer: str, *, foreign: bool) -> None:
    """The last of the managers that own the annotation; foreign only where we are not among them."""
    seen = observe_ingress(APP, ingress(managed=managed))
    assert (seen.writer, seen.foreign) == (writer, foreign)


@pytest.mark.parametrize(
    ("managers", "found"),
    [
        (("argocd",), "argocd"),
        (("kubectl", "argocd"), "argocd"),
        (("failoverctl",), ""),
        (("failoverctl", "argocd"), ""),
        ((), ""),
    ],
)
def test_who_wrote_the_mode(managers: tuple[str, ...], found: str) -> None:
    """The last of the managers that own the annotation; nobody where we are among them: they agree with us."""
    managed = [owns(manager, f"2026-08-25T1{hour}:00:00Z", MARKER) for hour, manager in enumerate(managers)]
    assert observe_ingress(APP, ingress(managed=managed)).marked_by == found


@pytest.mark.parametrize(("written", "found"), [({}, ""), ({WRITTEN_BY: "elsewhere"}, "elsewhere"), ({WRITTEN_BY: "a\x1bb"}, "a b")])
def test_which_installation_wrote(written: dict[str, Any], found: str) -> None:
    """It says so itself; anybody can write it."""
    assert observe_ingress(APP, with_annotations(written)).written_by == found


# --- overrides ---

UNTIL = "2026-08-25T18:00:00Z"


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, Override()),
        ({PAUSED_UNTIL: UNTIL}, Override(paused_until=moment(UNTIL))),
        ({PAUSED_UNTIL: "forever", PAUSE_REASON: "game day"}, Override(paused_until=math.inf, paused_why="game day")),
        ({PINNED_MODE: "cost"}, Override(pinned_mode=Mode.COST)),
        (
            {PINNED_MODE: "capacity", PINNED_UNTIL: "forever"},
            Override(pinned_mode=Mode.CAPACITY, pinned_until=math.inf),
        ),
        ({PINNED_UNTIL: UNTIL}, Override(pinned_until=moment(UNTIL))),
        ({PAUSED_UNTIL: "", PINNED_MODE: "", PINNED_UNTIL: ""}, Override()),
        ({PAUSED_UNTIL: 5, PINNED_MODE: None}, Override()),
    ],
)
def test_overrides(annotations: dict[str, Any], expected: Override) -> None:
    """Times, "forever" and modes as written; an empty annotation asks for nothing."""
    assert observe_ingress(APP, with_annotations(annotations)).override == expected


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        (PAUSED_UNTIL, "tomorrow", "2026-01-31T18:00:00Z"),
        (PAUSED_UNTIL, "Forever", "forever"),
        (PINNED_MODE, "COST", "cost, capacity"),
        (PINNED_MODE, "cheap", "cost, capacity"),
        (PINNED_UNTIL, "30m", "2026-01-31T18:00:00Z"),
    ],
)
def test_an_override_that_cannot_be_read_says_what_is_allowed(key: str, value: str, allowed: str) -> None:
    """It must never be taken as no override: the policy counts it as paused."""
    problem = observe_ingress(APP, with_annotations({key: value})).override.problem
    assert problem.startswith(f"{key}: found {value!r}, allowed: ")
    assert allowed in problem


def test_every_bad_override_is_named() -> None:
    """One problem for each annotation."""
    problem = observe_ingress(APP, with_annotations({PAUSED_UNTIL: "x", PINNED_MODE: "y", PINNED_UNTIL: "z"})).override.problem
    assert problem.count("found") == 3


def test_a_long_reason_is_cut() -> None:
    """It goes into messages to people."""
    assert len(observe_ingress(APP, with_annotations({PIN_REASON: "x" * 10_000})).override.pinned_why) == 500


@pytest.mark.parametrize("key", [PAUSED_UNTIL, PINNED_MODE, PINNED_UNTIL])
def test_an_override_that_cannot_be_read_is_cut_and_holds_no_control_characters(key: str) -> None:
    """Anybody who may annotate an Ingress writes it; it goes into the status, the log, an event and a terminal."""
    problem = observe_ingress(APP, with_annotations({key: "\x1b[2J" + "eyJ" * 70_000})).override.problem
    assert key in problem
    assert len(problem) < 400
    assert problem.isprintable()


# --- the rest ---


def test_hostnames_of_the_load_balancer() -> None:
    """From the status; entries without one, or with an address, are left out."""
    status = {"loadBalancer": {"ingress": [{"hostname": "a.elb"}, {"ip": "10.0.0.1"}, None, {"hostname": "b.elb"}]}}
    assert hostnames({"status": status}) == ("a.elb", "b.elb")
    assert hostnames({"status": {"loadBalancer": {}}}) == ()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["use-annotation", "sd21-all"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        | st.fixed_dictionaries(
            {}, optional={"http": inner, "paths": inner, "backend": inner, "service": inner, "name": inner, "port": inner}
        )
    ),
    max_leaves=15,
)


@given(JSON, JSON, JSON)
def test_no_shape_raises(metadata: Any, annotation: Any, spec: Any) -> None:
    """Any JSON as metadata, as each annotation and as the rules."""
    annotations = dict.fromkeys((ACTION, MARKER, PAUSED_UNTIL, PINNED_MODE, PINNED_UNTIL, PIN_REASON, action_key("s")), annotation)
    for obj in (
        {"metadata": metadata, "spec": spec, "status": spec},
        {"metadata": {"annotations": annotations, "managedFields": metadata}, "spec": {"rules": spec}},
        {"metadata": {"annotations": annotations, "managedFields": [metadata]}, "spec": {"rules": [spec, {"http": {"paths": [spec]}}]}},
    ):
        observe_ingress(APP, obj)
        hostnames(obj)
