"""What the documents say of the simulation is all there is."""

from __future__ import annotations

import re
from pathlib import Path

from controller.catalog.loader import load_directory
from failover_analysis.simulation.faults import FAULTS
from failover_analysis.simulation.invariants import HARMS
from failover_analysis.simulation.scenario import FOLDER, builtin_names, load

ROOT = Path(__file__).parents[3]
USERS, LABORATORY = ((ROOT / "docs" / name).read_text() for name in ("simulation.md", "laboratory/simulation.md"))


def test_every_fault_is_documented() -> None:
    """And none that does not exist."""
    section = USERS.partition("## Faults")[2].partition("| where |")[2]
    assert set(re.findall(r"`([a-z0-9-]+)`", section)) == set(FAULTS)


def test_every_invariant_is_documented_with_its_harm() -> None:
    """In the words of the code."""
    found = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", LABORATORY.partition("## Invariants")[2], re.MULTILINE))
    assert found == HARMS


def test_every_world_of_the_package_can_be_read() -> None:
    """And has a name that is its file's."""
    for name in builtin_names():
        assert load(FOLDER / f"{name}.yaml").file.name == name


def test_the_packages_application_is_that_of_the_configuration() -> None:
    """One is a copy of the other, because a wheel has no `config`."""
    here, there = FOLDER / "applications" / "sd21.yaml", ROOT / "config" / "sd21.yaml"
    assert load_directory(here) == load_directory(there)


def test_the_mixed_application_has_the_units_of_the_configuration() -> None:
    """Where they run, what they cost and what they serve; its Ingress and names of metrics are the simulation's."""
    found = []
    for path in (FOLDER / "applications" / "llama8b.yaml", ROOT / "config" / "llama8b.yaml"):
        (application,) = load_directory(path).values()
        found.append([(one.name, one.instance_type, one.price_per_hour, one.throughput, one.latency_s) for one in application.units])
    assert found[0] == found[1]
