"""`failoverctl status`: shows the state of applications and of the running controller. Reads only."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import click

from controller.cli.common import Options, choose, common_options, fail_cleanly, load_applications, open_session, show
from controller.cli.observe import ApplicationObserver, Observation
from controller.cli.words import ICONS, Line, age, mode_word, proof_document, scaler_note, unit_state, waits_document, waits_text
from controller.clients.kube import Object
from controller.clock import Clock, SystemClock, format_rfc3339, parse_rfc3339
from controller.errors import FailoverError, RemoteError
from controller.notifiers.redact import redact
from controller.policy import text
from controller.policy.availability import healthy_targets
from controller.policy.decide import observed_mode
from controller.policy.hold import next_waiting
from controller.policy.model import Application, Mode, Snapshot, Verdict
from controller.service.status import HEARTBEAT_S, read_status

_REFRESH_S = 2.0
_CLEAR = "\033[H\033[J"
_SHOWN_CHANGES = 3
_SILENT_HEARTBEATS = 3


@click.command("status")
@click.argument("application", required=False)
@click.option("--watch", is_flag=True, help="Redraw every two seconds until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document per application, one per line.")
@click.option("--until", type=click.Choice([str(mode) for mode in Mode]), help="Wait for this mode; exit with 1 if --timeout passes first.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Longest wait for --until, seconds."
)
@common_options
def status_command(options: Options, application: str | None, *, watch: bool, as_json: bool, until: str | None, timeout_s: float) -> None:
    """Show mode, set and actual weights, replicas, evidence, history, overrides and notifiers."""
    clock: Clock = SystemClock()
    never = threading.Event()
    begin = clock.monotonic()
    lasting = watch or until is not None
    try:
        settings = options.settings()
        applications = load_applications(settings)
        chosen = choose(applications, application)
        session = open_session(settings)
        observer = ApplicationObserver(settings, session, clock, applications)
        while True:
            observations = _observed(observer, chosen, lasting=lasting)
            if observations is not None:
                published = read_status(session, settings.kubernetes.state_namespace)
                _show([observations[one.key] for one in chosen], published, as_json=as_json, redraw=watch)
                if not lasting or {str(observed_mode(one.snapshot)[0]) for one in observations.values()} == {until}:
                    return
            if until is not None and clock.monotonic() - begin > timeout_s:
                raise click.ClickException(f"mode {until} was not reached within {timeout_s:.0f} s")
            clock.wait(never, _REFRESH_S)
    except FailoverError as error:
        raise fail_cleanly(error) from error
    except KeyboardInterrupt:
        return


def _observed(observer: ApplicationObserver, chosen: list[Application], *, lasting: bool) -> dict[str, Observation] | None:
    """Observes once. Prints the error and returns None if that failed and another try follows: a display must outlive an outage."""
    try:
        return observer.observe(chosen)
    except RemoteError as error:
        if not lasting:
            raise
        show([("bad", f"{ICONS['bad']} {redact(str(error))}")])
        return None


def _show(observations: list[Observation], published: Object | None, *, as_json: bool, redraw: bool) -> None:
    if redraw and sys.stdout.isatty():
        click.echo(_CLEAR, nl=False)
    for one in observations:
        if as_json:
            click.echo(json.dumps(status_document(one, published), sort_keys=True))
        else:
            show(status_lines(one, published))


def status_lines(seen: Observation, published: Object | None) -> Iterator[Line]:
    """The status as text for people."""
    snapshot, decision = seen.snapshot, seen.decision
    mode, problem = observed_mode(snapshot)
    since = f" for {text.duration(snapshot.now - seen.memory.mode_since)}" if seen.memory.mode_since else ""
    yield "title", f"{snapshot.application.name}  {mode_word(mode)}{_step(snapshot)}{since}   {snapshot.application.key}"
    yield "warn" if decision.held_back else "plain", f"  {decision.reason}: {decision.sentence}"
    if problem:
        yield "bad", f"  {ICONS['bad']} {problem}"
    yield from _override(seen)
    yield "plain", ""
    yield from _table(seen)
    yield "plain", ""
    yield from _routing(seen)
    yield "dim", f"  waits: {waits_text(next_waiting(snapshot, seen.memory))}"
    for alert in decision.alerts:
        yield "bad", f"  {ICONS['warn']} {alert.text}"
    for named in decision.degraded:
        yield "warn", f"  {ICONS['absent']} {named}"
    for change in reversed(seen.memory.mode_changes[-_SHOWN_CHANGES:]):
        yield "dim", f"  {format_rfc3339(change.at)}  to {change.to}  {change.reason}: {change.detail}"
    yield from _account((published or {}).get("applications", {}).get(snapshot.application.key, {}).get("ledger"))
    yield from _controller(published, snapshot.now)
    yield "plain", ""


def _step(snapshot: Snapshot) -> str:
    step, steps = snapshot.routing.return_step, snapshot.application.policy.return_steps
    return f", step {step} of {steps} of the way back" if step else ""


def _override(seen: Observation) -> Iterator[Line]:
    override, now = seen.snapshot.routing.override, seen.snapshot.now
    if override.problem:
        yield "bad", f"  {ICONS['warn']} override cannot be read, so everything is paused: {override.problem}"
    if override.paused_until is not None and now < override.paused_until:
        yield "warn", f"  ॥ PAUSED {_until(override.paused_until)}: {override.why or 'no reason given'}"
    if override.pinned_mode is not None and (override.pinned_until is None or now < override.pinned_until):
        yield "warn", f"  ॥ PINNED to {override.pinned_mode} {_until(override.pinned_until)}: {override.why or 'no reason given'}"


def _until(until: float | None) -> str:
    return "until it is lifted" if until is None or until == float("inf") else f"until {format_rfc3339(until)}"


def _table(seen: Observation) -> Iterator[Line]:
    snapshot, decision = seen.snapshot, seen.decision
    routing = snapshot.routing
    live = routing.verification.weights if routing.verification else {}
    weights = {target.service: target.weight for target in routing.targets}
    healthy = healthy_targets(snapshot)
    yield "dim", f"  {'UNIT':<18} {'SET':>4} {'ACTUAL':>6} {'READY':>7} {'WAITING':>7}  EVIDENCE"
    for unit in snapshot.application.units:
        judged, observed = decision.evidence[unit.name], snapshot.units[unit.name]
        style, words = unit_state(judged)
        targets = healthy.get(unit.backend.service, judged.ready)
        words += f", {targets} healthy target(s)" if targets < judged.ready else ""
        shown = (str(weights.get(unit.backend.service, "-")), str(live.get(unit.backend.service, "-")))
        replicas = f"{judged.ready}/{'?' if observed.desired is None else observed.desired}"
        yield style, f"{ICONS[style]} {unit.name:<18} {shown[0]:>4} {shown[1]:>6} {replicas:>7} {judged.demand:>7}  {words}"
        if note := scaler_note(observed):
            yield "warn", f"    {ICONS['warn']} {note}"
    capacity = snapshot.application.capacity.service
    shown = (str(weights.get(capacity, "-")), str(live.get(capacity, "-")))
    ready = "?" if routing.capacity_ready is None else str(routing.capacity_ready)
    yield "plain", f"• {capacity:<18} {shown[0]:>4} {shown[1]:>6} {ready:>7} {'':>7}  over all pods"


def _routing(seen: Observation) -> Iterator[Line]:
    verification, now = seen.snapshot.routing.verification, seen.snapshot.now
    if verification is None:
        yield "warn", f"  {ICONS['absent']} load balancer: not asked"
        return
    style = {Verdict.YES: "good", Verdict.NOT_YET: "warn", Verdict.CANNOT_TELL: "warn"}[verification.verdict]
    words = {Verdict.YES: "shows the routing action", Verdict.NOT_YET: "does not show it yet", Verdict.CANNOT_TELL: "cannot tell"}
    problem = f": {verification.problem}" if verification.problem else ""
    yield style, f"  {ICONS[style]} load balancer {words[verification.verdict]}{problem} ({age(verification.at, now)})"


def _account(ledger: Object | None) -> Iterator[Line]:
    """What the modes cost and saved since the leading replica began to lead, by its own account."""
    seconds = sum((ledger or {}).get("seconds", {}).values())
    if not ledger or not seconds:
        return
    saved, premium = ledger.get("savedDollars", 0), ledger.get("premiumDollars", 0)
    exposed, probes = ledger.get("exposedMinutes", 0), ledger.get("probeDollars", 0)
    yield (
        "dim",
        f"  account of {text.duration(seconds)}: cost mode saved ${saved:,.2f}, failover cost ${premium:,.2f}, exposed {exposed:g} min,",
    )
    calls = text.listing(f"{service} {count:,.0f}" for service, count in ledger.get("calls", {}).items())
    yield "dim", f"  replicas kept by probes ${probes:,.2f}, mode changes {ledger.get('switches', 0)}; calls: {calls}"


def _controller(published: Object | None, now: float) -> Iterator[Line]:
    if published is None:
        yield "warn", f"  {ICONS['absent']} no controller has published its status here"
        return
    dry = ", dry run" if published.get("dryRun") else ""
    at = parse_rfc3339(str(published.get("at", "")))
    if at is None or now - at > _SILENT_HEARTBEATS * HEARTBEAT_S:
        yield "bad", f"  {ICONS['bad']} the controller has published no status since {published.get('at')}: is it running?"
    leader = f" {published['leader']}" if published.get("leader") else ""
    yield "dim", f"  controller {published.get('version')}{leader} epoch {published.get('epoch')}{dry}, status of {published.get('at')}"
    if published.get("configError"):
        yield "bad", f"  {ICONS['warn']} changed application files are refused: {published['configError']}"
    for sink in published.get("notifiers", []):
        style = "good" if sink.get("ok") else "bad"
        trouble = f", last error: {sink['lastError']}" if sink.get("lastError") else ""
        counts = f"{sink.get('sent', 0)} sent, {sink.get('failed', 0)} given up, {sink.get('queued', 0)} waiting"
        yield style, f"  {ICONS[style]} notifier {sink.get('name')}: {counts}{trouble}"


def status_document(seen: Observation, published: Object | None) -> dict[str, Any]:
    """The status as a JSON document."""
    snapshot, decision, memory = seen.snapshot, seen.decision, seen.memory
    mode, problem = observed_mode(snapshot)
    verification = snapshot.routing.verification
    return {
        "application": snapshot.application.key,
        "observedAt": format_rfc3339(snapshot.now),
        "mode": mode,
        "problem": problem,
        "since": format_rfc3339(memory.mode_since) if memory.mode_since else None,
        "reason": decision.reason,
        "why": decision.sentence,
        "wanted": decision.held_back,
        "weights": {target.service: target.weight for target in snapshot.routing.targets},
        "actualWeights": dict(verification.weights) if verification else None,
        "verified": verification.verdict if verification else None,
        "healthyTargets": dict(healthy_targets(snapshot)),
        "returnStep": snapshot.routing.return_step,
        "waits": waits_document(next_waiting(snapshot, memory)),
        "units": {
            name: {
                "ready": judged.ready,
                "waiting": judged.demand,
                "shortage": judged.shortage,
                **proof_document(judged),
                "returned": judged.returned,
                "scaler": scaler_note(snapshot.units[name]) or None,
            }
            for name, judged in decision.evidence.items()
        },
        "flips": [{"at": format_rfc3339(f.at), "to": f.to, "reason": f.reason, "detail": f.detail} for f in memory.mode_changes],
        "alerts": [alert.text for alert in decision.alerts],
        "degraded": list(decision.degraded),
        "controller": published,
    }
