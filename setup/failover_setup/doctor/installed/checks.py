"""The checks of an installation in display order, each with how it is made.

A check is a function from what is verified to findings; the first line of its docstring states what it proves. To add one, write the
function and add a line here and in docs/verify-install.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from controller import __version__
from controller.cli.advice import advice
from controller.cli.published import overdue
from controller.cli.replicas import unled
from controller.clock import Clock
from controller.errors import RemoteError
from controller.foreign import shown
from controller.notifiers.redact import redact
from controller.policy.model import Application
from controller.policy.text import listing
from controller.signals.load_balancer.request import CannotTellError
from failover_setup.doctor.installed.admission import admission_policies, change_allowed, changes_refused
from failover_setup.doctor.installed.observe import Installation, Trial
from failover_setup.doctor.installed.permissions import permissions_denied, permissions_granted
from failover_setup.doctor.installed.reconcile import Tried, routing_verified, tried
from failover_setup.doctor.report import Check, Finding, Result, ok, problem, unknown

S = TypeVar("S")

_RUNBOOK: Final = "docs/runbooks/controller-does-not-run.md"


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a check.

    Attributes:
        about: The application's key; "" for the installation.
        result: The check and its finding.
        took_s: How long it took, seconds.
    """

    about: str
    result: Result
    took_s: float


def controller_leads(found: Installation) -> Iterator[Finding]:
    """A replica of the controller holds the Lease and renews it."""
    replicas, published = found.replicas, found.published
    if found.dry_run:
        yield unknown("a dry run holds no Lease and changes nothing", "helm upgrade … --set dryRun=false when its plans are right")
    elif nobody := unled(replicas):
        yield problem(nobody, "docs/runbooks/no-leader.md")
    elif replicas.leader:
        yield ok(f"{replicas.leader} leads; standby: {listing(replicas.standby)}")
    elif published.problem or (published.status is not None and not overdue(published.status, found.clock.now())):
        yield unknown(replicas.problem)
    else:
        yield problem(f"{replicas.problem}; and no controller has published a status in time", _RUNBOOK)


def controller_version(found: Installation) -> Iterator[Finding]:
    """The controller publishes its status, and has the version of this command."""
    published = found.published
    if found.dry_run or published.problem:
        yield unknown(published.problem or "a dry run publishes nothing")
    elif published.status is None or overdue(published.status, found.clock.now()):
        yield problem(f"the controller in namespace {found.namespace} has not published its status in time", _RUNBOOK)
    elif (version := shown(str(published.status.get("version")))) != __version__:
        yield problem(f"the controller has version {version}, this command {__version__}", f"install this command in version {version}")
    else:
        yield ok(f"version {version}, status of {shown(str(published.status.get('at')))}")


def routing_action_kept(came: Tried) -> Iterator[Finding]:
    """An annotation that nobody reads can be written and removed, and the routing action keeps its bytes."""
    yield came.action


def load_balancer_controller_reconciles(came: Tried) -> Iterator[Finding]:
    """The load-balancer controller notices that annotation and reports a reconcile."""
    yield came.reconciled


def rules_kept(came: Tried) -> Iterator[Finding]:
    """The application's rules in ELBv2 are the same before the write and after that reconcile."""
    yield came.rules


OF_INSTALLATION: Final[tuple[Check[Installation], ...]] = (
    Check(controller_leads, "Without a leader nobody changes anything."),
    Check(controller_version, "Another version needs other permissions and policies than this command knows."),
    Check(permissions_granted, "What it may not do it reports as degraded, or fails to do in a shortage."),
    Check(permissions_denied, "A stolen token has every right of its ServiceAccount."),
    Check(admission_policies, "RBAC knows kinds and verbs, not fields: without a policy its token routes traffic anywhere."),
)
OF_APPLICATION: Final[tuple[Check[Trial], ...]] = (
    Check(changes_refused, "A policy that is not bound, or only audits, refuses nothing."),
    Check(change_allowed, "A policy that refuses too much stops every mode change."),
    Check(routing_verified, "The controller lowers nothing before ELBv2 shows what it wrote."),
)
OF_WRITE: Final[tuple[Check[Tried], ...]] = (
    Check(routing_action_kept, "What another writer or a webhook does to the object, it does to a mode change too."),
    Check(load_balancer_controller_reconciles, "A mode change reaches the traffic through the load-balancer controller alone."),
    Check(rules_kept, "A reconcile without a change must change no rule."),
)


def rows(installation: Installation, applications: Iterable[Application], *, write: bool) -> Iterator[Row]:
    """Makes every check, one after the other.

    Args:
        installation: The installation.
        applications: Those to verify.
        write: Whether the reversible write may be made.
    """
    clock = installation.clock
    for check in OF_INSTALLATION:
        yield from _made(check, installation, clock, "")
    for application in applications:
        trial = Trial(installation, application)
        for each in OF_APPLICATION:
            yield from _made(each, trial, clock, application.key)
        began, came = clock.monotonic(), tried(trial, write=write)
        first, *others = (row for last in OF_WRITE for row in _made(last, came, clock, application.key))
        yield replace(first, took_s=clock.monotonic() - began)
        yield from others


def _made(check: Check[S], subject: S, clock: Clock, about: str) -> Iterator[Row]:
    """The rows of one check. What another system does not answer is no failure of the installation: the row says why."""
    began = clock.monotonic()
    try:
        findings = list(check.findings(subject, {}))
    except CannotTellError as error:
        findings = [unknown(str(error))]
    except RemoteError as error:
        findings = [unknown(str(error), advice(error))]
    took_s = clock.monotonic() - began
    yield from (Row(about, Result(check, Finding(one.level, redact(one.seen), one.fix)), took_s) for one in findings)
