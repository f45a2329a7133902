"""Records decisions for `failoverctl replay` without ever delaying one.

A pass only queues; a separate thread encodes and writes the lines. Lines that cannot be written are dropped, counted and reported: a
recording is not worth the smallest delay of a mode change.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Final

import structlog

from controller.clock import Clock
from controller.notifiers.redact import DEFAULT, Redactor
from controller.policy.model import Application, Memory, Plan, Snapshot, Source
from controller.policy.plan import describe
from controller.recording.files import RecordingFiles
from controller.recording.lines import MAX_LINE, Definition, LineError, Recorded, decided, definition, encode
from controller.service.executor import Outcome
from controller.service.telemetry import Telemetry
from controller.settings import RecordingSettings

QUEUE: Final = 256
"""Decisions that wait to be written. Each holds on to its snapshot, some 100 kB."""

_MOST_APPLICATIONS: Final = 4096  # whose last decision is kept; beyond that, all are dropped and recorded again
_IDLE_S: Final = 0.5
_CLOSE_S: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Last:
    """The parts of an application's last recorded decision that the next one is compared with."""

    essence: tuple[object, ...]
    application: Application
    memory: Memory
    at: float


class Recorder:
    """Records the decisions that matter: those that differ from the last one, act, or change the memory; and a heartbeat.

    Args:
        files: The files to write.
        clock: The clock, for the heartbeat.
        telemetry: Counts recorded and dropped decisions.
        heartbeat_s: Longest time between two lines of one application, seconds. A standby writes none.
        redactor: Applied to every text.
    """

    def __init__(
        self, files: RecordingFiles, clock: Clock, telemetry: Telemetry, *, heartbeat_s: float = 60.0, redactor: Redactor = DEFAULT
    ) -> None:
        self._files, self._clock, self._telemetry = files, clock, telemetry
        self._heartbeat_s, self._redactor = heartbeat_s, redactor
        self._queue: queue.Queue[tuple[Memory, Snapshot, Plan, Outcome, float]] = queue.Queue(QUEUE)
        self._last: dict[str, _Last] = {}
        self._defined: dict[str, tuple[Application, Definition]] = {}
        self._problem = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Starts the writing thread."""
        self._thread.start()

    def offer(self, before: Memory, snapshot: Snapshot, made: Plan, outcome: Outcome, after: Memory, done: float) -> None:
        """Queues one decision if it matters. Never blocks or raises.

        Args:
            before: The memory before it.
            snapshot: The snapshot it was made from.
            made: The plan, with its decision.
            outcome: The result of carrying out the plan.
            after: The memory after it.
            done: When the plan had been carried out, seconds since the Unix epoch.
        """
        application, decision = snapshot.application, made.decision
        essence = (
            *(decision.verb, decision.reason, decision.mode, decision.held_back, decision.targets),
            *(decision.stickiness_s, snapshot.leader),
        )
        last = self._last.get(application.key)
        acted = bool(outcome.applied or outcome.failures)
        if last is not None and not acted and (essence, after) == (last.essence, last.memory) and last.application is application:
            quiet = 0 <= snapshot.now - last.at < self._heartbeat_s
            if quiet or not snapshot.leader:
                return
        try:
            self._queue.put_nowait((before, snapshot, made, outcome, done))
        except queue.Full:
            self._dropped("queue", f"{QUEUE} decisions wait to be written")
            return
        if len(self._last) >= _MOST_APPLICATIONS:
            self._last.clear()
        self._last[application.key] = _Last(essence, application, after, snapshot.now)

    def sources(self) -> tuple[Source, ...]:
        """The state of the recording as a source that no decision needs: if it fails, it is a named degradation."""
        last_ok = None if self._problem else self._clock.now()
        return (Source("recording", required=False, last_ok=last_ok, budget_s=self._heartbeat_s, problem=self._problem),)

    def close(self) -> None:
        """Writes what is queued, within a few seconds, and stops."""
        self._closing.set()
        self._thread.join(timeout=_CLOSE_S)
        if self._thread.is_alive():
            log.warning("recording.unfinished", decisions=self._queue.qsize())

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=_IDLE_S)
            except queue.Empty:
                if self._closing.is_set():
                    break
                continue
            self._record(*item)
        self._files.close()

    def _record(self, before: Memory, snapshot: Snapshot, made: Plan, outcome: Outcome, done: float) -> None:
        try:
            application = self._definition(snapshot)
            recorded = Recorded(before, snapshot, decided(made, outcome.applied), done, _failure(outcome))
            line = self._cleaned(encode(recorded, application.ref))
            self._files.write(application, line)
        except LineError as error:
            self._dropped("line", str(error))
        except OSError as error:
            self._dropped("file", error.strerror or str(error))
        except Exception as error:  # a bug here must not end the recording
            log.exception("recording.failed")
            self._dropped("line", type(error).__name__)
        else:
            self._telemetry.recorded.inc()
            if self._problem:
                log.info("recording.resumed", after=self._problem)
            self._problem = ""

    def _definition(self, snapshot: Snapshot) -> Definition:
        application = snapshot.application
        known = self._defined.get(application.key)
        if known is None or known[0] != application:
            made = definition(application, snapshot.now)
            known = application, Definition(made.ref, self._cleaned(made.line))
            if len(self._defined) >= _MOST_APPLICATIONS:
                self._defined.clear()
            self._defined[application.key] = known
        return known[1]

    def _cleaned(self, line: bytes) -> bytes:
        cleaned = self._redactor.document(line.decode()).rstrip("\n").encode() + b"\n"
        if len(cleaned) > MAX_LINE:
            raise LineError(f"a line would have {len(cleaned)} bytes; allowed: {MAX_LINE}")
        return cleaned

    def _dropped(self, why: str, problem: str) -> None:
        self._telemetry.unrecorded.labels(why).inc()
        if problem != self._problem:
            log.warning("recording.dropped", why=why, problem=problem)
        self._problem = problem


def _failure(outcome: Outcome) -> str:
    if outcome.failures:
        return "; ".join(f"{describe(one.action)}: {one.error}" for one in outcome.failures)
    return "not certain to be the leader any more" if outcome.unconfirmed else ""


def make_recorder(settings: RecordingSettings, clock: Clock, telemetry: Telemetry) -> Recorder | None:
    """Makes the recorder; None if nothing is to be recorded."""
    if settings.folder is None:
        return None
    files = RecordingFiles(settings.folder, clock)
    return Recorder(files, clock, telemetry)
