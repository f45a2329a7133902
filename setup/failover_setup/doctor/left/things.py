"""What is left of the controller: which object, what it does as long as it is there, and the command that removes it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from controller.clients.kube import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    FAILOVER_APPLICATIONS,
    LEASES,
    NAMESPACES,
    SCALED_OBJECTS,
    SERVICES,
    Resource,
)
from controller.objects import Object, mapping, name_of, text
from controller.policy.account import keda_targets
from controller.policy.model import FloorMemory, Mode, Scaler
from controller.recording.stored import CodecError, decode
from controller.routing.annotations import APPLICATION, MARKER, OURS, OVERRIDES, PAUSED_UNTIL
from controller.routing.kinds import KINDS
from controller.signals.workloads import WorkloadView
from failover_setup.doctor.left import observe as of
from failover_setup.doctor.left.observe import LABEL, MADE, STATE, Remains

_TOGETHER: Final = 3  # objects of one kind and namespace that are named one by one; more are removed by their label


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is left.

    Attributes:
        what: The kind and the name, as kubectl has them: ``ScaledObject shop/sd21-inf2``.
        effect: What it does as long as it is there.
        command: The command that removes it.
    """

    what: str
    effect: str
    command: str


class _Place(NamedTuple):
    """Where an object is; the namespace is "" where its kind has none."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def kubectl(self) -> str:
        """How a command about it begins."""
        return f"kubectl -n {self.namespace}" if self.namespace else "kubectl"

    @property
    def apply(self) -> str:
        """The command that applies its manifest and takes over the fields of others."""
        return f"{self.kubectl} apply --server-side --force-conflicts -f {self.name}.yaml"

    def patch(self, kind: str, change: object) -> str:
        """The command that patches it as a ScaledObject."""
        body = shlex.quote(json.dumps(change, separators=(",", ":")))
        return f"{self.kubectl} patch {SCALED_OBJECTS.name} {self.name} --type {kind} -p {body}"


def _place(obj: Object) -> _Place:
    return _Place(text(obj, "metadata", "namespace"), name_of(obj))


def left(remains: Remains) -> list[Left]:
    """Everything that is left: first the controller itself if it runs, then what has an effect on requests and dollars."""
    running, *made = ([*_made(resource, remains.made[resource.name])] for resource in MADE)
    found = [thing for kind, objects in remains.routed.items() for one in objects for thing in _routing(kind, one)]
    found += _scaling(remains)
    return [*running, *found, *(thing for things in made for thing in things)]


# --- what the controller wrote on objects of others -------------------------------------------------------------------------------------


_CAPACITY: Final = "it is in capacity mode: all requests go to the ready pods of every unit, at what those cost, and nobody returns it"
_COST: Final = "it has the weights that the controller wrote last: they follow neither capacity nor ready replicas any more"


def _routing(kind: str, obj: Object) -> Iterator[Left]:
    """The annotations on a routing object, and the weights that its mark of a mode says are the controller's."""
    annotations = mapping(obj, "metadata", "annotations")
    keys = sorted(key for key in annotations if key.startswith(OURS))
    if not keys:
        return
    resource = KINDS[kind].resource
    what = f"{kind} {_place(obj)}"
    if MARKER in keys:
        effect = _CAPACITY if annotations[MARKER] == Mode.CAPACITY else _COST
        yield Left(what, effect, f"{_place(obj).apply}   # its manifest in Git, with the weights of cost mode")
    effects = ["its mark of the mode is nobody's any more" if MARKER in keys else "nobody reads them"]
    if any(key in OVERRIDES for key in keys):
        override = "pause" if PAUSED_UNTIL in keys else "pin"
        effects.append(f"a new installation would obey the {override}")
    names = " ".join(shlex.quote(f"{key}-") for key in keys)
    command = f"{_place(obj).kubectl} annotate {resource.name} {name_of(obj)} {names}"
    yield Left(what, f"annotations {', '.join(keys)}: {'; '.join(effects)}", command)


def _scaling(remains: Remains) -> Iterator[Left]:
    """Floors and targets of ScaledObjects that are the controller's, as the running controller reads them."""
    view, memories = WorkloadView(), _memories(remains.made[CONFIG_MAPS.name])
    named = [(one, unit) for one in remains.applications for unit in one.units if unit.scaled_object is not None]
    for obj in remains.scaled:
        view.scaled_object("ADDED", obj)
    view.name_scalers((one.namespace, str(unit.scaled_object)) for one, unit in named)
    for application, unit in named:
        scaler = view.scaler(application.namespace, unit)
        if scaler is None:
            continue
        place = _Place(application.namespace, scaler.name)
        if scaler.floor_ours:
            yield from _floor(place, scaler.min_replicas, memories.get(place), unit.min_replicas)
        yield from _target(place, scaler, keda_targets(application, Mode.COST).get(unit.name, ""))
    for namespace in sorted({text(one, "metadata", "namespace") for one in remains.scaled}):
        for name, floor in sorted(view.left_floors(namespace).items()):
            yield from _floor(_Place(namespace, name), floor, memories.get(_Place(namespace, name)), None)


def _floor(place: _Place, floor: int, memory: FloorMemory | None, configured: int | None) -> Iterator[Left]:
    """A floor that the controller wrote.

    Args:
        place: The ScaledObject.
        floor: Its floor.
        memory: What the stored memory has of it, if it can be read.
        configured: The application file's floor, if there is a file.
    """
    before = configured if memory is None or memory.raised_from is None else memory.before
    if before is None:
        effect = f"minReplicaCount {floor} is the controller's, and what it was before is not known: it may keep replicas that nobody needs"
        yield Left(f"ScaledObject {place}", effect, f"{place.apply}   # its manifest in Git")
    elif floor != before:
        effect = f"minReplicaCount {floor} is the controller's; it was {before}. KEDA keeps {floor} replicas, and their nodes cost money"
        yield Left(f"ScaledObject {place}", effect, place.patch("merge", {"spec": {"minReplicaCount": before}}))


def _target(place: _Place, scaler: Scaler, wanted: str) -> Iterator[Left]:
    """The target of the trigger on the unit's metric, where it is not that of cost mode."""
    if scaler.formula or scaler.trigger_index is None or not wanted or scaler.target == wanted:
        return
    effect = f"its target is {scaler.target or 'empty'}, and cost mode's is {wanted}: KEDA scales by it"
    change = [{"op": "replace", "path": f"/spec/triggers/{scaler.trigger_index}/metadata/targetMetricValue", "value": wanted}]
    yield Left(f"ScaledObject {place}", effect, place.patch("json", change))


def _memories(config_maps: Iterable[Object]) -> dict[_Place, FloorMemory]:
    """What the stored memory has of floors, by namespace and name of the ScaledObject. A memory that cannot be read says nothing."""
    found: dict[_Place, FloorMemory] = {}
    for one in config_maps:
        namespace, _, name = text(one, "metadata", "annotations", APPLICATION).partition("/")
        if not name:
            continue
        try:
            memory = decode(text(one, "data", "memory"))
        except CodecError:
            continue
        found |= {_Place(namespace, scaler): floor for scaler, floor in memory.floors.items()}
    return found


# --- what the controller and its manifests made -----------------------------------------------------------------------------------------

_EFFECTS: Final[Mapping[str, str]] = {
    DEPLOYMENTS.name: "the controller, which writes again what you remove: remove this first",
    of.ADMISSION_POLICIES.name: "it limits what the controller's identity may write, and concerns nobody else",
    of.ADMISSION_BINDINGS.name: "it puts a policy in force that concerns the controller's identity alone",
    of.CLUSTER_ROLE_BINDINGS.name: "anyone who can use the controller's ServiceAccount has its permissions",
    of.ROLE_BINDINGS.name: "anyone who can use the controller's ServiceAccount has its permissions in this namespace",
    of.CLUSTER_ROLES.name: "nothing by itself: permissions that somebody may bind",
    of.ROLES.name: "nothing by itself: permissions that somebody may bind",
    of.SERVICE_ACCOUNTS.name: "pods of its namespace can run with the permissions that are bound to it, in the cluster and in AWS",
    of.PROMETHEUS_RULES.name: "its alerts fire: they say that the controller is gone",
    of.SERVICE_MONITORS.name: "Prometheus has a target that does not answer",
    SERVICES.name: "nothing: no pod is behind it",
    of.DISRUPTION_BUDGETS.name: "nothing: it concerns the controller's pods alone",
    of.NETWORK_POLICIES.name: "nothing: it concerns the controller's pods alone",
    CONFIG_MAPS.name: "nothing: settings, applications or dashboards",
    LEASES.name: "nothing: a new installation would take it",
    FAILOVER_APPLICATIONS.name: "nothing: a new installation would control what it names",
    of.DEFINITIONS.name: "nothing by itself; to delete it deletes every FailoverApplication",
    NAMESPACES.name: "it holds what is listed here of it; to delete it deletes everything in it",
}
"""By kind: what an object does as long as it is there."""
_MEMORY: Final = "nothing now: a new installation would continue with this memory"


def _made(resource: Resource, objects: Sequence[Object]) -> Iterator[Left]:
    """The objects of a kind: each by its name, or, where a namespace has many, together."""
    for namespace in sorted({text(one, "metadata", "namespace") for one in objects}):
        here = sorted((one for one in objects if text(one, "metadata", "namespace") == namespace), key=name_of)
        state = [one for one in here if resource is CONFIG_MAPS and name_of(one).startswith(STATE)]
        yield from _group(resource, state, _MEMORY)
        yield from _group(resource, [one for one in here if one not in state], _EFFECTS[resource.name])


def _group(resource: Resource, objects: Sequence[Object], effect: str) -> Iterator[Left]:
    labelled = [one for one in objects if mapping(one, "metadata", "labels").get(LABEL.partition("=")[0]) == LABEL.partition("=")[2]]
    together = labelled if len(labelled) > _TOGETHER else []
    for one in objects:
        if one not in together:
            yield Left(f"{resource.kind} {_place(one)}", effect, f"{_place(one).kubectl} delete {resource.name} {name_of(one)}")
    if together:
        what = f"{resource.kind} {_place(together[0])} and {len(together) - 1} more"
        names = " ".join(name_of(one) for one in together)
        yield Left(what, effect, f"{_place(together[0]).kubectl} delete {resource.name} {names}")
