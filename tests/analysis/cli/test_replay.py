"""`failoverctl replay` as a person runs it, on a recording of the demo's shortage that version 0.1.0 made.

Where a later version decides this recording differently on purpose, the changelog says so, and both files are made anew
(``python -m tests.analysis.replay.record --new``); where it only writes the same in other words, the outcome alone.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from failover_analysis.cli.replay_words import moment_text
from tests.analysis.replay.record import APPLICATION, PATIENCE, RECORDING, patient

KEY = "default/sd21"
LINES = gzip.decompress(RECORDING.read_bytes()).splitlines()
DECISIONS = len(LINES) - 1  # the first line is the application
AFTER_THE_FAILOVER = next(
    moment_text(one["at"]) for one in map(json.loads, LINES) if one.get("decided", {}).get("reason") == "ReturnUnproven"
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short paths, and an application that is patient for two minutes."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(RECORDING, "seed.jsonl.gz")
    Path("patient.yaml").write_text(patient())


def _replay(*words: str) -> Result:
    return CliRunner().invoke(main, ["replay", *words], catch_exceptions=False)


def test_this_version_decides_the_recording_of_an_earlier_one_the_same() -> None:
    """The whole shortage: failover, return, fallback; each moment by itself, and carried from one to the next."""
    alone, carried = _replay("seed.jsonl.gz"), _replay("seed.jsonl.gz", "--what-if")
    for result in (alone, carried):
        assert result.exit_code == 0, result.output
        assert f"{KEY}  {DECISIONS} decisions replayed, no difference" in result.output
    assert "capacity ShortageProven      capacity ShortageProven" in carried.output


def test_what_another_policy_would_have_done() -> None:
    """Word for word: differences as they begin and end, mode changes side by side, times, cost, and the command for each moment."""
    result = _replay("seed.jsonl.gz", "--policy", "patient.yaml", "--exact")
    assert result.exit_code == 2, result.output
    assert result.output == PATIENCE.read_text()


def test_the_moment_of_the_first_difference_in_full() -> None:
    """The command that the summary prints shows the decision as `plan` shows it, and how it differs."""
    summary = _replay("seed.jsonl.gz", "--policy", "patient.yaml").output.splitlines()[-2].split()
    assert summary[:2] == ["failoverctl", "replay"]
    result = _replay(*summary[2:])
    assert result.exit_code == 2, result.output
    assert "Failover plan for ingress default/sd21" in result.output
    assert "waiting 1 min 50 s more before acting on it" in result.output
    assert "Next, once the waiting guards have opened: failover" in result.output
    document = json.loads(_replay(*summary[2:], "--json").stdout)
    assert (document["kind"], document["plan"]["reason"]) == ("moment", "Patience")


def test_a_moment_without_a_difference_in_full() -> None:
    """What it was made from, long after the cluster has forgotten it; `--at` takes the last decision up to that time."""
    result = _replay("seed.jsonl.gz", "--at", AFTER_THE_FAILOVER)
    assert result.exit_code == 0, result.output
    assert "ReturnUnproven" in result.output
    assert "No difference from the recording." in result.output


def test_the_same_for_machines() -> None:
    """One document a line: every difference, then the sums."""
    result = _replay("seed.jsonl.gz", "--policy", "patient.yaml", "--json")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["kind"] for one in documents[:-1]} == {"difference"}
    assert documents[-1]["different"] == len(documents) - 1
    assert [one["to"] for one in documents[-1]["replayed"]["modeChanges"]] == ["capacity", "cost"]
    alone = json.loads(_replay("seed.jsonl.gz", "--json").stdout)
    assert (alone["kind"], alone["different"], alone["recorded"], alone["command"]) == ("summary", 0, None, None)


def test_a_part_of_the_time() -> None:
    """From and until a time, both included to the millisecond that is shown."""
    begin, end = (moment_text(json.loads(LINES[number])["at"]) for number in (3, 4))
    result = _replay("seed.jsonl.gz", "--from", begin, "--until", end)
    assert f"{KEY}  2 decisions replayed, no difference" in result.output


def test_bad_lines_are_named_and_the_rest_is_replayed() -> None:
    """A recording that was cut off in the middle of a line, and a file that is none."""
    content = gzip.decompress(RECORDING.read_bytes())
    Path("cut.jsonl").write_bytes(content[: len(content) // 2])
    Path("broken.jsonl").write_text("nonsense\n" * 30)
    result = _replay("cut.jsonl", "broken.jsonl", "missing.jsonl")
    assert result.exit_code == 0, result.output
    whole = content[: len(content) // 2].count(b"\n")
    assert f"cut.jsonl:{whole + 1}: is not JSON; the last line of a file may have been cut off" in result.stderr
    assert "broken.jsonl:1: is not JSON" in result.stderr
    assert "missing.jsonl: cannot be read: No such file or directory" in result.stderr
    assert "broken.jsonl: 25 more unreadable lines" in result.stderr
    assert f"{KEY}  {whole - 1} decisions replayed, no difference" in result.stdout


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"metric_period_s": 0}, "application.metric_period_s: found 0; allowed: more than 0"),
        ({"units": []}, "application: no deployment units, so there is nothing to weigh"),
        ({"price_per_hour": 0.0}, "application: price of sd21-inf2 must be greater than zero"),
        ({"throughput": -1.0}, "application: throughput of sd21-inf2 must not be negative, got -1"),
        ({"weight": -1}, "application: explicit weights must not be negative and not all be zero"),
    ],
    ids=str,
)
def test_an_application_that_no_version_takes_is_named(changes: dict[str, Any], problem: str) -> None:
    """A recording that somebody edited ended the replay with a traceback, far from its line."""
    first, *rest = gzip.decompress(RECORDING.read_bytes()).splitlines(keepends=True)
    defined = json.loads(first)
    whole = defined["application"]
    whole.update(changes if changes.keys() <= whole.keys() else {})
    for unit in whole["units"][:1]:
        unit.update(changes if changes.keys() <= unit.keys() else {})
    Path("edited.jsonl").write_bytes(json.dumps(defined).encode() + b"\n" + b"".join(rest))
    result = _replay("edited.jsonl", "--what-if")
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert f"edited.jsonl:2: {problem}" in result.stderr
    assert "no recorded decision could be read" in result.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        pytest.param(("broken.jsonl",), "no recorded decision could be read", id="nothing could be read"),
        pytest.param(("seed.jsonl.gz", "--application", "other"), f"there are decisions about: {KEY}", id="another application"),
        pytest.param(("seed.jsonl.gz", "--from", "2027-01-01T00:00:00Z"), f"there are decisions about: {KEY}", id="another time"),
        pytest.param(
            ("seed.jsonl.gz", "--policy", "other.yaml"), f"there are decisions about: {KEY}", id="a policy of another application"
        ),
        pytest.param(("seed.jsonl.gz", "--policy", "missing.yaml"), "missing.yaml: found no file", id="no application file"),
        pytest.param(("seed.jsonl.gz", "--policy", "more.yaml", "--whole"), "sd21-new, which was not recorded", id="a new unit"),
        pytest.param(("seed.jsonl.gz", "--whole"), "--whole needs --policy", id="whole of nothing"),
        pytest.param(("seed.jsonl.gz", "--at", "noon"), "allowed: a time such as", id="no time"),
        pytest.param((), "Missing argument", id="no file"),
    ],
)
def test_errors_exit_with_one(words: tuple[str, ...], problem: str) -> None:
    """Two means differences."""
    Path("broken.jsonl").write_text("nonsense\n")
    Path("other.yaml").write_text(APPLICATION.read_text().replace("namespace: default", "namespace: other"))
    Path("more.yaml").write_text(APPLICATION.read_text().replace("- name: sd21-trn1\n", "- name: sd21-new\n"))
    result = _replay(*words)
    assert result.exit_code == 1, result.output
    assert problem in result.output
