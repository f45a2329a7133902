"""Whether the admission policies are there and refuse what they must: by dry runs as the controller, which store nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from controller.clients.kube import CONFIG_MAPS, FAILOVER_APPLICATIONS, LEASES, MERGE_PATCH, SCALED_OBJECTS, Object
from controller.errors import RemoteError
from controller.foreign import shown
from controller.objects import dig, entries, items, mapping, name_of, text
from controller.policy.plan import FIELD_MANAGER
from controller.policy.text import listing
from controller.routing.annotations import NUDGED_AT
from controller.routing.kinds import routing_port
from controller.signals.watch import list_objects
from failover_setup.doctor.installed.observe import Installation, Trial
from failover_setup.doctor.left.observe import ADMISSION_BINDINGS, ADMISSION_POLICIES
from failover_setup.doctor.report import Finding, ok, problem, unknown

_WRITTEN: Final = (SCALED_OBJECTS, FAILOVER_APPLICATIONS, CONFIG_MAPS, LEASES)
_REFUSED_BY: Final = re.compile(r"ValidatingAdmissionPolicy '([^']+)'")
_FOREIGN: Final = "verify-install.example.org/foreign"
_FIXED: Final = json.dumps({"type": "fixed-response", "fixedResponseConfig": {"contentType": "text/plain", "statusCode": "503"}})
_INSTALL: Final = (
    "apply the chart with admissionPolicy=true, or deploy/kustomize/base/admission-policy.yaml, in the version of the controller"
)
_GRANT: Final = "grant `impersonate` on serviceaccounts in the controller's namespace: docs/verify-install.md has the Role"


def admission_policies(found: Installation) -> Iterator[Finding]:
    """An admission policy about the controller's ServiceAccount restricts each kind that it writes, and a binding makes it deny."""
    policies = _about(found.user, list_objects(found.session, ADMISSION_POLICIES, None)[0])
    bindings = list_objects(found.session, ADMISSION_BINDINGS, None)[0]
    kinds = dict.fromkeys([*(routing_port(one).resource for one in found.applications), *_WRITTEN])
    faults = [fault for kind in kinds if (fault := _fault(kind.plural, policies, bindings))]
    if faults:
        yield problem("; ".join(faults), _INSTALL)
    else:
        yield ok(f"{listing(map(name_of, policies))} deny")


def _about(user: str, policies: Collection[Object]) -> list[Object]:
    """Those whose conditions name a user."""
    return [one for one in policies if any(f"'{user}'" in text(each, "expression") for each in entries(one, "spec", "matchConditions"))]


def _fault(plural: str, policies: Collection[Object], bindings: Collection[Object]) -> str:
    """Why no policy restricts a kind; "" where one does."""
    rules = {name_of(one): entries(one, "spec", "matchConstraints", "resourceRules") for one in policies}
    named = [one for one in policies if any(plural in items(rule, "resources") for rule in rules[name_of(one)])]
    if not named:
        return f"no policy is about {plural}"
    name, fails = name_of(named[0]), text(named[0], "spec", "failurePolicy") != "Ignore"
    bound = [one for one in bindings if text(one, "spec", "policyName") == name]
    if not fails:
        return f"{name} lets everything pass where it cannot be evaluated (failurePolicy Ignore)"
    if not bound:
        return f"{name} has no binding"
    everywhere = [one for one in bound if not mapping(one, "spec", "matchResources")]
    denies = any("Deny" in items(one, "spec", "validationActions") for one in everywhere)
    found = listing(str(action) for one in bound for action in items(one, "spec", "validationActions"))
    return "" if denies else f"the binding of {name} does not deny everywhere (validationActions: {shown(found)})"


def _annotated(**written: str) -> Mapping[str, Any]:
    return {"metadata": {"annotations": written}}


def _asked(trial: Trial, change: Mapping[str, Any]) -> str:
    """How the API server refuses a change as the controller; "" where it accepts it. Nothing is stored.

    Raises:
        RemoteError: It was not decided: the caller may not act as the controller, or there is no answer.
    """
    session, query = trial.installation.session.acting_as(trial.installation.user), (("dryRun", "All"), ("fieldManager", FIELD_MANAGER))
    try:
        session.request("PATCH", trial.path, query=query, body=json.dumps(change), content_type=MERGE_PATCH)
    except RemoteError as error:
        if _REFUSED_BY.search(str(error)) is None:
            raise
        return str(error)
    return ""


def _undecided(trial: Trial, error: RemoteError) -> Finding:
    if "impersonate" in str(error):
        return unknown(f"these credentials may not act as {trial.installation.user}: {error}", _GRANT)
    return unknown(f"refused before a policy was asked: {error}")


def changes_refused(trial: Trial) -> Iterator[Finding]:
    """An admission policy refuses to the controller's ServiceAccount a foreign annotation, and an action that answers by itself."""
    session, user = trial.installation.session, trial.installation.user
    ours = {name_of(one) for one in _about(user, list_objects(session, ADMISSION_POLICIES, None)[0])}
    cases = {"a foreign annotation": _annotated(**{_FOREIGN: "x"}), "another label": {"metadata": {"labels": {_FOREIGN: "x"}}}}
    action, refused = routing_port(trial.application).field(trial.application), []
    if dig(session.request("GET", trial.path), "metadata", "annotations", action) is not None:
        cases["a fixed response in place of the forward"] = _annotated(**{action: _FIXED})
    for what, change in cases.items():
        try:
            said = _REFUSED_BY.search(_asked(trial, change))
        except RemoteError as error:
            yield _undecided(trial, error)
            return
        if said is None or said[1] not in ours:
            instead = f", and {shown(said[1])} refuses it, which is not about it" if said else ""
            yield problem(f"no policy about {user} refuses {what}{instead}", _INSTALL)
            return
        refused.append(f"{what} by {said[1]}")
    yield ok(f"refused: {listing(refused)}")


def change_allowed(trial: Trial) -> Iterator[Finding]:
    """The API server accepts from it what the controller writes."""
    try:
        refusal = _asked(trial, _annotated(**{NUDGED_AT: "0"}))
    except RemoteError as error:
        yield _undecided(trial, error)
        return
    if refusal:
        yield problem(f"a policy refuses the annotation {NUDGED_AT}: {refusal}", _INSTALL)
    else:
        yield ok(f"the annotation {NUDGED_AT} would be accepted")
