"""What an override would do, shown before it is written, and the question whether to write it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator

import click

from controller.cli.observe import ApplicationObserver, Observation
from controller.cli.selection import Selection, only
from controller.clock import SystemClock
from controller.errors import RemoteError
from controller.notifiers.redact import redact
from controller.policy import text
from controller.policy.account import Figures, effect, overloaded, unit_loads
from controller.policy.decision import observed_mode, overridden
from controller.policy.model import Application, Override, Target
from controller.service.explanation import allowed


def agreed(selection: Selection, change: Callable[[Override], Override], *, yes: bool, dry_run: bool) -> bool:
    """Shows what would come of an override, and asks.

    Args:
        selection: What the command works on.
        change: What the command makes of the override that stands.
        yes: Whether to write it without asking.
        dry_run: Whether to write nothing.

    Raises:
        UsageError: There is no terminal to ask on.
        Abort: The answer is no.
    """
    say(_known(selection, change))
    return confirmed("Write it?", yes=yes, dry_run=dry_run)


def confirmed(question: str, *, yes: bool, dry_run: bool) -> bool:
    """The answer to a question; arguments and errors as those of `agreed`."""
    if dry_run:
        click.echo("Nothing has been written.")
        return False
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("--yes: found no terminal to ask on; allowed: --yes to write without asking, or --dry-run")
    return yes or click.confirm(question, abort=True)


def say(lines: Iterable[str]) -> None:
    """Prints lines."""
    for line in lines:
        click.echo(line)


def _known(selection: Selection, change: Callable[[Override], Override]) -> Iterator[str]:
    """The consequences, or why they are not known: the permission to write an override may come without the one to read the rest."""
    chosen = only(selection.chosen)
    try:
        seen = ApplicationObserver(selection, SystemClock()).observe([chosen])[chosen.key]
    except RemoteError as error:
        yield f"What it would do is not known: {redact(str(error))}"
        return
    yield from consequences(seen, change(seen.snapshot.routing.override))


def consequences(seen: Observation, override: Override) -> Iterator[str]:
    """What would come of an override, by the plan that the controller would make.

    Args:
        seen: What is observed and remembered now.
        override: As it would stand.
    """
    snapshot, application = seen.snapshot, seen.snapshot.application
    present, problem = observed_mode(snapshot, seen.memory)
    if present is None:
        yield f"What it would do is not known: {problem}"
        return
    coming = overridden(seen.memory, snapshot, override)
    changes = coming.in_s is not None and coming.decision.mode is not None
    after = coming.decision.mode if changes and coming.decision.mode is not None else present
    when = "" if not changes else " at once" if not coming.in_s else f" in {text.duration(coming.in_s)}"
    yield f"Mode        {f'changes to {after}{when}' if changes else f'stays {present}'}"
    short = [name for name, judged in coming.now.evidence.items() if judged.short]
    if short:
        yield f"Short       {text.listing(short)}: pods wait, and AWS has no capacity for them"
    figures = Figures.of(snapshot, seen.memory.units)
    targets = (coming.decision.targets if changes else ()) or snapshot.routing.targets
    yield from _load_lines(application, figures, targets)
    change = effect(snapshot, figures, after) if changes else ""
    if change:
        yield f"Price       the present demand needs {change}"
    if changes and (unsafe := allowed(coming.decision).removeprefix("; ")):
        yield f"Unsafe      {unsafe}"


def _load_lines(application: Application, figures: Figures, targets: Iterable[Target]) -> Iterator[str]:
    """What each unit would get of what its ready replicas can serve, and which of them too much."""
    if figures.demand is None:
        yield "Load        not known, because the demand is not"
        return
    loads = unit_loads(application, figures, targets)
    each = [f"{name} {'nothing serves' if math.isinf(load) else f'{load:.0%}'}" for name, load in loads.items()]
    yield f"Load        {text.listing(each)} of what the ready replicas can serve"
    if over := overloaded(application, loads):
        yield f"Overloaded  {text.listing(over)}: requests wait, or fail"
