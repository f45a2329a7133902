"""The load tool: vegeta (https://github.com/tsenart/vegeta), in its own process.

It is an open loop: it sends at a constant rate whether or not earlier requests were answered, and starts more workers as needed. So a
server that slows down still gets the requests that users would send meanwhile (no coordinated omission). It reads its target from standard
input, so that no list of processes shows a header, and prints each result as the request ends.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from controller.errors import ConfigError, Unavailable
from controller.notifiers.redact import redact
from failover_setup.breaking_point.model import Sample
from failover_setup.breaking_point.target import Target

INSTALL: Final = "go install github.com/tsenart/vegeta/v12@v12.13.0 (or: brew install vegeta)"

_NAME: Final = "vegeta"
_PER_S: Final = 1000  # vegeta takes a whole number of requests per time: 12.345/s is 12345 per thousand seconds
_SINGLE_RATE: Final = 20.0  # most single requests a second, one after the other
_MARGIN_S: Final = 30.0  # the tool hangs if it runs this much longer than a step and its time-out
_END_S: Final = 5.0
_NS: Final = 1e9
_ERROR_TEXT: Final = 300
_EXHAUSTED: Final = ("too many open files", "cannot assign requested address")
_SUCCESS: Final = range(200, 300)


def find_program(named: Path | None) -> Path:
    """The load tool: the named program, or vegeta on the PATH.

    Raises:
        ConfigError: There is none. The error says how to install it.
    """
    found = shutil.which(named or _NAME)
    if found is None:
        where = f"{named}: not a program" if named is not None else f"no program {_NAME} on the PATH"
        raise ConfigError(f"{where}; install it with: {INSTALL}; or name it with --load-tool FILE")
    return Path(found)


@dataclass(frozen=True, slots=True)
class Vegeta:
    """Sends one request repeatedly.

    Attributes:
        program: The tool.
        target: The request.
        timeout_s: Time-out of a request, seconds.
    """

    program: Path
    target: Target
    timeout_s: float

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        """See `failover_setup.breaking_point.run.Load.open_loop`."""
        options = [f"-rate={round(rate * _PER_S)}/{_PER_S}s", f"-duration={seconds:.3f}s", f"-max-workers={in_flight}"]
        return self._attack(options, rate, seconds, stop)

    def closed_loop(self, seconds: float) -> Sequence[Sample]:
        """See `failover_setup.breaking_point.run.Load.closed_loop`; at most twenty requests a second."""
        options = [f"-rate={_SINGLE_RATE:.0f}/1s", f"-duration={seconds:.3f}s", "-workers=1", "-max-workers=1"]
        return self._attack(options, _SINGLE_RATE, seconds, lambda _: False)

    def _attack(self, options: Sequence[str], rate: float, seconds: float, stop: Callable[[Sample], bool]) -> list[Sample]:
        """Runs the tool once.

        Raises:
            Unavailable: It failed or hung.
        """
        found: list[tuple[int, Sample]] = []
        begin_ns: int | None = None
        stopping = False
        with self._running([*options, f"-timeout={self.timeout_s:.3f}s"], seconds) as (attack, lines):
            for at_ns, number, sample in _results(lines):
                if begin_ns is None:  # results come in the order in which requests end, so the first request's may come late
                    begin_ns = at_ns - int(number / rate * _NS)
                found.append((at_ns, sample))
                if not stopping and stop(replace(sample, sent_s=(at_ns - begin_ns) / _NS)):
                    stopping = True
                    with suppress(ProcessLookupError):
                        attack.send_signal(signal.SIGINT)  # sends no more, and waits for what is in flight
        first_ns = min((at_ns for at_ns, _ in found), default=0)
        return [replace(sample, sent_s=(at_ns - first_ns) / _NS) for at_ns, sample in found]

    @contextmanager
    def _running(self, options: Sequence[str], seconds: float) -> Iterator[tuple[subprocess.Popen[bytes], IO[str]]]:
        """The tool and the lines of its results. Both processes have ended after the block, even after an error."""
        command = [str(self.program), "attack", "-format=json", "-redirects=-1", "-max-body=0", *options]
        with tempfile.TemporaryFile() as errors, ExitStack() as running:
            attack = self._process(command, subprocess.PIPE, errors)
            running.callback(_end, attack)
            watchdog = threading.Timer(seconds + self.timeout_s + _MARGIN_S, attack.kill)
            watchdog.daemon = True
            watchdog.start()
            running.callback(watchdog.cancel)
            encode = self._process([str(self.program), "encode", "-to=csv"], attack.stdout, errors)
            running.callback(_end, encode)
            if attack.stdout is not None:
                attack.stdout.close()  # leaves the encoder as the only reader, so that it sees the end
            with suppress(BrokenPipeError), attack.stdin or nullcontext() as stdin:
                if stdin is not None:
                    stdin.write(_line(self.target))
            with io.TextIOWrapper(encode.stdout or io.BytesIO(), encoding="utf-8", errors="replace", newline="") as lines:
                yield attack, lines
            _check(attack, errors)

    def _process(self, command: Sequence[str], stdin: IO[bytes] | int | None, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Starts a process of the tool.

        Raises:
            Unavailable: It cannot be run.
        """
        try:
            # In its own session: Ctrl-C reaches only this process, which ends the tool. The command is the user's program and our numbers.
            return subprocess.Popen(  # noqa: S603
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise Unavailable(f"{self.program}: cannot be run: {error.strerror}") from error


def _line(target: Target) -> bytes:
    """The target in the tool's input format."""
    headers = {name: [value] for name, value in target.headers.items()}
    body = base64.b64encode(target.body).decode()
    return json.dumps({"method": target.method, "url": target.url, "header": headers, "body": body}).encode() + b"\n"


def _results(lines: IO[str]) -> Iterator[tuple[int, int, Sample]]:
    """Time in nanoseconds, number and sample of every request, in the order in which they ended; the sample's own time is not set.

    Columns: timestamp, code, latency, bytes out, bytes in, error, body, name, number, method, URL, headers.
    """
    for row in csv.reader(lines):
        try:
            at_ns, code, latency_ns, number = int(row[0]), int(row[1]), int(row[2]), int(row[8])
        except (ValueError, IndexError):
            raise Unavailable("the load tool printed something that is not a result; is it vegeta 12?") from None
        yield at_ns, number, Sample(math.nan, latency_ns / _NS, _failure(code, row[5]))


def _failure(code: int, error: str) -> str:
    """The kind of failure in a word, never the tool's own text, which contains the URL.

    Raises:
        Unavailable: The failure is on this machine, not on the server.
    """
    if code:
        return "" if code in _SUCCESS else str(code)
    if any(part in error for part in _EXHAUSTED):
        raise Unavailable("the load tool ran out of files or ports; that is not the server's fault: raise `ulimit -n`, or lower --max-rate")
    if "imeout" in error or "deadline" in error:
        return "time-out"
    for part, word in (("refused", "refused"), ("reset", "reset"), ("EOF", "reset"), ("no such host", "no such host"), ("x509", "TLS")):
        if part in error:
            return word
    return "no answer"


def _check(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    """Waits for the tool's end.

    Raises:
        Unavailable: It did not end, or failed.
    """
    try:
        code = process.wait(_END_S)
    except subprocess.TimeoutExpired:
        raise Unavailable("the load tool does not end") from None
    if code:
        errors.seek(0)
        text = redact(errors.read(_ERROR_TEXT).decode(errors="replace").strip())
        raise Unavailable(f"the load tool failed with {code}: {text or 'it hung'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
