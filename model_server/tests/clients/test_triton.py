"""tritonclient over HTTP and gRPC, as its documentation calls it.

In a test process without kserve: both register the protocol's messages under the same names.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from tests.support.process import ServerProcess, running

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running(APP="text") as server:
        server.until("/readiness", 200)
        yield server


def ask_triton(module: Any, client: Any) -> None:
    """Health, metadata, and an inference whose tensors are numpy arrays."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("text")
    client.get_server_metadata()
    client.get_model_metadata("text")
    tensor = module.InferInput("prompt", [2], "BYTES")
    tensor.set_data_from_numpy(np.array(["naïve", "b"], dtype=object))
    for _ in range(10):
        answer = client.infer("text", [tensor])
        assert [text.decode() for text in answer.as_numpy("response")] == ["naïve", "b"]
    named = client.infer("text", [tensor], outputs=[module.InferRequestedOutput("response")], request_id="7")
    assert named.as_numpy("response").shape == (2,)
    with pytest.raises(module.InferenceServerException, match="no such model"):
        client.infer("other", [tensor])


def test_triton_over_http(server: ServerProcess) -> None:
    """Binary tensors both ways, which are its default; JSON where asked."""
    with tritonclient.http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        ask_triton(tritonclient.http, client)
        tensor = tritonclient.http.InferInput("prompt", [1], "BYTES")
        tensor.set_data_from_numpy(np.array(["a"], dtype=object), binary_data=False)
        wanted = tritonclient.http.InferRequestedOutput("response", binary_data=False)
        answer = client.infer("text", [tensor], outputs=[wanted])
        assert answer.get_response()["outputs"][0]["data"] == ["a"]
        for algorithm in ("gzip", "deflate"):
            answer = client.infer(
                "text", [tensor], priority=3, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
            )
            assert answer.as_numpy("response").tolist() == [b"a"]
        running_call = client.async_infer("text", [tensor])
        assert running_call.get_result().as_numpy("response").tolist() == [b"a"]


def test_triton_over_grpc(server: ServerProcess) -> None:
    """Raw contents both ways."""
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        ask_triton(tritonclient.grpc, client)
        tensor = tritonclient.grpc.InferInput("prompt", [1], "BYTES")
        tensor.set_data_from_numpy(np.array(["a"], dtype=object))
        answer = client.infer("text", [tensor], priority=3, compression_algorithm="gzip")
        assert answer.as_numpy("response").tolist() == [b"a"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream"])
def test_the_content_type_does_not_matter(server: ServerProcess, kind: str) -> None:
    """What is JSON is read as JSON."""
    body = b'{"inputs": [{"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}'
    answer = httpx.post(f"{server.url}/v2/models/text/infer", content=body, headers={"Content-Type": kind} if kind else {})
    assert answer.json()["outputs"][0]["data"] == ["a"]
