"""After an unforeseen failure a client sees nothing of the server's internals, on every interface."""

import asyncio
from typing import Any

import grpc
import httpx
import pytest
from failover_model_server.backends.echo import EchoBackend
from failover_model_server.rpc.guard import unary
from failover_model_server.rpc.messages import message
from failover_model_server.rpc.open_inference import _Answers
from failover_model_server.serving.service import Service
from failover_model_server.tasks.echo import EchoTask

from tests.support.service import client, echo, loaded

SECRET = "/var/secrets/model of CUDA device 3"
PLACES = {"prepare": (EchoTask, "prepare"), "run": (EchoBackend, "run"), "finish": (EchoTask, "finish")}
ERRORS = [RuntimeError(SECRET), KeyError(SECRET), TimeoutError(SECRET), FileNotFoundError(2, "No such file", SECRET), MemoryError(SECRET)]


class _Aborted(Exception):
    """gRPC's own: `abort` raises."""


class _Context:
    """What the methods ask of gRPC's context; remembers the error."""

    def __init__(self) -> None:
        self.code: Any = None
        self.details = ""

    def time_remaining(self) -> None:
        return None

    async def abort(self, code: Any, details: str, _: object = ()) -> None:
        self.code, self.details = code, details
        raise _Aborted


async def _by_grpc(service: Service) -> _Context:
    tensor: Any = message("ModelInferRequest.InferInputTensor", name="prompt", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(b"hello")
    context = _Context()
    request = message("ModelInferRequest", model_name="model", inputs=[tensor])
    with pytest.raises(_Aborted):
        await unary(_Answers(service).model_infer, lambda read: read)(request, context)
    return context


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_an_unexpected_error_tells_nothing_of_the_inside(place: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 with a code and the id of the request; text and kind of the exception stay in the log; the next request is answered."""

    def fails(*_: object) -> Any:
        raise error

    async def run() -> tuple[httpx.Response, httpx.Response, _Context, httpx.Response]:
        async with loaded(echo()) as service, client(service) as http:
            tensor = {"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["hello"]}
            with monkeypatch.context() as broken:
                broken.setattr(*PLACES[place], fails)
                own = await http.post("/echo", json={"prompt": "hello"}, headers={"X-Request-Id": "abc-1"})
                open_inference = await http.post("/v2/models/model/infer", json={"inputs": [tensor]})
                by_grpc = await _by_grpc(service)
            return own, open_inference, by_grpc, await http.post("/echo", json={"prompt": "again"})

    own, open_inference, by_grpc, after = asyncio.run(run())
    assert (own.status_code, open_inference.status_code, by_grpc.code) == (500, 500, grpc.StatusCode.INTERNAL)
    detail = own.json()["error"]
    assert (detail["code"], detail["request_id"]) == ("inference_failed", "abc-1")
    assert detail["message"] == open_inference.json()["error"] == by_grpc.details
    for answer in (own.text, open_inference.text, by_grpc.details):
        assert not any(inside in answer for inside in ("secrets", "CUDA", type(error).__name__, "Traceback", ".py"))
    assert after.json()["response"] == "again"
