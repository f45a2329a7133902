"""The status page: plain HTML, read-only, without script and without anything from elsewhere.

What others write (names, reasons, messages of AWS) is escaped, and the content security policy allows only the page's own style.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final
from urllib.parse import quote

from controller import __version__
from controller.clock import format_rfc3339
from controller.notifiers.dispatcher import SinkHealth
from controller.notifiers.runbooks import located
from controller.policy import text
from controller.policy.account import Figures, hourly, spend_per_hour
from controller.policy.decision import observed_mode
from controller.policy.model import Decision, Mode, ModeChange, Verdict
from controller.policy.reasons import CRITICAL
from controller.policy.routing import asked_shares, healthy_targets, shown_shares
from controller.policy.strategies import part_of
from controller.service.controller import View
from controller.service.explanation import next_step
from controller.service.leadership import pod_of
from controller.service.override_words import pause_words, pin_words
from controller.service.page_style import CSS
from controller.service.unit_state import unit_state

PAGE_SIZE: Final = 50
"""Applications on one page: a thousand of them stay below 100 kB a page."""
REFRESH_S: Final = 10
_DAY_S: Final = 86_400.0
_WIDTH: Final = 960  # of the timeline, in its own units
_LEAST_BAND: Final = 6.0  # nine minutes; less is not seen
_MOST_FACTS: Final = 6  # of a unit

_VERDICTS: Final = {Verdict.CANNOT_TELL: "? did not say", Verdict.NOT_YET: "⚠ does not show it yet", Verdict.YES: "✔ shows it"}
_ICONS: Final = {"good": "✔", "warn": "⚠", "bad": "✖", "unknown": "?"}
_DIGEST: Final = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "; ".join(
        ("default-src 'none'", f"style-src 'sha256-{_DIGEST}'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
    ),
    "Referrer-Policy": "no-referrer",
}
"""Headers of every page, beside those of every answer."""


@dataclass(frozen=True, slots=True)
class Process:
    """What the page says of the controller itself.

    Attributes:
        now: Seconds since the Unix epoch.
        leader: The identity of the leader, "" if unknown.
        leads: Whether this replica leads.
        epoch: The leadership term.
        round_age_s: Seconds since the last round over the due applications ended.
        dry_run: Whether nothing is applied.
        config_error: Why applications are refused, "" if none is.
        sinks: Health of the sinks.
        calls: API calls of this process by service.
        runbooks: Where the pages of docs/runbooks are published, a URL without the last slash; "" where they are not.
    """

    now: float
    leader: str
    leads: bool
    epoch: int
    round_age_s: float
    dry_run: bool
    config_error: str
    sinks: Sequence[SinkHealth]
    calls: Mapping[str, int]
    runbooks: str = ""

    @property
    def stands_by(self) -> bool:
        """Whether another replica acts, or would: this one lacks what AWS says."""
        return not self.leads and not self.dry_run


def page(views: Sequence[View], process: Process, *, wanted: str = "", number: int = 1) -> str:
    """The page about one application, or the list of them.

    Args:
        views: The results of the last passes.
        process: About the controller itself.
        wanted: Key of the application; "": the only one there is, or the list.
        number: Which page of the list, from 1.
    """
    ordered = sorted(views, key=lambda view: view.application.key)
    chosen = next((view for view in ordered if view.application.key == wanted), None)
    if chosen is None and len(ordered) == 1 and not wanted:
        chosen = ordered[0]
    if chosen is not None:
        title, parts = chosen.application.key, [*_application(chosen, process, alone=len(ordered) == 1)]
    else:
        title, parts = "Applications", [*_list(ordered, process, number)]
    body = "".join([*_role(process), *parts, *_process(process)])
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="{REFRESH_S}">'
    head += f"<title>{escape(title)} · failoverctl</title><style>{CSS}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _role(process: Process) -> Iterator[str]:
    """What one must know first of a replica that does not act."""
    if process.dry_run:
        yield "<p class=warn>⚠ Dry run: it decides and logs; it changes, notifies and publishes nothing.</p>"
    elif process.stands_by:
        leader = pod_of(process.leader)
        words = "⚠ This replica stands by: it asks AWS nothing, so that alerts, demand, latency and the load balancer are missing below. "
        if leader:
            words += f"The page of the one that leads: kubectl port-forward pod/{leader} 8080"
        else:
            yield f"<p class=bad>✖ No replica leads, so nobody changes anything: {escape(located('no-leader', process.runbooks))}</p>"
        yield f"<p class=warn>{escape(words.rstrip())}</p>"


def _list(views: Sequence[View], process: Process, number: int) -> Iterator[str]:
    pages = max(1, -(-len(views) // PAGE_SIZE))
    number = min(max(1, number), pages)
    yield f"<h1>{len(views)} application(s)</h1><p class=dim>observed {format_rfc3339(process.now)}</p>"
    # Problems first: an application with alerts, then one that holds something back, then capacity mode.
    shown = sorted(views, key=lambda view: (-len(view.decision.alerts), view.decision.held_back is None, view.mode is Mode.COST))
    rows = [_list_row(view) for view in shown[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]]
    yield _table(("Application", "Mode", "Since", "Alerts", "Why"), rows, "Applications")
    if pages > 1:
        links = (f'<a href="/?page={one}">{one}</a>' if one != number else f"<b>{one}</b>" for one in range(1, pages + 1))
        yield f"<p>Page {' '.join(links)}</p>"


def _list_row(view: View) -> tuple[str, ...]:
    since = text.duration(view.snapshot.now - view.memory.mode_since) if view.memory.mode_since else ""
    link = f'<a href="/?application={quote(view.application.key, safe="")}">{escape(view.application.key)}</a>'
    alerts = len(view.decision.alerts)
    count = f"<span class=bad>✖ {alerts}</span>" if alerts else "0"
    return link, _mode(view.mode), escape(since), count, escape(f"{view.decision.reason}: {view.decision.sentence}"[:200])


def _application(view: View, process: Process, *, alone: bool) -> Iterator[str]:
    snapshot, decision, memory = view.snapshot, view.decision, view.memory
    mode, problem = view.mode, observed_mode(snapshot, memory)[1]
    since = f" for {text.duration(snapshot.now - memory.mode_since)}" if memory.mode_since else ""
    if not alone:
        yield '<p><a href="/">all applications</a></p>'
    yield f"<h1>{escape(view.application.key)}</h1><p class=dim>observed {format_rfc3339(snapshot.now)}</p>"
    yield f'<section class="banner {mode or "unknown"}"><strong>{_mode(mode)}</strong>{escape(since)}'
    yield f"<p>{escape(str(decision.reason))}: {escape(problem or decision.sentence)}</p>"
    yield f"<p><b>Next</b> {escape(next_step(memory, snapshot))}</p>"
    yield from _override(view)
    yield "</section>"
    if not process.stands_by:
        yield from _alerts(decision, process.runbooks)
    yield "<h2>Traffic</h2>" + _traffic(view)
    yield "<h2>The last 24 hours</h2>" + _timeline(memory.mode_changes, mode, memory.mode_since, snapshot.now)
    yield from _why(view)
    yield from _price(view)


def _alerts(decision: Decision, runbooks: str) -> Iterator[str]:
    """The alerts, each with its page, and the sources that are missing."""
    listed = []
    for alert in sorted(decision.alerts, key=lambda one: one.severity != CRITICAL):
        page = escape(located(alert.row.runbook, runbooks))
        where = f'<a href="{page}">{escape(alert.row.runbook)}</a>' if page and runbooks else f"<span class=dim>{page}</span>"
        listed.append(f"<li class=bad>✖ {escape(alert.severity)}: {escape(alert.text)} {where}</li>")
    listed += [f"<li class=unknown>? {escape(named)}</li>" for named in decision.degraded]
    if listed:
        yield f"<h2>Alerts</h2><ul>{''.join(listed)}</ul>"


def _override(view: View) -> Iterator[str]:
    override, now = view.snapshot.routing.override, view.snapshot.now
    if override.pauses(now):
        yield f"<p class=warn>⚠ Paused {escape(pause_words(override))}</p>"
    if override.pin(now) is not None:
        yield f"<p class=warn>⚠ Pinned {escape(pin_words(override))}</p>"


def _traffic(view: View) -> str:
    snapshot = view.snapshot
    asked, shown, healthy = asked_shares(snapshot), shown_shares(snapshot), healthy_targets(snapshot)
    rows = []
    for unit in view.application.units:
        observed, judged = snapshot.units[unit.name], view.decision.evidence[unit.name]
        style, words = unit_state(snapshot, judged)
        ready, desired = ("?" if count is None else str(count) for count in (observed.ready, observed.desired))
        targets = healthy.get(unit.backend.service)
        rows.append(
            (
                escape(unit.name),
                f'<span class="{style}">{_ICONS[style]} {escape(words)}</span>',
                _share(asked[unit.name], f"{unit.name}, set"),
                _share(shown[unit.name], f"{unit.name}, actual"),
                "?" if targets is None else str(targets),
                f"{ready}/{desired}",
                str(judged.needed),
                escape(claim.text if (claim := view.decision.floors.get(unit.name)) is not None else "unchanged"),
            )
        )
    seen = snapshot.routing.present_verification
    verdict = "? not asked about this routing yet" if seen is None else _VERDICTS[seen.verdict]
    problem = f": {seen.problem}" if seen is not None and seen.problem else ""
    # The state comes second: a telephone shows the first columns, and the others by scrolling.
    header = ("Unit", "State", "Set", "Actual", "Healthy targets", "Ready", "Needed", "Floor")
    return _table(header, rows, "Share of the requests by unit") + f"<p class=dim>load balancer {escape(verdict + problem)}</p>"


def _share(share: float | None, label: str) -> str:
    if share is None:
        return "?"
    return f'<meter min=0 max=1 value="{share:.3f}" aria-label="{escape(label)}"></meter> <span class=keep>{share * 100:.0f} %</span>'


def _timeline(changes: Sequence[ModeChange], mode: Mode | None, since: float, now: float) -> str:
    """The modes as bands, and each mode change with its reason and the time to its verification as a mark; the same as a table."""
    begin = now - _DAY_S
    recent = [change for change in changes if change.at > begin]
    earlier = next((change.to for change in reversed(changes) if change.at <= begin), None)
    alone = [(max(begin, since), mode)] if earlier is None and not recent else []  # nothing is known of the time before
    edges = [(begin, earlier), *alone, *((change.at, change.to) for change in recent), (now, mode)]
    bands: list[str] = []
    for (start, band), (end, _) in pairwise(edges):
        if end <= start:
            continue
        width = max(_LEAST_BAND, (end - start) / _DAY_S * _WIDTH)
        x = min((start - begin) / _DAY_S * _WIDTH, _WIDTH - width)
        y, height = (4, 46) if band is Mode.CAPACITY else (16, 22)  # the height says it as well as the colour
        drawn = f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" class="band-{band or "unknown"}"/>'
        bands.insert(0 if band is Mode.COST else len(bands), drawn)  # a short time in capacity mode covers the long one beside it
    for change in recent:
        x = (change.at - begin) / _DAY_S * _WIDTH
        bands.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="50" class="mark"/>')
    hours = "".join(f"<span>{hour} h ago</span>" for hour in (24, 18, 12, 6)) + "<span>now</span>"
    label = f"Modes of the last 24 hours: {len(recent)} mode change(s), now {mode or 'unknown'}"
    svg = f'<svg viewBox="0 0 {_WIDTH} 54" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{"".join(bands)}</svg>'
    legend = "tall bars: capacity mode (drawn at least 9 min wide); lines: mode changes"
    svg += f"<div class=hours>{hours}</div><p class=dim>{legend}</p>"
    rows = [
        (
            format_rfc3339(change.at),
            _mode(change.to),
            escape(f"{change.reason}: {change.detail}"[:300]),
            "not seen" if change.verified_at is None else escape(text.duration(change.verified_at - change.at)),
            escape(change.by),
        )
        for change in reversed(recent)
    ]
    return svg + (_table(("At", "To", "Why", "Verified after", "By"), rows, "Mode changes") if rows else "<p class=dim>no mode change</p>")


def _why(view: View) -> Iterator[str]:
    guards = [
        f"<li class={'unknown' if not one.known else 'warn'}>{'✖' if not one.passed else '⚠' if one.known else '?'}"
        f" {escape(one.guard)}: {escape(one.text)}</li>"
        for one in view.decision.answers
        if not one.plain
    ]
    passed = [one.guard for one in view.decision.guards if one.plain]
    yield f"<h2>Why</h2><ul>{''.join(guards)}<li class=good>✔ {escape(text.listing(passed))}</li></ul>"
    facts = [
        f"<li>{escape(judged.unit)}: {escape(fact)}</li>"
        for judged in view.decision.evidence.values()
        for fact in judged.facts[:_MOST_FACTS]
    ]
    if facts:
        yield f"<ul>{''.join(facts)}</ul>"


def _price(view: View) -> Iterator[str]:
    prices = hourly(view.snapshot, Figures.of(view.snapshot, view.memory.units))
    spend = spend_per_hour(view.snapshot.application, view.decision.evidence)
    rows = [("The ready replicas, now", f"${spend:,.2f}/h")]
    if prices is not None:
        what = "the present demand" if prices.measured else "full use of the ready replicas"
        rows += [
            (f"All in cost mode, for {what}", f"${prices.cost:,.2f}/h"),
            (f"All in capacity mode, for {what}", f"${prices.capacity:,.2f}/h"),
        ]
    if words := part_of(view.snapshot.application.policy).sentence(view.decision, view.snapshot):
        rows.append(("The strategy", words))
    yield "<h2>Price</h2>" + _table(("What", "US dollars"), [(escape(what), escape(value)) for what, value in rows], "Price by the hour")


def _process(process: Process) -> Iterator[str]:
    leads = "this replica leads" if process.leads else f"{process.leader or 'no replica'} leads, this one stands by"
    rows = [
        ("Version", f"{__version__}{', dry run' if process.dry_run else ''}"),
        ("Leader", f"{leads}, epoch {process.epoch}"),
        ("Last round", f"{text.duration(process.round_age_s)} ago"),
        ("API calls since the start", text.listing(f"{service} {count:,}" for service, count in sorted(process.calls.items()))),
    ]
    if process.config_error:
        rows.append(("Configuration", f"✖ applications are refused: {process.config_error}"))
    for sink in process.sinks:
        trouble = "" if sink.ok else f": {sink.last_error}"
        rows.append(
            (
                f"Messages by {sink.name}",
                f"{'✔' if sink.ok else '✖'} {sink.sent} sent, {sink.failed} given up, {sink.queued} waiting{trouble}",
            )
        )
    yield "<h2>Controller</h2>" + _table(("What", "State"), [(escape(what), escape(value)) for what, value in rows], "The controller")


def _mode(mode: Mode | None) -> str:
    style, sign = ("good", "●") if mode is Mode.COST else ("warn", "▲")
    return f'<span class="{style} keep">{sign} {str(mode or "unknown").upper()}</span>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], label: str) -> str:
    """A table; cells are HTML."""
    head = "".join(f"<th scope=col>{one}</th>" for one in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class=scroll><table aria-label="{escape(label)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
