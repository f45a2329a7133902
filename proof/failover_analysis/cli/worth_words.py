"""What `failoverctl worth` says: the table, what follows from it, and what it rests on; the same as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from controller import __version__
from controller.cli.words import wrapped
from controller.clock import format_rfc3339
from controller.policy.text import duration
from failover_analysis.report.contenders import Contender
from failover_analysis.report.worth_table import ROWS, cells
from failover_analysis.simulation.figures import Figures
from failover_analysis.simulation.recorded_shortages import out_s
from failover_analysis.simulation.recorded_world import World

Line = tuple[str, str]

UNKNOWN: Final = "unknown"
_LABEL: Final = 39
_WIDTHS: Final = (9, 11, 8, 8)
_FAR: Final = 0.2  # share by which recorded and simulated dollars may differ before the amounts are doubted
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Table:
    """What was played.

    Attributes:
        world: What the recording is about.
        runs: The policies, each with its figures by seed over all stretches.
        seeds: How many seeds every policy has played.
        violations: Invariants that did not hold, as sentences.
    """

    world: World
    runs: tuple[tuple[Contender, tuple[Figures, ...]], ...]
    seeds: int
    violations: tuple[str, ...]


def lines(table: Table, width: int) -> Iterator[Line]:
    """The whole output, as text for people.

    Args:
        table: What was played.
        width: Columns of the terminal.
    """
    world = table.world
    requests = table.runs[0][1][0].demand
    yield "title", f"What failoverctl is worth for {world.application.key}, by your recording"
    yield "plain", f"  {format_rfc3339(world.begin)} to {format_rfc3339(world.end)}"
    yield "plain", f"  {duration(world.seconds)} played, {requests:,.0f} requests; {_seeds(table.seeds)}"
    yield "plain", f"  shortages: {_shortages(world)}"
    yield "plain", ""
    headings = ("IN TIME", "LATE/FAILED", "EXPOSED", "$")
    yield "dim", _row("", headings)
    yield "plain", _row(_recorded_words(world), _recorded_cells(world))
    for contender, runs in table.runs:
        share, bad, minutes, dollars = cells(runs)
        yield "plain", _row(_words(contender), (share, bad, f"{minutes} min", dollars))
    yield "plain", ""
    for line in verdicts(table):
        yield from wrapped("title", "", line, width)
    if doubt := doubts(table):
        yield from wrapped("warn", "! ", doubt, width)
    for violation in table.violations[:_MOST_NAMED]:
        yield from wrapped("bad", "✖ ", violation, width)
    yield "plain", ""
    yield "dim", "The rows below the first are simulated. They rest on this:"
    for line in assumptions(table):
        yield from wrapped("dim", "  - ", line, width)


def document(table: Table) -> dict[str, Any]:
    """The same as a JSON document. A figure that is not known is null."""
    world = table.world
    figures = world.recorded
    recorded = {
        "policy": None,
        "name": _recorded_words(world),
        "servedInTime": figures.in_time if world.answers_known else None,
        "lateOrFailed": figures.bad if world.answers_known else None,
        "exposedMinutes": figures.exposed_s / 60 if world.answers_known else None,
        "dollars": figures.dollars if world.dollars_known else None,
    }
    return {
        "application": world.application.key,
        "version": __version__,
        "from": format_rfc3339(world.begin),
        "until": format_rfc3339(world.end),
        "stretches": [{"from": format_rfc3339(one.start), "until": format_rfc3339(one.start + one.seconds)} for one in world.stretches],
        "shortages": [{"instanceType": name, "seconds": seconds} for name, seconds in sorted(out_s(world.spans).items())],
        "seeds": table.seeds,
        "recorded": recorded,
        "rows": [
            {
                "policy": contender.name,
                "name": _words(contender),
                "servedInTime": median(one.in_time for one in runs),
                "lateOrFailed": median(one.bad for one in runs),
                "exposedMinutes": median(one.exposed_s / 60 for one in runs),
                "dollars": median(one.dollars for one in runs),
            }
            for contender, runs in table.runs
        ],
        "verdicts": list(verdicts(table)),
        "doubt": doubts(table) or None,
        "assumptions": list(assumptions(table)),
        "violations": list(table.violations),
    }


# --- what follows -----------------------------------------------------------------------------------------------------------------------


def verdicts(table: Table) -> Iterator[str]:
    """What the rows say about each policy of the controller, against nothing installed. It also says where nothing installed is better."""
    if not table.world.spans:
        yield "The recording has no shortage: nothing that failoverctl is for has happened."
    nothing = _runs(table, "none")
    for contender, runs in table.runs:
        if contender.ours:
            yield _verdict(_words(contender), nothing, runs)
    cheapest, runs = min(table.runs, key=lambda one: _dollars(one[1]))
    if cheapest.name == "none":
        yield f"Doing nothing is the cheapest: ${_dollars(runs):,.0f}. Replicas that cannot start cost nothing."
    yield from _simpler(table)


def _simpler(table: Table) -> Iterator[str]:
    """Advice against the controller, where a priority list is cheaper than each of its policies and no more requests are late."""
    listed = _runs(table, "priority-list")
    bad, dollars = _bad(listed), _dollars(listed)
    if all(dollars < _dollars(runs) and bad <= _bad(runs) for contender, runs in table.runs if contender.ours):
        yield (
            f"A priority list of instance types is cheaper (${dollars:,.0f}), and no more requests are late."
            " By this recording, prefer it if one Deployment can run on all of the types."
        )


def _verdict(name: str, nothing: Sequence[Figures], ours: Sequence[Figures]) -> str:
    spared = round(_bad(nothing) - _bad(ours))
    more = round(_dollars(ours) - _dollars(nothing))
    price = f"${more:,} more" if more > 0 else f"${-more:,} less" if more < 0 else "the same dollars"
    if spared > 0:
        each = f" (${1000 * more / spared:,.2f} for each 1,000)" if more > 0 else ""
        return f"{name}: {spared:,} fewer late or failed requests than with nothing installed, for {price}{each}."
    if more >= 0:
        worse = f"{-spared:,} more" if spared else "as many"
        return f"{name}: {worse} late or failed requests as nothing installed, for {price}. By this recording, do not install it."
    return f"{name}: {-spared:,} more late or failed requests than with nothing installed, for {price}."


def _runs(table: Table, name: str) -> Sequence[Figures]:
    """The runs of a policy of `ROWS`: each of them always has a row."""
    return next(runs for contender, runs in table.runs if contender.name == name)


def _bad(runs: Sequence[Figures]) -> float:
    return median(one.bad for one in runs)


def _dollars(runs: Sequence[Figures]) -> float:
    return median(one.dollars for one in runs)


def doubts(table: Table) -> str:
    """Why the amounts may be wrong: the recorded dollars are far from those of the simulated row that stands for them; "" where not."""
    if not table.world.dollars_known:
        return ""
    recorded = table.world.recorded.dollars
    acted = table.world.acted
    contender, runs = next(one for one in table.runs if (one[0].ours if acted else one[0].name == "none"))
    simulated = _dollars(runs)
    if abs(simulated - recorded) <= _FAR * max(recorded, 1.0):
        return ""
    return (
        f"Recorded were ${recorded:,.0f}, and the row that stands for it ({_words(contender)}) has ${simulated:,.0f}."
        " Compare the rows with each other; do not trust the amounts."
    )


# --- what it rests on -------------------------------------------------------------------------------------------------------------------


def assumptions(table: Table) -> Iterator[str]:
    """What was assumed, left out or not known, one sentence or two each."""
    world = table.world
    yield "Demand is what the units counted. Requests that reached no unit are missing."
    yield (
        "EC2 refuses a type in a zone from a recorded refusal to the next recorded launch of it, or for 3 min where nobody asked again."
        " What it would have answered to others is not known."
    )
    yield f"Prices, weights and limits are those of the last line{', although the application changed meanwhile' if world.changed else ''}."
    yield "Simulated requests fail or come late for lack of ready replicas alone. The recorded row has every answer 5xx."
    stretches = f"Each of {len(world.stretches)} stretches" if len(world.stretches) > 1 else "The only stretch"
    yield f"{stretches} with known demand starts in cost mode, with enough replicas and no history."
    if (left_out := world.end - world.begin - world.seconds) > 1:
        yield f"Left out: {duration(left_out)} without known demand, or in pieces shorter than an hour."
    for reason, count in sorted(world.unplayed.items()):
        yield f"Not played: {count:,} {reason}."
    if not world.zones_known:
        yield f"The recording names no zones; assumed: {', '.join(world.zones)}."
    yield "The checker and the priority list are models, in their favour where something is open (docs/simulation.md)."


def _seeds(count: int) -> str:
    return f"medians of {count} seeds" if count > 1 else "one seed"


def _shortages(world: World) -> str:
    found = sorted(out_s(world.spans).items(), key=lambda one: -one[1])
    named = ", ".join(f"{name} {duration(seconds)}" for name, seconds in found[:_MOST_NAMED])
    return (named + (f" and {len(found) - _MOST_NAMED} more types" if len(found) > _MOST_NAMED else "")) or "none"


def _recorded_words(world: World) -> str:
    return "Recorded (the controller acted)" if world.acted else "Recorded (the controller only watched)"


def _words(contender: Contender) -> str:
    return ROWS.get(contender.name, f"failoverctl, {contender.name}")


def _recorded_cells(world: World) -> tuple[str, ...]:
    share, bad, minutes, dollars = cells([world.recorded])
    answers = (share, bad, f"{minutes} min") if world.answers_known else (UNKNOWN,) * 3
    return (*answers, dollars if world.dollars_known else UNKNOWN)


def _row(label: str, values: Sequence[str]) -> str:
    cells_ = " ".join(f"{value:>{width}}" for value, width in zip(values, _WIDTHS, strict=True))
    return f"{label:<{_LABEL}} {cells_}".rstrip()
