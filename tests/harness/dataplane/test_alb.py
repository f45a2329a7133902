"""Envoy behaves like an Application Load Balancer, with real requests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
import urllib3

from failover_harness.dataplane.config import COOKIE, TARGET_HEADER
from failover_harness.dataplane.elb import Fixed, Forward, Group, HealthCheck, Listener, Rule, State, Target
from failover_harness.dataplane.envoy import NotThereError, binary
from failover_harness.dataplane.plane import DataPlane
from failover_harness.dataplane.pods import UNIT_HEADER, Pod, PodProcess
from failover_harness.waiting import wait_for

LISTENER = "arn:aws:elasticloadbalancing:us-west-2:123456789012:listener/app/lb/1/2"
A, B = (f"arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/{name}/0{name}" for name in "ab")
LIVE = (("path-pattern", ("/*",)),)
CHECK = HealthCheck("/health", 0.1, 2.0, 1, 1, "200-399")

Reply = tuple[int, str]
"""Status, and the unit that answered."""


@dataclass
class World:
    """One load balancer with two target groups, and the pods behind them: `a1`, `a2`, ... in group A, `b1`, ... in group B."""

    pods: PodProcess
    state: State = field(default_factory=State)
    here: dict[str, Pod] = field(default_factory=dict)
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(timeout=10, retries=False, maxsize=50))
    plane: DataPlane = field(init=False)

    def __post_init__(self) -> None:
        self.plane = DataPlane(lambda: self.state, deleted=self.pods.cut)

    def run(self, **pods: Pod | None) -> None:
        """Starts, changes and (with None) stops pods."""
        self.here = {name: pod for name, pod in (self.here | pods).items() if pod is not None}
        self.pods.serve(self.here.values())

    def pod(self, name: str, *, latency_s: float = 0.0, fault: str = "", ready: bool = True) -> Pod:
        """A pod, named for the group and its number in it."""
        return Pod(self.plane.places.pod(self.address(name)), 8000, name, latency_s, ready, fault)

    @staticmethod
    def address(name: str) -> str:
        """Its address in the VPC."""
        return f"10.1.{1 + 'ab'.index(name[0])}.{name[1:]}"

    def groups(self, a: str, b: str, check: HealthCheck = CHECK, algorithm: str = "round_robin") -> None:
        """Registers pods with the groups, e.g. ``a1 a2``."""
        targets = [tuple(Target(self.address(name), 8000) for name in names.split()) for names in (a, b)]
        made = tuple(Group(arn, found, check, algorithm) for arn, found in zip((A, B), targets, strict=True))
        self.state = replace(self.state, groups=made)

    def rule(self, *weights: tuple[str, int], stickiness_s: int = 0) -> None:
        """Sets the live rule's weights."""
        self.rules(Rule(1, LIVE, Forward(weights, stickiness_s)))

    def rules(self, *rules: Rule) -> None:
        """Sets the listener's rules."""
        self.state = replace(self.state, listeners=(Listener(LISTENER, rules, Fixed(404)),))

    def healthy(self, *names: str) -> None:
        """Waits until these pods, and no others of their groups, are healthy."""
        self.await_health("healthy", *names)

    def await_health(self, state: str, *names: str) -> None:
        """Waits until these pods have this state."""
        arns = {"a": A, "b": B}
        wait_for(f"{names} {state}", lambda: all(self.plane.health(arns[n[0]], self.address(n), 8000)[0] == state for n in names))

    def ask(self, path: str = "/", **headers: str) -> Reply:
        """Sends one request; the status is 0 if the connection was cut."""
        reply = self.answer(path, **headers)
        return reply.status, reply.headers.get(UNIT_HEADER, "")

    def answer(self, path: str = "/", **headers: str) -> urllib3.BaseHTTPResponse:
        """Sends one request."""
        return self.http.request("POST", self.plane.url(LISTENER) + path, headers=headers)

    def ask_many(self, count: int = 60, **headers: str) -> Counter[Reply]:
        """Sends requests, one after another."""
        return Counter(self.ask(**headers) for _ in range(count))

    def always(self, *wanted: Reply) -> None:
        """Waits until many requests get exactly these answers."""
        wait_for(f"{wanted}", lambda: set(self.ask_many(20)) == set(wanted))

    def becomes(self, what: str, condition: Callable[[Reply], bool]) -> None:
        """Waits until a request's answer meets a condition."""

        def seen() -> bool:
            try:
                return condition(self.ask())
            except urllib3.exceptions.HTTPError:
                return False  # the listener is not there yet

        wait_for(what, seen)


@pytest.fixture(scope="module")
def pods() -> Iterator[PodProcess]:
    """The pods' process; each test uses its own addresses."""
    with PodProcess() as process:
        yield process


@pytest.fixture
def world(pods: PodProcess) -> Iterator[World]:
    """A data plane without AWS: tests set the state of ELBv2."""
    try:
        binary()
    except NotThereError as error:
        pytest.skip(str(error))
    made = World(pods)
    with made.plane:
        yield made
    pods.serve(())
    made.http.clear()


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests in flight."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def two_groups(world: World, check: HealthCheck = CHECK, **pods: Pod) -> None:
    """One healthy pod in each group, both with traffic."""
    world.run(**({"a1": world.pod("a1"), "b1": world.pod("b1")} | pods))
    world.groups("a1", "b1", check)
    world.rule((A, 1), (B, 1))
    world.healthy("a1", "b1")
    world.becomes("an answer", lambda reply: reply[0] == 200)


def test_the_weights_choose_the_group(world: World) -> None:
    """A group with weight 0 gets no requests; groups with equal weights both get some."""
    two_groups(world)
    assert set(world.ask_many()) == {(200, "a1"), (200, "b1")}
    world.rule((A, 0), (B, 1))
    world.becomes("B alone", lambda reply: reply == (200, "b1"))
    world.always((200, "b1"))


def test_there_is_no_failover_between_the_groups_of_an_action(world: World) -> None:
    """An empty group's share is answered 503 without a target; the other group keeps its share."""
    two_groups(world)
    world.groups("a1", "")
    wait_for("503 for the share of B", lambda: (503, "") in world.ask_many(20))
    assert set(world.ask_many()) == {(200, "a1"), (503, "")}
    world.rule((B, 1))
    world.always((503, ""))
    assert TARGET_HEADER not in world.answer().headers


def test_targets_that_wait_for_their_first_check_get_nothing(world: World) -> None:
    """With only such targets the answer is 503. With others they are left out. They are used after a first successful check."""
    patient = replace(CHECK, timeout_s=30.0)  # otherwise the hanging check fails, and the target counts as unhealthy
    two_groups(world, patient, a2=world.pod("a2", fault="hang"))
    world.rule((A, 1))
    world.groups("a1 a2", "", patient)
    world.await_health("initial", "a2")
    world.always((200, "a1"))
    world.groups("a2", "", patient)
    world.always((503, ""))
    world.run(a2=world.pod("a2"))
    world.becomes("an answer", lambda reply: reply == (200, "a2"))


def test_an_unhealthy_target_is_left_out_until_all_are(world: World) -> None:
    """While one target is healthy it gets all requests; if none is, all targets get requests."""
    two_groups(world, a2=world.pod("a2"))
    world.groups("a1 a2", "b1")
    world.rule((A, 1))
    world.healthy("a1", "a2")
    world.run(a1=world.pod("a1", fault="500"))
    world.await_health("unhealthy", "a1")
    world.always((200, "a2"))
    world.run(a2=world.pod("a2", fault="500"))
    world.await_health("unhealthy", "a2")
    world.always((500, "a1"), (500, "a2"))


def test_a_target_that_refuses_is_a_502(world: World) -> None:
    """Until a check detects it; requests are not retried."""
    rare = replace(CHECK, interval_s=60.0)
    two_groups(world, rare, a2=world.pod("a2"))
    world.groups("a1 a2", "b1", rare)
    world.rule((A, 1))
    world.healthy("a1", "a2")
    world.always((200, "a1"), (200, "a2"))
    world.pods.kill(world.here["a2"].address)
    assert set(world.ask_many(20)) == {(200, "a1"), (502, "")}


def test_fixed_answers_paths_and_the_default(world: World) -> None:
    """The first matching rule answers, or else the default with 404."""
    world.rules(
        Rule(1, (("path-pattern", ("/a", "/a/*")),), Fixed(503, "Backend service does not exist")),
        Rule(2, (("host-header", ("x.example",)),), Fixed(200, "x")),
    )
    world.becomes("404", lambda reply: reply[0] == 404)
    refused = world.answer("/a/b")
    assert (refused.status, refused.data) == (503, b"Backend service does not exist")
    assert world.answer("/ab").status == 404
    assert world.answer(Host="x.example").data == b"x"
    assert world.answer("/a", Host="x.example").status == 503


def test_a_standby_rule_keeps_its_group_checked_and_out_of_reach(world: World) -> None:
    """Neither its host nor a forged address reaches it; requests from its network do."""
    two_groups(world)
    standby = (("host-header", ("standby.invalid",)), ("path-pattern", ("/*",)), ("source-ip", ("192.0.2.1/32",)))
    near = (("host-header", ("near.invalid",)), ("source-ip", ("127.0.0.0/8",)))
    world.rules(Rule(1, standby, Forward(((B, 1),))), Rule(2, near, Forward(((B, 1),))), Rule(3, LIVE, Forward(((A, 1),))))
    world.becomes("A alone", lambda _: set(world.ask_many(10)) == {(200, "a1")})
    world.healthy("b1")
    for header in ("x-forwarded-for", "x-connecting-ip"):
        assert world.ask(Host="standby.invalid", **{header: "192.0.2.1"}) == (200, "a1")
    assert world.ask(Host="near.invalid") == (200, "b1")


def test_a_rule_for_a_header_answers_only_requests_that_have_it(world: World) -> None:
    """As the permanent rules of a route: its group is checked, and other requests pass it by."""
    two_groups(world)
    header = (("path-pattern", ("/*",)), ("http-header:X-Standby", ("capacity", "units")))
    world.rules(Rule(1, header, Forward(((B, 1),))), Rule(2, LIVE, Forward(((A, 1),))))
    world.becomes("A alone", lambda _: set(world.ask_many(10)) == {(200, "a1")})
    world.healthy("b1")
    assert [world.ask(**{"X-Standby": value}) for value in ("Capacity", "units", "other")] == [(200, "b1"), (200, "b1"), (200, "a1")]


def test_a_group_that_no_rule_names_is_not_checked(world: World) -> None:
    """Its targets are unused; their first checks begin once a rule names it."""
    two_groups(world)
    world.rule((A, 1))
    world.await_health("unused", "b1")
    world.rule((A, 1), (B, 0))
    world.healthy("b1")


def test_stickiness_beats_the_weights(world: World) -> None:
    """A client stays with a group at weight 0 or without targets, until the rule is no longer sticky or no longer names the group."""
    two_groups(world)
    world.rule((A, 1), (B, 0), stickiness_s=60)
    wait_for("a cookie", lambda: COOKIE in world.answer().headers.get("set-cookie", ""))
    given = world.answer().headers["set-cookie"]
    assert "Max-Age=60" in given
    cookie = given.partition(";")[0]
    world.rule((A, 0), (B, 1), stickiness_s=60)
    world.becomes("B for new clients", lambda reply: reply == (200, "b1"))
    assert set(world.ask_many(20, Cookie=cookie)) == {(200, "a1")}
    assert "set-cookie" not in world.answer(Cookie=cookie).headers
    world.groups("", "b1")
    wait_for("503 for the sticky", lambda: world.ask(Cookie=cookie) == (503, ""))
    world.rule((A, 0), (B, 1))
    wait_for("released", lambda: set(world.ask_many(20, Cookie=cookie)) == {(200, "b1")})
    world.rule((B, 1), stickiness_s=60)
    wait_for("not named", lambda: set(world.ask_many(20, Cookie=cookie)) == {(200, "b1")})


def in_flight(world: World, background: ThreadPoolExecutor, latency_s: float = 1.0) -> list[Future[Reply]]:
    """Requests that have reached a pod of A and will be answered after its latency."""
    world.run(a1=world.pod("a1", latency_s=latency_s))
    flying = [background.submit(world.ask) for _ in range(5)]
    time.sleep(0.3)
    assert not any(one.done() for one in flying)
    return flying


def test_a_changed_rule_leaves_requests_in_flight_alone(world: World, background: ThreadPoolExecutor) -> None:
    """Their target answers them."""
    two_groups(world)
    world.rule((A, 1), (B, 0))
    world.always((200, "a1"))
    flying = in_flight(world, background)
    world.rule((A, 0), (B, 1))
    world.becomes("B", lambda reply: reply == (200, "b1"))
    assert [one.result() for one in flying] == [(200, "a1")] * 5


def test_who_is_deregistered_finishes_what_it_has(world: World, background: ThreadPoolExecutor) -> None:
    """It gets no new requests."""
    two_groups(world, a2=world.pod("a2"))
    world.rule((A, 1), (B, 0))
    world.always((200, "a1"))
    flying = in_flight(world, background)
    world.groups("a2", "b1")
    world.becomes("a2", lambda reply: reply == (200, "a2"))
    assert [one.result() for one in flying] == [(200, "a1")] * 5
    assert set(world.ask_many(10)) == {(200, "a2")}


def test_a_pod_that_ends_finishes_what_it_has(world: World, background: ThreadPoolExecutor) -> None:
    """Within its grace period."""
    two_groups(world)
    world.rule((A, 1))
    world.always((200, "a1"))
    flying = in_flight(world, background)
    world.run(a1=None)
    assert [one.result() for one in flying] == [(200, "a1")] * 5


def test_a_deleted_group_loses_its_requests_in_flight(world: World, background: ThreadPoolExecutor) -> None:
    """The other group keeps its requests."""
    two_groups(world, b1=world.pod("b1", latency_s=1.0))
    world.rule((A, 1), (B, 0))
    world.always((200, "a1"))
    flying = in_flight(world, background, latency_s=5.0)  # cut off long before, even on a busy machine
    world.rule((B, 1))
    time.sleep(0.2)
    others = [background.submit(world.ask) for _ in range(2)]
    time.sleep(0.2)
    world.state = replace(world.state, groups=world.state.groups[1:])
    assert {one.result()[0] for one in flying} == {502}
    assert [one.result() for one in others] == [(200, "b1")] * 2


def test_least_outstanding_requests_spare_the_slow(world: World, background: ThreadPoolExecutor) -> None:
    """Unlike round robin, it gives a slow pod fewer requests than a fast one."""
    two_groups(world, a1=world.pod("a1", latency_s=0.3), a2=world.pod("a2"))
    world.groups("a1 a2", "b1", algorithm="least_outstanding_requests")
    world.rule((A, 1))
    world.healthy("a1", "a2")
    world.always((200, "a1"), (200, "a2"))
    counts = Counter(one.result() for one in [background.submit(world.ask) for _ in range(40)])
    assert counts[200, "a2"] > 2 * counts[200, "a1"]


def test_changes_may_take_their_time(world: World) -> None:
    """With a delay, a change takes effect later than without."""
    world.rules(Rule(1, LIVE, Fixed(201)))
    with DataPlane(lambda: world.state, delay_s=1.0) as late:

        def asked(plane: DataPlane) -> int:
            try:
                return world.http.request("POST", plane.url(LISTENER)).status
            except urllib3.exceptions.HTTPError:
                return 0  # the listener is not there yet

        wait_for("both begin", lambda: asked(late) == asked(world.plane) == 201)
        world.rules(Rule(1, LIVE, Fixed(202)))
        came: list[str] = []

        def both() -> bool:
            for name, plane in (("at once", world.plane), ("late", late)):
                if name not in came and asked(plane) == 202:
                    came.append(name)
            return len(came) == 2

        wait_for("both follow", both)
        assert came == ["at once", "late"]
