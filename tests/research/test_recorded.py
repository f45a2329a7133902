"""Traces of users, and the recorded ones if present."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import ConfigError
from research import recorded
from research.__main__ import main
from research.recorded import bamboo, load, read_csv, wave


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


def test_counts_become_availability(tmp_path: Path) -> None:
    """A zone has capacity while its count is what is needed or more, from its line's time until the next one's."""
    path = write(tmp_path, "time,a,b\n1000,4,0\n1200,1,0\n1400,4,1\n1600,0,0\n")
    zones = read_csv(path, need=2, tick_s=100.0)
    assert [(zone.name, zone.available) for zone in zones] == [("a", b"\1\1\0\0\1\1"), ("b", b"\0\0\0\0\0\0")]


def test_times_may_be_dates(tmp_path: Path) -> None:
    """ISO 8601; one without a zone is in UTC, whatever the machine's own is."""
    path = write(tmp_path, "time,a\n2026-01-01T00:00:00Z,1\n2026-01-01T02:00:00+01:00,0\n2026-01-01 02:00:00,1\n")
    assert read_csv(path, tick_s=1800.0)[0].available == b"\1\1\0\0"


def test_a_trace_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """With a byte order mark, carriage returns and an empty line at its end."""
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbftime,a\r\n0,1\r\n1e2,0\r\n200,1\r\n\r\n")
    assert read_csv(path, tick_s=100.0)[0].available == b"\1\0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.csv:1: found ''"),
        ("when,a\n1,1\n", "mine.csv:1: found 'when,a'"),
        ("time,a,a\n1,1,1\n", "a different name"),
        ("time,a\n0,1\n500\n", "mine.csv:3: found 1 column"),
        ("time,a\n0,1\nsoon,1\n", 'mine.csv:3: time: found "soon"'),
        ("time,a\n0,yes\n", 'mine.csv:2: a: found "yes"'),
        ("time,a\n0,nan\n", 'mine.csv:2: a: found "nan"'),
        ("time,a\n0,-1\n", 'mine.csv:2: a: found "-1"'),
        ("time,a\n500,1\n0,1\n", "mine.csv:3: its time is before"),
        ("time,a\n0,1\n10,1\n", "mine.csv:3: found 0.000115741 days"),
        ("time,a\n0,1\n", "mine.csv:2: found 0 days"),
        ("time,a\n1700000000000000000,1\n1700003600000000000,0\n", "mine.csv:3: found 4.16667e+07 days, if times are in seconds"),
        ("time,a\n0,1\n1e300,0\n", "mine.csv:3: found "),
        ("time,a\n0,1\x00\n", "mine.csv"),
    ],
)
def test_bad_input_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """So that users can find the mistake in their file."""
    with pytest.raises(ConfigError) as refused:
        read_csv(write(tmp_path, text))
    assert said in str(refused.value)


def test_a_users_trace_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--trace` shows every policy on the unit and on each zone; a bad file ends with 2 and the line."""
    good = write(tmp_path, "time,a,b\n0,1,1\n20000,0,1\n30000,1,0\n60000,1,1\n")
    monkeypatch.setattr("sys.argv", ["policy", "--trace", str(good)])
    assert main() == 0
    assert "any zone" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["policy", "--trace", str(write(tmp_path, "time,a\n0,x\n"))])
    assert main() == 2
    assert "mine.csv:2" in capsys.readouterr().out
    binary = tmp_path / "mine.csv"
    binary.write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    assert main() == 2
    assert "mine.csv: no CSV file in UTF-8" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("name", recorded.BAMBOO)
def test_recorded_instances_last_for_hours(name: str) -> None:
    """The unit of their times is right: experiments lasted between five hours and four days."""
    if not (recorded.DATA / name).exists():
        pytest.skip(f"{name} is not there")
    made = bamboo(name)
    assert 5 / 24 < made.days < 4
    assert 0 < made.short_share < 1


@pytest.mark.parametrize("name", recorded.LOADS)
def test_recorded_loads_are_scaled_to_the_wave(name: str) -> None:
    """Their peak is the wave's."""
    if not (recorded.DATA / name).exists():
        pytest.skip(f"{name} is not there")
    assert max(load(name, 6)) == pytest.approx(max(wave(288, 300.0))) == pytest.approx(recorded.PEAK)
