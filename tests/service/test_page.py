"""The page: what it says, that it is bounded, and that nothing of others becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from controller.cli.observe import judge
from controller.clock import format_rfc3339
from controller.policy.account import Ledger
from controller.policy.model import Mode, ModeChange, Override, PolicySettings, Route, Sample, Snapshot, Strategy, Verdict, Verification
from controller.policy.reasons import Reason
from controller.service.controller import View
from controller.service.page import HEADERS, PAGE_SIZE, Process, page
from tests.cli.test_history import KEPT
from tests.support.applications import NOW, alert_of, application, memory, snapshot

PROCESS = Process(NOW, "pod-a", True, 3, 1.0, False, "", (), {"kubernetes": 12})


def _view(made: Snapshot, remembered: object = None) -> View:
    seen = judge(made, remembered or memory())  # type: ignore[arg-type]
    return View(made, seen.decision, seen.made, seen.memory, Ledger())


def _shown(made: Snapshot) -> Snapshot:
    """The load balancer shows what the Ingress asks for."""
    weights = {target.service: target.weight for target in made.routing.targets}
    healthy = {unit.backend.service: 2 for unit in made.application.units}
    seen = Verification(Verdict.YES, NOW, "", made.routing.action, weights=weights, healthy=healthy)
    return replace(made, routing=replace(made.routing, verification=seen))


@pytest.mark.parametrize("mode", list(Mode))
def test_one_application_is_shown_whole(mode: Mode) -> None:
    """Mode, next step, shares, history with verification, guards, price and leader."""
    made = _shown(snapshot(mode=mode))
    made = replace(made, units={name: replace(one, demand=Sample(40.0, NOW - 30)) for name, one in made.units.items()})
    html = page([_view(made, replace(KEPT, mode=mode, mode_since=NOW - 3600))], PROCESS)
    words = " ".join(re.sub(r"<[^>]+>", " ", html.partition("</style>")[2]).split())
    assert str(mode).upper() in words
    assert "Next " in words
    assert ("40 %" if mode is Mode.COST else "20 %") in words
    assert "PinnedToMode: an operator pinned mode cost: budget (ann)" in words
    assert re.search(r"All in capacity mode, for the present demand \$\d", words)
    assert "this replica leads, epoch 3" in words
    assert html.count("<rect ") == 3, "three bands: before, between and after the two changes"


@pytest.mark.parametrize(
    ("action", "words"),
    [(None, "✔ shows it"), ("another", "? not asked about this routing yet"), ("", "? did not say: aws.apis leaves elbv2 out")],
)
def test_the_page_says_what_is_known_of_the_present_action(action: str | None, words: str) -> None:
    """What the load balancer showed of the action before says nothing of it; that nobody can ask it holds for every action."""
    made = _shown(snapshot())
    seen = Verification(Verdict.CANNOT_TELL, 0.0, "aws.apis leaves elbv2 out") if action == "" else made.routing.verification
    assert seen is not None
    made = replace(made, routing=replace(made.routing, verification=seen if action is None else replace(seen, action=action)))
    assert f"load balancer {words}<" in page([_view(made)], PROCESS)


def test_a_minute_in_capacity_mode_is_a_band_that_is_seen_above_the_long_one() -> None:
    """Also when it has just begun: it would be narrower than its mark, at the edge of the picture."""
    before = ModeChange(NOW - 100_000, Mode.COST, Reason.RETURN_PROVEN, "")
    change = ModeChange(NOW - 60, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "")
    html = page([_view(_shown(snapshot(mode=Mode.CAPACITY)), replace(KEPT, mode=Mode.CAPACITY, mode_changes=(before, change)))], PROCESS)
    (band,) = re.findall(r'<rect x="([0-9.]+)" y="4" width="([0-9.]+)" height="46" class="band-capacity"/>', html)
    assert (float(band[0]) + float(band[1]), float(band[1])) == (960.0, 6.0)
    assert html.index("band-cost") < html.index("band-capacity") < html.index('class="mark"')


@pytest.mark.parametrize("changes", [(), (ModeChange(NOW - 3600, Mode.COST, Reason.RETURN_PROVEN, ""),)])
def test_hours_of_which_nothing_is_known_are_not_drawn_as_a_mode(changes: tuple[ModeChange, ...]) -> None:
    """An application that the controller has known for an hour was drawn green for a whole day."""
    html = page([_view(_shown(snapshot()), replace(KEPT, mode=Mode.COST, mode_since=NOW - 3600, mode_changes=changes))], PROCESS)
    bands = re.findall(r'<rect x="([0-9.]+)" [^>]*width="([0-9.]+)" [^>]*class="band-(\w+)"/>', html)
    assert sorted(bands) == [("0.0", "920.0", "unknown"), ("920.0", "40.0", "cost")]


def test_a_unit_s_state_comes_before_its_numbers() -> None:
    """A telephone shows the first columns."""
    html = page([_view(_shown(snapshot()))], PROCESS)
    assert "<th scope=col>Unit</th><th scope=col>State</th><th scope=col>Set</th>" in html


def test_a_thousand_applications_are_paged_and_each_page_is_small() -> None:
    """Problems first; every application is reachable by a link."""
    made = snapshot()
    one = _view(made)
    named = (replace(made.application, route=Route(f"app-{index:04}", "live")) for index in range(1000))
    views = [replace(one, snapshot=replace(made, application=app)) for app in named]
    pages = [page(views, PROCESS, number=number) for number in range(1, 1000 // PAGE_SIZE + 1)]
    assert max(len(html.encode()) for html in pages) < 100_000
    assert len({name for html in pages for name in re.findall(r"application=([^\"]+)\"", html)}) == 1000
    assert page(views, PROCESS, number=10**5) == pages[-1]
    assert "<h1>shop/app-0007</h1>" in page(views, PROCESS, wanted="shop/app-0007")


@pytest.mark.parametrize(
    ("process", "first"),
    [
        pytest.param(
            replace(PROCESS, dry_run=True), "⚠ Dry run: it decides and logs; it changes, notifies and publishes nothing.", id="dry run"
        ),
        pytest.param(
            replace(PROCESS, leads=False, leader="failoverctl-abc_1234"),
            "⚠ This replica stands by: it asks AWS nothing, so that alerts, demand, latency and the load balancer are missing below. The "
            "page of the one that leads: kubectl port-forward pod/failoverctl-abc 8080",
            id="a standby",
        ),
        pytest.param(
            replace(PROCESS, leads=False, leader=""),
            "✖ No replica leads, so nobody changes anything: docs/runbooks/no-leader.md",
            id="nobody leads",
        ),
    ],
)
def test_a_replica_that_does_not_act_says_so_first(process: Process, first: str) -> None:
    """What follows would be taken for the state of the application."""
    html = page([_view(_shown(snapshot()))], process)
    assert 0 < html.index(first) < html.index("<h1>")
    assert first not in page([_view(_shown(snapshot()))], PROCESS)


def test_an_alert_links_to_its_page_and_a_standby_shows_none() -> None:
    """The first thing that a person who is paged needs. What a standby lacks is no alert."""
    made = _view(_shown(snapshot()))
    made = replace(
        made, decision=replace(made.decision, alerts=(alert_of("max/a", "warning", "high"), alert_of("fighting", "critical", "two")))
    )
    html = page([made], replace(PROCESS, runbooks="https://docs.example/runbooks"))
    link = '<a href="https://docs.example/runbooks/somebody-else-writes.md">somebody-else-writes</a>'
    assert f"critical: two {link}" in html
    assert html.index("critical: two") < html.index("warning: high")
    assert "docs/runbooks/somebody-else-writes.md" in page([made], PROCESS)
    assert "<h2>Alerts</h2>" not in page([made], replace(PROCESS, leads=False))
    assert "<h2>Alerts</h2>" in page([made], replace(PROCESS, leads=False, dry_run=True))


def test_an_override_is_shown_with_its_end() -> None:
    """People on call must see when the controller acts again."""
    override = Override(NOW + 60, "drill", "ann", Mode.COST, None, "budget", "bob")
    made = _shown(snapshot())
    html = page([_view(replace(made, routing=replace(made.routing, override=override)))], PROCESS)
    assert f"⚠ Paused until {format_rfc3339(NOW + 60)}: drill (ann)" in html
    assert "⚠ Pinned to cost until it is lifted: budget (bob)" in html


def test_nothing_of_others_becomes_markup_and_nothing_comes_from_elsewhere() -> None:
    """A person's reason, a message of AWS; no script, no link to another host, and a policy that forbids both."""
    evil = '<script>alert(1)</script>"><img src=x onerror=y>'
    made = _shown(snapshot())
    seen = made.routing.verification
    assert seen is not None
    override = Override(paused_until=NOW + 60, paused_why=evil, paused_by=evil)
    made = replace(
        made, routing=replace(made.routing, override=override, verification=replace(seen, problem=evil, verdict=Verdict.NOT_YET))
    )
    html = page([_view(made)], replace(PROCESS, config_error=evil, leader=evil))
    assert "<script" not in html
    assert "<img" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert "&lt;script&gt;" in html
    assert HEADERS["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_without_an_application_the_page_says_so() -> None:
    """Before the first pass."""
    assert "0 application(s)" in page([], PROCESS)
    assert application().key not in page([], PROCESS)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_what_strategy_planned_would_run_is_a_row_of_the_prices(strategy: Strategy) -> None:
    """Other strategies have none."""
    made = snapshot(application(policy=PolicySettings(strategy=strategy)))
    made = replace(made, units={name: replace(one, demand=Sample(40.0, NOW)) for name, one in made.units.items()})
    assert ("The strategy" in page([_view(made)], PROCESS)) is (strategy is Strategy.PLANNED)
