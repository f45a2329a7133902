"""The cluster of a situation: that of a random world, with scalers, account quotas and launches that fail for other reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from controller.clock import format_rfc3339
from failover_analysis.fuzz import objects
from failover_analysis.fuzz.claims import Claim
from failover_analysis.fuzz.karpenter import Cluster, Emit
from failover_analysis.fuzz.objects import START
from failover_analysis.fuzz.world import PoolPlan, UnitPlan, World
from failover_testbed.capacity.ec2 import Offering
from failover_testbed.capacity.karpenter import CREATE_ERROR_LIFE_S, NEVER_JOINED_LIFE_S, REFUSED_S, REQUEUE_S

RETRY_S: Final = 60.0
"""How often Karpenter tries a launch again that failed with a create error."""
FOLLOWS_S: Final = 20.0
"""How long KEDA and the HPA take to follow a floor."""

SAID: Final = "NodeClaim {claim} event: creating instance, insufficient capacity, with fleet error(s), {code}: {words}"


class StagedCluster(Cluster):
    """The cluster of one situation.

    Args:
        world: What happens.
        emit: Takes each change: kind, watch type, object.
        quotas: By NodePool, the instances that the account may run through it.
        create_errors: By NodePool, the reason with which each launch fails.
        codes: By NodePool and capacity type, EC2's code in the event of each refused launch.
        zones: By unit, the zones in which its waiting pods may run, where that are not all: a volume or a hard spread.
    """

    def __init__(
        self,
        world: World,
        emit: Emit,
        *,
        quotas: Mapping[str, int] | None = None,
        create_errors: Mapping[str, str] | None = None,
        codes: Mapping[tuple[str, str], str] | None = None,
        zones: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.zones = dict(zones or {})
        self.quotas, self.create_errors, self.codes = dict(quotas or {}), dict(create_errors or {}), dict(codes or {})
        self.floors: dict[str, int] = {}
        self.wanted: dict[str, int] = {}
        """Replicas that each unit's metric asks for, whatever its floor."""
        self.stopped = False
        """Whether Karpenter does not run."""
        self.unusable = False
        """Whether no node that joins becomes usable: its device plugin does not run."""
        super().__init__(world, emit)
        self._tried: dict[str, float] = {}  # claims that failed with a create error, and when first

    def next_s(self) -> float:
        """When something happens next, seconds since the start; infinite where nothing does."""
        return self._queue[0][0] if self._queue else math.inf

    def at(self, t: float, do: Callable[[], None]) -> None:
        """Has something happen at `t` seconds since the start."""
        self._at(t, do)

    def emit(self, kind: str, change: str, obj: dict[str, Any]) -> None:
        """Shows an object."""
        self._emit(kind, change, obj)

    def follow(self, name: str, floor: int) -> None:
        """A floor was written: the Deployment follows it later."""
        self.floors[name] = floor
        unit = next(one for one in self.world.units if one.name == name)
        self._at(self.now + FOLLOWS_S, partial(self._rescale, unit))

    def replace_pods(self, name: str) -> None:
        """The waiting pods of a unit are deleted, and made anew under other names."""
        unit = next(one for one in self.world.units if one.name == name)
        kept = sum(pod.bound for pod in self.pods[name])
        count = len(self.pods[name])
        super()._scale(unit, kept)
        super()._scale(unit, count)

    def _scale(self, unit: UnitPlan, replicas: int) -> None:
        self.wanted[unit.name] = replicas
        self._rescale(unit)

    def _rescale(self, unit: UnitPlan) -> None:
        super()._scale(unit, max(self.wanted[unit.name], self.floors.get(unit.name, 0)))

    def _loop(self) -> None:
        if not self.stopped:
            super()._loop()

    def _offerings(self, unit: UnitPlan, pool: PoolPlan) -> list[Offering]:
        found = super()._offerings(unit, pool)
        return [one for one in found if one[1] in self.zones.get(unit.name, (one[1],))]

    def _call(self, batch: list[Claim]) -> None:
        pool = batch[0].pool
        if pool.name in self.create_errors:
            self._fail(batch, self.create_errors[pool.name])
            return
        room = self._room(pool.name)
        if room < len(batch):
            self._fail(batch[room:], "VCPULimitExceeded")
        if room:
            super()._call(batch[:room])

    def _room(self, pool: str) -> int:
        if pool not in self.quotas:
            return 1_000_000
        users = [unit.name for unit in self.world.units if pool in unit.pools]
        bound = sum(pod.bound for name in users for pod in self.pods[name])
        coming = sum(claim.pool.name == pool and claim.offering is not None and not claim.pod.bound for claim in self._claims.values())
        return max(0, self.quotas[pool] - bound - coming)

    def _fail(self, claims: list[Claim], reason: str) -> None:
        """The launches fail with an error that has no event; Karpenter tries them again, and gives up after a while."""
        for claim in claims:
            if claim.name not in self._claims:
                continue
            first = self._tried.setdefault(claim.name, self.now)
            obj = objects.node_claim(claim, self.now)
            since = format_rfc3339(float(int(START + first)))
            failing = {"type": "Launched", "status": "Unknown", "reason": reason, "lastTransitionTime": since}
            obj["status"]["conditions"].append(failing)
            self._emit("NodeClaim", "MODIFIED", obj)
            again = partial(self._call, [claim]) if self.now - first < CREATE_ERROR_LIFE_S - RETRY_S else partial(self._end, claim)
            self._at(self.now + RETRY_S, partial(self._retry, claim, again))

    def _retry(self, claim: Claim, do: Callable[[], None]) -> None:
        if claim.name not in self._claims or claim.offering is not None:
            return
        if claim.pod.gone:
            self._end(claim)
            return
        do()
        if claim.name not in self._claims:
            self._wake(1.0)

    def _refused(self, claim: Claim, offerings: list[Offering]) -> None:
        kind = offerings[0][2] if offerings else ""
        code = self.codes.get((claim.pool.name, kind))
        if code is None:
            super()._refused(claim, offerings)
            return
        event = objects.refused(claim.name, offerings, self.now)
        event["message"] = SAID.format(claim=claim.name, code=code, words="the request cannot be fulfilled")
        self._emit("Event", "ADDED", event)
        self._emit("NodeClaim", "MODIFIED", objects.node_claim(claim, self.now, deleting=True))
        self._at(self.now + REFUSED_S, partial(self._end, claim))
        self._wake(REQUEUE_S)

    def _launched(self, claim: Claim, offering: Offering) -> None:
        super()._launched(claim, offering)
        if self.world.boot_s[0] > NEVER_JOINED_LIFE_S:
            self._at(self.now + NEVER_JOINED_LIFE_S, partial(self._abandon, claim))

    def _step(self, claim: Claim, condition: str) -> None:
        if not (self.unusable and condition == "Initialized"):
            super()._step(claim, condition)

    def _bind(self, claim: Claim) -> None:
        if not self.unusable:
            super()._bind(claim)

    def _abandon(self, claim: Claim) -> None:
        self._end(claim)
        claim.pod.claim = ""
        self._wake(1.0)
