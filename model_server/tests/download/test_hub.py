"""Fetching from the hub, with its own client against a fake of its server."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from failover_model_server import download
from failover_model_server.download import manifest, store
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings

from tests.support import hub, models
from tests.support.online import online

REPOSITORY = "org/model"


@pytest.fixture
def server() -> Iterator[hub.Hub]:
    with hub.serve(REPOSITORY, models.diffusers()) as running:
        yield running


def _settings(server: hub.Hub, root: Path, **more: object) -> Settings:
    given: dict[str, object] = {
        "model": REPOSITORY,
        "revision": hub.COMMIT,
        "hub_endpoint": server.url,
        "cache_dir": root,
        "hub_token": "hf_secret",
    }
    return Settings(**{**given, **more})  # type: ignore[arg-type]


def _ignore(_here: int, _total: int) -> None:
    pass


def test_what_is_needed_arrives_and_the_manifest_says_so(server: hub.Hub, tmp_path: Path) -> None:
    """The chosen files are there, byte for byte, nothing else is, and the manifest names source, revision and each file."""
    reports: list[tuple[int, int]] = []
    directory = download.fetch(_settings(server, tmp_path), lambda here, total: reports.append((here, total)))
    found = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    recorded = manifest.read(directory)
    assert recorded is not None
    assert found - {manifest.FILE} == {file.path for file in recorded.files}
    assert all((directory / path).read_bytes() == server.files[path] for path in found - {manifest.FILE})
    assert (recorded.source, recorded.revision) == (f"hf://{REPOSITORY}", hub.COMMIT)
    assert recorded.bytes_total == sum(map(len, server.files.values()))
    assert reports[-1][0] == reports[-1][1] == sum(file.size for file in recorded.files)
    assert not any(path.endswith((".bin", ".ckpt")) for _, path, _ in server.requests)
    assert server.leaks == []


def test_a_second_start_asks_for_nothing(server: hub.Hub, tmp_path: Path) -> None:
    """With the model here and pinned, the hub may be down."""
    first = download.fetch(_settings(server, tmp_path), _ignore)
    server.requests.clear()
    assert download.fetch(_settings(server, tmp_path), _ignore) == first
    assert server.requests == []


def test_a_broken_line_is_resumed(server: hub.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that ends in the middle of a file costs only the rest of it."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)  # the client keeps whole blocks; 10 MB otherwise
    path = "unet/diffusion_pytorch_model.fp16.safetensors"
    server.cut[path] = 1_000
    directory = download.fetch(_settings(server, tmp_path), _ignore)
    assert (directory / path).read_bytes() == server.files[path]
    assert any(ranged.startswith("bytes=1000") for ranged in server.gets(path))


def test_bytes_that_arrive_wrong_are_fetched_again(server: hub.Hub, tmp_path: Path) -> None:
    """A file of the right size and the wrong content is not the file; LFS and plain files alike."""
    for path in ("unet/diffusion_pytorch_model.fp16.safetensors", "tokenizer/merges.txt"):
        server.corrupt[path] = 1
    directory = download.fetch(_settings(server, tmp_path), _ignore)
    for path in ("unet/diffusion_pytorch_model.fp16.safetensors", "tokenizer/merges.txt"):
        assert (directory / path).read_bytes() == server.files[path]


def test_a_file_that_is_always_wrong_is_given_up(server: hub.Hub, tmp_path: Path) -> None:
    """Tries are bounded; the message names the file; what is there is not taken for a model."""
    path = "unet/diffusion_pytorch_model.fp16.safetensors"
    server.corrupt[path] = 1_000
    with pytest.raises(LoadError, match=rf"gave up on {path} after 5 tries: its sha256 is not that of the source"):
        download.fetch(_settings(server, tmp_path), _ignore)
    assert not list(tmp_path.rglob(manifest.FILE))


def test_a_record_in_the_repository_is_not_that_of_the_directory(tmp_path: Path) -> None:
    """A directory that was fetched may be uploaded as it is. Its record says nothing of a copy that is not whole, or of one that is."""
    record = {"schema": 1, "source": "x", "revision": "x", "variant": "", "compiled": False, "bytes_total": 0, "files": []}
    with hub.serve(REPOSITORY, models.transformers() | {manifest.FILE: json.dumps(record).encode()}) as server:
        server.corrupt["model.safetensors"] = 5
        with pytest.raises(LoadError, match=r"gave up on model\.safetensors"):
            download.fetch(_settings(server, tmp_path), _ignore)
        directory = download.fetch(_settings(server, tmp_path), _ignore)
        assert (directory / "model.safetensors").read_bytes() == server.files["model.safetensors"]
        server.requests.clear()
        assert download.fetch(_settings(server, tmp_path), _ignore) == directory
        assert server.requests == []


def test_a_busy_hub_is_asked_again(server: hub.Hub, tmp_path: Path) -> None:
    """503 from the API or for a file is no answer."""
    server.broken |= {"api": 2, "unet/config.json": 1}
    download.fetch(_settings(server, tmp_path), _ignore)
    assert server.broken == {"api": 0, "unet/config.json": 0}


@pytest.mark.parametrize("revision", ["", "main"])
def test_a_revision_must_be_pinned(server: hub.Hub, tmp_path: Path, revision: str) -> None:
    """A branch can move under a running Deployment: refused, with the commit to write down."""
    with pytest.raises(LoadError, match=f"pin the commit it is today: {hub.COMMIT}"):
        download.fetch(_settings(server, tmp_path, revision=revision), _ignore)


REFUSED = [
    pytest.param({"revision": "f" * 40}, "has no revision", id="no such revision"),
    pytest.param({"model": "org/other"}, "is not on the hub", id="no such repository"),
    pytest.param({"model": "org/model/more"}, "not ORG/REPO", id="no name"),
    pytest.param({"model": "ftp://org/model"}, "ftp:// is not known", id="no such scheme"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_cannot_be_fetched_is_said(server: hub.Hub, tmp_path: Path, change: dict[str, str], message: str) -> None:
    """The message says which setting is wrong."""
    with pytest.raises(LoadError, match=message):
        download.fetch(_settings(server, tmp_path, **change), _ignore)


def test_a_gated_model_says_what_to_do_and_keeps_the_token(server: hub.Hub, tmp_path: Path) -> None:
    """Mistral and Llama are gated; the token is in no message, nor in the settings' text."""
    server.gated = True
    settings = _settings(server, tmp_path)
    with pytest.raises(LoadError, match="accept its licence") as caught:
        download.fetch(settings, _ignore)
    assert "hf_secret" not in f"{caught.value} {settings!r}"


def test_a_missing_weight_is_fatal_before_anything_is_fetched(tmp_path: Path) -> None:
    """A repository without one of its weights ends the start with the component's name, and without traffic."""
    content = {path: data for path, data in models.diffusers().items() if not path.startswith("unet/diffusion")}
    with hub.serve(REPOSITORY, content) as server, pytest.raises(LoadError, match="unet has no weights"):
        download.fetch(_settings(server, tmp_path), _ignore)
    assert not any(path.endswith(".safetensors") for _, path, _ in server.requests)


def test_weights_that_are_truncated_on_the_hub_are_fatal(tmp_path: Path) -> None:
    """A checksum says that the copy is the original; the header says that the original is whole."""
    path = "unet/diffusion_pytorch_model.fp16.safetensors"
    content = models.diffusers()
    content[path] = content[path][:-100]
    with hub.serve(REPOSITORY, content) as server, pytest.raises(LoadError, match=f"{path} is cut off"):
        download.fetch(_settings(server, tmp_path), _ignore)
    assert not list(tmp_path.rglob(manifest.FILE))


def test_a_full_disk_is_seen_before_it_is_full(server: hub.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space is compared with the plan first; the message says what is missing."""
    monkeypatch.setattr(store, "SPARE", 1 << 60)
    with pytest.raises(LoadError, match=r"cache_dir: .* GB free, and the model needs"):
        download.fetch(_settings(server, tmp_path), _ignore)
    assert not any(path.endswith(".safetensors") for _, path, _ in server.requests)


def test_a_place_that_cannot_be_written_is_named(server: hub.Hub, tmp_path: Path) -> None:
    """A file where the directory should be, a directory where the lock should be: the setting, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadError, match="cache_dir: "):
        download.fetch(_settings(server, tmp_path / "file"), _ignore)
    directory = download.fetch(_settings(server, tmp_path), _ignore)
    online()
    (directory / manifest.FILE).unlink()
    lock = directory.with_name(directory.name + ".lock")
    lock.unlink()
    lock.mkdir()
    with pytest.raises(LoadError, match=r"cache_dir: .*\.lock: Is a directory"):
        download.fetch(_settings(server, tmp_path), _ignore)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_directory_is_repaired(server: hub.Hub, tmp_path: Path, damage: str) -> None:
    """A file that is shorter, other or gone since it was verified is fetched again, and only that one."""
    directory = download.fetch(_settings(server, tmp_path), _ignore)
    path = "unet/diffusion_pytorch_model.fp16.safetensors"
    match damage:
        case "cut":
            (directory / path).write_bytes(server.files[path][:-1])
        case "changed":
            (directory / path).write_bytes(bytes(len(server.files[path])))
        case _:
            (directory / path).unlink()
    server.requests.clear()
    online()
    assert download.fetch(_settings(server, tmp_path), _ignore) == directory
    assert (directory / path).read_bytes() == server.files[path]
    assert server.gets("text_encoder/model.fp16.safetensors") == []


def test_files_fetched_before_giving_up_stay(server: hub.Hub, tmp_path: Path) -> None:
    """A progress report that raises (SIGTERM) ends the download; the next start goes on."""

    class Stop(Exception):
        pass

    def stop(_here: int, _total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        download.fetch(_settings(server, tmp_path), stop)
    assert not list(tmp_path.rglob(manifest.FILE))
    assert download.fetch(_settings(server, tmp_path), _ignore).is_dir()


def test_two_that_start_together_fetch_once(server: hub.Hub, tmp_path: Path) -> None:
    """Pods of one node may share the directory: one fetches, the other waits for it."""
    found: list[Path] = []
    # The lock is one of open files, so two threads stand for two processes.
    threads = [threading.Thread(target=lambda: found.append(download.fetch(_settings(server, tmp_path), _ignore))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]
    assert len(server.gets("unet/diffusion_pytorch_model.fp16.safetensors")) == 1


def _hold(path: Path, ready: "multiprocessing.synchronize.Event") -> None:
    import fcntl
    import time

    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        ready.set()
        time.sleep(60)


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free(server: hub.Hub, tmp_path: Path) -> None:
    """A process that holds the directory delays others for at most their own time, and its death frees it."""
    directory = download.fetch(_settings(server, tmp_path), _ignore)
    (directory / manifest.FILE).unlink()
    online()
    ready = multiprocessing.get_context("spawn").Event()
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(directory.with_name(directory.name + ".lock"), ready))
    holder.start()
    try:
        assert ready.wait(30)
        with pytest.raises(LoadError, match="another process holds"):
            download.fetch(_settings(server, tmp_path, download_timeout=0.2), _ignore)
    finally:
        holder.kill()
        holder.join()
    assert download.fetch(_settings(server, tmp_path), _ignore) == directory


def test_nothing_is_fetched_afterwards(server: hub.Hub, tmp_path: Path) -> None:
    """After the model is here, the client of this process and those of its children refuse to ask the hub."""
    import huggingface_hub
    from huggingface_hub.errors import OfflineModeIsEnabled

    download.fetch(_settings(server, tmp_path), _ignore)
    server.requests.clear()
    with pytest.raises(OfflineModeIsEnabled):
        huggingface_hub.HfApi(endpoint=server.url).model_info(REPOSITORY)
    child = "import huggingface_hub.constants as c; print(c.HF_HUB_OFFLINE)"
    assert subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout == "True\n"
    assert os.environ["TRANSFORMERS_OFFLINE"] == "1"
    assert server.requests == []


@pytest.mark.slow
def test_the_password_of_a_mirror_is_in_no_log() -> None:
    """The hub's client warns of each call that fails, with its URL."""
    child = """
from failover_model_server.telemetry import logs
logs.configure("json", "info")
from huggingface_hub.utils import http_backoff
try:
    http_backoff("GET", "http://user:s3cret@127.0.0.1:9/x", max_retries=0)
except Exception as error:
    print(type(error).__name__)
"""
    ran = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert "Connect" in ran.stdout
    assert "s3cret" not in ran.stdout + ran.stderr
