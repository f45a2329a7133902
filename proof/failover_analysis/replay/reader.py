"""Reads recordings line by line, so that even a long one needs little memory."""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from controller.errors import ConfigError
from controller.policy.model import Application
from controller.policy.routing import base_weights, cost_per_request, weight_strategy
from controller.recording.files import recording_files
from controller.recording.lines import MAX_LINE, LineError, Recorded
from failover_analysis.replay.decoder import Decoder

MAX_FILES: Final = 512
"""Most files read together; all are open at once."""
_EVERY: Final = 64  # decisions between two reports of progress


@dataclass(frozen=True, slots=True)
class Unread:
    """A line, or the rest of a file (line 0), that could not be read."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}" if self.line else f"{self.file}: {self.problem}"


def read(paths: Iterable[Path], unread: Callable[[Unread], None], watched: Callable[[float], None] = lambda _: None) -> Iterator[Recorded]:
    """Reads all decisions of some files in order of time.

    Args:
        paths: Files, compressed or not, and folders of such files.
        unread: Called for each line or rest of a file that cannot be read; the others are still read.
        watched: Called from time to time with the share of all bytes that is read.

    Raises:
        ConfigError: There is no file, or there are too many.
    """
    files = [file for path in paths for file in (recording_files(path) if path.is_dir() else [path])]
    if not files or len(files) > MAX_FILES:
        raise ConfigError(f"found {len(files)} files of recorded decisions; allowed: 1 to {MAX_FILES}")
    decoder = Decoder()
    with ExitStack() as opened:
        streams, raw, size = [], [], 0
        for file in files:
            try:
                raw.append(opened.enter_context(file.open("rb")))
                size += file.stat().st_size
            except OSError as error:
                unread(Unread(str(file), 0, f"cannot be read: {error.strerror or error}"))
                continue
            stream = opened.enter_context(gzip.GzipFile(fileobj=raw[-1])) if file.suffix == ".gz" else raw[-1]
            streams.append(_decisions(file, cast("IO[bytes]", stream), decoder, unread))
        merged = heapq.merge(*streams, key=lambda recorded: recorded.snapshot.now)
        for number, recorded in enumerate(merged):
            if number % _EVERY == 0:
                watched(sum(one.tell() for one in raw) / max(1, size))
            yield recorded


def _impossible(application: Application) -> str:
    """Why nothing can be computed with an application, as no version takes it from a file; "" where something can."""
    if application.metric_period_s <= 0:
        return f"application.metric_period_s: found {application.metric_period_s}; allowed: more than 0"
    try:
        base_weights(application.units, weight_strategy(application), None, {})
        for unit in application.units:
            cost_per_request(unit)
    except ValueError as error:
        return f"application: {error}"
    return ""


def _decisions(file: Path, stream: IO[bytes], decoder: Decoder, unread: Callable[[Unread], None]) -> Iterator[Recorded]:
    number = 0
    try:
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                unread(Unread(str(file), number, f"is longer than {MAX_LINE} bytes; the rest of the file is skipped"))
                return
            try:
                recorded = decoder.decode(line)
            except LineError as error:
                unread(Unread(str(file), number, str(error)))
                continue
            if recorded is None:
                continue
            if problem := _impossible(recorded.snapshot.application):
                unread(Unread(str(file), number, problem))
                continue
            yield recorded
    except (OSError, EOFError, zlib.error) as error:
        unread(Unread(str(file), 0, f"ends early after line {number}: {error}"))
