"""What routing objects are read with is bounded, however much of it others create."""

from __future__ import annotations

from controller.clients.kube import GATEWAYS
from controller.signals.routing_objects import MOST_BESIDE, RoutingObjects

LISTENERS = [{"name": f"listener-{number}", "port": number, "hostname": "x" * 200} for number in range(1000)]


def _gateway(name: str, listeners: int = 1) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "edge"}, "spec": {"listeners": LISTENERS[:listeners]}}


def test_a_flood_leaves_what_is_known() -> None:
    """Gateways are read in all namespaces, and anyone who may create one creates thousands."""
    kept = RoutingObjects()
    kept.take_beside(GATEWAYS, "ADDED", _gateway("ours"))
    for number in range(500):
        kept.take_beside(GATEWAYS, "ADDED", _gateway(f"theirs-{number}", 1000))
    names = set(kept.beside(GATEWAYS))
    assert ("edge", "ours") in names
    assert 10 < len(names) < MOST_BESIDE / 100_000


def test_what_goes_makes_room() -> None:
    """Also an object that grew beyond the bound, which counts as absent then."""
    kept = RoutingObjects()
    for number in range(500):
        kept.take_beside(GATEWAYS, "ADDED", _gateway(f"theirs-{number}", 1000))
    for _, name in list(kept.beside(GATEWAYS)):
        kept.take_beside(GATEWAYS, "DELETED", _gateway(name))
    assert not set(kept.beside(GATEWAYS))
    kept.take_beside(GATEWAYS, "ADDED", _gateway("ours"))
    assert set(kept.beside(GATEWAYS)) == {("edge", "ours")}
