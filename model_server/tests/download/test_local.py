"""A model that is on this machine: used where it is, checked all the same."""

import shutil
from pathlib import Path

import pytest
from failover_model_server import download
from failover_model_server.download import local, manifest
from failover_model_server.download.files import RemoteFile, digests
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

from tests.support import models


def _ignore(_here: int, _total: int) -> None:
    pass


def _write(directory: Path, content: dict[str, bytes]) -> Path:
    for path, data in content.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_it_is_used_where_it_is(tmp_path: Path, prefix: str) -> None:
    """Nothing is copied."""
    directory = _write(tmp_path, models.transformers(shards=2))
    assert download.fetch(Settings(model=f"{prefix}{directory}"), _ignore) == directory


def test_a_task_without_weights_needs_no_model() -> None:
    """No setting, nothing to fetch."""
    assert download.fetch(Settings(), _ignore) == Path()


def _header(directory: Path, text: str) -> None:
    (directory / "model-00001-of-00002.safetensors").write_bytes(len(text).to_bytes(8, "little") + text.encode())


BROKEN = [
    pytest.param(
        lambda d: (d / "model-00001-of-00002.safetensors").unlink(), r"model-00001-of-00002\.safetensors is missing", id="shard gone"
    ),
    pytest.param(
        lambda d: (d / "model-00001-of-00002.safetensors").write_bytes(b"\x10" + bytes(20)),
        r"model-00001-of-00002\.safetensors is cut off",
        id="no safetensors",
    ),
    pytest.param(
        lambda d: (d / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00003-of-00003.safetensors"}}'),
        r"names model-00003-of-00003\.safetensors, which is missing",
        id="index names another",
    ),
    pytest.param(lambda d: (d / "model.safetensors.index.json").write_text("[]"), "is no index of shards", id="no index"),
    pytest.param(
        lambda d: (d / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../config.json"}}'), "is missing", id="outside"
    ),
    pytest.param(lambda d: (d / "model.safetensors.index.json").write_text("[" * 100_000), "is no index of shards", id="nested index"),
    pytest.param(lambda d: _header(d, "[" * 100_000), "its header cannot be read", id="nested header"),
    pytest.param(lambda d: _header(d, '{"a": {"data_offsets": [0, 1e999]}}'), "its header cannot be read", id="infinite offset"),
    pytest.param(shutil.rmtree, "is not a directory", id="no directory"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_what_is_not_whole_is_refused(tmp_path: Path, damage: object, message: str) -> None:
    """The file is named before anything is loaded."""
    directory = _write(tmp_path / "model", models.transformers(shards=2))
    damage(directory)  # type: ignore[operator]
    with pytest.raises(LoadError, match=message):
        download.fetch(Settings(model=f"file://{directory}"), _ignore)


def test_a_directory_with_a_manifest_must_be_what_it_says(tmp_path: Path) -> None:
    """A staged copy that was changed is refused."""
    directory = _write(tmp_path, models.transformers())
    sha256 = digests(directory / "config.json", None)[0]
    entry = manifest.entry(directory, RemoteFile("config.json", 2), sha256)
    manifest.write(directory, manifest.Manifest("hf://org/model", "0" * 40, "", compiled=False, bytes_total=2, files=(entry,)))
    assert local.check("model", directory, variant="", compiled=False).chosen
    with pytest.raises(LoadError, match=r"revision: .* holds 0{40} of hf://org/model, the setting says 1{40}"):
        local.check("model", directory, variant="", compiled=False, revision="1" * 40)
    (directory / "config.json").write_bytes(b"[]")
    with pytest.raises(LoadError, match=r"config\.json has changed"):
        local.check("model", directory, variant="", compiled=False)


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 2}', "[]", '{"schema": 1, "files": 3}'])
def test_a_broken_manifest_is_said(tmp_path: Path, text: str) -> None:
    """A manifest that cannot be read is not skipped."""
    directory = _write(tmp_path, models.transformers())
    (directory / manifest.FILE).write_text(text)
    with pytest.raises(LoadError, match=r"failover-manifest\.json"):
        local.check("model", directory, variant="", compiled=False)


def test_a_home_directory_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong path with very many files is refused soon."""
    monkeypatch.setattr(local, "LARGEST_LISTING", 3)
    with pytest.raises(LoadError, match="more than 3 files"):
        local.check("model", _write(tmp_path, models.transformers()), variant="", compiled=False)
