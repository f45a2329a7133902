"""What a report says of a replay, on the recording of the demo's shortage."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from failover_analysis.report.schema import report_schema

ROOT = Path(__file__).parents[3]
RECORDING = ROOT / "tests" / "analysis" / "replay" / "seed.jsonl.gz"
APPLICATION = ROOT / "proof" / "failover_testbed" / "demo" / "scenarios" / "applications" / "seed.yaml"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short paths, and an application that is patient for two minutes."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(RECORDING, "seed.jsonl.gz")
    Path("patient.yaml").write_text(APPLICATION.read_text().replace("patienceSeconds: 10\n", "patienceSeconds: 120\n"))


def _replay(*words: str) -> Result:
    return CliRunner().invoke(main, ["replay", *words], catch_exceptions=False)


def test_what_planned_would_have_compared_its_bill_with() -> None:
    """In the row of the what-if alone: the recorded controller compared nothing."""
    made = Path("patient.yaml").read_text()
    for before, after in (("strategy: two-mode", "strategy: planned"), ("failoverUtilization: 0 ", "failoverUtilization: 0.9 ")):
        assert made.count(before) == 1
        made = made.replace(before, after)
    Path("planned.yaml").write_text(made)
    result = _replay("seed.jsonl.gz", "--policy", "planned.yaml", "--report", "r.json")
    assert result.exit_code in {0, 2}, result.output
    rows = {row["name"]: row["cells"] for row in json.loads(Path("r.json").read_text())["tables"][0]["rows"]}
    assert rows["recorded"]["optimum_bill"] is None
    assert 0 < rows["what if"]["optimum_bill"]["median"] < rows["what if"]["compared_spend"]["median"]


def test_another_policy_beside_what_was_recorded() -> None:
    """The same sums as the command prints, both courses over time, and each moment with a command that shows it."""
    result = _replay("seed.jsonl.gz", "--policy", "patient.yaml", "--json", "--report", "r.json", "--report", "r.html", "--report", "r.md")
    assert result.exit_code == 2, result.output
    summary = json.loads(result.stdout.splitlines()[-1])
    report = json.loads(Path("r.json").read_text())
    jsonschema.validate(report, report_schema())
    rows = {row["name"]: row["cells"] for row in report["tables"][0]["rows"]}
    for name, course in (("recorded", summary["recorded"]), ("what if", summary["replayed"])):
        assert rows[name]["exposed"]["median"] == course["exposedSeconds"]
        assert rows[name]["saved"]["median"] == course["saved"]
        assert rows[name]["premium"]["median"] == course["premium"]
        assert rows[name]["flips"]["median"] == len(course["modeChanges"])
        share = course["secondsInMode"]["capacity"] / sum(course["secondsInMode"].values())
        assert rows[name]["capacity_time"]["median"] == pytest.approx(share)
    assert rows["what if"]["served"] is None, "nobody knows what would have been served"
    assert [one["name"] for one in report["timelines"]] == ["recorded", "what if"]
    assert f"{summary['decisions']} decisions replayed, {summary['different']} decided differently" in report["verdict"]
    for text in (Path("r.html").read_text(), Path("r.md").read_text()):
        assert report["verdict"] in text
        assert "≠" in text
    assert 1 <= len(report["moments"]) <= 5
    for moment in report["moments"]:
        words = shlex.split(moment["command"])
        shown = _replay(*words[2:])
        assert shown.exit_code in {0, 2}
        assert moment["decision"].split("  ", 1)[1] in " ".join(shown.output.split())
    again = shlex.split(report["command"])
    assert _replay(*again[2:]).exit_code == 2


def test_the_same_decisions_are_a_report_of_how_it_went() -> None:
    """One course; the mode changes are the notable moments."""
    result = _replay("seed.jsonl.gz", "--report", "r.json", "--report", "r.html")
    assert result.exit_code == 0, result.output
    report = json.loads(Path("r.json").read_text())
    assert report["ok"]
    assert [row["name"] for row in report["tables"][0]["rows"]] == ["recorded"]
    assert [re.sub(r".*: ", "", one["words"]) for one in report["moments"]] == ["failover to capacity mode", "fallback to cost mode"]
    (timeline,) = report["timelines"]
    lanes = {lane["name"]: lane["spans"] for lane in timeline["lanes"]}
    assert [span["kind"] for span in lanes["mode"]] == ["cost", "capacity", "cost"]
    assert "sd21-inf2 is short" in lanes
    assert report["tables"][0]["rows"][0]["cells"]["verify"]["count"] == 2


def test_a_report_of_one_moment_is_refused() -> None:
    """And a name that says no form, before anything is replayed."""
    assert "a report covers all of them" in _replay("seed.jsonl.gz", "--at", "2099-01-01T00:00:00Z", "--report", "r.html").output
    assert "allowed: a name that ends with" in _replay("seed.jsonl.gz", "--report", "r.pdf").output
