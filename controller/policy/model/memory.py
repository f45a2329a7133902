"""Everything that is remembered from one decision to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.policy.model.evidence import UnitMemory
from controller.policy.model.fleet import DemandHistory
from controller.policy.model.floors import FloorMemory
from controller.policy.model.modes import NEVER, ModeChange, Repeats
from controller.policy.names import MOMENT, Mode


@dataclass(frozen=True, slots=True)
class Memory:
    """What the policy remembers between passes. It is stored by compare-and-swap, with the leader's epoch."""

    mode: Mode | None = None  # None: nothing is known yet, adopt what the routing object shows
    mode_since: float = field(default=0.0, metadata=MOMENT)
    mode_changes: tuple[ModeChange, ...] = ()
    hold_level: int = 0  # how often the hold was doubled
    units: Mapping[str, UnitMemory] = field(default_factory=dict)
    action: str = ""  # fingerprint of the routing action that the times below belong to, as it is written; "": none observed yet
    sent: str = ""  # fingerprint of the targets and the stickiness that we last wrote; "": none, or not known
    unseen: bool = False  # whether the routing object has not shown that since
    routed_at: tuple[float, ...] = field(default=(), metadata=MOMENT)  # changes of the routing that we made within an hour, the newest last
    routed_by: str = ""  # uid of the routing object that had it; "": none observed yet
    changed_at: float | None = field(default=None, metadata=MOMENT)  # last change of the routing action
    verified_at: float | None = field(default=None, metadata=MOMENT)  # when the load balancer first showed it
    unverified_since: float | None = field(default=None, metadata=MOMENT)  # first change of ours that the load balancer has not shown since
    sticky_s: int = 0  # how long clients may stick to the targets that lost traffic with the last change
    nudged: Repeats = NEVER  # the load-balancer controller, since then
    reasserted: Repeats = NEVER  # the routing action, against those who changed it
    demand_known_since: float | None = field(default=None, metadata=MOMENT)  # since when the demand is known; None while it is not
    # When it became unknown; None where it was never known, or has been known again for a while.
    demand_missing_since: float | None = field(default=None, metadata=MOMENT)
    demand_history: DemandHistory | None = None  # with strategy planned only
    floors: Mapping[str, FloorMemory] = field(default_factory=dict)  # by ScaledObject

    @property
    def last_routed(self) -> float | None:
        """When we wrote the routing last, seconds since the Unix epoch; None: not for an hour."""
        return self.routed_at[-1] if self.routed_at else None
