"""A process may die before and after each of its external calls; the next leader ends where it would have been."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.policy.model import Application, Mode
from controller.service.application_pass import ApplicationPass, Decided
from failover_analysis.simulation.crash_points import Calls, Crash
from tests.analysis.simulation.crash_runs import PASSES, SCENARIOS, cases
from tools.reliability_docs import DOCUMENT, page


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_next_leader_converges_wherever_the_process_died(name: str, record_property: Callable[[str, object], None]) -> None:
    """No second mode change, nothing orphaned, the same mode within two passes. The cases are made from the calls of the code itself."""
    scenario = SCENARIOS[name]
    _, _, undisturbed = scenario.play()
    assert [mode for mode, _ in undisturbed.modes[1:]] == [str(mode) for mode in scenario.to]
    calls, made = cases(scenario)
    assert {"load", "save", "confirm", "apply route"} <= set(calls)
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
        calls = Calls(dies_at=1, side=side)
        calls.make("a", lambda: done.append("first"))
        with pytest.raises(Crash):
            calls.make("b", lambda side=side: done.append(side))  # type: ignore[misc]
    assert done == ["first", "first", "after"]


def test_the_documented_cases_are_those_of_the_code() -> None:
    """The table in docs/reliability.md."""
    present = DOCUMENT.read_text()
    assert page(present) == present, "run: python -m tools.reliability_docs"
