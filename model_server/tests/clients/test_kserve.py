"""kserve over HTTP and gRPC, as its documentation calls it; in a test process without tritonclient."""

import asyncio
from collections.abc import Iterator
from typing import Any

import kserve
import pytest

from tests.support.process import ServerProcess, running

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running(APP="text") as server:
        server.until("/readiness", 200)
        yield server


def _request(data: list[str]) -> kserve.InferRequest:
    return kserve.InferRequest("text", [kserve.InferInput("prompt", [len(data)], "BYTES", data)])


def test_kserve_over_http(server: ServerProcess) -> None:
    """JSON without a Content-Type, and its health calls."""

    async def run() -> None:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        try:
            assert await client.is_server_live(server.url)
            assert await client.is_server_ready(server.url)
            assert await client.is_model_ready(server.url, "text")
            answer: Any = await client.infer(server.url, _request(["a", "b"]), model_name="text")
            assert answer.outputs[0].data == ["a", "b"]
        finally:
            await client.close()

    asyncio.run(run())


def test_kserve_over_grpc(server: ServerProcess) -> None:
    """Typed contents."""

    async def run() -> None:
        client = kserve.InferenceGRPCClient(url=server.grpc)
        try:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("text")
            answer: Any = await client.infer(_request(["a", "b"]))
            assert answer.outputs[0].as_numpy().tolist() in (["a", "b"], [b"a", b"b"])
        finally:
            await client.close()

    asyncio.run(run())
