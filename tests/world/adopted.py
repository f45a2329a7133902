"""The AWS sample's stack with the real Karpenter, KEDA and load-balancer controller, and the controller that adopts it."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import yaml

from controller.clients.kube import DEPLOYMENTS, INGRESSES, JSON_PATCH, NODE_CLASSES, NODE_POOLS
from controller.routing.annotations import MARKER
from controller.routing.names import action_key
from controller.service.store import record_name
from failover_harness.control_plane.audit import Entry
from failover_harness.controllers.fleets import ICE, Refusal
from failover_harness.waiting import wait_for
from tests.cluster.manifests import kubectl
from tests.cluster.processes import Process, run_controller
from tests.cluster.stack import QUICK, moment, remove
from tests.support.stacks import ROOT
from tests.world.balanced import BalancedStack
from tests.world.manifests import Manifests, first_type
from tests.world.scaled import SCALED_S, Scaled
from tests.world.stack import World

_LAUNCHED_S: Final = 180.0
_AUTHENTICATION: Final = ROOT / "deploy" / "cluster" / "trigger-authentication.yaml"
_ELBV2: Final = {"AWS__APIS": '["elbv2"]', "AWS__REGION": "us-west-2"}

Object = dict[str, Any]


class AdoptedStack(Scaled, BalancedStack, World):
    """The stack as its manifests say, with one ready replica of every unit, each on a node that Karpenter launched for it.

    Args:
        place: See `BalancedStack`.
        manifests: The stack.
        rest: See `Scaled` and `World`.
    """

    def __init__(self, *place: Any, manifests: Manifests, **rest: Any) -> None:
        super().__init__(*place, **rest)
        self.manifests = manifests
        # Any other values of a unit are read from the manifests by `init`, and by no test.
        self.units = {
            name: replace(
                unit,
                name=name,
                node_pool=manifests.pools[name],
                instance_type=first_type(manifests.pools[name]),
                counter_metric=manifests.counters[name],
                throughput=manifests.targets[name],
            )
            for name, unit in zip(manifests.units, self.units.values(), strict=True)
        }
        self.adopted = self.folder / "adopted.yaml"
        self.waits: Mapping[str, Any] = QUICK  # in place of what `adopt` wrote

    @property
    def key(self) -> str:
        """See the base class."""
        return f"{self.namespace}/{self.manifests.ingress}"

    def ingress(self) -> Object:
        """See the base class."""
        return self.session.get(INGRESSES, self.namespace, self.manifests.ingress)

    def _fill(self) -> None:
        self.grant()
        kubectl(self.plane, "-n", self.namespace, "apply", "-f", str(_AUTHENTICATION))
        self.apply_all()
        every = len(self.manifests.units)
        wait_for("every unit is ready", lambda: self.endpoints(self.manifests.capacity) == every, _LAUNCHED_S, self.report)
        self.make_load_balancer(self.manifests.ingress, self.manifests.units)
        wait_for("KEDA scales every unit", self.all_scaled, SCALED_S, self.report)

    def apply_all(self) -> None:
        """Applies the manifests."""
        path = self.folder / "manifests.yaml"
        path.write_text(yaml.safe_dump_all(self.manifests.objects))
        kubectl(self.plane, "apply", "-f", str(path))

    def close(self) -> None:
        """See the base class. The workloads go first, so that Karpenter launches nothing for them."""
        for one in self.session.request("GET", DEPLOYMENTS.path(self.namespace))["items"]:
            self._delete(DEPLOYMENTS, one["metadata"]["name"])
        for name in sorted({one["metadata"]["name"] for one in self.manifests.objects if one["kind"] == "EC2NodeClass"}):
            remove(self.session, NODE_CLASSES.path(None, name))
        super().close()
        for pool in self.pools:
            remove(self.session, NODE_POOLS.path(None, pool))

    # --- adoption -----------------------------------------------------------------------------------------------------------------------

    def adopt(self) -> str:
        """Writes the application file with ``failoverctl init``; returns what it said."""
        done = self.command("init", "--ingress", self.key, "--out", str(self.adopted), APPLICATIONS="")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stderr

    def application_file(self, **policy: Any) -> Path:
        """See the base class: what `adopt` wrote, with `waits`."""
        if not self.adopted.exists():
            return self.adopted  # `init` reads none
        values = yaml.safe_load(self.adopted.read_text())
        values["spec"]["policy"] = {**values["spec"].get("policy", {}), **self.waits, **policy}
        path = self.folder / "application.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    def standby_patch(self) -> list[Object]:
        """The patch that ``failoverctl doctor`` proposes."""
        report = self.command("doctor", self.key, "--output", "json")
        found: list[Object] = json.loads(report.stdout)["standbyPatch"]
        return found

    def prepare(self) -> None:
        """Applies it."""
        body = json.dumps(self.standby_patch())
        self.session.request("PATCH", INGRESSES.path(self.namespace, self.manifests.ingress), body=body, content_type=JSON_PATCH)

    def make_safe(self) -> None:
        """Applies it, and waits for the targets of every Service."""
        self.prepare()
        self.make_load_balancer(self.manifests.ingress, (*self.manifests.units, self.manifests.capacity))

    # --- what happens to it -------------------------------------------------------------------------------------------------------------

    def family(self, unit: str) -> list[str]:
        """Every instance type that a unit's NodePool allows: a family of Neuron, or all that have one kind of GPU."""
        kind = self.units[unit].node_pool.rpartition("-")[2]
        pages = self.aws.client("ec2").get_paginator("describe_instance_types").paginate()
        found = [one for page in pages for one in page["InstanceTypes"]]
        return sorted(one["InstanceType"] for one in found if one["InstanceType"].startswith(f"{kind}.") or kind in _gpus(one))

    def refuse_family(self, unit: str, zones: tuple[str, ...], refusal: Refusal = ICE) -> None:
        """EC2 refuses every type of a unit's family in these zones from now on."""
        for one in self.family(unit):
            self.capacity.refuse(one, zones, refusal)

    def restore_family(self, unit: str) -> None:
        """EC2 has every type of the family again."""
        for one in self.family(unit):
            self.capacity.restore(one)

    def reapply_published(self) -> None:
        """A person applies the manifest of the Ingress again, as the sample's own script does."""
        body = self.manifests.the_ingress()
        kubectl(self.plane, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(body))

    def forget(self) -> None:
        """A person deletes the routing action and the mode marker."""
        annotations = {action_key("weighted-routing"): None, MARKER: None}
        self._patch(INGRESSES, self.manifests.ingress, {"metadata": {"annotations": annotations}})

    # --- the controller as a process ----------------------------------------------------------------------------------------------------

    @contextmanager
    def process(self, **settings: str) -> Iterator[Process]:
        """``failoverctl run`` with ELBv2.

        Args:
            settings: Additional settings by variable name without prefix.
        """
        ours = {f"FAILOVERCTL_{name}": value for name, value in {**_ELBV2, **settings}.items()}
        with run_controller(self, settings={**self.aws.environment(), **ours}) as made:
            yield made

    def kept_writes(self, since: str) -> list[Entry]:
        """The controller's writes of routing, floors, targets and memory since a moment."""
        memory = record_name(self.key)
        written = [one for one in self.audit(since=since) if one.verb not in {"get", "list", "watch"}]
        return [one for one in written if one.resource in {"ingresses", "scaledobjects"} or one.name == memory]


def _gpus(instance_type: Object) -> set[str]:
    return {one["Name"].lower() for one in instance_type.get("GpuInfo", {}).get("Gpus", ())}


class KilledAtWrites:
    """Kills a process with SIGKILL within some 20 ms after the API server has answered one of its writes.

    Args:
        stack: The stack whose writes count.
        process: The controller.
        number: Which write from now on, from 1.
    """

    def __init__(self, stack: AdoptedStack, process: Process, number: int) -> None:
        self._stack, self._process, self._number, self._since = stack, process, number, moment()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.write: Entry | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            writes = self._stack.kept_writes(self._since)
            if len(writes) >= self._number:
                self._process.end(signal.SIGKILL)
                self.write = writes[self._number - 1]
                return
