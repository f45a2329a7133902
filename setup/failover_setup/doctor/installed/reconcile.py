"""The one write of a verification: an annotation that nobody reads makes the load-balancer controller reconcile, and is removed again.

The patch names the version of the object that was read, so that the object in its answer differs from it by the annotation alone. Another
writer makes it a conflict, and it is made anew. A write of the controller meets the same rule: it is refused as a conflict, and its next
pass makes it again. The removal names no version, because it must succeed whatever others write.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from controller.cli.advice import advice
from controller.clients.kube import EVENTS, MERGE_PATCH, Object
from controller.errors import Conflict, Forbidden, NotFound, RemoteError, Unavailable
from controller.objects import event_time, mapping, text
from controller.policy.model import Verdict
from controller.routing.annotations import VERIFYING
from controller.routing.kinds import routing_port
from controller.signals.budget import CallBudget
from controller.signals.load_balancer.calls import Calls
from controller.signals.load_balancer.directory import Directory
from controller.signals.load_balancer.request import CannotTellError, VerificationRequest
from controller.signals.load_balancer.rules import rules_by_conditions
from controller.signals.load_balancer.verifier import Verifier
from controller.signals.reconciles import About, ReconcileView
from controller.signals.watch import list_objects
from failover_setup.doctor.installed.observe import Trial
from failover_setup.doctor.report import Finding, Level, ok, problem, unknown

MANAGER: Final = "failoverctl-verify-install"
RECONCILED_S: Final = 120.0
"""How long the load-balancer controller has to reconcile, seconds: as long as before a nudge."""
REMOVED_S: Final = 60.0
"""How long the removal of the annotation is tried, seconds."""
_PAUSE_S: Final = 2.0
_TRIES: Final = 5
_SPARED_S: Final = 300.0
"""In what time client-go's filter lets one more event about an object pass (docs/research/alb.md). After a quieter time none is lost."""
_BURST: Final = 40.0
_LOG: Final = "see the log of the load-balancer controller: docs/runbooks/load-balancer-does-not-follow.md"


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of the write.

    Attributes:
        action: Whether the routing action stayed byte for byte.
        reconciled: Whether the load-balancer controller reconciled.
        rules: Whether the rules in ELBv2 stayed.
    """

    action: Finding
    reconciled: Finding
    rules: Finding


def tried(trial: Trial, *, write: bool) -> Tried:
    """Makes the write, waits for the load-balancer controller, and removes the annotation, whatever comes.

    Args:
        trial: The application.
        write: Whether the write may be made.
    """
    try:
        return _tried(trial) if write else _all(unknown(f"--read-only: nothing is written{_left(trial)}"))
    except Forbidden as error:
        return _all(unknown(str(error), "docs/verify-install.md has the permissions that the command needs"))
    except RemoteError as error:
        return _all(problem(str(error), advice(error)))


def _all(finding: Finding) -> Tried:
    return Tried(finding, finding, finding)


def _left(trial: Trial) -> str:
    """That an earlier run was killed, in words; "" where none was."""
    found = trial.installation.session.request("GET", trial.path)
    left = VERIFYING in mapping(found, "metadata", "annotations")
    return f", and a run that was killed has left {VERIFYING}, which the next run with the write removes" if left else ""


def _tried(trial: Trial) -> Tried:
    before, seen = _rules(trial), _Events(trial)
    with _written(trial) as (read, written):
        reconciled = seen.ended(text(mapping(read, "metadata", "annotations"), VERIFYING))
        after = _rules(trial) if reconciled.level is Level.OK else unknown("the load-balancer controller has not reconciled")
    removed = trial.installation.session.request("GET", trial.path)
    return Tried(_kept(*(_action(trial, one) for one in (read, written, removed))), reconciled, _same(before, after))


def _action(trial: Trial, obj: Object) -> str:
    return routing_port(trial.application).observe(trial.application, obj).action


def _kept(before: str, during: str, after: str) -> Finding:
    """Whether the action stayed; what others wrote after our own write is no fault of it."""
    if before != during:
        return problem("the write changed the routing action: an admission webhook rewrites the object", "find the webhook that does so")
    return ok("the same bytes before and after") if before == after else unknown("somebody changed it meanwhile; run the command again")


@contextmanager
def _written(trial: Trial) -> Iterator[tuple[Object, Object]]:
    """The object before the write and after it. On leaving, the annotation is removed, also where the answer was lost."""
    refused = False
    try:
        try:
            written = _write(trial, _TRIES)
        except RemoteError as error:
            refused = not isinstance(error, Unavailable)
            raise
        yield written
    finally:
        if not refused:
            _remove(trial)


def _patch(trial: Trial, value: str | None, **metadata: str) -> Object:
    body = json.dumps({"metadata": {**metadata, "annotations": {VERIFYING: value}}})
    return trial.installation.session.request("PATCH", trial.path, query=(("fieldManager", MANAGER),), body=body, content_type=MERGE_PATCH)


def _write(trial: Trial, tries: int) -> tuple[Object, Object]:
    """Writes a new value, also over one that a killed run left."""
    read = trial.installation.session.request("GET", trial.path)
    try:
        return read, _patch(trial, secrets.token_hex(8), resourceVersion=text(read, "metadata", "resourceVersion"))
    except Conflict:
        if tries == 1:
            raise
        return _write(trial, tries - 1)


def _remove(trial: Trial) -> None:
    """Removes the annotation; tries for a while where the API server does not answer.

    Raises:
        RemoteError: It was not removed; the message has the command that does it.
    """
    clock, application = trial.installation.clock, trial.application
    until = clock.monotonic() + REMOVED_S
    while True:
        try:
            _patch(trial, None)
        except NotFound:
            return
        except RemoteError as error:
            if clock.monotonic() >= until:
                kind = routing_port(application).resource.name
                command = f"kubectl -n {application.routing_namespace} annotate {kind} {application.route.name} {VERIFYING}-"
                raise Unavailable(f"{error}\n  The annotation {VERIFYING} may still be there. Remove it: {command}") from error
            clock.wait(threading.Event(), _PAUSE_S)
        else:
            return


class _Events:
    """What the load-balancer controller reports from now on.

    Args:
        trial: About whose routing object.

    Raises:
        RemoteError: The events cannot be read.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial, self._view, self._last = trial, ReconcileView(), 0.0
        self._about: tuple[About, ...] = trial.view.asked(trial.application).reported
        self._new()

    def _new(self) -> Object | None:
        """The newest report since the last call."""
        newest: Object | None = None
        for kind, namespace, name in self._about:
            query = (("fieldSelector", f"involvedObject.kind={kind},involvedObject.name={name}"),)
            for one in list_objects(self._trial.installation.session, EVENTS, namespace, query)[0]:
                if self._view.event(one) is not None:
                    newest, self._last = one, max(self._last, event_time(one) or 0.0)
        return newest

    def ended(self, left: str) -> Finding:
        """Waits for the end of the reconcile after the write.

        Args:
            left: The value that an earlier run left; "" for none.
        """
        clock, quiet_since = self._trial.installation.clock, self._last
        began = clock.monotonic()
        also = "; the annotation of an earlier run that was killed is removed" if left else ""
        while clock.monotonic() - began < RECONCILED_S:
            clock.wait(threading.Event(), _PAUSE_S / 2)
            try:
                found = self._new()
            except RemoteError:
                continue  # the API server may be away for a moment: the annotation is removed in any case
            if found is not None:
                return self._judged(found, f"{clock.monotonic() - began:.0f} s after the write{also}")
        waited = f"no event of the load-balancer controller within {RECONCILED_S:.0f} s of the write{also}"
        if clock.now() - quiet_since < _SPARED_S:
            return unknown(f"{waited}; after a reconcile some minutes ago its event may be lost", "run the command again in ten minutes")
        return problem(f"{waited}: it does not run, or does not watch this object", _LOG)

    def _judged(self, event: Object, when: str) -> Finding:
        at, uid = event_time(event) or 0.0, text(event, "involvedObject", "uid")
        if failure := self._view.blocked(self._about, uid, at) or self._view.undone(self._about, uid, at):
            return problem(f"it could not reconcile: {failure}", _LOG)
        return ok(f"it reported {text(event, 'reason')} {when}")


# --- ELBv2 ------------------------------------------------------------------------------------------------------------------------------


def _rules(trial: Trial) -> Mapping[str, Any] | Finding:
    """The actions of the application's rules in ELBv2 by listener and rule, or why they cannot be read."""
    try:
        request = trial.question()
        return _described(request, Directory(trial.installation.clock), Calls(trial.aws))
    except (RemoteError, CannotTellError) as error:
        return unknown(f"the rules cannot be read: {error}", "give the command AWS credentials as docs/aws.md says")


def _described(request: VerificationRequest, directory: Directory, calls: Calls) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    listeners = [
        each for host in request.hostnames if (arn := directory.load_balancer(host, calls)) for each in directory.listeners(arn, calls)
    ]
    for listener in listeners:
        rules = rules_by_conditions(calls.listing("DescribeRules", "Rules", ListenerArn=listener.arn))
        mine = {f"{listener.arn} {rule.label}": rules[rule.conditions] for rule in request.rules if rule.conditions in rules}
        found.update({where: [one.get("Actions") for one in same] for where, same in mine.items()})
    return found


def _same(before: Mapping[str, Any] | Finding, after: Mapping[str, Any] | Finding) -> Finding:
    if isinstance(before, Finding):
        return before
    if isinstance(after, Finding):
        return after
    if not before:
        return unknown("no listener has a rule of the application")
    if before != after:
        return problem(
            "the rules in ELBv2 changed, and the routing action did not", "run the command again: a change may have been on its way"
        )
    return ok(f"{len(before)} rule(s) are the same before and after")


def routing_verified(trial: Trial) -> Iterator[Finding]:
    """The rules and the healthy targets in ELBv2 are what the routing object says, read as the controller reads them."""
    clock = trial.installation.clock
    budget = CallBudget(trial.installation.settings.polls.elbv2_calls_per_s, _BURST, clock)
    seen = Verifier(trial.aws, clock, budget).verify(trial.question())
    match seen.verdict:
        case Verdict.YES:
            healthy = ", ".join(f"{service} {count}" for service, count in sorted(seen.healthy.items()))
            yield ok(f"the rules are as the action says; healthy targets: {healthy}")
        case Verdict.NOT_YET:
            yield problem(seen.problem, "docs/runbooks/load-balancer-does-not-follow.md")
        case Verdict.CANNOT_TELL:
            yield unknown(seen.problem, "give the command AWS credentials as docs/aws.md says")
