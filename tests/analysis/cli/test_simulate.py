"""`failoverctl simulate`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.main import main
from controller.policy.modes import guards
from failover_analysis.simulation.scenario import builtin_names

WORLD = """
apiVersion: failoverctl.dev/v1alpha1
kind: Simulation
name: small
description: An hour and a half.
applications: {applications}
days: 0.06
rowSeconds: 600
demand:
  points:
  - {{atSeconds: 0, requests: 600}}
  - {{atSeconds: 3600, requests: 1200}}
outages:
- {{fromSeconds: 0, toSeconds: 86400, instanceTypes: [inf2.xlarge]}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A small world."""
    path = tmp_path / "small.yaml"
    path.write_text(WORLD.format(applications=Path("config/sd21.yaml").resolve()))
    return path


def run(*arguments: str | Path) -> tuple[int, str]:
    """The exit code and what it prints. On a busy machine progress stands beside that, on the other stream."""
    result = CliRunner().invoke(main, ["simulate", *map(str, arguments)])
    return result.exit_code, result.stdout or result.stderr


def test_tells_what_happened_the_verdict_first(world: Path) -> None:
    """Then the sums, and every mode change with its reason."""
    code, output = run(world)
    assert code == 0
    assert output.startswith("✔ small, seed 1: every invariant held")
    assert "to capacity: sd21-inf2 cannot get capacity" in output


def test_json_and_files_say_the_same(world: Path, tmp_path: Path) -> None:
    """The timeline is a column for every value."""
    code, output = run(world, "--json", "--out", tmp_path / "out")
    assert code == 0
    assert json.loads(output) == json.loads((tmp_path / "out" / "small.json").read_text())
    lines = (tmp_path / "out" / "small-1.csv").read_text().splitlines()
    assert lines[0].startswith("time,mode,demand,failed,served sd21-inf2")
    assert len(lines) == 1 + 8


def test_several_seeds_are_the_same_runs_as_one_by_one(world: Path) -> None:
    """Side by side in processes of their own."""
    _, both = run(world, "--seed", "5", "--seeds", "2", "--json", "--jobs", "2")
    _, alone = run(world, "--seed", "6", "--json")
    assert [one["digest"] for one in json.loads(both)][1] == json.loads(alone)[0]["digest"]


def test_another_policy_is_taken(world: Path, tmp_path: Path) -> None:
    """What stands under spec.policy of an application file."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("tripCauses: [quota]\n")
    _, output = run(world, "--policy", policy)
    assert "to capacity" not in output


def test_a_world_that_was_written_out_is_the_same_run(world: Path, tmp_path: Path) -> None:
    """With everything that was drawn, under names that are found from where it lies."""
    arguments = ("--faults", "random", "--days", "0.3", "--interval", "120")
    run(world, *arguments, "--save", tmp_path / "deep" / "saved.yaml")
    _, first = run(world, *arguments, "--json")
    _, again = run(tmp_path / "deep" / "saved.yaml", "--json")
    assert json.loads(first)[0]["switches"] == json.loads(again)[0]["switches"]


def test_an_invariant_that_does_not_hold_is_exit_code_1(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the harm, and the command that plays it again."""
    monkeypatch.setattr(guards, "FAILOVER", (*guards.FAILOVER, guards.hold, guards.proof))
    code, output = run(world, "--set", "failoverUtilization=0")
    assert code == 1
    assert "late-failover" in output
    assert f"failoverctl simulate {world} --set failoverUtilization=0 --seed 1" in output


@pytest.mark.parametrize(
    ("text", "found"),
    [("kind: Simulation\n", "applications"), ("days: x\n", "days"), ("a: [\n", "small.yaml")],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str, found: str) -> None:
    """No traceback."""
    path = tmp_path / "small.yaml"
    path.write_text(text)
    code, output = run(path)
    assert code == 1
    assert found in output
    assert "Traceback" not in output


def test_lists_what_comes_with_the_package() -> None:
    """By name."""
    code, output = run("--list")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == list(builtin_names())


def test_an_unknown_name_names_those_that_there_are() -> None:
    """Or a file."""
    code, output = run("nothing")
    assert code == 1
    assert "month" in output


def test_a_report_says_what_the_results_say_and_its_commands_show_the_moments(world: Path, tmp_path: Path) -> None:
    """Two policies, two seeds, three forms; each moment's command plays that run again and shows the same decision."""
    files = [tmp_path / f"report{suffix}" for suffix in (".html", ".md", ".json")]
    wanted = [word for file in files for word in ("--report", file)]
    policies = ("--policy", "two-mode", "--policy", "always-cost", "--set", "patienceSeconds=60")
    code, output = run(world, "--seeds", "2", *policies, *wanted, "--json")
    assert code == 0
    results = [one for one in json.loads(output) if one["policy"] == "always-cost, patienceSeconds 60"]
    report = json.loads(files[2].read_text())
    row = report["tables"][0]["rows"][1]
    assert row["name"] == results[0]["policy"]
    dollars = sorted(one["totals"]["dollars"] for one in results)
    assert row["cells"]["cost"]["median"] == pytest.approx(sum(dollars) / 2)
    assert report["verdict"] in files[0].read_text()
    assert report["verdict"] in files[1].read_text()
    assert report["moments"]
    assert report["verdict"].startswith("two-mode, patienceSeconds 60 against none: ")
    assert [one["name"] for one in report["tables"][0]["rows"]][2:] == ["none", "sample"]
    for moment in report["moments"]:
        words = shlex.split(moment["command"])
        assert words[:2] == ["failoverctl", "simulate"]
        code, shown = run(*words[2:])
        assert code == 0
        assert f"{world.stem}, seed {moment['seed']}, {moment['command'].rpartition(' ')[2]}" in shown
        assert moment["decision"].split("  ", 1)[-1] in " ".join(shown.split())  # however it is wrapped
    assert shlex.split(report["command"])[2:] == [str(word) for word in (world, *policies, "--seed", "1", "--seeds", "2", *wanted)]


def test_compared_policies_end_with_what_was_gained(world: Path) -> None:
    """A baseline alone shows its sums and holds no invariant."""
    code, output = run(world, "--policy", "two-mode", "--policy", "none", "--policy", "sample")
    assert code == 0
    assert "none: small, seed 1: no controller, so no invariant to hold" in output
    assert "two-mode against none: " in output.splitlines()[-1]
    assert "; against sample: " in output.splitlines()[-1]
    code, alone = run(world, "--policy", "none")
    assert code == 0
    assert "exposed" in alone
    assert "every invariant held" not in alone


def test_a_moment_is_the_same_in_json(world: Path) -> None:
    """The truth of the world, and the plan as `plan --json` shows it."""
    code, output = run(world, "--at", "2023-11-13T00:20:00Z", "--json")
    document = json.loads(output)
    assert code == 0
    assert document["world"]["cannotGrow"] == ["inf2.xlarge"]
    assert document["plan"]["mode"] in {"cost", "capacity"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--report", "out.pdf"), "allowed: a name that ends with .html, .htm, .md, .json"),
        (("--report", "nowhere/out.html"), "a folder that exists"),
        (("--days", "nan"), "found 'nan'; allowed: a number 0.01 to 366"),
        (
            ("--policy", "bogus"),
            "planned, always-cost, always-capacity, none, priority-list, sample, or a .yaml file",
        ),
        (("--policy", "two-mode", "--policy", "two-mode"), "two-mode twice"),
        (("--sweep", "bogus=1"), "holdMinSeconds"),
        (("--policy", "none", "--sweep", "holdMinSeconds=600"), "allowed: a policy of the controller"),
        (("--sweep", "holdMinSeconds=x"), "holdMinSeconds"),
        (("--set", "holdMinSeconds=-1"), "holdMinSeconds"),
        (("--at", "2020-01-01T00:00:00Z"), "allowed: within the run, 2023-11-13T00:00:00Z to 2023-11-13T01:26:24Z"),
        (("--at", "2023-11-13T00:10:00Z", "--policy", "two-mode", "--policy", "adaptive"), "found 2 policies; allowed: one"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_played(world: Path, words: tuple[str, ...], found: str) -> None:
    """With what is allowed."""
    code, output = run(world, *words)
    assert code == 1
    assert found in output
    assert "invariant" not in output
