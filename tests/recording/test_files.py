"""The files of a recording: bounded in size and number, private, and readable however their process ended."""

from __future__ import annotations

import gzip
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import ConfigError
from controller.recording.files import RecordingFiles, recording_files
from controller.recording.lines import Definition
from failover_analysis.replay.reader import MAX_FILES, Unread, read
from failover_testbed.clocks import ManualClock
from tests.recording.test_lines import failover, lines
from tests.support.applications import NOW

DEFINITION = Definition("r1", b"definition\n")
LINE = b"x" * 99 + b"\n"


def _files(folder: Path, clock: ManualClock | None = None, max_bytes: int = 350, max_files: int = 3) -> RecordingFiles:
    return RecordingFiles(folder, clock or ManualClock(NOW), max_bytes=max_bytes, max_files=max_files)


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_a_full_file_is_compressed_and_the_oldest_is_deleted(tmp_path: Path) -> None:
    """The disk space of a recording is bounded, and every kept file defines the applications of its lines."""
    clock = ManualClock(NOW)
    files = _files(tmp_path / "a" / "b", clock)
    for _ in range(20):
        files.write(DEFINITION, LINE)
        clock.advance(0.3)
    files.close()
    found = recording_files(tmp_path / "a" / "b")
    assert [path.suffix for path in found] == [".gz", ".gz", ".gz", ".jsonl"]
    assert {_content(path) for path in found[:3]} == {DEFINITION.line + 3 * LINE}
    assert [path.name for path in found] == sorted(path.name for path in found)
    assert all(len(_content(path)) <= 350 for path in found)


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    """They contain the names of hosts, nodes and pods."""
    files = _files(tmp_path / "recording")
    for _ in range(5):
        files.write(DEFINITION, LINE)
    assert {stat.S_IMODE(path.stat().st_mode) for path in recording_files(tmp_path / "recording")} == {0o600}
    assert stat.S_IMODE((tmp_path / "recording").stat().st_mode) == 0o700
    files.close()


def test_a_process_never_appends_to_the_file_of_an_earlier_one(tmp_path: Path) -> None:
    """The earlier process may have been killed in the middle of a line."""
    files = _files(tmp_path)
    files.write(DEFINITION, LINE)
    (left,) = recording_files(tmp_path)
    with left.open("ab") as file:
        file.write(b'{"recording":1,"kind":"deci')
    (tmp_path / "decisions-1.jsonl.half").write_bytes(b"half of a compressed file")
    files.close()
    files = _files(tmp_path)
    files.write(DEFINITION, LINE)
    files.close()
    packed, fresh = recording_files(tmp_path)
    assert (packed.name, _content(fresh)) == (left.name + ".gz", DEFINITION.line + LINE)
    assert list(tmp_path.glob("*.half")) == []


def test_a_file_that_another_process_still_writes_is_left_alone(tmp_path: Path) -> None:
    """Two processes in one folder are a mistake, but must not cost either its lines."""
    one, other = _files(tmp_path), _files(tmp_path, max_files=1)
    one.write(DEFINITION, LINE)
    for _ in range(9):
        other.write(DEFINITION, LINE)
    one.write(DEFINITION, LINE)
    assert DEFINITION.line + 2 * LINE in [_content(path) for path in recording_files(tmp_path)]
    one.close()
    other.close()


def test_a_file_that_cannot_be_removed_is_left_alone(tmp_path: Path) -> None:
    """It has the name of a recorded file."""
    (tmp_path / "decisions-0.jsonl").mkdir()
    (tmp_path / "decisions-0.jsonl.half").mkdir()
    (tmp_path / "decisions-1.jsonl.gz").mkdir()
    files = _files(tmp_path, max_files=1)
    for _ in range(9):
        files.write(DEFINITION, LINE)
    files.close()
    assert len([path for path in recording_files(tmp_path) if path.is_file()]) >= 2


def test_a_failed_write_is_an_error_and_the_next_line_tries_again(tmp_path: Path) -> None:
    """A file in place of the folder may be replaced by a folder later."""
    place = tmp_path / "place"
    place.write_text("")
    files = _files(place)
    with pytest.raises(OSError, match="exists"):
        files.write(DEFINITION, LINE)
    place.unlink()
    files.write(DEFINITION, LINE)
    files.close()
    assert [_content(path) for path in recording_files(place)] == [DEFINITION.line + LINE]


@contextmanager
def _no_file_beyond(size: int) -> Iterator[None]:
    """The kernel writes the part that still fits, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    """The file ends with half a line; the next lines go to a new file once there is room."""
    files = _files(tmp_path, max_bytes=1_000_000)
    whole = failover()
    definition, line = lines(whole)
    about = Definition("r", definition)
    files.write(about, line)
    with _no_file_beyond(len(definition) + len(line) + len(line) // 2), pytest.raises(OSError, match="too large"):
        files.write(about, line)
    with _no_file_beyond(0), pytest.raises(OSError, match="too large"):
        files.write(about, line)
    files.write(about, line)
    files.close()
    problems: list[Unread] = []
    assert list(read([tmp_path], problems.append)) == [whole, whole]
    assert [("cut off" in one.problem, one.line) for one in problems] == [(True, 3)]
    assert all(path.stat().st_size for path in recording_files(tmp_path))


def test_readable_lines_are_read_and_the_others_are_named(tmp_path: Path) -> None:
    """A bad line costs one decision, a truncated compressed file its end; an invalid file costs no other file."""
    whole = failover()
    definition, line = lines(whole)
    (tmp_path / "a.jsonl").write_bytes(definition + line + b"what?\n" + line + line[:100])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(definition + line)[:-12])
    (tmp_path / "c.jsonl.gz").write_bytes(b"not compressed at all")
    (tmp_path / "d.jsonl").write_bytes(b"x" * 600_000 + b"\n" + line)
    problems: list[Unread] = []
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.gz", "d.jsonl", "e.jsonl")]
    assert list(read(paths, problems.append))[:2] == [whole, whole]
    texts = sorted(str(one).removeprefix(f"{tmp_path}/") for one in problems)
    assert texts[0] == "a.jsonl:3: is not JSON"
    assert texts[1] == "a.jsonl:5: is not JSON; the last line of a file may have been cut off"
    assert texts[2].startswith("b.jsonl.gz: ends early after line")
    assert texts[3].startswith("c.jsonl.gz: ends early after line 0")
    assert texts[4].startswith("d.jsonl:1: is longer than")
    assert texts[5] == "e.jsonl: cannot be read: No such file or directory"


def test_files_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    """In any order of the arguments."""
    whole = failover()
    later = replace(whole, snapshot=replace(whole.snapshot, now=NOW + 60))
    for name, recorded in (("a.jsonl", later), ("b.jsonl", whole)):
        (tmp_path / name).write_bytes(b"".join(lines(recorded)))
    found = list(read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], lambda _: None))
    assert [one.snapshot.now for one in found] == [NOW, NOW + 60]


def test_no_file_and_too_many_are_errors(tmp_path: Path) -> None:
    """All files are open at once."""
    with pytest.raises(ConfigError, match="found 0 files"):
        list(read([tmp_path], lambda _: None))
    with pytest.raises(ConfigError, match=f"allowed: 1 to {MAX_FILES}"):
        list(read([tmp_path / "a"] * (MAX_FILES + 1), lambda _: None))
