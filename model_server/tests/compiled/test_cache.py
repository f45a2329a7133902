"""Compile caches: found for the same key, not for another, kept for the next pod. Torch's own part is a stand-in here."""

import os
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import boto3
import pytest
import structlog
from failover_model_server.compiled import cache
from failover_model_server.compiled.key import CacheKey
from failover_model_server.compiled.shelf import DirectoryShelf, open_shelf
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


class Compiler(ModuleType):
    """As `torch.compiler`: what was loaded or compiled is what is saved."""

    def __init__(self) -> None:
        super().__init__("torch.compiler")
        self.held = b""

    def load_cache_artifacts(self, content: bytes) -> object:
        if not content.startswith(b"torch"):
            raise ValueError("not what was saved")
        self.held = content
        return None if content == b"torch, another version" else object()

    def save_cache_artifacts(self) -> tuple[bytes, object] | None:
        return (self.held, object()) if self.held else None


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    for variable in cache.SUBDIRECTORIES:
        monkeypatch.setenv(variable, "")
    made = Compiler()
    monkeypatch.setitem(sys.modules, "torch.compiler", made)
    return made


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


def _compile(compiler: Compiler, settings: Settings, key: CacheKey = KEY) -> cache.CompileCache:
    """What a server does, in a process of its own: prepare, compile, keep."""
    compiler.held = b""
    prepared = cache.prepare(settings, key)
    compiler.held = compiler.held or b"torch, compiled"
    cache.keep(settings, prepared)
    return prepared


def test_a_second_pod_finds_what_the_first_compiled(tmp_path: Path, place: str, compiler: Compiler) -> None:
    """The first is cold and keeps its cache; the second, on a machine of its own, is warm."""
    assert not _compile(compiler, _settings(tmp_path / "first", place)).warm
    compiler.held = b""
    second = cache.prepare(_settings(tmp_path / "second", place), KEY)
    assert (second.warm, compiler.held) == (True, b"torch, compiled")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(second.directory / "inductor")
    assert Path(os.environ["TRITON_CACHE_DIR"]).is_dir()


def test_a_restarted_container_needs_nobody(tmp_path: Path, compiler: Compiler) -> None:
    """The directory of the pod's volume is used again; one that a compilation left unfinished is not called warm."""
    settings = Settings(cache_dir=tmp_path)
    assert not cache.prepare(settings, KEY).warm
    assert not _compile(compiler, settings).warm
    assert _compile(compiler, settings).warm


@pytest.mark.parametrize("field", [field.name for field in fields(CacheKey)])
def test_any_other_field_is_another_cache(tmp_path: Path, place: str, field: str, compiler: Compiler) -> None:
    """A cache of another version, device, model or shape is not used, and where one is required the key is named."""
    _compile(compiler, _settings(tmp_path / "first", place))
    other = replace(KEY, **{field: "other"})
    assert not cache.prepare(_settings(tmp_path / "second", place), other).warm
    with pytest.raises(LoadError, match=r"has none for the key [0-9a-f]{16}, which is .*other"):
        cache.prepare(_settings(tmp_path / "third", place, compile_cache_required=True), other)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"torch, another version"])
def test_what_torch_cannot_read_is_not_used(tmp_path: Path, place: str, content: bytes, compiler: Compiler) -> None:
    """The server compiles instead, or fails where a cache is required."""
    _compile(compiler, _settings(tmp_path / "first", place))
    open_shelf(place).write(f"{KEY.digest}.torch", content)
    with structlog.testing.capture_logs() as logs:
        assert not cache.prepare(_settings(tmp_path / "second", place), KEY).warm
    assert [entry["event"] for entry in logs] == ["compile_cache.not_used", "compile_cache.prepared"]
    with pytest.raises(LoadError, match="cannot be read" if content else "has none"):
        cache.prepare(_settings(tmp_path / "third", place, compile_cache_required=True), KEY)


def test_a_place_that_cannot_be_written_stops_no_ready_server(tmp_path: Path, compiler: Compiler) -> None:
    """Keeping is a favour to others: its failure is logged."""
    (tmp_path / "file").write_text("")
    with structlog.testing.capture_logs() as logs:
        _compile(compiler, _settings(tmp_path / "first", str(tmp_path / "file")))
    assert logs[-1]["event"] == "compile_cache.not_kept"
    assert str(tmp_path / "file") in logs[-1]["cause"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each start would fill it further."""
    shelf, writes = DirectoryShelf(tmp_path), Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        writes(path, content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(LoadError, match="No space left on device"):
        shelf.write("x", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_required_cache_needs_a_place(tmp_path: Path) -> None:
    """The setting that is missing is named."""
    with pytest.raises(LoadError, match="MODEL_SERVER_COMPILE_CACHE names no place"):
        cache.prepare(Settings(cache_dir=tmp_path, compile_cache_required=True), KEY)


@pytest.mark.parametrize("place", ["org/model", "ftp://x/y", "s3://x"])
def test_a_place_is_s3_or_a_path(tmp_path: Path, place: str) -> None:
    """Else the setting is named."""
    with pytest.raises(LoadError, match="compile_cache"):
        cache.prepare(_settings(tmp_path, place, compile_cache_required=True), KEY)


def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, place: str) -> None:
    """With what the store says."""
    if not place.startswith("s3://"):
        pytest.skip("a directory is made")
    with pytest.raises(LoadError, match=r"s3://other/x/.*: NoSuchBucket"):
        cache.prepare(_settings(tmp_path, "s3://other/x", compile_cache_required=True), KEY)
