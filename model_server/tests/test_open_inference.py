"""The Open Inference Protocol v2 over HTTP."""

import asyncio
from typing import Any

import httpx
import pytest
from failover_model_server.adapter.app import Adapter, make
from failover_model_server.adapter.engine import Engine
from failover_model_server.errors import InvalidRequest
from failover_model_server.serving.raw import unpack
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink
from prometheus_client import CollectorRegistry

from tests.support.service import client, echo, loaded


def infer(body: object, path: str = "/v2/models/text/infer") -> tuple[int, Any]:
    async def run() -> tuple[int, Any]:
        async with loaded(echo(app="text")) as service, client(service) as http:
            answer = await http.post(path, json=body)
            return answer.status_code, answer.json()

    return asyncio.run(run())


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "prompt", "shape": [2], "datatype": "BYTES", "data": ["a", "b"], **changes}


@pytest.mark.parametrize("shape", [{"shape": [2]}, {"shape": [2, 1], "data": [["a"], ["b"]]}, {"shape": [2, 1]}])
@pytest.mark.parametrize("path", ["/v2/models/text/infer", "/v2/models/text/versions/1/infer"])
def test_each_element_is_one_inference(shape: dict[str, object], path: str) -> None:
    """Two prompts give two responses, in order, under the id of the request."""
    status, body = infer({"id": "7", "inputs": [tensor(**shape)]}, path)
    assert status == 200
    assert body == {
        "model_name": "text",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "response", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}],
    }


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"inputs": [tensor(name="text")]}, 400, "no input 'text'; there are prompt"),
        ({"inputs": [tensor(datatype="FP32")]}, 400, "prompt is BYTES, not FP32"),
        ({"inputs": [tensor(shape=[3])]}, 400, "2 elements, its shape 3"),
        ({"inputs": [tensor(shape=[1, 2])]}, 400, "shape [n] or [n, 1]"),
        ({"inputs": [tensor(shape=[])]}, 400, "shape [n] or [n, 1]"),
        ({"inputs": [tensor(data=["a", ""])]}, 400, "prompt"),
        ({"inputs": [tensor(), tensor()]}, 400, "twice"),
        ({"inputs": []}, 422, "inputs"),
        ({"inputs": [tensor(shape=[65], data=["a"] * 65)]}, 400, "at most 64"),
        ({"parameters": {"steps": 3}}, 400, "no steps"),
        ({"outputs": [{"name": "image"}]}, 400, "no image; there are response"),
        ({"outputs": [{"name": "response"}] * 2}, 400, "outputs: one of them is there twice"),
        ({"outputs": [{"name": "response", "parameters": {"classification": 3}}]}, 400, "outputs: response: classification is not"),
        (
            {"outputs": [{"name": "response", "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 9}}]},
            400,
            "outputs: response: shared_memory_region is not supported here",
        ),
        ({"inputs": [tensor(data=None, parameters={"shared_memory_region": "r"})]}, 400, "inputs: prompt: shared_memory_region is not"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], status: int, says: str) -> None:
    """An error in the protocol's own form that says which part is wrong."""
    got, body = infer({"inputs": [tensor()], **change})
    assert got == status
    assert says in body["error"]


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/text/versions/2/infer"])
def test_another_model_or_version_is_404(path: str) -> None:
    """One model is served."""
    assert infer({"inputs": [tensor()]}, path)[0] == 404


def test_metadata_describe_the_task() -> None:
    """A client can build a request from the metadata alone."""

    async def run() -> None:
        async with loaded(echo(app="text")) as service, client(service) as http:
            body = (await http.get("/v2/models/text")).json()
            assert body["inputs"] == [{"name": "prompt", "datatype": "BYTES", "shape": [-1]}]
            assert (await http.get("/v2/models/text/ready")).json() == {"name": "text", "ready": True}
            assert (await http.get("/v2")).json()["name"] == "failover-model-server"

    asyncio.run(run())


def test_more_elements_than_the_queue_holds_are_too_many() -> None:
    """413 and how many are allowed, not 429 for ever; the number that the queue holds is answered."""

    async def run() -> None:
        async with loaded(echo(max_queue=3)) as service, client(service) as http:

            async def infer(count: int) -> httpx.Response:
                tensor = {"name": "prompt", "shape": [count], "datatype": "BYTES", "data": ["x"] * count}
                return await http.post("/v2/models/model/infer", json={"inputs": [tensor]})

            refused = await infer(4)
            assert (refused.status_code, "at most 3" in refused.json()["error"]) == (413, True)
            assert (await infer(3)).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1.5", "99", ""])
def test_a_header_that_is_no_part_of_the_body_is_refused(length: str) -> None:
    """The header says how many bytes are JSON; one with more digits than Python reads is the client's mistake too."""

    async def run() -> None:
        async with loaded(echo(app="text")) as service, client(service) as http:
            answer = await http.post("/v2/models/text/infer", content=b"{}", headers={"Inference-Header-Content-Length": length})
            assert (answer.status_code, "is no part of 2 bytes" in answer.json()["error"]) == (400, True)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("datatype", "raw"), [("BOOL", b"\x01" * 100_000), ("BYTES", b"\x00\x00\x00\x00" * 100_000)], ids=["numbers", "empty texts"]
)
def test_elements_beyond_the_limit_are_not_read(datatype: str, raw: bytes) -> None:
    """Whatever the shape says of them."""
    with pytest.raises(InvalidRequest, match="at most 64"):
        unpack("prompt", datatype, raw)


def test_the_probes_answer_a_request_for_the_head() -> None:
    """As RFC 9110 asks of every server: with the status of a GET. Those of the adapter too, here before its engine is ready."""

    async def ask(http: httpx.AsyncClient, *statuses: tuple[str, int]) -> None:
        for path, status in statuses:
            answer = await http.head(path)
            assert (path, answer.status_code, answer.content) == (path, status, b"")
            assert (await http.get(path)).status_code == status

    async def run() -> None:
        async with loaded(echo(app="text")) as service, client(service) as http:
            await ask(http, *((path, 200) for path in ("/health", "/readiness", "/ping", "/v2/health/live", "/v2/health/ready")))
        async with httpx.AsyncClient() as unused:
            adapter = Adapter(Settings(), Engine(Settings(), Sink(), unused), Sink(), CollectorRegistry())
            async with httpx.AsyncClient(transport=httpx.ASGITransport(make(adapter)), base_url="http://adapter") as http:
                await ask(http, ("/health", 200), ("/readiness", 503), ("/ping", 500))

    asyncio.run(run())
