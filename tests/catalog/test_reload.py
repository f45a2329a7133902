"""A change of the files is applied completely or not at all, and reported once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.catalog import reload
from controller.catalog.loader import Source, read_sources
from controller.catalog.reload import CatalogChange, CatalogWatcher
from controller.clock import ManualClock
from controller.errors import ConfigError

NOW = 1_700_000_000.0


def application(name: str, **policy: Any) -> dict[str, Any]:
    return {
        "apiVersion": "failoverctl.dev/v1alpha1",
        "kind": "FailoverApplication",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "ingress": name,
            "action": "weighted-routing",
            "capacityService": {"name": f"{name}-all", "port": 80},
            "units": [
                {
                    "name": name,
                    "service": {"name": name, "port": 80},
                    "deployment": name,
                    "nodePool": "pool",
                    "instanceType": "inf2.xlarge",
                    "pricePerHour": 1,
                    "throughput": 100,
                    "latencySeconds": 0.5,
                    "weight": 1,
                }
            ],
            "policy": policy,
        },
    }


def write(folder: Path, name: str, **policy: Any) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(application(name, **policy)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "applications"
    path.mkdir()
    write(path, "one")
    write(path, "two")
    return path


@pytest.fixture
def watcher(folder: Path) -> CatalogWatcher:
    watcher = CatalogWatcher(folder, ManualClock(NOW))
    watcher.start()
    return watcher


def poll(watcher: CatalogWatcher) -> CatalogChange:
    change = watcher.poll()
    assert change is not None
    return change


def test_start_reads_all_applications(watcher: CatalogWatcher) -> None:
    assert list(watcher.applications) == ["default/one", "default/two"]


def test_start_with_a_broken_file_runs_the_others(folder: Path) -> None:
    """A restart must not leave all applications without a controller because of one."""
    (folder / "one.yaml").write_text("broken")
    started = CatalogWatcher(folder, ManualClock(NOW))
    assert list(started.start()) == ["default/two"]
    assert started.partial
    assert "one.yaml:1" in started.error
    assert started.poll() is None
    write(folder, "one")
    change = poll(started)
    assert (change.error, change.added, list(change.applications)) == ("", ("default/one",), ["default/one", "default/two"])
    assert not started.partial


def test_start_runs_the_sound_documents_of_a_file(folder: Path) -> None:
    """Of several in one file only that with the fault is left out."""
    texts = [yaml.safe_dump(application("three", patienceSeconds="soon")), yaml.safe_dump(application("four"))]
    (folder / "more.yaml").write_text("---\n".join(texts))
    started = CatalogWatcher(folder, ManualClock(NOW))
    assert list(started.start()) == ["default/four", "default/one", "default/two"]
    assert started.error.startswith(f"{folder}/more.yaml:")


def test_start_runs_none_of_two_that_claim_the_same(folder: Path) -> None:
    """Nobody can know which of them is meant: both would write to one Ingress, and each as if the other did not."""
    twin = application("three")
    twin["spec"]["ingress"] = "one"
    (folder / "three.yaml").write_text(yaml.safe_dump(twin))
    started = CatalogWatcher(folder, ManualClock(NOW))
    assert list(started.start()) == ["default/two"]
    assert "found Ingress default/one" in started.error


def test_start_where_every_application_has_a_fault_is_an_error(folder: Path) -> None:
    """There is nothing to control."""
    for name in ("one", "two"):
        write(folder, name, patienceSeconds="soon")
    with pytest.raises(ConfigError, match=r"(?s)one.yaml:.*two.yaml:"):
        CatalogWatcher(folder, ManualClock(NOW)).start()


def test_a_partial_set_stays_as_it_is_while_files_are_wrong(folder: Path) -> None:
    """As any other set that runs: half of a change is never applied."""
    (folder / "one.yaml").write_text("broken")
    started = CatalogWatcher(folder, ManualClock(NOW))
    started.start()
    write(folder, "three")
    change = poll(started)
    assert (change.added, list(change.applications), started.partial) == ((), ["default/two"], True)


def test_start_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no file"):
        CatalogWatcher(tmp_path / "nothing", ManualClock(NOW)).start()


def test_no_change_reports_nothing(watcher: CatalogWatcher) -> None:
    assert watcher.poll() is None


def test_a_change_lists_what_was_added_removed_and_changed(watcher: CatalogWatcher, folder: Path) -> None:
    write(folder, "three")
    write(folder, "one", patienceSeconds=60)
    (folder / "two.yaml").unlink()
    change = poll(watcher)
    assert (change.added, change.removed, change.changed) == (("default/three",), ("default/two",), ("default/one",))
    assert NOW <= change.at < NOW + 1
    assert not change.error
    assert change.applications == watcher.applications
    assert change.applications["default/one"].policy.patience_s == 60


def test_a_change_that_could_not_be_taken_over_is_found_again(watcher: CatalogWatcher, folder: Path) -> None:
    """As often as it takes, with all that was added and removed."""
    write(folder, "three")
    (folder / "one.yaml").unlink()
    first = poll(watcher)
    watcher.undo()
    assert list(watcher.applications) == ["default/one", "default/two"]
    second = poll(watcher)
    assert (second.added, second.removed) == (first.added, first.removed) == (("default/three",), ("default/one",))
    assert watcher.poll() is None


def test_an_error_that_could_not_be_reported_is_found_again(watcher: CatalogWatcher, folder: Path) -> None:
    (folder / "one.yaml").write_text("broken")
    assert poll(watcher).error
    watcher.undo()
    assert not watcher.error
    assert poll(watcher).error == watcher.error


def test_a_new_comment_reports_nothing(watcher: CatalogWatcher, folder: Path) -> None:
    with (folder / "one.yaml").open("a") as file:
        file.write("# a comment\n")
    assert watcher.poll() is None


def test_the_same_content_written_again_reports_nothing(watcher: CatalogWatcher, folder: Path) -> None:
    write(folder, "one")
    assert watcher.poll() is None


def test_one_bad_file_keeps_all_of_the_old_set_running(watcher: CatalogWatcher, folder: Path) -> None:
    old = dict(watcher.applications)
    write(folder, "three")
    (folder / "two.yaml").write_text("broken")
    change = poll(watcher)
    assert "two.yaml:1" in change.error
    assert change.applications == old == watcher.applications
    assert watcher.error == change.error


def test_an_error_is_reported_once_for_each_content(watcher: CatalogWatcher, folder: Path) -> None:
    (folder / "two.yaml").write_text("broken")
    assert poll(watcher).error
    assert watcher.poll() is None
    (folder / "two.yaml").write_text("broken otherwise")
    assert poll(watcher).error
    assert watcher.poll() is None


def test_the_end_of_an_error_is_reported_even_if_the_old_content_returns(watcher: CatalogWatcher, folder: Path) -> None:
    (folder / "two.yaml").write_text("broken")
    assert poll(watcher).error
    write(folder, "two")
    change = poll(watcher)
    assert (change.error, change.added, change.removed, change.changed) == ("", (), (), ())
    assert not watcher.error


def test_files_that_vanish_keep_the_old_set_running(watcher: CatalogWatcher, folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    assert "found 0 application files" in poll(watcher).error
    folder.rmdir()
    assert "found no file" in poll(watcher).error
    assert len(watcher.applications) == 2


def test_a_config_map_is_swapped_by_its_symbolic_link(tmp_path: Path) -> None:
    for version, name in (("..1", "one"), ("..2", "two")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "app.yaml").write_text(yaml.safe_dump(application(name)))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "app.yaml").symlink_to("..data/app.yaml")
    watcher = CatalogWatcher(tmp_path, ManualClock(NOW))
    assert list(watcher.start()) == ["default/one"]
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    change = poll(watcher)
    assert (change.added, change.removed) == (("default/two",), ("default/one",))


def test_a_file_that_is_half_written_is_not_taken_for_whole(folder: Path) -> None:
    """One that ends between two documents is valid: the application behind them would lose its controller, and its alerts would end."""

    class Clock(ManualClock):
        """A clock in whose waits an editor goes on with its work."""

        rest = ""

        def wait(self, event: threading.Event, seconds: float) -> bool:
            with (folder / "two.yaml").open("a") as file:
                file.write(self.rest)
            self.rest = ""
            return super().wait(event, seconds)

    clock = Clock(NOW)
    watcher = CatalogWatcher(folder, clock)
    watcher.start()
    (folder / "one.yaml").unlink()
    (folder / "two.yaml").write_text(yaml.safe_dump(application("one", patienceSeconds=60)))
    clock.rest = f"---\n{yaml.safe_dump(application('two'))}"
    change = poll(watcher)
    assert (change.added, change.removed, change.changed) == ((), (), ("default/one",))


def test_files_that_change_while_they_are_read_wait_for_the_next_poll(
    watcher: CatalogWatcher, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = iter(range(100))

    def moving(path: Path) -> Iterator[Source]:
        write(folder, "one", patienceSeconds=next(reads))
        return read_sources(path)

    monkeypatch.setattr(reload, "read_sources", moving)
    assert watcher.poll() is None
    monkeypatch.undo()
    assert poll(watcher).changed == ("default/one",)
