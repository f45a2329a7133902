"""The ScaledObjects as observed, the replicas that are claimed for them, and what is remembered of what was written to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from controller.policy.names import MOMENT
from controller.policy.reasons import CLAIMS, ClaimReason

SCALE_IN_S: Final = 300.0
"""Default ``behavior.scaleDown.stabilizationWindowSeconds`` of a HorizontalPodAutoscaler, seconds."""


@dataclass(frozen=True, slots=True)
class ScalerMetric:
    """What the trigger of a ScaledObject counts, as far as it says.

    Attributes:
        period_s: ``metricStatPeriod``, seconds; None where it says nothing.
        statistic: ``metricStat``, or the function of the expression: ``Sum``, ``SUM``; "" where an expression has none that is understood.
        namespace: CloudWatch's namespace; "" where it says none, as with an expression.
        kind: ``metricType``; "" where it says nothing.
    """

    period_s: int | None = None
    statistic: str = ""
    namespace: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Scaler:
    """A unit's KEDA ScaledObject as observed."""

    name: str
    resource_version: str
    min_replicas: int
    max_replicas: int
    target: str = ""  # targetMetricValue of the trigger, a string as in YAML
    trigger_index: int | None = None  # None: no trigger of the unit's metric was found
    floor_ours: bool = True  # we set min_replicas; a floor that somebody else set is never lowered
    paused: bool = False
    trouble: str = ""  # why KEDA does not scale the unit by its metric, as its conditions say; "" where it does
    lasting: bool = False  # the trouble is more than a single failed query
    uid: str = ""  # "" only in recordings of versions that did not note it
    idle_replicas: int | None = None  # what KEDA scales to while no trigger is active, whatever the floor; None: the floor
    formula: bool = False  # the target of scalingModifiers.formula counts, and none of a trigger
    metric: ScalerMetric | None = None  # what the trigger counts; None: no trigger was found, or a recording did not note it
    scales: str = ""  # kind and name of the workload that it scales, as `Unit.workload`; "" where it says none
    scale_in_s: float | None = SCALE_IN_S  # how long fewer replicas must suffice before its HPA removes some; None: it never does
    scale_out_s: float = 0.0  # how long more replicas must be asked for before its HPA adds some


@dataclass(frozen=True, slots=True)
class ScalerWrite:
    """Our last write of a floor or a target: what it replaced, and how often it had been put back before."""

    at: float = field(metadata=MOMENT)
    before: str
    after: str
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class SinkingFloor:
    """Since when no more than some replicas, fewer than the floor, have been planned."""

    since: float = field(metadata=MOMENT)
    highest: int


@dataclass(frozen=True, slots=True)
class FloorMemory:
    """What is remembered of a ScaledObject.

    Attributes:
        found: The floor that somebody else set last; 0: none.
        raised_from: The application file's floor while a floor of ours is above what was there before; None while none is.
        due: Whether its floor has not been raised since the mode changed to capacity mode. It is due until it is written, or until a plan
            finds it high enough. So a floor that could not be written, that the next pass was to write, or whose ScaledObject was not
            there is planned again, and a floor that another writer lowers afterwards is not.
        floor: Our last write of the floor; None where there was none lately.
        target: Likewise of the target.
        sinking: How long each replica of it has been above what is planned: later times have fewer replicas. Not stored: after a restart
            these times begin anew.
    """

    found: int = 0
    raised_from: int | None = None
    due: bool = False
    floor: ScalerWrite | None = None
    target: ScalerWrite | None = None
    sinking: tuple[SinkingFloor, ...] = ()

    @property
    def before(self) -> int:
        """The replicas that a raised floor is to sink to again: the application file's, or those of somebody else."""
        return max(self.raised_from or 0, self.found)


NOTHING_REMEMBERED: Final = FloorMemory()
"""Of a ScaledObject that nothing is remembered of."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Replicas that a unit is to have at least. The highest claim is the unit's floor.

    `until` is when time alone ends it, seconds since the Unix epoch; None where time alone does not.
    """

    unit: str
    replicas: int
    reason: ClaimReason
    until: float | None = None

    @property
    def text(self) -> str:
        """The replicas and why, for people: ``13: the cheapest fleet has them``."""
        return f"{self.replicas}: {CLAIMS[self.reason]}"
