"""What all workers of a run share is made by one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.made_once import made_once


class _Factory:
    """One worker's."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def getbasetemp(self) -> Path:
        return self._folder


def test_the_workers_find_what_one_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside their own folders."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    made: list[Path] = []
    found = [made_once(_Factory(tmp_path / worker), "image", made.append) for worker in ("gw0", "gw1", "gw0")]  # type: ignore[arg-type]
    assert found == 3 * made
    assert made[0].parent == tmp_path


def test_without_workers_it_is_in_the_run_s_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not beside it, where the next run would find it."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert made_once(_Factory(tmp_path / "run"), "image", lambda folder: None).parent == tmp_path / "run"  # type: ignore[arg-type]


def test_what_could_not_be_made_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, not in what a failure left."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    factory = _Factory(tmp_path / "run")

    def half(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        made_once(factory, "image", half)  # type: ignore[arg-type]
    whole = made_once(factory, "image", lambda folder: (folder / "whole").touch())  # type: ignore[arg-type]
    assert [path.name for path in whole.iterdir()] == ["whole"]
    assert made_once(factory, "image", half) == whole, "it is there"  # type: ignore[arg-type]
