"""Checks of what the controller writes on a routing object of any kind: the action, the mode marker, overrides, and who writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.objects import items, mapping, text
from controller.policy import text as words
from controller.policy.model import Application, Mode, RoutingStyle, Target
from controller.policy.modes import reason_text, until_text
from controller.policy.plan import FIELD_MANAGER
from controller.policy.routing import action_problem, mode_of, targets_at_rest
from controller.policy.routing import stickiness as asked_stickiness
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import states_stickiness
from controller.routing.kinds import routing_port
from failover_setup.doctor.observe import Observation
from failover_setup.doctor.report import Finding, ok, problem, unknown, warning

_TOOLS: Final = {
    "argocd": ("argocd-controller", "argocd-application-controller", "argocd-server"),
    "flux": ("kustomize-controller", "helm-controller", "flux", "flux-client-side-apply"),
}
"""The field managers of each tool, by its name for `--gitops`."""
_TRACKS: Final = {
    "argocd": (("annotations", "argocd.argoproj.io/tracking-id"), ("labels", "argocd.argoproj.io/instance")),
    "flux": (("labels", "kustomize.toolkit.fluxcd.io/name"), ("labels", "helm.toolkit.fluxcd.io/name")),
}
"""The marks of each tool on the objects that it syncs from Git."""


def action(observed: Observation) -> Iterator[Finding]:
    """The rules use the action, it can be read, and it forwards to at most five Services of the application with legal weights."""
    application, routing = observed.application, observed.routing
    key = routing_port(application).field(application)
    if routing.unused:
        what, _, fix = routing.unused.partition(": ")
        yield problem(what, fix)
        return
    if not routing.action:
        yield problem(f"{key} is missing: the load balancer answers every request with an error", "add the action of cost mode")
        return
    if routing.problem:
        yield problem(routing.problem, f"correct {key}; `failoverctl plan` shows what the controller would write")
        return
    ports = {backend.service: backend.port for backend in (application.capacity, *(unit.backend for unit in application.units))}
    strange = [target.service for target in routing.targets if target.service not in ports]
    other = [target for target in routing.targets if target.service in ports and ports[target.service] != target.port]
    if strange:
        yield problem(
            f"the action forwards to {words.listing(strange)}, which the application file does not name",
            "add them as units, or correct the action",
        )
    for target in other:
        yield problem(
            f"{target.service}:{target.port!r} in the action is {ports[target.service]!r} in the application file: two target groups",
            "use the same port in both, and in the standby rules",
        )
    refusal = action_problem(routing.targets, routing.stickiness_s, observed.sticky)
    if refusal:
        yield problem(refusal, "correct the action")
    elif not strange and not other:
        yield ok(words.listing(f"{target.service} {target.weight}" for target in routing.targets))


def stickiness(observed: Observation) -> Iterator[Finding]:
    """Stickiness is stated, fits that of the target groups, and is shorter than a mode change may take."""
    application, routing = observed.application, observed.routing
    policy, good = application.policy, True
    for name, targets, seconds in _actions(application):
        refusal = action_problem(targets, seconds, observed.sticky)
        if refusal:
            good = False
            yield problem(f"AWS would refuse the action of {name}: {refusal}", "correct it: until then the controller does not write it")
    if routing.action and not routing.problem and not routing.settings_elsewhere and not states_stickiness(routing.action):
        good = False
        yield warning("the action does not state targetGroupStickinessConfig", 'state it: {"enabled":false} for none')
    if policy.stickiness_cost_s > policy.verify_alert_s:
        good = False
        yield warning(
            f"in cost mode clients stay on a unit for {policy.stickiness_cost_s} s, even after its weight became 0",
            f"lower stickinessCostSeconds to {policy.verify_alert_s:.0f} or less, preferably to 0",
        )
    if policy.stickiness_capacity_s:
        good = False
        yield warning(
            f"stickiness of {policy.stickiness_capacity_s} s in capacity mode keeps the sticky clients of cost mode on their units",
            "set stickinessCapacitySeconds: 0, which releases them at once",
        )
    if good:
        yield ok(f"stated: {f'{routing.stickiness_s} s' if routing.stickiness_s else 'off'}")


def _actions(application: Application) -> Iterator[tuple[str, tuple[Target, ...], int]]:
    """What the controller may write: for whom it is, the targets, and the stickiness in seconds."""
    rest = {mode: targets_at_rest(application, mode) for mode in Mode}
    for mode, targets in rest.items():
        yield f"{mode} mode", targets, asked_stickiness(application, mode)


def mode_marker(observed: Observation) -> Iterator[Finding]:
    """The mode is known from the marker or from the action, the two agree, and no GitOps tool writes the marker."""
    routing = observed.routing
    shown = mode_of(observed.application, routing.targets)
    marked = {str(mode): mode for mode in Mode}.get(routing.marker)
    single = observed.application.routing_style is RoutingStyle.SINGLE_SERVICE  # in place, both modes forward to the same Services
    if routing.marker and marked is None:
        yield problem(f"{MARKER} says {routing.marker!r}", f"correct it to {' or '.join(Mode)}, or remove it")
    elif marked is None and shown is None:
        yield problem("no marker, and the action is neither that of cost nor that of capacity mode", "write the action of cost mode")
    elif single and marked and shown and shown is not marked:
        yield warning(f"the marker says {marked}, the action is that of {shown} mode", "nothing: the controller corrects it")
    elif any(routing.marked_by in names for names in _TOOLS.values()):
        fix = f"take {MARKER} out of Git: only the controller writes it"
        yield warning(f"the marker says {marked}, as {routing.marked_by} wrote it", fix)
    else:
        yield ok(f"mode {marked or shown}{'' if marked else ', from the action: the controller has not written the marker yet'}")


def override(observed: Observation) -> Iterator[Finding]:
    """No pause and no pin stops the controller."""
    found, now, key = observed.routing.override, observed.now, observed.application.key
    lift = f"failoverctl resume {key}"
    if found.problem:
        yield problem(f"cannot be read, so everything is paused: {found.problem}", lift)
        return
    if found.pauses(now):
        yield warning(f"paused until {until_text(found.paused_until, now)}: {reason_text(found.paused_why, found.paused_by)}", lift)
    if found.pin(now) is not None:
        why = reason_text(found.pinned_why, found.pinned_by)
        yield warning(f"pinned to mode {found.pinned_mode} until {until_text(found.pinned_until, now)}: {why}", lift)
    if not found.pauses(now) and found.pin(now) is None:
        yield ok("no pause, no pin")


def field_owner(observed: Observation) -> Iterator[Finding]:
    """Only the controller writes the action; a GitOps tool leaves it alone."""
    owners = routing_port(observed.application).writers(observed.application, observed.obj)
    tool, manager = next(((tool, one) for one in owners for tool, names in _TOOLS.items() if one in names), ("", ""))
    tool = tool or _tracker(observed)
    fix = f"apply what `failoverctl doctor {observed.application.key} --gitops {tool}` prints"
    written = f"written by {words.listing(owners)}"
    if manager:
        yield warning(f"{written}: {manager} resets it to what is in Git", fix)
    elif tool:
        yield unknown(
            f"{written}; {tool} syncs the {observed.application.route.kind}, and the cluster does not show whether it ignores the action",
            fix,
        )
    elif not owners:
        yield unknown("the object does not record who wrote it")
    elif owners[-1] == FIELD_MANAGER or FIELD_MANAGER not in owners:
        yield ok(written)
    else:
        yield warning(f"{written}, {owners[-1]} last", f"find out why {owners[-1]} writes it: the controller keeps undoing its edits")


def _tracker(observed: Observation) -> str:
    """The GitOps tool that syncs the routing object, "" if none does."""
    managers = {text(entry, "manager") for entry in items(observed.obj, "metadata", "managedFields")}
    for tool, marks in _TRACKS.items():
        if managers & {*_TOOLS[tool]} or any(key in mapping(observed.obj, "metadata", where) for where, key in marks):
            return tool
    return ""
