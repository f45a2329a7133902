"""Which items share a batch where shapes are free: those of nearly the same length, since all are padded to the longest."""

import itertools
import math
from collections.abc import Sequence

from failover_model_server.serving.line import Waiting

MOST_PADDING = 0.25
"""Part of a padded batch that may be padding, which costs a processor as much as text does."""
UNKNOWN_OVERHEAD = 1e6
"""In units of length, far beyond what a batch holds: the fullest batch is taken, with the least padding."""


def alike(group: Sequence[Waiting], most: int, overhead: float = math.inf) -> list[Waiting]:
    """The first item and up to `most - 1` of the next shorter and next longer ones: the batch that wastes the least time for each item.

    A batch wastes its overhead, which its items share, and what it spends on padding. A larger one shares the overhead among more items
    and pads more. Items without a length have one shape: their order stays.

    Args:
        group: what may share a batch, the oldest first; there is one.
        most: items of the largest batch.
        overhead: what a batch takes whatever it holds, as the length that takes as long; infinite where nobody knows.

    Returns:
        The first item, then those nearest in length first, then the older first.
    """
    first = group[0]
    if first.item.length is None:
        return list(group)
    own = first.item.length
    shorter = sorted((one for one in group[1:] if _length(one) < own), key=lambda one: own - _length(one))[: most - 1]
    longer = sorted((one for one in group[1:] if _length(one) >= own), key=lambda one: _length(one) - own)[: most - 1]
    below = [0, *itertools.accumulate(_length(one) for one in shorter)]
    above = [0, *itertools.accumulate(_length(one) for one in longer)]
    shared = min(overhead, UNKNOWN_OVERHEAD)
    least, chosen = math.inf, (0, 0)
    for count in range(1, min(most, len(group)) + 1):
        for more in range(max(0, count - 1 - len(shorter)), min(count - 1, len(longer)) + 1):
            less = count - 1 - more
            padded = count * (_length(longer[more - 1]) if more else own)
            padding = padded - own - below[less] - above[more]
            waste = (shared + padding) / count
            if padding <= MOST_PADDING * padded and waste <= least:
                least, chosen = waste, (less, more)
    less, more = chosen
    joined = {*shorter[:less], *longer[:more]}
    return [first, *sorted((one for one in group[1:] if one in joined), key=lambda one: abs(_length(one) - own))]


def _length(waiting: Waiting) -> int:
    return waiting.item.length or 0
