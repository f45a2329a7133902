"""The parsers, each with what it is given where all is well, and the errors that it may raise."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final

from failover_model_server.adapter import passing, scrape
from failover_model_server.adapter.refusals import Refused
from failover_model_server.compiled import artifact
from failover_model_server.compiled.artifact import Artifact
from failover_model_server.download import command, manifest, verify
from failover_model_server.download.files import RemoteFile
from failover_model_server.download.manifest import Entry, Manifest
from failover_model_server.download.plan import MODEL_INDEX, make_plan, read_model_index
from failover_model_server.download.source import locate
from failover_model_server.errors import LoadError, RequestError
from failover_model_server.http import binary
from failover_model_server.http.open_inference import InferenceRequest
from failover_model_server.http.requests import seconds_of
from failover_model_server.rpc.messages import METHODS
from failover_model_server.rpc.open_inference import _tensors
from failover_model_server.serving.raw import FIXED, text, unpack
from failover_model_server.serving.tensors import Values, requests
from failover_model_server.settings import Settings
from failover_model_server.tasks.compiled import compiled_shapes
from failover_model_server.tasks.echo import EchoTask
from failover_model_server.tasks.image_parts import encoded
from fastapi.exceptions import RequestValidationError
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from tests.support.vllm import Vllm
from tools.fuzzing import Target

_SETTINGS: Final = Settings.model_validate({"backend": "echo", "task": "echo"})
_TASK: Final = EchoTask(_SETTINGS)
_FILES: Final = tuple(
    RemoteFile(path, 10)
    for path in (MODEL_INDEX, "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json")
)


def _engine() -> bytes:
    engine = Vllm()
    for seconds in (0.4, 2.0, 9000.0):
        engine.finish(seconds)
    return engine.metrics().encode()


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _infer(body: InferenceRequest, tensors: list[Values]) -> None:
    requests(_TASK, tensors, body.parameters)


def _json(raw: bytes) -> None:
    _infer(*binary.read(InferenceRequest, None, raw))


def _binary(raw: bytes) -> None:
    """The header's value on a line of its own, then the body."""
    length, _, content = raw.partition(b"\n")
    _infer(*binary.read(InferenceRequest, _text(length), content))


def _texts(raw: bytes) -> None:
    for cell in unpack("prompt", "BYTES", raw):
        text("prompt", cell)


def _numbers(raw: bytes) -> None:
    for datatype in FIXED:
        unpack("prompt", datatype, raw)


def _message(raw: bytes) -> None:
    request = METHODS["ModelInfer"].request.FromString(raw)
    requests(_TASK, _tensors(request), {})


def _metrics(raw: bytes) -> None:
    scrape.between(scrape.Totals(), scrape.parse(_text(raw)))


def _index(raw: bytes) -> None:
    make_plan(_FILES, variant="", model_index=read_model_index(raw))


def _in_a_file(name: str, read: Callable[[Path], object], wrap: Callable[[bytes], bytes] = bytes) -> Callable[[bytes], object]:
    def run(raw: bytes) -> None:
        directory = Path(gettempdir()) / f"failover-model-server-fuzz-{os.getpid()}-{name}"
        directory.mkdir(exist_ok=True)
        try:
            (directory / name).write_bytes(wrap(raw))
            read(directory)
        finally:
            shutil.rmtree(directory)

    return run


def _as_header(raw: bytes) -> bytes:
    """A file of weights with this header, and one tensor of eight bytes."""
    return len(raw).to_bytes(8, "little") + raw + bytes(8)


def _weights(name: str) -> Callable[[Path], object]:
    return lambda directory: verify.weights(directory, [RemoteFile(name, 0)])


def _settings(raw: bytes) -> None:
    values: Any = json.loads(raw)
    Settings.model_validate(values)


_TENSOR: Final = {"name": "prompt", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
_RAW: Final = b"\x01\x00\x00\x00a\x03\x00\x00\x00b\xc3\xa9"
_HEAD: Final = json.dumps({"inputs": [{**_TENSOR, "data": None, "parameters": {"binary_data_size": len(_RAW)}}]}).encode()
_REQUEST: Final = METHODS["ModelInfer"].request(
    model_name="text",
    id="7",
    inputs=[{"name": "prompt", "datatype": "BYTES", "shape": [2], "contents": {"bytes_contents": [b"a", b"b"]}}],
    outputs=[{"name": "response"}],
)
_ARTIFACT: Final = Artifact("org/model", "abc", "text-to-image", "2.21", "2.8", "trn1", 2, {"batch_size": 1}, {"model.pt": 100})
_MANIFEST: Final = Manifest("hf://org/model", "abc", "", compiled=False, bytes_total=10, files=(Entry("config.json", 10, "0" * 64, 1),))
_NEURON: Final = json.dumps({"neuron": {"static_batch_size": 4, "static_sequence_length": 128}}).encode()
_CHAT: Final = {
    "model": "m",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
    "max_tokens": 8,
    "stop": ["a"],
}
_COMPLETION: Final = {
    "model": "m",
    "prompt": ["hello", "you"],
    "temperature": 0.5,
    "stream": True,
    "stream_options": {"include_usage": True},
}

_PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\x0ceXIfMM\0*\0\0\0\x08\0\0\0\0\0\0\0\0\0\0IDAT\0\0\0\0"
_WEBP: Final = b"RIFF\x18\0\0\0WEBPVP8X\2\0\0\0aaEXIF\1\0\0\0a\0"
_REFUSED: Final = (RequestError, RequestValidationError, ValidationError)

TARGETS: Final[Mapping[str, Target]] = {
    "request of the inference protocol": Target(_json, [json.dumps({"id": "7", "inputs": [_TENSOR]}).encode()], _REFUSED),
    "request with binary data": Target(_binary, [b"%d\n%b%b" % (len(_HEAD), _HEAD, _RAW)], _REFUSED),
    "raw texts of a tensor": Target(_texts, [_RAW], (RequestError,)),
    "raw numbers of a tensor": Target(_numbers, [bytes(16), b"\x00\x00\x80\x7f\x00\x00\xc0\xff"], (RequestError,)),
    "gRPC message": Target(_message, [_REQUEST.SerializeToString()], (RequestError, DecodeError)),
    "request to pass on": Target(
        lambda raw: [passing.read(raw, route, 256) for route in passing.ROUTES.values()],
        [json.dumps(_CHAT).encode(), json.dumps({**_COMPLETION, "n": 2}).encode()],
        _REFUSED,
    ),
    "refusal of the engine": Target(
        lambda raw: Refused(400, raw), [b'{"error":{"message":"wrong","code":400}}', b'{"object":"error","message":"wrong"}']
    ),
    "metrics of the engine": Target(_metrics, [_engine()], (ValueError,)),
    "time-out header": Target(lambda raw: seconds_of(_text(raw)), [b"2.5", b"30"], (RequestError,)),
    "parts of an image": Target(encoded, [b"\xff\xd8" + bytes.fromhex("ffe00004414effda000201ffd9"), _PNG, _WEBP], (RequestError,)),
    "name of a model": Target(
        lambda raw: locate("model", _text(raw), ""), [b"hf://org/model@abc", b"s3://bucket/a", b"file:///a", b"org/model"], (LoadError,)
    ),
    "model_index.json": Target(
        _index, [json.dumps({"_class_name": "P", "unet": ["diffusers", "U"], "scheduler": ["diffusers", "S"]}).encode()], (LoadError,)
    ),
    "manifest of a model": Target(
        lambda raw: manifest.parse(raw, "here"), [json.dumps({"schema": manifest.SCHEMA, **asdict(_MANIFEST)}).encode()], (LoadError,)
    ),
    "header of a file of weights": Target(
        _in_a_file("model.safetensors", _weights("model.safetensors"), _as_header), [b'{"a":{"data_offsets":[0,8]}}'], (LoadError,)
    ),
    "index of shards": Target(
        _in_a_file("model.safetensors.index.json", _weights("model.safetensors.index.json")),
        [b'{"weight_map":{"a":"model.safetensors.index.json"}}'],
        (LoadError,),
    ),
    "list of files": Target(
        _in_a_file("a.json", lambda directory: command._recorded(directory / "a.json")),
        [json.dumps({"source": "hf://a/b", "revision": "0" * 40, "files": [{"path": "a", "size": 1, "sha256": "0" * 64}]}).encode()],
        (LoadError,),
    ),
    "artifact.json": Target(
        _in_a_file("artifact.json", artifact.read),
        [json.dumps({"schema": artifact.SCHEMA, **asdict(_ARTIFACT)}).encode()],
        (LoadError,),
    ),
    "config.json of a compiled model": Target(_in_a_file("config.json", compiled_shapes), [_NEURON], (LoadError,)),
    "settings": Target(
        _settings, [json.dumps({"backend": "echo", "task": "echo", "max_queue": 8, "request_timeout": 20.0}).encode()],
        (ValidationError, ValueError, RecursionError),
    ),
}  # fmt: skip
