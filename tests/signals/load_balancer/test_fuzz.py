"""Verification over answers that no ELBv2 should give: a verdict, never an exception."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.policy.model import Target, Verdict, Verification
from controller.signals.budget import CallBudget
from controller.signals.load_balancer.request import VerificationRequest
from controller.signals.load_balancer.verifier import Verifier
from failover_testbed.clocks import ManualClock
from tests.signals.load_balancer.scripted_elb import DNS, LB, LIVE, NOW, Clients, arn, ask

QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
KEYS = [
    "LoadBalancers", "Listeners", "Rules", "TargetHealthDescriptions", "NextMarker", "LoadBalancerArn", "DNSName", "Type", "ListenerArn",
    "Port", "Protocol", "IsDefault", "Priority", "Conditions", "Field", "Values", "PathPatternConfig", "Actions", "Order", "ForwardConfig",
    "TargetGroups", "TargetGroupArn", "Weight", "TargetGroupStickinessConfig", "Enabled", "DurationSeconds", "TargetHealth", "State",
    "Target", "Id", "ResponseMetadata", "RetryAttempts", "FixedResponseConfig", "MessageBody", "StatusCode",
]  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([LB, DNS, arn("inf2"), "application", "HTTP", "forward", "path-pattern", "/*", "healthy", "default", 2**63, -1])
)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5), max_leaves=25
)
ACTIONS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "Type": st.sampled_from(["forward", "fixed-response", "redirect"]) | LEAVES,
            "Order": LEAVES,
            "TargetGroupArn": LEAVES,
            "ForwardConfig": st.fixed_dictionaries(
                {},
                optional={
                    "TargetGroups": st.lists(st.fixed_dictionaries({"TargetGroupArn": LEAVES, "Weight": LEAVES}) | ANYTHING, max_size=3),
                    "TargetGroupStickinessConfig": ANYTHING,
                },
            ),
            "FixedResponseConfig": ANYTHING,
        },
    ),
    max_size=3,
)
LIVE_RULES = st.builds(lambda actions: {"Conditions": [{"Field": "path-pattern", "Values": ["/*"]}], "Actions": actions}, ACTIONS)
ERRORS = st.sampled_from([
    ClientError({}, "Describe"),
    ClientError({"Error": {"Code": None}, "ResponseMetadata": {}}, "Describe"),
    ClientError({"Error": {"Code": "Throttling", "Message": "x" * 10_000}}, "Describe"),
    EndpointConnectionError(endpoint_url="x"),
])  # fmt: skip


class Script:
    """Answers each operation with what hypothesis drew."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        answer = self._answers[operation]

        def call(**_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def verified(answers: dict[str, Any], request: VerificationRequest) -> Verification:
    clock = ManualClock(NOW)
    return Verifier(Clients(Script(answers)), clock, CallBudget(1, 40, clock)).verify(request)


ORDINARY: dict[str, Any] = {
    "describe_load_balancers": {"LoadBalancers": [{"LoadBalancerArn": LB, "DNSName": DNS, "Type": "application"}]},
    "describe_listeners": {"Listeners": [{"ListenerArn": "l", "Port": 80, "Protocol": "HTTP"}]},
    "describe_rules": {
        "Rules": [
            {"Conditions": [{"Field": "path-pattern", "Values": ["/*"]}], "Actions": [{"Type": "forward", "TargetGroupArn": arn("inf2")}]}
        ]
    },
    "describe_target_health": {"TargetHealthDescriptions": [{"TargetHealth": {"State": "healthy"}}]},
}
REQUEST = ask(targets=(Target("inf2", 80, 1),), rules=(LIVE,))


def test_the_ordinary_answers_are_a_yes() -> None:
    """So that the properties below start from something that works."""
    assert verified(ORDINARY, REQUEST).verdict is Verdict.YES


@QUICK
@given(operation=st.sampled_from(sorted(ORDINARY)), answer=ANYTHING | ERRORS)
def test_one_broken_answer_is_never_an_exception(operation: str, answer: Any) -> None:
    """And without targets seen healthy it is never a yes either."""
    result = verified({**ORDINARY, operation: answer}, REQUEST)
    assert isinstance(result, Verification)
    assert (result.verdict is Verdict.YES) == (result.problem == "")
    if result.verdict is Verdict.YES:
        assert result.healthy["inf2"] >= 1


@QUICK
@given(rules=st.lists(LIVE_RULES | ANYTHING, max_size=4), health=st.lists(ANYTHING, max_size=3))
def test_broken_rules_and_targets_are_never_an_exception(rules: list[Any], health: list[Any]) -> None:
    """Whatever is in them, the verdict has a reason."""
    answers = {**ORDINARY, "describe_rules": {"Rules": rules}, "describe_target_health": {"TargetHealthDescriptions": health}}
    result = verified(answers, ask())
    assert (result.verdict is Verdict.YES) == (result.problem == "")
    assert all(isinstance(weight, int) for weight in result.weights.values())
