"""Prints what the production controller does in the demo, for people who see it for the first time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from controller.clock import Clock
from controller.policy import text
from controller.policy.account import Ledger
from controller.policy.model import Action, ActionKind, Alert, Mode, Plan, Return, Shortage, UnitEvidence, Verb
from controller.policy.reasons import Reason
from controller.ports import Message
from controller.routing.kinds import port_of_action
from controller.service.controller import Controller, View
from failover_testbed.demo.player import Progress
from failover_testbed.demo.verdict import ModeChange

Emit = Callable[[str, str], None]
"""Prints a line in a style."""

LEGEND: Final = (
    "▸ a decision   ~ what the controller writes   ✔ what it verified   ✉ what people are sent   ⚡ what happens to the cluster",
    "demand: requests a minute   live: weights in the load balancer   ready: replicas that serve / that are wanted",
)
"""What the signs and words of the lines mean."""

_MOST_FACTS: Final = 3  # of each unit and decision
_PASSING: Final = re.compile(
    r"\d+ (?:h|min|s)(?: \d+ (?:min|s))?\b"  # an age
    r"|\b\d+(?= (?:refused attempt|pod|requests|launches))"  # a count
    r"|(?<=NodeClaim )\S+"  # the newest of several
    r"| in [a-z]+-[a-z]+-\d[a-z]$"  # the zone of the last refusal, which is among the zones of the next fact
)
"""What may change in a fact that stays the same."""


class Narrator:
    """Prints what the controller does. The controller's loop calls `tap`, a sink's thread calls `send`.

    Args:
        emit: Prints a line.
        clock: The scenario's time.
    """

    name = "demo"

    takes_digests = True

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit, self._clock = emit, clock
        self._begin = clock.now()
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[object, ...]] = {}
        self._facts: dict[tuple[str, str], set[str]] = {}  # printed since the unit last waited for nothing, by application and unit
        self._known: dict[str, int] = {}  # mode changes already printed, by application
        self._plans: dict[str, Plan] = {}
        self._verified_at: dict[str, float] = {}
        self.mode_changes: list[ModeChange] = []
        self.alerts: dict[str, Alert] = {}
        self._accounts: dict[str, Ledger] = {}
        self.mode: Mode | None = None

    def begin(self) -> None:
        """Marks the beginning of the scenario."""
        self._begin = self._clock.now()

    def say(self, style: str, words: str) -> None:
        """Prints a line with the time since the scenario began."""
        with self._lock:
            self._emit(style, f"{self._time(self._clock.now())}  {words}")

    def _time(self, at: float) -> str:
        """A moment as the time since the scenario began, ``mm:ss``."""
        minutes, seconds = divmod(int(max(0.0, at - self._begin)), 60)
        return f"{minutes:02d}:{seconds:02d}"

    def send(self, message: Message) -> None:
        """Prints a message as people would receive it."""
        parts = [message.title, message.why, message.cost, f"next: {message.next}" if message.next else ""]
        self.say("title", "✉  " + " · ".join(part for part in parts if part))

    def tap(self, controller: Controller) -> None:
        """Prints the results of the last pass."""
        for view in controller.views():
            self.mode = view.mode
            self._accounts[view.application.key] = view.ledger
            for alert in view.decision.alerts:
                self.alerts.setdefault(alert.key, alert)
            self._decided(view)
            self._mode_changed(view)
            self._acted(view)
            self._verified(view)

    def bill(self) -> None:
        """Prints what the replicas have cost, by the controller's own account."""
        accounts = list(self._accounts.values())
        lasted = text.duration(sum(sum(one.seconds.values()) for one in accounts) / max(1, len(accounts)))
        words = f"the replicas of {lasted} cost ${sum(one.spend for one in accounts):,.2f}"
        premium = sum(one.premium for one in accounts)
        self.say("plain", words + (f"; the requests in capacity mode cost ${premium:,.2f} more than in cost mode" if premium else ""))
        if any(one.compared_s for one in accounts):
            spent = f"${sum(one.compared_spend for one in accounts):,.2f}"
            weights, best = f"${sum(one.weights_spend for one in accounts):,.2f}", f"${sum(one.least_spend for one in accounts):,.2f}"
            others = f"{weights} for the weights of the application file, {best} for the optimum with hindsight"
            self.say(
                "plain", f"{spent} of it while the demand was known. Whole replicas would have cost {others}, which keeps no spare family"
            )

    def _decided(self, view: View) -> None:
        decision = view.decision
        calm = decision.reason in {Reason.DEMAND_MET, Reason.WAITING_IS_NORMAL}  # these two alternate while demand rises
        key = (decision.verb, calm or decision.reason, decision.mode, decision.held_back)
        if self._shown.get(view.application.key) != key:
            self._shown[view.application.key] = key
            style = "dim" if decision.verb is Verb.HOLD and decision.held_back is None else "warn"
            held = f", holds back {decision.held_back}" if decision.held_back and decision.verb is Verb.HOLD else ""
            self.say(style, f"▸ {decision.verb} ({decision.mode or 'unknown'}{held})  {decision.reason}: {decision.sentence}")
        for judged in decision.evidence.values():
            for fact in self._new_facts(view.application.key, judged):
                self.say("dim", f"    {judged.unit}: {fact}")

    def _new_facts(self, application: str, judged: UnitEvidence) -> list[str]:
        """The facts about a unit that waits, or whose capacity returned, that were not printed yet; another age makes none new."""
        waits = judged.short or (judged.shortage is Shortage.SUSPECTED and judged.demand > 0)
        if not waits and judged.returned is Return.NONE:
            self._facts.pop((application, judged.unit), None)
            return []
        printed = self._facts.setdefault((application, judged.unit), set())
        found = []
        for fact in filter(None, judged.facts[:_MOST_FACTS]):
            lasting = _PASSING.sub("#", fact)
            if lasting not in printed:
                printed.add(lasting)
                found.append(fact if judged.age_at is None else fact.replace(text.clock_time(judged.age_at), self._time(judged.age_at)))
        return found

    def _mode_changed(self, view: View) -> None:
        made, known = view.memory.mode_changes, self._known.setdefault(view.application.key, 0)
        if len(made) <= known:
            return
        self._known[view.application.key] = len(made)
        decision, last = view.decision, made[-1]
        short = [judged for judged in decision.evidence.values() if judged.short]
        failover = last.to is Mode.CAPACITY
        units = tuple(judged.unit for judged in short) if failover else tuple(n for n, j in decision.evidence.items() if j.last_refusal_at)
        cause = short[0].cause if failover and short else None
        self.mode_changes.append(ModeChange(last.at - self._begin, last.to, last.reason, last.detail, cause, units))

    def _acted(self, view: View) -> None:
        """Prints what the last plan sent. Each plan is printed once, although every call sees it until the next pass."""
        if view.plan is self._plans.get(view.application.key):
            return
        self._plans[view.application.key] = view.plan
        for line in written(view.plan.due):
            self.say("change", f"    ~ {line}")

    def _verified(self, view: View) -> None:
        at, changed = view.memory.verified_at, view.memory.changed_at
        if at is None or at == self._verified_at.get(view.application.key):
            return
        self._verified_at[view.application.key] = at
        waited = f", {text.duration(at - changed)} after they were written" if view.memory.mode_changes and changed is not None else ""
        self.say("good", f"✔ the load balancer shows the written weights{waited}; its targets are healthy")


def written(actions: Sequence[Action]) -> Iterator[str]:
    """What a plan writes, one line for each kind of object and field.

    Args:
        actions: The plan's actions that are due.
    """
    floors = [one for one in actions if one.kind in {ActionKind.RAISE_FLOOR, ActionKind.LOWER_FLOOR}]
    targets = [one for one in actions if one.kind is ActionKind.SET_TARGET]
    for field, changed in (("minReplicaCount", floors), ("targetMetricValue", targets)):
        if changed:
            yield f"ScaledObjects, {field}: " + ", ".join(f"{one.name} {one.before or 'nothing'} to {one.after}" for one in changed)
    for one in actions:
        if one.kind is ActionKind.ROUTE:
            weights = ", ".join(f"{target.service} {target.weight}" for target in port_of_action(one).read(one.after)[0])
            yield f"{one.object_kind} {one.name}, weights of its routing action: {weights}"


def progress_line(progress: Progress, mode: Mode | None) -> str:
    """One line of progress: mode, demand, live weights, ready replicas, failed requests."""
    weights = next(iter(progress.weights.values()), {})
    live = " ".join(f"{_short(name)}:{weight}" for name, weight in weights.items()) or "fixed response"
    units = " ".join(f"{_short(unit.unit)} {unit.ready}/{unit.desired}" for unit in progress.units)
    shown = str(mode).upper() if mode is not None else "STARTING"
    return f"{shown:<8} demand {progress.demand:5.0f} | live {live} | ready {units} | failed {progress.failed:.0f}"


def _short(name: str) -> str:
    """A unit's or Service's name without the model's prefix."""
    return name.partition("-")[2] or name
