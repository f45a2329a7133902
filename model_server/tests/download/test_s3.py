"""Fetching from S3, with boto3 against moto's server."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from failover_model_server import download
from failover_model_server.download import manifest, s3
from failover_model_server.download.files import Algorithm, Checksum, digests
from failover_model_server.download.source import Location
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings
from moto.server import ThreadedMotoServer

from tests.support import models

UNET = "unet/diffusion_pytorch_model.fp16.safetensors"


def _ignore(_here: int, _total: int) -> None:
    pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-west-2",
    }.items():
        monkeypatch.setenv(name, value)
    made = boto3.client("s3")
    made.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    yield made
    for item in made.list_objects_v2(Bucket="models").get("Contents", ()):
        made.delete_object(Bucket="models", Key=item["Key"])
    made.delete_bucket(Bucket="models")


def _stage(client: Any, content: dict[str, bytes]) -> None:
    for path, data in content.items():
        client.put_object(Bucket="models", Key=f"sd/{path}", Body=data)


def _settings(root: Path, **more: object) -> Settings:
    return Settings(**{"model": "s3://models/sd/", "cache_dir": root, **more})  # type: ignore[arg-type]


def test_what_is_needed_arrives(client: Any, tmp_path: Path) -> None:
    """As from the hub: the chosen files, byte for byte, and the manifest."""
    content = models.diffusers()
    _stage(client, content)
    directory = download.fetch(_settings(tmp_path), _ignore)
    recorded = manifest.read(directory)
    assert recorded is not None
    assert UNET in {file.path for file in recorded.files}
    assert not any(file.path.endswith((".bin", ".ckpt")) for file in recorded.files)
    assert all((directory / file.path).read_bytes() == content[file.path] for file in recorded.files)
    assert sum(path.is_file() for path in directory.rglob("*")) == len(recorded.files) + 1  # the manifest; no part of a file


def test_a_changed_prefix_is_another_model(client: Any, tmp_path: Path) -> None:
    """The revision of a prefix is a digest over what it holds: a replaced object is fetched, and a pinned revision refuses it."""
    content = models.diffusers()
    _stage(client, content)
    first = download.fetch(_settings(tmp_path), _ignore)
    recorded = manifest.read(first)
    assert recorded is not None
    assert download.fetch(_settings(tmp_path, revision=recorded.revision), _ignore) == first
    client.put_object(Bucket="models", Key=f"sd/{UNET}", Body=models.safetensors(2_000, seed=9))
    second = download.fetch(_settings(tmp_path), _ignore)
    assert second != first
    assert (second / UNET).read_bytes() == models.safetensors(2_000, seed=9)
    with pytest.raises(LoadError, match=r"revision: s3://models/sd holds"):
        download.fetch(_settings(tmp_path / "other", revision=recorded.revision), _ignore)


def test_an_object_that_is_replaced_while_it_is_fetched_is_noticed(client: Any, tmp_path: Path) -> None:
    """Never half of one object and half of another."""
    _stage(client, {"config.json": b"{}", "model.safetensors": models.safetensors(3_000)})
    source = s3.S3Source(Location("s3", "models/sd", ""))
    file = next(f for f in source.listing().files if f.path == "model.safetensors")
    client.put_object(Bucket="models", Key="sd/model.safetensors", Body=models.safetensors(3_000, seed=5))
    with pytest.raises(LoadError, match="was replaced while it was being fetched"):
        source.download(file, tmp_path)


def test_the_etag_of_an_object_in_parts_is_checked(client: Any, tmp_path: Path) -> None:
    """`aws s3 cp` uploads large files in parts: their ETag is computed part by part, and found to be right or wrong."""
    big = models.safetensors(6 * 1024 * 1024)
    _stage(client, {"config.json": b"{}"})
    upload = client.create_multipart_upload(Bucket="models", Key="sd/model.safetensors")["UploadId"]
    size, parts = 5 * 1024 * 1024, []
    for number, start in enumerate(range(0, len(big), size), 1):
        answer = client.upload_part(
            Bucket="models", Key="sd/model.safetensors", UploadId=upload, PartNumber=number, Body=big[start : start + size]
        )
        parts.append({"ETag": answer["ETag"], "PartNumber": number})
    client.complete_multipart_upload(Bucket="models", Key="sd/model.safetensors", UploadId=upload, MultipartUpload={"Parts": parts})
    source = s3.S3Source(Location("s3", "models/sd", ""))
    file = next(f for f in source.listing().files if f.path == "model.safetensors")
    checksum = source.checksum(file)
    assert checksum is not None
    assert checksum.value.endswith("-2")
    assert checksum.part_size == size
    directory = download.fetch(_settings(tmp_path), _ignore)
    assert (directory / "model.safetensors").read_bytes() == big


def test_wrong_bytes_are_fetched_again_and_given_up(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right length is not enough."""
    _stage(client, models.transformers())

    def wrong(_self: s3.S3Source, file: Any, directory: Path) -> None:
        (directory / file.path).write_bytes(bytes(file.size))

    monkeypatch.setattr(s3.S3Source, "download", wrong)
    with pytest.raises(LoadError, match=r"gave up on .* after 5 tries: its s3-etag is not that of the source"):
        download.fetch(_settings(tmp_path), _ignore)


def test_objects_under_a_key_have_no_md5(client: Any) -> None:
    """With KMS the ETag is no MD5: it is not compared with one."""
    client.put_object(Bucket="models", Key="sd/config.json", Body=b"{}", ServerSideEncryption="aws:kms")
    source = s3.S3Source(Location("s3", "models/sd", ""))
    (file,) = source.listing().files
    assert source.checksum(file) is None


def test_a_staged_directory_keeps_its_checksums_and_its_commit(client: Any, tmp_path: Path) -> None:
    """A prefix filled from a directory that was fetched here is checked by the SHA-256 of its manifest, and has the hub's revision."""
    _stage(client, models.diffusers())
    directory = download.fetch(_settings(tmp_path), _ignore)
    recorded = manifest.read(directory)
    assert recorded is not None
    manifest.write(directory, manifest.Manifest("hf://org/model", "a" * 40, "fp16", compiled=False, bytes_total=1, files=recorded.files))
    for path in directory.rglob("*"):
        if path.is_file():
            client.put_object(Bucket="models", Key=f"staged/{path.relative_to(directory).as_posix()}", Body=path.read_bytes())
    settings = _settings(tmp_path, model="s3://models/staged", revision="a" * 40)
    again = download.fetch(settings, _ignore)
    assert (again / UNET).read_bytes() == (directory / UNET).read_bytes()
    client.put_object(Bucket="models", Key=f"staged/{UNET}", Body=bytes(len((directory / UNET).read_bytes())))
    with pytest.raises(LoadError, match=f"gave up on {UNET} after 5 tries: its sha256"):
        download.fetch(_settings(tmp_path / "b", model="s3://models/staged", revision="a" * 40), _ignore)
    client.delete_object(Bucket="models", Key=f"staged/{UNET}")
    with pytest.raises(LoadError, match=f"{UNET} is missing, which"):
        download.fetch(_settings(tmp_path / "c", model="s3://models/staged"), _ignore)


REFUSED = [
    pytest.param("s3://models/none", "there is nothing under", id="empty prefix"),
    pytest.param("s3://no-such-bucket/x", "is not there", id="no bucket"),
    pytest.param("s3://models", "is not s3://BUCKET/PREFIX", id="no prefix"),
]


@pytest.mark.parametrize(("model", "message"), REFUSED)
def test_what_is_not_there_is_said(client: Any, tmp_path: Path, model: str, message: str) -> None:
    """The message names the place."""
    with pytest.raises(LoadError, match=message):
        download.fetch(_settings(tmp_path, model=model), _ignore)


def test_an_etag_in_parts_is_that_of_s3(tmp_path: Path) -> None:
    """MD5 over the MD5s of the parts, and their number; also where the last part is full."""
    data = bytes(range(256)) * 4
    (tmp_path / "f").write_bytes(data)
    for size in (100, 512, 1024, 4096):
        parts = [hashlib.md5(data[i : i + size]).digest() for i in range(0, len(data), size)]
        expected = f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"
        assert digests(tmp_path / "f", Checksum(Algorithm.S3_ETAG, expected, size))[1] == expected
