"""Compile caches: found for the same key, refused for another, kept for the next pod."""

import errno
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import boto3
import pytest
import structlog
from failover_model_server.compiled import cache
from failover_model_server.compiled.key import CacheKey, from_json
from failover_model_server.compiled.shelf import DirectoryShelf
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings
from moto.server import ThreadedMotoServer

KEY = CacheKey(
    torch="2.13.0+cu133",
    triton="3.7.0",
    device="NVIDIA A10G 8.6",
    libraries="transformers 5.24.0, diffusers 0.42.1",
    model="org/model@4e63672c",
    task="text-to-image",
    shapes="1,2,4",
    options="max-autotune-no-cudagraphs",
)


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in cache.SUBDIRECTORIES:
        monkeypatch.setenv(variable, "")


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "directory":
        yield str(tmp_path / "shelf")
        return
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="caches")
    yield f"s3://caches/{tmp_path.name}"  # moto keeps its buckets as long as the process
    server.stop()


def _settings(root: Path, place: str, **more: object) -> Settings:
    return Settings(**{"cache_dir": root, "compile_cache": place, "compile_cache_save": True, **more})  # type: ignore[arg-type]


def _compile(settings: Settings, key: CacheKey = KEY) -> cache.CompileCache:
    """What a server does: prepare, compile into the directories that the variables name, keep."""
    prepared = cache.prepare(settings, key)
    if not prepared.warm:
        (Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / "kernel.py").write_text("compiled")
        (Path(os.environ["TRITON_CACHE_DIR"]) / "kernel.cubin").write_bytes(b"binary")
    cache.keep(settings, prepared)
    return prepared


def test_a_second_pod_finds_what_the_first_compiled(tmp_path: Path, place: str) -> None:
    """The first is cold and keeps its cache; the second, on a machine of its own, is warm."""
    assert not _compile(_settings(tmp_path / "first", place)).warm
    second = _compile(_settings(tmp_path / "second", place))
    assert second.warm
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "kernel.py").read_text() == "compiled"
    assert Path(os.environ["TRITON_CACHE_DIR"], "kernel.cubin").read_bytes() == b"binary"


def test_a_restarted_container_needs_nobody(tmp_path: Path) -> None:
    """The directory of the pod's volume is used again; one that a compilation left unfinished is not called warm."""
    settings = Settings(cache_dir=tmp_path)
    assert not cache.prepare(settings, KEY).warm
    assert not _compile(settings).warm
    assert _compile(settings).warm


@pytest.mark.parametrize("field", [field.name for field in fields(CacheKey)])
def test_any_other_field_is_another_cache(tmp_path: Path, place: str, field: str) -> None:
    """A cache of another version, device, model or shape is not used, and where one is required the difference is named."""
    _compile(_settings(tmp_path / "first", place))
    other = replace(KEY, **{field: "other"})
    assert not _compile(_settings(tmp_path / "second", place, compile_cache_save=False), other).warm
    required = _settings(tmp_path / "third", place, compile_cache_required=True)
    with pytest.raises(LoadError, match=rf"the nearest differs: {field} is .*, here other"):
        cache.prepare(required, other)


def test_an_archive_under_a_wrong_name_is_refused(tmp_path: Path) -> None:
    """A label that was copied to another key's name names the field."""
    shelf = tmp_path / "shelf"
    _compile(_settings(tmp_path / "first", str(shelf)))
    other = replace(KEY, device="NVIDIA L4 8.9")
    for suffix in (".json", ".tar.gz"):
        (shelf / f"{KEY.digest}{suffix}").rename(shelf / f"{other.digest}{suffix}")
    with pytest.raises(LoadError, match=r"is of another key: device is NVIDIA A10G 8\.6, here NVIDIA L4 8\.9"):
        cache.prepare(_settings(tmp_path / "second", str(shelf), compile_cache_required=True), other)


def _damage(shelf: Path, how: str) -> None:
    archive, label = shelf / f"{KEY.digest}.tar.gz", shelf / f"{KEY.digest}.json"
    match how:
        case "cut":
            archive.write_bytes(archive.read_bytes()[:-10])
        case "gone":
            archive.unlink()
        case "label":
            label.write_text("{}")
        case "nested label":
            label.write_text("[" * 100_000)
        case "damaged":
            member = tarfile.TarInfo("kernel")
            member.size = 2_000_000
            deflate = zlib.compressobj(wbits=31)
            begun = deflate.compress(member.tobuf() + bytes(1_000_000)) + deflate.flush(zlib.Z_FULL_FLUSH)
            archive.write_bytes(begun + b"\x07" * 100)  # no block of deflate begins so
            label.write_text(json.dumps({**json.loads(label.read_text()), "sha256": cache._sha256(archive)}))
        case _:
            archive.write_bytes(b"no archive")
            written = json.loads(label.read_text())
            label.write_text(json.dumps({**written, "sha256": cache._sha256(archive)}))


@pytest.mark.parametrize("how", ["cut", "gone", "label", "nested label", "damaged", "no archive"])
def test_a_damaged_archive_is_not_unpacked(tmp_path: Path, how: str) -> None:
    """The server compiles instead, or fails where a cache is required; half an archive is never left behind."""
    shelf = tmp_path / "shelf"
    _compile(_settings(tmp_path / "first", str(shelf)))
    _damage(shelf, how)
    with structlog.testing.capture_logs() as logs:
        prepared = cache.prepare(_settings(tmp_path / "second", str(shelf)), KEY)
    assert not prepared.warm
    assert any(entry["event"] == "compile_cache.not_used" for entry in logs)
    assert not list(prepared.directory.rglob("kernel.*"))
    with pytest.raises(LoadError, match="compile_cache"):
        cache.prepare(_settings(tmp_path / "third", str(shelf), compile_cache_required=True), KEY)


def test_an_archive_cannot_write_outside(tmp_path: Path) -> None:
    """A member with a path above the directory is refused."""
    shelf = tmp_path / "shelf"
    _compile(_settings(tmp_path / "first", str(shelf)))
    archive, label = shelf / f"{KEY.digest}.tar.gz", shelf / f"{KEY.digest}.json"
    (tmp_path / "evil").write_text("x")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "evil", arcname="../../evil")
    label.write_text(json.dumps({**json.loads(label.read_text()), "sha256": cache._sha256(archive)}))
    with pytest.raises(LoadError, match="cannot be unpacked"):
        cache.prepare(_settings(tmp_path / "second", str(shelf), compile_cache_required=True), KEY)


def test_a_place_that_cannot_be_written_stops_no_ready_server(tmp_path: Path) -> None:
    """Keeping is a favour to others: its failure is logged."""
    (tmp_path / "file").write_text("")
    settings = _settings(tmp_path / "first", str(tmp_path / "file"))
    with structlog.testing.capture_logs() as logs:
        prepared = cache.prepare(settings, KEY)
        cache.keep(settings, prepared)
    assert any(entry["event"] == "compile_cache.not_kept" for entry in logs)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes no key, and half of what is copied."""

    def writes(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def copies(source: Path, to: Path) -> None:
        to.write_bytes(source.read_bytes()[:10])
        writes(to)

    monkeypatch.setattr(Path, "write_text", writes)
    monkeypatch.setattr(shutil, "copyfile", copies)


def test_a_full_disk_stops_no_server(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It compiles, and serves; where a cache is required the reason is named. Nothing is left that would fill the disk further."""
    shelf = tmp_path / "shelf"
    _compile(_settings(tmp_path / "first", str(shelf)))
    request.getfixturevalue("full")
    with structlog.testing.capture_logs() as logs:
        prepared = cache.prepare(_settings(tmp_path / "second", str(shelf)), KEY)
        cache.keep(_settings(tmp_path / "second", str(shelf)), prepared)
    assert not prepared.warm
    assert [entry["event"] for entry in logs] == ["compile_cache.not_used", "compile_cache.prepared", "compile_cache.not_kept"]
    with pytest.raises(LoadError, match="No space left on device"):
        DirectoryShelf(shelf).put("x", shelf / f"{KEY.digest}.json")
    assert {path.suffix for path in shelf.iterdir()} == {".json", ".gz"}


def test_a_disk_that_is_full_while_an_archive_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a required cache the message names the reason."""
    _compile(_settings(tmp_path / "first", str(tmp_path / "shelf")))

    def writes(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", writes)
    assert not cache.prepare(_settings(tmp_path / "second", str(tmp_path / "shelf")), KEY).warm
    with pytest.raises(LoadError, match="No space left on device"):
        cache.prepare(_settings(tmp_path / "third", str(tmp_path / "shelf"), compile_cache_required=True), KEY)


@pytest.mark.parametrize("whole", [True, False])
def test_processes_that_share_a_directory_may_fill_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> None:
    """What another has put there is used if it is whole, and stays; else this one compiles."""
    settings = _settings(tmp_path / "second", str(tmp_path / "shelf"))
    _compile(_settings(tmp_path / "first", str(tmp_path / "shelf")))
    removes = shutil.rmtree

    def outrun(directory: Path, **_: object) -> None:
        removes(directory, ignore_errors=True)
        if directory == settings.cache_dir / "compiled" / KEY.digest:
            (directory / "inductor").mkdir(parents=True)
            (directory / "inductor" / "kernel.py").write_text("theirs")
            if whole:
                (directory / cache.KEY).write_text(KEY.to_json())

    monkeypatch.setattr(shutil, "rmtree", outrun)
    prepared = cache.prepare(settings, KEY)
    assert prepared.warm is whole
    assert (prepared.directory / "inductor" / "kernel.py").read_text() == "theirs"


def test_a_required_cache_needs_a_place(tmp_path: Path) -> None:
    """The setting that is missing is named."""
    with pytest.raises(LoadError, match="MODEL_SERVER_COMPILE_CACHE names no place"):
        cache.prepare(Settings(cache_dir=tmp_path, compile_cache_required=True), KEY)


@pytest.mark.parametrize("place", ["org/model", "ftp://x/y", "s3://x"])
def test_a_place_is_s3_or_a_path(tmp_path: Path, place: str) -> None:
    """Else the setting is named."""
    with pytest.raises(LoadError, match="compile_cache"):
        cache.prepare(_settings(tmp_path, place, compile_cache_required=True), KEY)


def test_a_key_survives_its_file() -> None:
    """Written and read, it is the same; anything else is no key."""
    assert from_json(KEY.to_json().encode(), "x") == KEY
    with pytest.raises(ValueError, match="no key"):
        from_json(b'{"torch": "1"}', "x")
