"""The refusals of a NodePool, without those that add nothing.

In a shortage that concerns many applications a NodePool has thousands, each of its applications judges them in every pass, and each new
one makes the rest be read again. So all work here grows with their number alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

from controller.policy.evidence import BATCH_S, created_after, last_launches
from controller.policy.model import Launch, Refusal

_shape: Final = attrgetter(
    *(
        "cause",
        "source",
        "replacement",
        "instance_types",
        "zones",
        "capacity_types",
        "requirements_known",
        "inexact",
        "pool_capacity_types",
    ),
    *("codes", "truncated", "named_type", "named_zone", "offerings"),
)
"""All of a refusal but which claim it is of, its attempt, and when it was."""


def summed_up(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """The refusals that differ in something that counts, in the order of time.

    Claims of one batch get one attempt: pods that wait together make several claims, but one fleet call with one answer. Of equal refusals
    within the time of a batch the first and the last are kept: what is concluded of them depends on when the oldest and the newest was.

    Args:
        refusals: Of one NodePool, in any order.
    """
    newest: dict[object, tuple[float, str]] = {}  # of each answer: when it was last given, and its attempt
    present: dict[object, list[tuple[Refusal, str]]] = {}  # of each shape: what is kept of the present batch
    kept: list[list[tuple[Refusal, str]]] = []
    for one in sorted(refusals, key=lambda refusal: (refusal.at, refusal.claim)):
        answer = (one.codes, one.instance_types, one.zones)
        before = newest.get(answer)
        attempt = before[1] if before is not None and one.at - before[0] <= BATCH_S else one.attempt
        newest[answer] = (one.at, attempt)
        lasting = one.claim if one.stood_until is not None else ""  # a create error lasts: each has an end of its own
        shape = (attempt, lasting, _shape(one))
        batch = present.get(shape)
        if batch is None or one.at - batch[0][0].at > BATCH_S:
            batch = present[shape] = [(one, attempt)]
            kept.append(batch)
        elif len(batch) == 1:
            batch.append((one, attempt))
        elif (one.at, one.order) > (batch[1][0].at, batch[1][0].order):
            batch[1] = (one, attempt)
    found = (one if one.attempt == attempt else replace(one, attempt=attempt) for batch in kept for one, attempt in batch)
    return tuple(sorted(found, key=lambda one: (one.at, one.claim)))


def not_ended(refusals: Iterable[Refusal], launches: Sequence[Launch]) -> list[Refusal]:
    """The refusals of a NodePool that nothing which launched there as a type that they are about has ended.

    Args:
        refusals: Of one NodePool.
        launches: Of the same.
    """
    alike: dict[tuple[str, str], list[Launch]] = {}
    for launch in launches:
        alike.setdefault((launch.instance_type, launch.capacity_type), []).append(launch)
    ending: dict[str, list[Launch]] = {}
    for (instance_type, _), some in alike.items():
        ending.setdefault(instance_type, []).extend(last_launches(some))
    return [one for one in refusals if not any(_ends(launch, one) for kind in one.types for launch in ending.get(kind, ()))]


def _ends(launch: Launch, refusal: Refusal) -> bool:
    """Whether a launch shows that what was refused can be had again."""
    kinds = refusal.open_capacity_types
    return created_after(launch, refusal) and not (kinds and launch.capacity_type and launch.capacity_type not in kinds)
