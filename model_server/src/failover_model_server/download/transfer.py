"""All files of a plan, several at a time, each verified as soon as it is here."""

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from failover_model_server.download import manifest
from failover_model_server.download.deadline import Deadline
from failover_model_server.download.files import RemoteFile, digests
from failover_model_server.download.plan import Plan
from failover_model_server.download.source import Source, Transient
from failover_model_server.errors import LoadError

Progress = Callable[[int, int], None]
"""Called with (bytes here, bytes in all)."""

WORKERS = 4
"""Files at a time."""
INTERVAL = 0.5
"""Seconds between two reports of progress."""


def bytes_here(directory: Path) -> int:
    """Bytes on the disk under a directory. Blocks, not lengths: a file that is filled in ranges has its full length early."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                status = Path(folder, name).stat()
            except OSError:
                continue  # moved to its place meanwhile
            total += min(status.st_size, status.st_blocks * 512)
    return total


class Transfer:
    """Fetches the files of a plan into a directory."""

    def __init__(self, source: Source, plan: Plan, directory: Path, deadline: Deadline) -> None:
        self._source = source
        self._plan = plan
        self._directory = directory
        self._deadline = deadline
        self._waiting: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
        self._entries: dict[str, manifest.Entry] = {}
        self._failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def run(self, progress: Progress) -> tuple[manifest.Entry, ...]:
        """Fetch and verify all; the entries for the manifest.

        Raises:
            LoadError: the first file that failed for good, or the time is over. What `progress` raises passes through.
        """
        # The largest first: the last to end is then no large one that began late.
        for file in sorted(self._plan.chosen, key=lambda file: -file.size):
            self._waiting.put(file)
        # Daemons: a process that ends does not wait for a stalled connection.
        workers = [threading.Thread(target=self._work, name=f"download-{number}", daemon=True) for number in range(WORKERS)]
        try:
            for worker in workers:
                worker.start()
            self._watch(workers, progress)
        finally:
            self._deadline.stopped.set()
        return tuple(self._entries[file.path] for file in self._plan.chosen)

    def _watch(self, workers: list[threading.Thread], progress: Progress) -> None:
        total = self._plan.bytes_chosen
        while any(worker.is_alive() for worker in workers):
            for worker in workers:
                worker.join(INTERVAL / len(workers))
            if not self._failures.empty():
                raise self._failures.get()
            if self._deadline.left() <= 0:
                under_way = sorted({file.path for file in self._plan.chosen} - self._entries.keys())
                raise LoadError(f"download_timeout: the time is over, and {len(under_way)} files are not here: {', '.join(under_way[:3])}")
            progress(min(bytes_here(self._directory), total), total)
        if not self._failures.empty():
            raise self._failures.get()
        progress(total, total)

    def _work(self) -> None:
        while not self._deadline.stopped.is_set():
            try:
                file = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._entries[file.path] = self._deadline.attempts(file.path, lambda: self._one(file))  # noqa: B023 - called at once
            except OSError as error:
                self._failures.put(LoadError(f"cache_dir: {file.path} cannot be written: {error.strerror or error}"))
                return
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                self._failures.put(error)
                return

    def _one(self, file: RemoteFile) -> manifest.Entry:
        path = self._directory / file.path
        expected = self._source.checksum(file)
        if not (path.is_file() and path.stat().st_size == file.size):
            path.unlink(missing_ok=True)
            self._source.download(file, self._directory)
        size = path.stat().st_size
        sha256, found = digests(path, expected)
        if size == file.size and (expected is None or found == expected.value):
            return manifest.entry(self._directory, file, sha256)
        path.unlink()  # the next try begins this file anew
        if size != file.size:
            raise Transient(f"it has {size} bytes instead of {file.size}")
        raise Transient(f"its {expected.algorithm if expected else 'checksum'} is not that of the source")
