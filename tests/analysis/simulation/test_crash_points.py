"""A process may die before and after each of its external calls; the next leader ends where it would have been."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.policy.model import Application, Mode
from controller.service.application_pass import ApplicationPass, Decided
from failover_analysis.simulation.crash_points import SIDES, Call, Calls, Crash
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.run import Simulation
from tests.analysis.simulation.crash_runs import PASSES, SCENARIOS, Scenario, Watched, cases
from tools.reliability_docs import DOCUMENT, page


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_next_leader_converges_wherever_the_process_died(name: str, record_property: Callable[[str, object], None]) -> None:
    """No second mode change, nothing orphaned, the same mode within two passes. The cases are made from the calls of the code itself."""
    scenario = SCENARIOS[name]
    _, _, undisturbed = scenario.play()
    assert [mode for mode, _ in undisturbed.modes[1:]] == [str(mode) for mode in scenario.to]
    calls, made = cases(scenario)
    assert {"load", "save", "confirm", "apply route"} <= {call.name for call in calls}
    assert len(made) == 2 * len(calls)
    record_property("crash points", f"{name}: {len(calls)} external calls, {len(made)} cases, next leader within {PASSES} passes")
    sys.stdout.write(f"{name}: {len(calls)} external calls, {len(made)} cases\n")
    assert [one for one in made if one.problem] == []


@pytest.mark.timeout(300)
def test_a_broken_pass_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that remembers a mode change before it is written, and then believes its memory, would not make it after a crash."""
    whole = ApplicationPass.decide

    def eager(self: ApplicationPass, application: Application) -> Decided:
        remembered = self._record.load()
        decided = whole(self, application)
        conclusion = decided.conclusion
        if remembered.mode is Mode.CAPACITY:
            return replace(decided, conclusion=replace(conclusion, memory=remembered, plan=replace(conclusion.plan, actions=())))
        if conclusion.decision.mode is Mode.CAPACITY and conclusion.plan.due:
            self._record.save(conclusion.routed(conclusion.snapshot.now))
        return decided

    monkeypatch.setattr(ApplicationPass, "decide", eager)
    _, made = cases(SCENARIOS["failover"], only="save")
    assert [one for one in made if one.problem] != []


def test_a_call_dies_before_or_after_it_took_effect() -> None:
    """The two sides differ in nothing else."""
    done: list[str] = []
    for side in ("before", "after"):
        calls = Calls(lambda: 5.0, dies_at=1, side=side)
        calls.make("a", 1, lambda: done.append("first"))
        with pytest.raises(Crash):
            calls.make("b", 2, lambda side=side: done.append(side))  # type: ignore[misc]
        assert calls.made == [Call("a", 1, 5.0), Call("b", 2, 5.0)]
    assert done == ["first", "first", "after"]


def test_the_same_moment_is_played_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To die after a call, or before the next one of the same pass, is one case: nothing happens in between, and both end alike."""
    played: list[tuple[int | None, str]] = []
    play = Scenario.play

    def counted(self: Scenario, dies_at: int | None = None, side: str = "") -> tuple[Simulation, Result, Watched]:
        played.append((dies_at, side))
        return play(self, dies_at, side)

    monkeypatch.setattr(Scenario, "play", counted)
    calls, made = cases(SCENARIOS["pin"])
    _, *dying = played
    left_out = {(number, side) for number in range(len(calls)) for side in SIDES} - {*dying}
    assert len(made) == 2 * len(calls) == len(dying) + len(left_out)
    assert left_out
    for number, side in left_out:
        assert side == "after"
        ends = [play(SCENARIOS["pin"], *where) for where in ((number, "after"), (number + 1, "before"))]
        (one, first, seen), (other, second, noted) = ends
        assert (first.violations, [mode for mode, _ in seen.modes]) == (second.violations, [mode for mode, _ in noted.modes])
        assert (one.engine.api.scalers, one.engine.api.routing.plain) == (other.engine.api.scalers, other.engine.api.routing.plain)
        assert one.engine.store.load("shop/sd21") == other.engine.store.load("shop/sd21")


def test_the_documented_cases_are_those_of_the_code() -> None:
    """The table in docs/laboratory/reliability.md."""
    present = DOCUMENT.read_text()
    assert page(present) == present, "run: python -m tools.reliability_docs"
