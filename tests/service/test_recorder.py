"""Which decisions are recorded, and that nothing that goes wrong with it is felt anywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controller.notifiers.redact import Redactor
from controller.policy.model import Memory, Mode, Override, Snapshot, Source
from controller.policy.model.modes import Repeats
from controller.recording.files import RecordingFiles, recording_files
from controller.recording.lines import Definition, Recorded
from controller.routing.conclusion import conclude
from controller.service.executor import Outcome
from controller.service.recorder import QUEUE, Recorder, make_recorder
from controller.service.telemetry import Telemetry
from controller.settings import RecordingSettings
from failover_analysis.replay.reader import read
from failover_harness.waiting import wait_for
from failover_testbed.clocks import ManualClock
from tests.policy.support import shortage
from tests.support.applications import NOW, memory, snapshot

WEBHOOK = "https://hooks.slack.com/services/T00AAAA/B00AAAA/abcdefghijklmnopqrstuvwx"
SECRETS = (
    "abcdefghijklmnopqrstuvwx",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    "k8s-aws-v1.aHR0cHM6Ly9zdHM",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzYSJ9.c2lnbmF0dXJl",
    "s3cr3t-passw0rd",
    "my-own-registered-secret",
)


class Bench:
    """A recorder on a folder, and what it says of itself."""

    def __init__(self, folder: Path, *, heartbeat_s: float = 60.0, redactor: Redactor | None = None) -> None:
        self.folder, self.clock, self.telemetry = folder, ManualClock(NOW), Telemetry()
        self.files = RecordingFiles(folder, self.clock, max_bytes=1_000_000, max_files=3)
        self.recorder = Recorder(self.files, self.clock, self.telemetry, heartbeat_s=heartbeat_s, redactor=redactor or Redactor())

    def offer(self, seen: Snapshot, before: Memory | None = None, outcome: Outcome | None = None) -> Memory:
        """What the tick does."""
        before = before or memory()
        made = conclude(before, seen)
        self.recorder.offer(before, seen, made.plan, outcome or Outcome(), made.memory, seen.now + 0.5)
        return made.memory

    def recorded(self) -> list[Recorded]:
        """Everything that was written; the recorder ends with it."""
        self.recorder.start()
        self.recorder.close()
        return list(read([self.folder], lambda problem: pytest.fail(str(problem)))) if recording_files(self.folder) else []

    def dropped(self, why: str) -> float:
        """How many were dropped for a cause."""
        return float(self.telemetry.unrecorded.labels(why)._value.get())


def _at(seconds: float, seen: Snapshot | None = None) -> Snapshot:
    made = seen or snapshot()
    sources = tuple(replace(source, last_ok=NOW + seconds) for source in made.sources)
    return replace(made, now=NOW + seconds, sources=sources)


def test_a_quiet_day_is_a_heartbeat(tmp_path: Path) -> None:
    """One line in a minute where nothing changes, whatever wakes the loop meanwhile."""
    bench, app = Bench(tmp_path), snapshot().application
    for second in range(0, 200, 5):
        bench.offer(replace(_at(second), application=app))
    assert [one.snapshot.now - NOW for one in bench.recorded()] == [0, 60, 120, 180]


def test_what_matters_is_recorded_at_once(tmp_path: Path) -> None:
    """Another decision, another memory, an action that was sent, another application file, a clock that was set back."""
    bench, app = Bench(tmp_path), snapshot().application
    bench.offer(replace(_at(0), application=app))
    short = shortage(replace(_at(5), application=app))
    proven = bench.offer(short)
    bench.offer(replace(short, now=NOW + 6), proven)
    bench.offer(replace(short, now=NOW + 7), replace(proven, hold_level=1))
    pinned = replace(short, routing=replace(short.routing, override=Override(pinned_mode=Mode.CAPACITY)))
    actions = conclude(proven, pinned).plan.actions
    assert actions
    bench.offer(replace(short, now=NOW + 8), replace(proven, hold_level=1), Outcome(applied=actions))
    bench.offer(replace(short, now=NOW + 9, application=replace(app)), replace(proven, hold_level=1))
    bench.offer(replace(short, now=NOW + 2), replace(proven, hold_level=1))
    assert [one.snapshot.now - NOW for one in bench.recorded()] == [0, 5, 7, 8, 9, 2]


def test_a_standby_has_no_heartbeat(tmp_path: Path) -> None:
    """It decides nothing; that it stands by is one line."""
    bench, app = Bench(tmp_path), snapshot().application
    for second in range(0, 600, 30):
        bench.offer(replace(_at(second), application=app, leader=False))
    assert [one.decided.reason for one in bench.recorded()] == ["NotLeader"]


def test_a_full_queue_drops_and_counts_and_the_next_pass_tries_again(tmp_path: Path) -> None:
    """The tick never waits for a disk."""
    bench = Bench(tmp_path, heartbeat_s=1.0)
    for second in range(QUEUE + 10):
        bench.offer(_at(second))
    assert bench.dropped("queue") == 10
    assert "decisions wait" in bench.recorder.sources()[0].problem
    assert len(bench.recorded()) == QUEUE


def test_a_folder_that_cannot_be_written_is_a_named_degradation_until_it_can(tmp_path: Path) -> None:
    """Nothing depends on it, and everybody can see it; no decision is made differently."""
    place = tmp_path / "folder"
    place.write_text("a file is in the way")
    bench = Bench(place)
    bench.recorder.start()
    bench.offer(_at(0))
    wait_for("the drop", lambda: bench.dropped("file") == 1)
    degraded = _at(60)
    degraded = replace(degraded, sources=(*degraded.sources, *bench.recorder.sources()))
    assert conclude(memory(), degraded).decision.degraded == ("recording stale: File exists",)
    place.unlink()
    bench.offer(degraded)
    wait_for("a line", lambda: bench.telemetry.recorded._value.get() == 1)
    bench.recorder.close()
    assert bench.recorder.sources() == (Source("recording", required=False, last_ok=NOW, budget_s=60.0),)
    assert len(list(read([place], lambda problem: pytest.fail(str(problem))))) == 1


def test_what_json_cannot_carry_and_a_bug_cost_one_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording goes on."""
    bench = Bench(tmp_path, heartbeat_s=1.0)
    broken = _at(0)
    bench.offer(replace(broken, routing=replace(broken.routing, writer="\ud800")))
    bench.offer(_at(10))
    real: Callable[[Definition, bytes], None] = bench.files.write
    monkeypatch.setattr(bench.files, "write", lambda about, line: 1 / 0 if b"%d" % (NOW + 10) in line else real(about, line))
    bench.offer(_at(20))
    assert [one.snapshot.now - NOW for one in bench.recorded()] == [20]
    assert bench.dropped("line") == 2


def test_a_line_without_bounds_is_not_written(tmp_path: Path) -> None:
    """Somebody's annotation of a megabyte must not be what fills the disk."""
    bench = Bench(tmp_path)
    seen = _at(0)
    bench.offer(replace(seen, routing=replace(seen.routing, blocked="x" * 1_000_000)))
    assert bench.recorded() == []
    assert bench.dropped("line") == 1


def test_no_secret_gets_into_a_file(tmp_path: Path) -> None:
    """Whatever text people and errors put where a snapshot can see it: quoted, escaped, in names and in values."""
    redactor = Redactor([WEBHOOK, "my-own-registered-secret"])
    bench = Bench(tmp_path, redactor=redactor)
    seen = _at(0)
    texts = (
        f"posted at {WEBHOOK}",
        "key AKIAIOSFODNN7EXAMPLE",
        'aws_secret_access_key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"',
        "token k8s-aws-v1.aHR0cHM6Ly9zdHM",
        'authorization: "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzYSJ9.c2lnbmF0dXJl"',
        "https://user:s3cr3t-passw0rd@proxy.example/path",
        "é\n\\my-own-registered-secret\t",
    )
    text = " and ".join(texts)
    routing = replace(seen.routing, override=Override(paused_until=NOW + 900, paused_why=text), writer=texts[2], undone=text, foreign=True)
    sources = (*seen.sources, *(Source(one, required=False, last_ok=None, budget_s=1.0, problem=one) for one in texts))
    units = {name: replace(unit, notes=texts) for name, unit in seen.units.items()}
    app = replace(seen.application, metric_namespace=text)
    bench.offer(
        replace(seen, routing=routing, sources=sources, units=units, application=app), replace(memory(), reasserted=Repeats(0, None, text))
    )
    (found,) = bench.recorded()
    assert "posted at *** and key ***" in found.snapshot.routing.override.paused_why
    content = b"".join(path.read_bytes() for path in recording_files(tmp_path)).decode()
    shown = content + json.dumps([json.loads(line) for line in content.splitlines()], ensure_ascii=False)
    assert [secret for secret in SECRETS if secret in shown] == []


def test_nothing_is_recorded_unless_requested(tmp_path: Path) -> None:
    """Off by default."""
    assert make_recorder(RecordingSettings(), ManualClock(NOW), Telemetry()) is None
    assert make_recorder(RecordingSettings(folder=tmp_path), ManualClock(NOW), Telemetry()) is not None
