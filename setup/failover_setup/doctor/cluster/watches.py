"""The check of how the controller watches: one set of watches for each namespace, or one for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.signals.cluster import wanted_lists
from failover_setup.doctor.cluster.observe import ClusterObservation
from failover_setup.doctor.report import Finding, ok, warning

WIDE_FROM: Final = 10
"""Namespaces from which `kubernetes.cluster_wide` pays: [measured](../../../docs/decisions/0020-watches.md)."""
_WATCH_MIB: Final = 0.165  # of memory for a thread and its connection, measured: 90 of them took 14.8 MiB


def watch_scope(observed: ClusterObservation) -> Iterator[Finding]:
    """The controller has one set of watches where its applications have many namespaces."""
    if not observed.applications:
        return
    count = len({one.namespace for one in observed.applications})
    watches, wide = (len(wanted_lists(observed.applications, cluster_wide=scope)) for scope in (observed.cluster_wide, True))
    words = f"{watches} watches for {count} namespace{'s' if count > 1 else ''}"
    if observed.cluster_wide or count < WIDE_FROM:
        yield ok(words)
        return
    yield warning(
        f"{words}: {watches - wide} threads and connections, about {(watches - wide) * _WATCH_MIB:.0f} MiB, more than with one set for all",
        "set kubernetes.cluster_wide: true, which needs a ClusterRole (the chart makes it)",
    )
