"""`failoverctl worth`: a dry run of a known world is recorded, and the table is compared with what really happened in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.policy.model import PolicySettings, Snapshot
from failover_analysis.cli.worth_words import Table, verdicts
from failover_analysis.report.contenders import contenders
from failover_analysis.simulation.figures import Figures, figures
from failover_analysis.simulation.recorded_world import World
from failover_analysis.simulation.setup import Setup
from tests.analysis.replay.record import RECORDING
from tests.analysis.simulation.dry_run import record
from tests.analysis.simulation.support import HOUR, START, outage, setup, with_limits

SHORTAGE: Final = replace(with_limits(setup()), outages=(outage(1.0, 3.0),))
QUIET: Final = with_limits(setup(seconds=2 * HOUR))


def played(folder: Path, made: Setup, change: Callable[[Snapshot], Snapshot] = lambda one: one) -> Figures:
    """Records a dry run; returns what came of it in truth."""
    return figures(record(folder, made, change=change))


def worth(*words: str | Path) -> Result:
    """The command, with one seed and in this process."""
    return CliRunner().invoke(main, ["worth", *map(str, words), "--seeds", "1", "--jobs", "1"], catch_exceptions=False)


def rows(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The simulated rows by policy."""
    return {one["policy"]: one for one in document["rows"]}


def test_the_table_of_a_dry_run_in_a_shortage(tmp_path: Path) -> None:
    """Nothing installed fares in the recorded world as it did in truth, in requests and dollars; failoverctl spares most of the harm."""
    truth = played(tmp_path, SHORTAGE)
    result = worth(tmp_path, "-o", "json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    recorded, nothing, ours = document["recorded"], rows(document)["none"], rows(document)["two-mode"]
    assert truth.bad > 1000
    for row in (recorded, nothing):
        assert row["lateOrFailed"] == pytest.approx(truth.bad, rel=0.25)
        assert row["dollars"] == pytest.approx(truth.dollars, rel=0.1)
    assert ours["lateOrFailed"] < nothing["lateOrFailed"] / 2
    assert document["doubt"] is None
    assert [one["instanceType"] for one in document["shortages"]] == ["inf2.xlarge"]


def test_without_a_shortage_it_says_that_doing_nothing_is_as_good(tmp_path: Path) -> None:
    """The recording gives no reason to install it, and the command says so."""
    played(tmp_path, QUIET)
    output = " ".join(worth(tmp_path).output.split())
    assert "The recording has no shortage" in output
    assert "By this recording, do not install it." in output
    assert "Nothing installed: fixed weights, KEDA 100.00 %" in output


def test_what_the_recording_does_not_say_is_unknown(tmp_path: Path) -> None:
    """No metrics of the load balancer, replicas not readable for half an hour: no figure is made up."""

    def blind(seen: Snapshot) -> Snapshot:
        hidden = START + 0.5 * HOUR < seen.now < START + HOUR
        units = {name: replace(one, ready=None, desired=None) if hidden else one for name, one in seen.units.items()}
        return replace(seen, error_ratio=None, units=units)

    played(tmp_path, QUIET, blind)
    text = worth(tmp_path).output
    assert next(line for line in text.splitlines() if line.startswith("Recorded")).split()[-4:] == ["unknown"] * 4
    recorded = json.loads(worth(tmp_path, "--json").stdout)["recorded"]
    assert {recorded[name] for name in ("servedInTime", "lateOrFailed", "exposedMinutes", "dollars")} == {None}


def test_time_without_known_demand_is_left_out_and_said(tmp_path: Path) -> None:
    """Two stretches are played; the hour between them, in which CloudWatch said nothing, is in none."""

    def gap(seen: Snapshot) -> Snapshot:
        silent = START + 1.5 * HOUR < seen.now < START + 2.5 * HOUR
        return replace(seen, units={name: replace(one, demand=None) for name, one in seen.units.items()}) if silent else seen

    truth = played(tmp_path, with_limits(setup()), gap)
    document = json.loads(worth(tmp_path, "--json").stdout)
    assert len(document["stretches"]) == 2
    assert any("Left out: 1 h" in one for one in document["assumptions"])
    assert rows(document)["none"]["dollars"] == pytest.approx(truth.dollars * 3 / 4, rel=0.15)


def test_the_recorded_policy_or_others(tmp_path: Path) -> None:
    """Each has a row; those without the controller are always there."""
    played(tmp_path, QUIET)
    document = json.loads(worth(tmp_path, "--json", "--policy", "planned", "--policy", "always-capacity").stdout)
    assert list(rows(document)) == ["none", "sample", "priority-list", "planned", "always-capacity"]
    refused = worth(tmp_path, "--policy", "none")
    assert refused.exit_code == 1
    assert "--policy: found none" in refused.output


def test_a_recording_that_is_too_short_is_refused() -> None:
    """The demo's shortage: nothing starts, serves and goes in twenty minutes."""
    result = worth(RECORDING)
    assert result.exit_code == 1
    assert "min with known demand and without a gap; allowed: at least 60 min" in result.output


def test_a_recording_of_two_applications_needs_a_choice(tmp_path: Path) -> None:
    """With --application one of them is played."""
    other = replace(QUIET, application=replace(QUIET.application, namespace="other"))
    played(tmp_path / "one", QUIET)
    played(tmp_path / "two", other)
    result = worth(tmp_path / "one", tmp_path / "two")
    assert result.exit_code == 1
    assert "allowed: one application (--application)" in result.output
    assert worth(tmp_path / "one", tmp_path / "two", "--application", other.application.key).exit_code == 0


def test_more_than_a_month_is_refused(tmp_path: Path) -> None:
    """Memory and time have a bound; a part of it can be asked for."""
    played(tmp_path / "one", QUIET)
    played(tmp_path / "two", replace(QUIET, start=START + 40 * 24 * HOUR))
    result = worth(tmp_path / "one", tmp_path / "two")
    assert result.exit_code == 1
    assert "allowed: 31 (--from, --until)" in result.output
    assert worth(tmp_path / "one", tmp_path / "two", "--until", "2023-11-20T00:00:00Z").exit_code == 0


PREFERRED: Final = "prefer it if one Deployment can run on all of the types"


@pytest.mark.parametrize(
    ("listed", "ours", "advised"),
    [
        ((300.0, 0.0), ((400.0, 0.0), (450.0, 10.0)), True),
        ((300.0, 5.0), ((400.0, 5.0), (290.0, 10.0)), False),
        ((300.0, 5.0), ((400.0, 5.0), (450.0, 4.0)), False),
        ((400.0, 0.0), ((400.0, 0.0),), False),
    ],
    ids=["cheaper and as good", "one policy is cheaper still", "one policy serves more", "no cheaper"],
)
def test_where_a_priority_list_is_better_it_says_so(
    listed: tuple[float, float], ours: tuple[tuple[float, float], ...], advised: bool
) -> None:
    """Each pair: dollars, and late requests. The advice needs the list to be cheaper than every policy, with no more late requests."""
    baselines = contenders(("none", "priority-list"), (), (), PolicySettings())
    named = contenders(("two-mode", "planned")[: len(ours)], (), (), PolicySettings())
    amounts = ((350.0, 90.0), listed, *ours)
    runs = tuple(
        (one, (Figures(1000.0, 0.0, late, 0.0, dollars),)) for one, (dollars, late) in zip((*baselines, *named), amounts, strict=True)
    )
    world = World(QUIET.application, START, START + HOUR, (), (), {}, (), zones_known=False, acted=False, changed=False, setups=())
    assert any(PREFERRED in one for one in verdicts(Table(world, runs, 1, ()))) is advised
