"""The Kubernetes API as far as the controller writes to it: one routing object, its ScaledObjects and the stored memory.

Actions are applied by parsing their bodies, as the API server does: a patch of the routing object with its uid and resourceVersion, and a
JSON patch of a ScaledObject with its tests. A body that the API server would refuse is refused here, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from controller.errors import Conflict, NotFound, Rejected, RemoteError, StateError, Unavailable
from controller.policy.model import SCALE_IN_S, Action, Application, Memory, Unit
from controller.policy.plan import FIELD_MANAGER, body
from controller.policy.text import number
from controller.ports import EMPTY, StoredMemory
from controller.recording.stored import decode, encode
from controller.routing.port import Beside
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.routing_object import RoutingObject

SCALERS: Final = "scaledobjects.keda.sh"

_LOST: Final = "read timed out"
_JSON_PATCH: Final = "application/json-patch+json"
_FLOOR: Final = ("add", "/spec/minReplicaCount")
_TARGET: Final = ("replace", "/spec/triggers/0/metadata/targetMetricValue")


def took_effect(error: RemoteError | None) -> bool:
    """Whether an action took effect: it was accepted, or only its answer was lost."""
    return error is None or str(error) == _LOST


@dataclass(slots=True)
class ScalerObject:
    """A ScaledObject. `floor_owner` is the field manager of its minReplicaCount."""

    name: str
    floor: int
    most: int
    target: str
    version: int = 1
    floor_owner: str = FIELD_MANAGER
    paused: bool = False
    exists: bool = True
    scale_in_s: float | None = SCALE_IN_S  # of its HPA; None: it never removes replicas
    scale_out_s: float = 0.0  # likewise, for adding replicas
    made: int = 0  # how often it was made again
    least_metric: float = 1.0  # its trigger's minMetricValue, 1 in the AWS sample; with 0 its unit may sink to no replica

    @property
    def uid(self) -> str:
        """Its uid."""
        return f"uid-{self.name}" + (f"-{self.made}" if self.made else "")


class KubeApi:
    """The objects, and the port through which actions are applied.

    Args:
        application: The simulated application.
        action: The first routing action.
        beside: The objects that the routing object is read with.
        fault_state: The faults in force.
        now: Virtual time.
        changed: Called with the resource and the unit ("" for the routing object) after every write.
    """

    def __init__(
        self,
        application: Application,
        action: str,
        beside: Beside,
        fault_state: FaultState,
        now: Callable[[], float],
        changed: Callable[[str, str], None],
    ) -> None:
        self._application, self._fault_state, self._changed = application, fault_state, changed
        self.calls = 0
        """Number of requests by the controller."""
        self.routing = RoutingObject(application, action, beside, now, lambda: changed(self.routing.port.resource.name, ""))
        self.scalers = {unit.name: _scaler(unit) for unit in application.units if unit.scaled_object is not None}

    # --- the port -----------------------------------------------------------------------------------------------------------------------

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """See `controller.ports.Applier.apply`."""
        del deadline_s  # an answer comes at once or never
        self.calls += 1
        self._admit()
        if actions[0].resource == self.routing.port.resource.name:
            (action,) = actions
            self.routing.apply(action, self._webhook)
        elif actions[0].resource == SCALERS:
            self._patch_scaler(actions)
        else:
            raise Rejected(f"no such resource: {actions[0].resource}")
        if self._fault_state.lost_answers:
            self._fault_state.lost_answers -= 1
            raise Unavailable(_LOST)

    def _admit(self) -> None:
        fault_state = self._fault_state
        if fault_state.writes_fail:
            raise Unavailable(fault_state.writes_fail)
        if fault_state.conflicts:
            fault_state.conflicts -= 1
            self.routing.touch()
            raise Conflict("the object has been modified")

    def _webhook(self, action: str) -> str:
        """What a mutating webhook makes of the routing action of a request."""
        port, present = self.routing.port, self.routing.observed.action
        if self._fault_state.rewrites and present:
            return present
        if self._fault_state.alters:
            targets, stickiness_s, _ = port.read(action)
            turned = [replace(one, weight=other.weight) for one, other in zip(targets, (*targets[1:], *targets[:1]), strict=True)]
            return port.write(self._application, turned, stickiness_s)
        return action

    def _patch_scaler(self, actions: Sequence[Action]) -> None:
        wanted = actions[0].name
        name = next((name for name, one in self.scalers.items() if one.name == wanted), None)
        if name is None or not self.scalers[name].exists:
            raise NotFound(f"ScaledObject {wanted} not found")
        if any((action.content_type, action.name) != (_JSON_PATCH, wanted) for action in actions):
            raise Rejected(f"not JSON patches of {wanted} alone: {actions}")
        _patch(self.scalers[name], json.loads(body(actions)))
        self.scaler_written(name)

    # --- what others write --------------------------------------------------------------------------------------------------------------

    def scaler_written(self, unit: str) -> None:
        """A ScaledObject was changed."""
        self.scalers[unit].version += 1
        self._changed(SCALERS, unit)

    def delete_scaler(self, unit: str) -> None:
        """Somebody deletes a ScaledObject."""
        self.scalers[unit].exists = False
        self.scaler_written(unit)

    def recreate_scaler(self, unit: str) -> None:
        """Somebody makes a deleted ScaledObject again, as Git has it: without our floor, with the target of cost mode."""
        found, git = self.scalers[unit], _scaler(self._application.unit(unit))
        scale_in_s, scale_out_s = found.scale_in_s, found.scale_out_s
        made = replace(git, version=found.version, floor_owner="kubectl", made=found.made + 1)
        self.scalers[unit] = replace(made, scale_in_s=scale_in_s, scale_out_s=scale_out_s)
        self.scaler_written(unit)


def _scaler(unit: Unit) -> ScalerObject:
    made = ScalerObject(unit.scaled_object or "", unit.min_replicas, unit.max_replicas, number(unit.throughput))
    return made if unit.min_replicas else replace(made, least_metric=0.0)


def _patch(scaler: ScalerObject, operations: list[dict[str, Any]]) -> None:
    """Applies a JSON patch of the floor, the trigger's target or both, unless one of its tests fails.

    Raises:
        Conflict: A test failed, so that nothing was written.
        Rejected: The patch writes to another path.
    """
    known: Mapping[str, str] = {
        "/metadata/uid": scaler.uid,
        "/metadata/resourceVersion": str(scaler.version),
    }
    written: dict[tuple[str, str], Any] = {}
    for operation in operations:
        op, path, value = operation["op"], operation["path"], operation["value"]
        if op == "test" and known.get(path) != value:
            raise Conflict(f"the test of {path} failed")
        if op != "test":
            written[op, path] = value
    floor, target = written.pop(_FLOOR, None), written.pop(_TARGET, None)
    if written:
        raise Rejected(f"unexpected operations {written}")
    if floor is not None:
        scaler.floor, scaler.floor_owner = int(floor), FIELD_MANAGER
    if target is not None:
        scaler.target = str(target)


class Store:
    """Durable memory: encoded text with a version and an epoch.

    Args:
        fault_state: The faults in force.
    """

    def __init__(self, fault_state: FaultState) -> None:
        self._fault_state = fault_state
        self._text, self._version, self._epoch = "", 0, 0
        self.calls = 0
        """Number of requests by the controller."""

    def load(self, application: str) -> StoredMemory:
        """See `controller.ports.StateStore.load`."""
        self.calls += 1
        if self._fault_state.state_unreadable:
            raise StateError(f"state of {application}: not JSON")
        if not self._text:
            return StoredMemory(Memory(), "", 0)
        return StoredMemory(decode(self._text), str(self._version), self._epoch)

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        """See `controller.ports.StateStore.save`. Nobody reads what is beside it."""
        del beside
        self.calls += 1
        if not self._fault_state.saves_time_out:
            return self._save(application, memory, over, epoch)
        with suppress(RemoteError):
            self._save(application, memory, over, epoch)
        raise Unavailable(_LOST)

    def _save(self, application: str, memory: Memory, over: StoredMemory, epoch: int) -> StoredMemory:
        if self._fault_state.writes_fail:
            raise Unavailable(self._fault_state.writes_fail)
        if self._fault_state.save_conflicts:
            self._fault_state.save_conflicts -= 1
            self._version += 1
            raise Conflict(f"state of {application} has been modified")
        if over.version != (str(self._version) if self._text else ""):
            raise Conflict(f"state of {application} has been modified")
        if over.epoch > epoch:
            raise Conflict(f"state of {application} was written in epoch {over.epoch}, ours is {epoch}")
        self._text, self._version, self._epoch = encode(memory), self._version + 1, epoch
        return StoredMemory(memory, str(self._version), epoch)

    def replace(self, before: str, after: str) -> None:
        """Somebody else writes the ConfigMap: a text in it is replaced.

        Raises:
            ValueError: It is not there.
        """
        if before not in self._text:
            raise ValueError(f"the stored memory has no {before}")
        self._text, self._version = self._text.replace(before, after), self._version + 1

    def lose(self) -> None:
        """Somebody deletes the ConfigMap."""
        self._text = ""
