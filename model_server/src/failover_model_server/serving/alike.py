"""Which items share a batch where shapes are free: those of nearly the same length, since all are padded to the longest."""

from collections.abc import Sequence

from failover_model_server.serving.line import Waiting

MOST_PADDING = 0.25
"""Part of a padded batch that may be padding, which costs an accelerator as much as text does."""


def alike(group: Sequence[Waiting], most: int) -> list[Waiting]:
    """The first item and up to `most - 1` of those nearest in length that pad its batch little.

    Args:
        group: what may share a batch, the oldest first; there is one.
        most: items of the largest batch.

    Returns:
        The first item, then those nearest in length first, then the older first. Items without a length keep their order.
    """
    first = group[0]
    if first.item.length is None:
        return list(group)
    own, chosen = first.item.length, [first]
    for one in sorted(group[1:], key=lambda one: abs(_length(one) - own)):
        lengths = [_length(other) for other in (*chosen, one)]
        if len(chosen) < most and 1 - sum(lengths) / (max(lengths) * len(lengths)) <= MOST_PADDING:
            chosen.append(one)
    return chosen


def _length(waiting: Waiting) -> int:
    return waiting.item.length or 0
