"""What follows from one memory and one snapshot: the decision, its plan and the memory to keep.

`decide` and `plan` are composed here and nowhere else. All but the policy call `controller.routing.conclusion.conclude`, which makes the
plan's routing action an exact request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.policy import floors
from controller.policy.account import Figures, hourly
from controller.policy.case import soonest
from controller.policy.decision.decide import decide
from controller.policy.memory import applied, priced
from controller.policy.model import Action, ActionKind, Alert, Decision, Memory, Plan, Snapshot
from controller.policy.plan import plan


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A decision, what it was made from, and what follows from it.

    Attributes:
        before: The memory that it was made with.
        snapshot: What it was made from.
        decision: What is decided.
        plan: The actions that bring it about.
        memory: The memory to keep as long as the plan's routing action has not been written.
    """

    before: Memory
    snapshot: Snapshot
    decision: Decision
    plan: Plan
    memory: Memory

    def routed(self, at: float) -> Memory:
        """The memory to keep once the plan's routing action has been written.

        Args:
            at: When it was written, seconds since the Unix epoch.
        """
        action, mode = self.plan.routing, self.decision.mode
        written = "" if action is None else action.after
        memory = applied(self.memory, self.decision, at, written, self.snapshot.application.scaled_objects)
        if not self.decision.verb.changes_mode or mode is None:
            return memory
        prices = hourly(self.snapshot, Figures.of(self.snapshot, self.decision.evidence))
        return memory if prices is None else priced(memory, *prices.change(mode))

    def written(self, actions: Iterable[Action], at: float) -> Memory:
        """The memory to keep once some of the plan's actions have been written; arguments as those of `routed`."""
        done = tuple(actions)
        memory = self.routed(at) if any(action.kind is ActionKind.ROUTE for action in done) else self.memory
        return floors.written(memory, self.snapshot, self.plan, done, at)


def conclude(memory: Memory, snapshot: Snapshot, *, alerts: Iterable[Alert] = (), preview: bool = False) -> Conclusion:
    """Decides, and plans what the decision asks for.

    Args:
        memory: What was remembered after the last decision.
        snapshot: Everything observed, at `snapshot.now`.
        alerts: Further alerts of the caller, which the decision carries besides its own.
        preview: See `controller.policy.decide.decide`.
    """
    kept, decision = decide(memory, snapshot, preview=preview)
    kept = memory if kept == memory else kept  # so that all who hold an application's memory hold one object
    if further := tuple(alerts):
        decision = replace(decision, alerts=(*decision.alerts, *further))
    now, made = snapshot.now, plan(decision, snapshot)
    if kept.floors:
        made = floors.deferred(made, kept, now)
        decision = replace(decision, next_check_s=soonest(decision.next_check_s, *floors.again_s(made, kept, now)))
        made = replace(made, decision=decision)
    return Conclusion(memory, snapshot, decision, made, kept)
