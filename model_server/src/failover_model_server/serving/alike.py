"""Which items share a batch where shapes are free: those of nearly the same length, since all are padded to the longest."""

from collections.abc import Sequence

from failover_model_server.serving.line import Waiting

MOST_PADDING = 0.25
"""Part of a padded batch that may be padding, which costs a processor as much as text does."""


def alike(group: Sequence[Waiting], most: int) -> list[Waiting]:
    """The first item and up to `most - 1` others, those nearest in length first, as long as not too much of the batch is padding.

    Items without a length have one shape: their order stays.
    """
    first = group[0]
    if first.item.length is None:
        return list(group)
    chosen, longest, total = [first], first.item.length, first.item.length
    for waiting in sorted(group[1:], key=lambda one: abs((one.item.length or 0) - longest)):
        if len(chosen) == most:
            break
        length = waiting.item.length or 0
        padded = (len(chosen) + 1) * max(longest, length)
        if padded - total - length <= MOST_PADDING * padded:
            chosen.append(waiting)
            longest, total = max(longest, length), total + length
    return chosen
