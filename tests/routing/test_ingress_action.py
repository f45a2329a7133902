"""The routing action is read as the load-balancer controller reads it, and written so that AWS takes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.model import Target
from controller.routing.attributes import algorithm_of
from controller.routing.ingress.action import format_action, parse_action
from controller.routing.names import action_key
from tests.recording.test_stored import anything

names = st.text("abc-", min_size=1, max_size=8)
ports = st.integers(1, 65_535) | st.text("abc", min_size=1, max_size=8)
targets = st.lists(
    st.builds(Target, names, ports, st.integers(0, 999)), min_size=1, max_size=5, unique_by=lambda target: (target.service, target.port)
).filter(lambda made: any(target.weight for target in made))
quick = settings(deadline=None, max_examples=100)


def _action(group: str, rest: str = "") -> str:
    return '{"type":"forward","forwardConfig":{"targetGroups":[' + group + "]" + rest + "}}"


GROUP = '{"serviceName":"a","servicePort":80,"weight":7}'
A7 = (Target("a", 80, 7),)


@quick
@given(targets, st.integers(0, 604_800))
def test_what_is_written_is_read_again(made: list[Target], stickiness_s: int) -> None:
    """Otherwise the controller would correct its own action for ever."""
    assert parse_action(format_action(made, stickiness_s)) == (tuple(made), stickiness_s, "")


@quick
@given(st.text(max_size=80) | anything.map(json.dumps))
def test_any_text_gives_targets_or_a_problem(text: str) -> None:
    """No annotation that a person writes stops the controller."""
    found, stickiness_s, problem = parse_action(text)
    assert bool(found) != bool(problem)
    assert not problem or stickiness_s == 0


@quick
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "serviceName": anything,
            "servicePort": anything | st.sampled_from(["²", "٣", "9" * 5000, "080", "-1"]),
            "weight": anything,
            "WEIGHT": anything,
        },
    ),
    anything,
)
def test_any_value_in_any_field_gives_targets_or_a_problem(group: dict[str, object], stickiness: object) -> None:
    """Text that is almost an action reaches every part of the parser."""
    config = {"targetGroups": [group, {"serviceName": "a", "servicePort": 80, "weight": 1}], "targetGroupStickinessConfig": stickiness}
    found, _, problem = parse_action(json.dumps({"type": "forward", "forwardConfig": config}))
    assert bool(found) != bool(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(_action(GROUP), A7, id="as written by hand"),
        pytest.param(_action(GROUP).replace("forwardConfig", "ForwardConfig").replace("weight", "WEIGHT"), A7, id="keys in any case"),
        pytest.param(_action('{"serviceName":"a","servicePort":80,"weight":1,"weight":7}'), A7, id="the last of two equal keys"),
        pytest.param(_action('{"serviceName":"a","servicePort":80,"Weight":1,"weight":7}'), A7, id="the last of two keys in any case"),
        pytest.param(
            _action('{"serviceName":"a","servicePort":80,"weight":1,"Weight":2,"weight":7}'),
            A7,
            id="the last of three in the order of the text",
        ),
        pytest.param(_action(GROUP, ',"unknown":[1]'), A7, id="unknown keys are ignored"),
        pytest.param(_action(GROUP.replace("80", '"80"')), A7, id="a number in quotes is that number, as the controller makes it"),
        pytest.param(_action(GROUP.replace("80", '"http"')), (Target("a", "http", 7),), id="a named port"),
        pytest.param(_action('{"serviceName":"a","servicePort":80}'), (Target("a", 80, 1),), id="a single target needs no weight"),
        pytest.param(_action(GROUP.replace("7", "0")), (Target("a", 80, 0),), id="a weight of nothing"),
    ],
)
def test_reads_what_the_load_balancer_controller_reads(text: str, expected: tuple[Target, ...]) -> None:
    """Two parsers that disagree about one text cause a 503."""
    assert parse_action(text) == (expected, 0, "")


@pytest.mark.parametrize(
    ("stickiness", "seconds"),
    [
        ('{"enabled":true,"durationSeconds":200}', 200),
        ('{"Enabled":true,"DurationSeconds":200}', 200),
        ('{"enabled":true,"durationSeconds":1}', 1),
        ('{"enabled":true,"durationSeconds":0}', 0),
        ('{"enabled":false,"durationSeconds":200}', 0),
        ('{"enabled":true}', 0),
        ('{"enabled":true,"durationSeconds":"200"}', 0),
        ('{"enabled":true,"durationSeconds":true}', 0),
        ('{"enabled":true,"durationSeconds":-1}', 0),
        ('{"enabled":"true","durationSeconds":200}', 0),
        ("[]", 0),
        ("null", 0),
    ],
)
def test_reads_stickiness(stickiness: str, seconds: int) -> None:
    """Seconds where it is enabled with a duration."""
    assert parse_action(_action(GROUP, f',"targetGroupStickinessConfig":{stickiness}')) == (A7, seconds, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "not JSON", id="nothing"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
        pytest.param("[]", "not a JSON object", id="a list"),
        pytest.param('{"type":"redirect"}', "type is 'redirect'", id="a redirect"),
        pytest.param('{"type":"forward","targetGroupARN":"arn"}', "no forwardConfig.targetGroups", id="an ARN"),
        pytest.param('{"type":"forward","forwardConfig":{"targetGroups":[]}}', "no forwardConfig.targetGroups", id="no target group"),
        pytest.param('{"type":"forward","forwardConfig":[]}', "no forwardConfig.targetGroups", id="a list for the configuration"),
        pytest.param(_action("1"), "not an object", id="a number for a target group"),
        pytest.param(_action('{"targetGroupARN":"arn","weight":1}'), "names no Service", id="a target group by ARN"),
        pytest.param(_action('{"serviceName":"","weight":1}'), "names no Service", id="a Service without a name"),
        pytest.param(_action('{"serviceName":"a","weight":1}'), "no servicePort", id="no port"),
        pytest.param(_action('{"serviceName":"a","servicePort":"","weight":1}'), "no servicePort", id="an empty port"),
        pytest.param(_action('{"serviceName":"a","servicePort":true,"weight":1}'), "no servicePort", id="a truth for a port"),
        pytest.param(_action(f'{GROUP},{{"serviceName":"b","servicePort":80}}'), "weight None", id="no weight among several"),
        pytest.param(_action(GROUP.replace("7", '"7"')), "weight '7'", id="a weight in quotes"),
        pytest.param(_action(GROUP.replace("7", "7.0")), "weight 7.0", id="a weight with a point"),
        pytest.param(_action(GROUP.replace("7", "true")), "weight True", id="a truth for a weight"),
    ],
)
def test_says_why_it_cannot_read(text: str, problem: str) -> None:
    """A person must be able to correct it from the words alone."""
    found, stickiness_s, words = parse_action(text)
    assert (found, stickiness_s) == ((), 0)
    assert problem in words


@pytest.mark.parametrize("port", ["²", "9" * 5000, "٣"])
def test_a_port_of_strange_digits_is_none(port: str) -> None:
    """Python calls them digits; int() does not take the first two, Go takes none of them, and no port has such a name."""
    action = _action(json.dumps({"serviceName": "a", "servicePort": port, "weight": 7}))
    assert parse_action(action) == ((), 0, "target group a has no servicePort that can exist")


def test_refuses_to_write_what_aws_refuses() -> None:
    """The load-balancer controller would answer 503 for the whole Ingress."""
    with pytest.raises(ValueError, match="at least one target group"):
        format_action((), 0)


def test_writes_stickiness_always() -> None:
    """Leaving it out is not off for the controller's comparison with AWS."""
    assert format_action(A7, 0).endswith('"targetGroupStickinessConfig":{"enabled":false}}}')
    assert format_action(A7, 200).endswith('"targetGroupStickinessConfig":{"enabled":true,"durationSeconds":200}}}')
    assert action_key("weighted-routing") == "alb.ingress.kubernetes.io/actions.weighted-routing"


@pytest.mark.parametrize(
    ("attributes", "algorithm"),
    [
        ("", "round_robin"),
        ("stickiness.enabled=true", "round_robin"),
        ("load_balancing.algorithm.type=a=b", "a=b"),
        ("load_balancing.algorithm.type=least_outstanding_requests", "least_outstanding_requests"),
        ("deregistration_delay.timeout_seconds=30, load_balancing.algorithm.type = weighted_random", "weighted_random"),
    ],
)
def test_the_algorithm_is_read_from_the_attributes(attributes: str, algorithm: str) -> None:
    """As people write them, with spaces. ELBv2's own default is round robin."""
    assert algorithm_of(attributes) == algorithm


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, {"enabled": False}), (1, {"enabled": True, "durationSeconds": 1}), (600, {"enabled": True, "durationSeconds": 600})],
)
def test_stickiness_is_always_written(seconds: int, written: dict[str, object]) -> None:
    """A missing setting does not mean "off" to the load-balancer controller."""
    assert json.loads(format_action(A7, seconds))["forwardConfig"]["targetGroupStickinessConfig"] == written


@pytest.mark.parametrize(("port", "read"), [("65535", 65535), ("123456", "123456"), ("http", "http"), ("x" * 253, "x" * 253)])
def test_a_port_of_digits_is_a_number(port: str, read: int | str) -> None:
    """Up to five of them, as ports have; a name may have digits alone only where it is longer."""
    assert parse_action(_action(json.dumps({"serviceName": "a", "servicePort": port, "weight": 7})))[0] == (Target("a", read, 7),)


@pytest.mark.parametrize("port", ["", "x" * 254, "A", "a b"])
def test_what_cannot_be_a_port_is_a_problem(port: str) -> None:
    """It is shown, so that it must not be anything."""
    text = _action(json.dumps({"serviceName": "a", "servicePort": port, "weight": 7}))
    assert parse_action(text) == ((), 0, "target group a has no servicePort that can exist")


@pytest.mark.parametrize(("said", "seconds"), [(604_800, 604_800), (604_801, 604_800), (2_000_000_000, 604_800)])
def test_no_client_sticks_longer_than_aws_allows(said: int, seconds: int) -> None:
    """Else one strange action would keep all floors raised for decades: they sink once the clients have left."""
    stickiness = f',"targetGroupStickinessConfig":{{"enabled":true,"durationSeconds":{said}}}'
    assert parse_action(_action(GROUP, stickiness)) == (A7, seconds, "")
