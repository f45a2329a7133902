"""How `failoverctl replay` shows differences and sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controller.cli.words import Line, mode_word
from controller.clock import format_rfc3339
from controller.policy import text
from controller.policy.account import Ledger
from controller.policy.model import Mode
from controller.recording.lines import Decided
from failover_analysis.replay.compare import NOTHING, Difference
from failover_analysis.replay.rerun import Moment
from failover_analysis.replay.tally import Course, ModeChange, Tally

_HEADLINE = frozenset({"verb", "mode", "reason", "held back"})  # already in the two headlines
_FIRST, _SECOND = 16, 28  # widths of columns


def moment_text(at: float) -> str:
    """A time to the millisecond: there may be two decisions in one second, and `--at` must find the right one."""
    return format_rfc3339(at, fraction=True)[:-4] + "Z"


def headline(made: Decided) -> str:
    """One decision in one line."""
    held = f", holds back {made.wanted}" if made.wanted and made.wanted != made.verb else ""
    return f"{made.verb} ({made.mode or 'unknown'}{held})  {made.reason}: {made.sentence}"


def difference_lines(moment: Moment, *, exact: bool) -> Iterator[Line]:
    """One moment with a different decision, as text for people."""
    between = "  nothing was recorded at this moment" if moment.between else ""
    yield "title", f"{moment_text(moment.snapshot.now)}  {moment.snapshot.application.key}{between}"
    yield "remove", f"  - {headline(moment.recorded.decided)}"
    yield "add", f"  + {headline(moment.replayed)}"
    for one in moment.differences:
        if one.what == "actions":
            yield from _actions(one, exact=exact)
        elif one.what not in _HEADLINE:
            yield "change", f"      ~ {one.what:<13} {one.before} → {one.after}"


def _actions(one: Difference, *, exact: bool) -> Iterator[Line]:
    for style, sign, side in (("remove", "-", one.before), ("add", "+", one.after)):
        for line in side.splitlines() if side != NOTHING else ():
            where, _, body = line.partition("\t")
            yield style, f"      {sign} {where}"
            if exact:
                yield "plain", f"        {body}"


def without_bodies(one: Difference) -> tuple[str, str]:
    """Both sides of a difference without the bodies of requests, which name the object's version and so differ all the time."""
    before, after = ("\n".join(line.partition("\t")[0] for line in side.splitlines()) for side in (one.before, one.after))
    return before, after


def tally_lines(tally: Tally, command: str, *, what_if: bool) -> Iterator[Line]:
    """The sums of one application's replay, as text for people."""
    count = f"{tally.decisions} decision{'' if tally.decisions == 1 else 's'} replayed"
    begin, end = format_rfc3339(tally.begin), format_rfc3339(tally.end)
    style, result = (
        ("warn", f"{tally.different} difference{'' if tally.different == 1 else 's'}") if tally.different else ("good", "no difference")
    )
    yield style, f"{tally.application}  {count}, {result}"
    yield "dim", f"  {begin} to {end} ({text.duration(tally.end - tally.begin)}), longest gap {text.duration(tally.longest_gap_s)}"
    if what_if:
        yield from _courses(tally.recorded, tally.replayed)
    if tally.first_difference is not None:
        yield "plain", f"  first difference at {moment_text(tally.first_difference.snapshot.now)}; to see that moment in full:"
        yield "plain", f"    {command}"


def _courses(recorded: Course, replayed: Course) -> Iterator[Line]:
    yield "dim", f"  {'':<{_FIRST}} {'RECORDED':<{_SECOND}} WHAT IF"
    yield "plain", f"  {'mode changes':<{_FIRST}} {len(recorded.changes):<{_SECOND}} {len(replayed.changes)}"
    left, right = ({one.at: one for one in course.changes} for course in (recorded, replayed))
    for at in sorted({*left, *right}):
        time = format_rfc3339(at)[5:-1].replace("T", " ")
        yield "plain", f"  {time:<{_FIRST}} {_change(left.get(at)):<{_SECOND}} {_change(right.get(at))}".rstrip()
    for name, left_words, right_words in _accounts(recorded.ledger, replayed.ledger):
        yield "plain", f"  {name:<{_FIRST}} {left_words:<{_SECOND}} {right_words}"


def _accounts(recorded: Ledger, replayed: Ledger) -> Iterator[tuple[str, str, str]]:
    for mode in Mode:
        yield f"in {mode_word(mode)}", _share(recorded, mode), _share(replayed, mode)
    yield "exposed", text.duration(recorded.exposed_s), text.duration(replayed.exposed_s)
    yield "saved", f"${recorded.saved:.2f}", f"${replayed.saved:.2f}"
    yield "premium", f"${recorded.premium:.2f}", f"${replayed.premium:.2f}"


def _change(change: ModeChange | None) -> str:
    return "" if change is None else f"{change.to or 'unknown'} {change.reason}".rstrip()


def _share(ledger: Ledger, mode: Mode) -> str:
    seconds, total = ledger.seconds.get(mode, 0.0), sum(ledger.seconds.values())
    return f"{text.duration(seconds)} ({seconds / total:.1%})" if total else text.duration(seconds)


def difference_document(moment: Moment) -> dict[str, Any]:
    """One moment with a different decision, as a JSON document."""
    return {
        "kind": "difference",
        "application": moment.snapshot.application.key,
        "at": moment_text(moment.snapshot.now),
        "between": moment.between,
        "recorded": _decided(moment.recorded.decided),
        "replayed": _decided(moment.replayed),
        "differences": [{"what": one.what, "recorded": one.before, "replayed": one.after} for one in moment.differences],
    }


def _decided(made: Decided) -> dict[str, Any]:
    return {"verb": made.verb, "mode": made.mode, "reason": made.reason, "why": made.sentence, "wanted": made.wanted}


def tally_document(tally: Tally, command: str, *, what_if: bool) -> dict[str, Any]:
    """The sums of one application's replay, as a JSON document."""
    first = tally.first_difference
    return {
        "kind": "summary",
        "application": tally.application,
        "from": format_rfc3339(tally.begin),
        "until": format_rfc3339(tally.end),
        "decisions": tally.decisions,
        "different": tally.different,
        "longestGapSeconds": tally.longest_gap_s,
        "firstDifference": None if first is None else moment_text(first.snapshot.now),
        "command": None if first is None else command,
        "recorded": _course(tally.recorded) if what_if else None,
        "replayed": _course(tally.replayed) if what_if else None,
    }


def _course(course: Course) -> dict[str, Any]:
    return {
        "modeChanges": [{"at": moment_text(one.at), "to": one.to, "reason": one.reason} for one in course.changes],
        "secondsInMode": {str(mode): seconds for mode, seconds in course.ledger.seconds.items()},
        "exposedSeconds": course.ledger.exposed_s,
        "saved": course.ledger.saved,
        "premium": course.ledger.premium,
    }
