"""`failoverctl status`: shows the state of applications and of the running controller. Reads only."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import click

from controller import foreign, objects
from controller.cli.common import Options, redrawable, show
from controller.cli.fleet import fleet_lines
from controller.cli.observe import ApplicationObserver, Observation
from controller.cli.published import Published, overdue, read_status
from controller.cli.replicas import Replicas, read_replicas
from controller.cli.screen import Changes, Screen
from controller.cli.selection import Selection, select
from controller.cli.words import (
    ICONS,
    Line,
    age,
    alert_lines,
    credentials_note,
    mode_word,
    proof_document,
    scaler_note,
    terminal_width,
    waits_document,
    waits_text,
    wrapped,
)
from controller.clients.kube import Object
from controller.clock import Clock, SystemClock, format_rfc3339
from controller.errors import RemoteError
from controller.notifiers.redact import redact
from controller.objects import entries, mapping, number
from controller.policy import text
from controller.policy.account import next_waiting, price_words
from controller.policy.decision import observed_mode
from controller.policy.model import Application, Override, Snapshot, Verdict
from controller.policy.routing import asked_shares, healthy_targets, shown_shares
from controller.policy.strategies import part_of
from controller.service.application_status import floor_document, price_document
from controller.service.explanation import floors_text, next_step
from controller.service.override_words import pause_words, pin_words
from controller.service.unit_state import unit_state

_REFRESH_S: Final = 2.0
_SHOWN_CHANGES: Final = 3
_INTERRUPTED: Final = 130  # as a shell reports SIGINT


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of the running controller.

    Attributes:
        published: The status of the process that it published last, with that of the application; None if there is none.
        replicas: Its replicas.
        unread: Why what it published cannot be read; "" where it can, or where there is nothing.
        difference: Why it does not run the application as it is read here; "" where it does, or may.
    """

    published: Object | None = None
    replicas: Replicas = field(default_factory=lambda: Replicas(problem="not asked"))
    unread: str = ""
    difference: str = ""


def show_status(options: Options, application: str | None, *, watch: bool, as_json: bool, until: str | None, timeout_s: float) -> int:
    """Shows the state once, or until something ends it; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: The applications cannot be observed.
    """
    clock: Clock = SystemClock()
    screen = Screen()
    try:
        selection = select(options, application)
        shown = _Shown(selection, screen, clock, as_json=as_json, watch=watch, lasting=watch or until is not None)
        _follow(ApplicationObserver(selection, clock), selection.chosen, shown, clock, until=until, timeout_s=timeout_s)
    except KeyboardInterrupt:
        return 0 if watch and until is None else _INTERRUPTED  # what watches is meant to be ended so; anything else has not shown all
    finally:
        screen.close()
    return 0


def _follow(
    observer: ApplicationObserver, chosen: Sequence[Application], shown: _Shown, clock: Clock, *, until: str | None, timeout_s: float
) -> None:
    """Shows the state once, or again and again until the mode is reached."""
    never, begin = threading.Event(), clock.monotonic()
    while True:
        observations = _observed(observer, chosen, shown)
        if observations is not None:
            shown.show([observations[one.key] for one in chosen])
            if not shown.lasting or {str(observed_mode(one.snapshot, None)[0]) for one in observations.values()} == {until}:
                return
        if until is not None and clock.monotonic() - begin > timeout_s:
            raise click.ClickException(f"mode {until} was not reached within {timeout_s:.0f} s")
        clock.wait(never, _REFRESH_S)


def _observed(observer: ApplicationObserver, chosen: Sequence[Application], shown: _Shown) -> dict[str, Observation] | None:
    """Observes once. Shows the error and returns None if that failed and another try follows: a display must outlive an outage."""
    try:
        return observer.observe(chosen)
    except RemoteError as error:
        if not shown.lasting:
            raise
        shown.failed(redact(str(error)))
        return None


class _Shown:
    """Shows observations in the form that the options ask for.

    Args:
        selection: The connection, and where the controller runs, for what it published.
        screen: The terminal.
        clock: Tells whether the Lease has run out.
        as_json: Whether to write JSON.
        watch: Whether to redraw, if there is a terminal.
        lasting: Whether there is more than one observation.
    """

    def __init__(self, selection: Selection, screen: Screen, clock: Clock, *, as_json: bool, watch: bool, lasting: bool) -> None:
        self.lasting, self._clock = lasting, clock
        self._session, self._namespace = selection.session, selection.settings.kubernetes.state_namespace
        self._screen, self._json = screen, as_json
        self._redraw = watch and not as_json and sys.stdout.isatty() and redrawable()
        self._changes = Changes()

    def show(self, observations: Sequence[Observation]) -> None:
        """Shows one observation of each application."""
        if self.lasting and not self._json and not self._redraw:
            for one in observations:
                self._changes.draw(one.snapshot.application.key, change_essence(one), change_line(one))
            return
        published = read_status(self._session, self._namespace)
        replicas = read_replicas(self._session, self._namespace, self._clock)
        about = [(one, running_for(one, published, replicas)) for one in observations]
        if self._json:
            for one, running in about:
                click.echo(json.dumps(status_document(one, running), sort_keys=True))
            return
        if len(observations) > 1:
            lines = [*fleet_lines(observations)]
        else:
            lines = [line for one, running in about for line in status_lines(one, running, terminal_width())]
        if self._redraw:
            self._screen.draw(lines)
        else:
            show(lines)

    def failed(self, problem: str) -> None:
        """Shows that an observation failed."""
        line = ("bad", f"{ICONS['bad']} {problem}")
        if self._redraw:
            self._screen.draw([line, ("dim", "  trying again every two seconds; Ctrl-C ends")])
        else:
            self._changes.draw("", problem, line)


def running_for(seen: Observation, published: Published, replicas: Replicas) -> Running:
    """What is known of the running controller and of one application.

    Args:
        seen: An observation of the application.
        published: What the controller has published of its process.
        replicas: The replicas of the controller.
    """
    status = published.status
    if status is None:
        return Running(None, replicas, published.problem)
    shown = {} if seen.published is None else {seen.snapshot.application.key: seen.published}
    return Running({**status, "applications": shown}, replicas, difference="" if overdue(status, seen.snapshot.now) else seen.difference)


def change_essence(seen: Observation) -> tuple[object, ...]:
    """What must differ for a new line: not what merely counts down."""
    snapshot, decision = seen.snapshot, seen.decision
    verification = snapshot.routing.verification
    return (
        observed_mode(snapshot, seen.memory)[0],
        decision.reason,
        decision.held_back,
        snapshot.routing.override,
        verification.verdict if verification else None,
        tuple(sorted(alert.key for alert in decision.alerts)),
    )


def change_line(seen: Observation) -> Line:
    """The state of an application in one line, with its time."""
    snapshot, decision = seen.snapshot, seen.decision
    mode, _ = observed_mode(snapshot, seen.memory)
    words = f"{format_rfc3339(snapshot.now)} {snapshot.application.key} {mode_word(mode)}"
    style = "warn" if decision.held_back or decision.alerts else "plain"
    alerts = f" ({len(decision.alerts)} alert(s))" if decision.alerts else ""
    return style, f"{words}{alerts} {decision.reason}: {decision.sentence}"


def status_lines(seen: Observation, running: Running, width: int) -> Iterator[Line]:
    """The status as text for people.

    Args:
        seen: One observation.
        running: What is known of the running controller.
        width: Columns after which lines are wrapped.
    """
    snapshot, decision = seen.snapshot, seen.decision
    mode, problem = observed_mode(snapshot, seen.memory)
    since = f" for {text.duration(snapshot.now - seen.memory.mode_since)}" if seen.memory.mode_since else ""
    yield "title", f"{snapshot.application.name}  {mode_word(mode)}{since}   {snapshot.application.key}"
    yield from wrapped("warn" if decision.held_back else "plain", "  ", f"{decision.reason}: {decision.sentence}", width)
    if problem:
        yield from wrapped("bad", f"  {ICONS['bad']} ", problem, width)
    if decision.kept is not None and decision.kept.reason is not decision.reason:
        yield from wrapped("dim", "  ", f"{decision.kept.reason}: {decision.kept.text}", width)
    if note := credentials_note(snapshot, seen.published):
        yield from wrapped("unknown", f"  {ICONS['unknown']} ", note, width)
    yield from _override(seen, width)
    yield "plain", ""
    yield from _table(seen, width)
    yield "plain", ""
    yield from _routing(seen, width)
    yield from wrapped("plain", "  next: ", next_step(seen.memory, snapshot), width)
    yield from wrapped("dim", "  waits: ", waits_text(next_waiting(snapshot, seen.memory)), width)
    if words := part_of(snapshot.application.policy).sentence(decision, snapshot):
        yield from wrapped("dim", "  planned: ", words, width)
    for words in floors_text(decision):
        yield from wrapped("dim", "  floor: ", words, width)
    yield from alert_lines(seen.alerts, "  ", width)
    for named in decision.degraded:
        yield from wrapped("warn", f"  {ICONS['unknown']} ", named, width)
    for change in reversed(seen.memory.mode_changes[-_SHOWN_CHANGES:]):
        yield from wrapped("dim", "  ", f"{format_rfc3339(change.at)}  to {change.to}  {change.reason}: {change.detail}", width)
    yield from _account(mapping(seen.published or {}, "ledger"), width)
    yield from _controller(running, snapshot.now, width)
    yield "plain", ""


def _override(seen: Observation, width: int) -> Iterator[Line]:
    override, now = seen.snapshot.routing.override, seen.snapshot.now
    if override.problem:
        yield from wrapped("bad", f"  {ICONS['warn']} ", f"override cannot be read, so everything is paused: {override.problem}", width)
    if override.pauses(now):
        yield from wrapped("warn", f"  {ICONS['warn']} ", f"PAUSED {pause_words(override)}", width)
    if override.pin(now) is not None:
        yield from wrapped("warn", f"  {ICONS['warn']} ", f"PINNED {pin_words(override)}", width)


def _table(seen: Observation, width: int) -> Iterator[Line]:
    snapshot, decision = seen.snapshot, seen.decision
    asked, live = asked_shares(snapshot), shown_shares(snapshot)
    yield "dim", f"  {'UNIT':<18} {'SET':>5} {'ACTUAL':>6} {'READY':>7} {'NEED':>5} {'WAITING':>7}"
    for unit in snapshot.application.units:
        judged, observed = decision.evidence[unit.name], snapshot.units[unit.name]
        style, words = unit_state(snapshot, judged)
        ready, desired = ("?" if count is None else str(count) for count in (observed.ready, observed.desired))
        numbers = f"{_percent(asked[unit.name]):>5} {_percent(live[unit.name]):>6} {f'{ready}/{desired}':>7} {judged.needed:>5}"
        row = f"{ICONS[style]} {unit.name:<18} {numbers} {judged.demand:>7}"
        if len(row) + 2 + len(words) <= width:
            yield style, f"{row}  {words}"
        else:
            yield style, row
            yield from wrapped(style, "      ", words, width)
        if note := scaler_note(observed):
            yield from wrapped("warn", f"      {ICONS['warn']} ", note, width)
        for note in price_words(observed.price, snapshot.now) if observed.price is not None else ():
            yield from wrapped("dim", "      ", note, width)
    ready = "?" if snapshot.routing.capacity_ready is None else str(snapshot.routing.capacity_ready)
    pooled = _pooled({target.service: target.weight for target in snapshot.routing.targets}, snapshot)
    shown = _pooled(snapshot.routing.verification.weights if snapshot.routing.verification else {}, snapshot)
    service = snapshot.application.capacity.service
    yield "dim", f"• {service:<18} {pooled:>5} {shown:>6} {ready:>7} {'':>5} {'':>7}  over all pods"


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share * 100:.0f}%"


def _pooled(weights: Mapping[str, int], snapshot: Snapshot) -> str:
    """The share that goes to the capacity Service."""
    whole = sum(weights.values())
    return _percent(weights.get(snapshot.application.capacity.service, 0) / whole if whole else None)


def _routing(seen: Observation, width: int) -> Iterator[Line]:
    verification, now = seen.snapshot.routing.verification, seen.snapshot.now
    if verification is None:
        yield "unknown", f"  {ICONS['unknown']} load balancer: not asked, so the actual weights are not known"
        return
    style = {Verdict.YES: "good", Verdict.NOT_YET: "warn", Verdict.CANNOT_TELL: "unknown"}[verification.verdict]
    words = {
        Verdict.YES: "shows the routing action",
        Verdict.NOT_YET: "does not show the routing action yet",
        Verdict.CANNOT_TELL: "did not say whether it shows the routing action",
    }
    problem = f": {verification.problem}" if verification.problem else ""
    asked = f" ({age(verification.at, now)})" if verification.at else ""  # 0: it was not asked at all
    yield from wrapped(style, f"  {ICONS[style]} ", f"load balancer {words[verification.verdict]}{problem}{asked}", width)


def _account(ledger: Mapping[str, Any], width: int) -> Iterator[Line]:
    """What the modes cost and saved since the leading replica began to lead, by its own account."""
    seconds = sum(_numbers(ledger, "seconds").values())
    if not seconds:
        return
    saved, premium, exposed, probes, changes = (
        number(ledger, name) or 0.0 for name in ("savedDollars", "premiumDollars", "exposedMinutes", "probeDollars", "switches")
    )
    calls = text.listing(f"{service} {count:,.0f}" for service, count in _numbers(ledger, "calls").items())
    words = f"cost mode saved ${saved:,.2f}, failover cost ${premium:,.2f}, exposed {exposed:g} min, "
    words += f"replicas kept by probes ${probes:,.2f}, mode changes {changes:.0f}; calls: {calls}"
    yield from wrapped("dim", "  ", f"account of {text.duration(seconds)}: {words}", width)
    if compared := _numbers(ledger, "compared"):
        spent, weights, best = (compared.get(name, 0.0) for name in ("spendDollars", "weightsDollars", "optimumDollars"))
        words = f"the replicas cost ${spent:,.2f}, those for the weights of the application file ${weights:,.2f}, the optimum with "
        words += f"hindsight ${best:,.2f}"
        yield from wrapped("dim", "  ", f"bill of {text.duration(compared.get('seconds', 0.0))} with known demand: {words}", width)


def _numbers(ledger: Mapping[str, Any], part: str) -> dict[str, float]:
    """The numbers of a part of the account, by name."""
    return {name: found for name in mapping(ledger, part) if (found := number(ledger, part, name)) is not None}


def _controller(running: Running, now: float, width: int) -> Iterator[Line]:
    published, replicas = running.published, running.replicas
    if replicas.dry:
        words = f"dry run: {text.listing(replicas.dry)} decides and logs; it changes, notifies and publishes nothing"
        yield from wrapped("warn", f"  {ICONS['warn']} ", words, width)
        if not (replicas.leader or replicas.standby or replicas.unready):
            return  # what is published, or missing, is of a controller that runs no more
    if published is None:
        words = f"its status cannot be read: {running.unread}" if running.unread else "no controller has published its status here"
        yield from wrapped("unknown", f"  {ICONS['unknown']} ", words, width)
    else:
        version, epoch, written = (foreign.shown(str(published.get(name))) for name in ("version", "epoch", "at"))
        if overdue(published, now):
            words = f"the controller has published no status since {written}: is it running?"
            yield from wrapped("bad", f"  {ICONS['bad']} ", words, width)
        yield from wrapped("dim", "  ", f"controller {version} epoch {epoch}, status of {written}", width)
    yield from _replicas(replicas, width)
    if published is None:
        return
    if running.difference:
        yield from wrapped("bad", f"  {ICONS['bad']} ", running.difference, width)
    if error := objects.text(published, "configError"):
        yield from wrapped("bad", f"  {ICONS['warn']} ", f"applications are refused: {error}", width)
    for sink in entries(published, "notifiers"):
        style = "good" if sink.get("ok") else "bad"
        name, error = (objects.text(sink, field) for field in ("name", "lastError"))
        sent, failed, queued = (number(sink, field) or 0.0 for field in ("sent", "failed", "queued"))
        trouble = f", last error: {error}" if error else ""
        words = f"notifier {name}: {sent:.0f} sent, {failed:.0f} given up, {queued:.0f} waiting{trouble}"
        yield from wrapped(style, f"  {ICONS[style]} ", words, width)


def _replicas(replicas: Replicas, width: int) -> Iterator[Line]:
    """Who leads, and who would take over."""
    if replicas.problem:
        yield from wrapped("unknown", f"  {ICONS['unknown']} ", f"replicas of the controller: {replicas.problem}", width)
        return
    leads = f"leader: {replicas.leader}" if replicas.leader else "no replica leads"
    if replicas.lapsed is not None:
        leads += f" ({replicas.lapsed.holder} renewed the Lease last at {format_rfc3339(replicas.lapsed.renewed_at)})"
    if replicas.standby:
        words = f"{leads}; standby: {text.listing(replicas.standby)}"
    else:
        unready = f"; not ready: {text.listing(replicas.unready)}" if replicas.unready else ""
        words = f"{leads}; no standby is ready{unready}"
    style = "bad" if not replicas.leader else "good" if replicas.standby else "warn"
    yield from wrapped(style, "  " if style == "good" else f"  {ICONS[style]} ", words, width)


def _override_document(override: Override, now: float) -> dict[str, Any]:
    """The pause and the pin that hold now, as a JSON document; null where there is none."""
    paused, pinned = override.pauses(now) and override.paused_until is not None, override.pin(now) is not None
    return {
        "problem": override.problem or None,
        "pause": _held(override.paused_until, override.paused_why, override.paused_by) if paused else None,
        "pin": {"mode": override.pinned_mode, **_held(override.pinned_until, override.pinned_why, override.pinned_by)} if pinned else None,
    }


def _held(until: float | None, why: str, by: str) -> dict[str, Any]:
    return {"until": None if until is None else format_rfc3339(until), "why": why, "by": by}


def status_document(seen: Observation, running: Running) -> dict[str, Any]:
    """The status as a JSON document."""
    snapshot, decision, memory = seen.snapshot, seen.decision, seen.memory
    mode, problem = observed_mode(snapshot, memory)
    verification, replicas = snapshot.routing.verification, running.replicas
    asked, live = asked_shares(snapshot), shown_shares(snapshot)
    return {
        "application": snapshot.application.key,
        "observedAt": format_rfc3339(snapshot.now),
        "mode": mode,
        "problem": problem,
        "since": format_rfc3339(memory.mode_since) if memory.mode_since else None,
        "reason": decision.reason,
        "why": decision.sentence,
        "weightsKept": None if decision.kept is None else decision.kept.text,
        "wanted": decision.held_back,
        "weights": {target.service: target.weight for target in snapshot.routing.targets},
        "actualWeights": dict(verification.weights) if verification else None,
        "verified": verification.verdict if verification else None,
        "verifiedAt": format_rfc3339(verification.at) if verification and verification.at else None,
        "verificationProblem": verification.problem if verification else None,
        "override": _override_document(snapshot.routing.override, snapshot.now),
        "healthyTargets": dict(healthy_targets(snapshot)),
        "next": next_step(memory, snapshot),
        "waits": waits_document(next_waiting(snapshot, memory)),
        **part_of(snapshot.application.policy).document(decision),
        "units": {
            name: {
                "share": asked[name],
                "actualShare": live[name],
                "ready": snapshot.units[name].ready,
                "desired": snapshot.units[name].desired,
                "needed": judged.needed,
                "waiting": judged.demand,
                "state": unit_state(snapshot, judged)[1],
                "shortage": judged.shortage,
                **proof_document(judged),
                "returned": judged.returned,
                "scaler": scaler_note(snapshot.units[name]) or None,
                "floor": floor_document(decision.floors.get(name)),
                "price": price_document(snapshot.units[name].price),
            }
            for name, judged in decision.evidence.items()
        },
        "flips": [{"at": format_rfc3339(f.at), "to": f.to, "reason": f.reason, "detail": f.detail} for f in memory.mode_changes],
        "alerts": [alert.text for alert in seen.alerts],
        "degraded": list(decision.degraded),
        "controller": running.published,
        "controllerUnread": running.unread or None,
        "controllerDifference": running.difference or None,
        "replicas": {
            "leader": replicas.leader or None,
            "standby": list(replicas.standby),
            "unready": list(replicas.unready),
            "dryRun": list(replicas.dry),
            "problem": replicas.problem or None,
            "leaseLapsed": None
            if replicas.lapsed is None
            else {"holder": replicas.lapsed.holder, "renewedAt": format_rfc3339(replicas.lapsed.renewed_at)},
        },
    }
