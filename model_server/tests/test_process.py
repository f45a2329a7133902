"""The server as a process: probes, gRPC, flood, drain, wedge, exit codes."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from failover_model_server.backends.echo import HANG
from failover_model_server.process import listen
from failover_model_server.rpc.messages import METHODS
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.process import ServerProcess, running

pytestmark = pytest.mark.slow

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def check(channel: grpc.Channel, service: str = "") -> int:
    """grpc.health.v1's verdict."""
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    return int(answer.status)


def rpc(channel: grpc.Channel, method: str, **fields: Any) -> Any:
    """A call of the Open Inference Protocol."""
    call = channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=METHODS[method].request.SerializeToString,
        response_deserializer=METHODS[method].response.FromString,
    )
    return call(METHODS[method].request(**fields), timeout=5)


def post(server: ServerProcess, prompt: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/echo", json={"prompt": prompt}, headers=headers, timeout=30)


def test_the_port_answers_before_the_model_is_there() -> None:
    """While loading: alive, not ready and saying why, on HTTP and gRPC; then READY on both, and watchers are notified."""
    with running(ECHO_LOAD_SECONDS="1.5") as server, grpc.insecure_channel(server.grpc) as channel:
        watched: list[int] = []

        def watch() -> None:
            for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20):
                watched.append(answer.status)
                if answer.status == SERVING:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        loading = server.until("/readiness", 503).json()
        assert loading["state"] in {"STARTING", "DOWNLOADING", "LOADING"}
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert post(server, "x").status_code == 503
        assert (check(channel), check(channel, "liveness")) == (NOT_SERVING, SERVING)
        assert rpc(channel, "ServerReady").ready is False
        server.until("/readiness", 200)
        watcher.join(10)
        assert watched[0] == NOT_SERVING
        assert watched[-1] == SERVING
        assert (check(channel), check(channel, "readiness")) == (SERVING, SERVING)
        with pytest.raises(grpc.RpcError) as unknown:
            check(channel, "nobody")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        states = [line["after"] for line in server.logs if line["event"] == "state"]
        assert states == ["DOWNLOADING", "LOADING", "WARMING", "READY"]


def test_the_open_inference_protocol_over_grpc() -> None:
    """The same requests, results and errors as over HTTP; typed and raw contents."""
    with running(APP="text") as server, grpc.insecure_channel(server.grpc) as channel:
        server.until("/readiness", 200)
        typed = {"name": "prompt", "datatype": "BYTES", "shape": [2], "contents": {"bytes_contents": [b"a", b"b"]}}
        answer = rpc(channel, "ModelInfer", model_name="text", id="7", inputs=[typed])
        assert (answer.id, list(answer.outputs[0].contents.bytes_contents)) == ("7", [b"a", b"b"])
        raw = {"name": "prompt", "datatype": "BYTES", "shape": [1]}
        answer = rpc(channel, "ModelInfer", model_name="text", inputs=[raw], raw_input_contents=[b"\x02\x00\x00\x00hi"])
        assert list(answer.raw_output_contents) == [b"\x02\x00\x00\x00hi"]
        assert not answer.outputs[0].HasField("contents")
        assert rpc(channel, "ModelMetadata", name="text").inputs[0].name == "prompt"
        assert rpc(channel, "ModelReady", name="text").ready
        assert rpc(channel, "ServerLive").live
        best = {"name": "response", "parameters": {"classification": {"int64_param": 3}}}
        elsewhere = {"shared_memory_region": {"string_param": "r"}}
        for fields, code in (
            ({"model_name": "other", "inputs": [typed]}, grpc.StatusCode.NOT_FOUND),
            ({"model_name": "text", "inputs": [{**typed, "name": "x"}]}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"model_name": "text", "inputs": [raw], "raw_input_contents": [b"\x09\x00\x00\x00hi"]}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"model_name": "text", "inputs": [raw], "raw_input_contents": [b"\x01\x00\x00\x00\xff"]}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"model_name": "text", "inputs": [typed], "outputs": [best]}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"model_name": "text", "inputs": [{**raw, "parameters": elsewhere}]}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"model_name": "text", "inputs": [typed], "parameters": {"steps": {"int64_param": 3}}}, grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                rpc(channel, "ModelInfer", **fields)
            assert refused.value.code() is code


def test_a_flood_is_shed_and_nothing_is_lost() -> None:
    """Far more requests than the queue holds: each gets its own answer or a 429 with Retry-After, and the metrics agree."""
    with running(ECHO_BATCH_SECONDS="0.05", MODEL_SERVER_MAX_QUEUE="8", MODEL_SERVER_BATCH_BUCKETS="1,2,4") as server:
        server.until("/readiness", 200)
        with (
            ThreadPoolExecutor(40) as threads,
            httpx.Client(base_url=server.url, limits=httpx.Limits(max_connections=40), timeout=30) as http,
        ):

            def ask(number: int) -> httpx.Response:
                return http.post("/echo", json={"prompt": str(number)})

            answers = list(threads.map(ask, range(300)))
        served = [(number, answer) for number, answer in enumerate(answers) if answer.status_code == 200]
        shed = [answer for answer in answers if answer.status_code == 429]
        assert len(served) + len(shed) == 300
        assert served
        assert shed
        assert all(answer.json()["response"] == str(number) for number, answer in served)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in shed)
        metrics = httpx.get(f"{server.url}/metrics").text
        assert f'model_server_requests_total{{outcome="ok"}} {len(served)}.0' in metrics
        assert f'model_server_requests_total{{outcome="overloaded"}} {len(shed)}.0' in metrics
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_sigterm_finishes_what_is_in_flight() -> None:
    """After SIGTERM: not ready but alive, new requests still answered for the drain time, the one in flight finished, exit code 0."""
    with running(ECHO_BATCH_SECONDS="1", MODEL_SERVER_DRAIN_SECONDS="1.5", MODEL_SERVER_BATCH_BUCKETS="1") as server:
        server.until("/readiness", 200)
        with ThreadPoolExecutor(2) as threads, grpc.insecure_channel(server.grpc) as channel:
            in_flight = threads.submit(post, server, "in flight")
            while "model_server_running_requests 1.0" not in httpx.get(f"{server.url}/metrics").text:
                time.sleep(0.01)
            server.terminate()
            assert server.until("/readiness", 503).json()["state"] == "DRAINING"
            assert httpx.get(f"{server.url}/health").status_code == 200
            assert check(channel) == NOT_SERVING
            late = threads.submit(post, server, "late")
            assert in_flight.result().json()["response"] == "in flight"
            assert late.result().json()["response"] == "late"
        assert server.ended() == 0
        assert [line["after"] for line in server.logs if line["event"] == "state"][-2:] == ["DRAINING", "STOPPED"]


def _watch(channel: grpc.Channel, service: str = "") -> Any:
    """A stream of the health, after its first answer."""
    stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service), timeout=30)
    assert next(stream).status == SERVING
    return stream


def test_clients_that_watch_the_health_do_not_hold_the_exit() -> None:
    """With nothing in flight the process ends, however long a request might take; they get the last state and an error before."""
    settings = {"MODEL_SERVER_FINISH_SECONDS": "600", "MODEL_SERVER_DRAIN_SECONDS": "0"}
    with running(**settings) as server, grpc.insecure_channel(server.grpc) as channel:
        server.until("/readiness", 200)
        stream, alive = _watch(channel), _watch(channel, "liveness")
        server.terminate()
        assert next(stream).status == NOT_SERVING
        for ended in (stream, alive):
            with pytest.raises(grpc.RpcError) as error:
                next(ended)
            assert (error.value.code(), error.value.details()) == (grpc.StatusCode.UNAVAILABLE, "the server is ending")
        assert server.ended() == 0


def test_after_one_client_stops_watching_the_others_get_each_state() -> None:
    """Both watch the same service."""
    with running() as server, grpc.insecure_channel(server.grpc) as channel:
        server.until("/readiness", 200)
        leaves, stays = _watch(channel), _watch(channel)
        leaves.cancel()
        check(channel)
        server.terminate()
        assert next(stays).status == NOT_SERVING


def test_a_long_call_survives_the_keepalive_pings_of_its_client() -> None:
    """At a tenth of the interval that clients use, and with pings while there is no call."""
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}
    with running(APP="text", ECHO_BATCH_SECONDS="7", ECHO_STEPS="70") as server, grpc.insecure_channel(server.grpc, options) as channel:
        server.until("/readiness", 200)
        method = METHODS["ModelInfer"]
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer", method.request.SerializeToString, method.response.FromString
        )
        answer = call(method.request(model_name="text", inputs=[tensor]), timeout=40)
        assert list(answer.outputs[0].contents.bytes_contents) == [b"a"]


def test_what_cannot_be_finished_is_answered() -> None:
    """Of a hundred requests in flight, over HTTP and gRPC: each gets its answer, or 503 with Retry-After; none is dropped."""
    settings = {"MODEL_SERVER_FINISH_SECONDS": "1", "MODEL_SERVER_BATCH_BUCKETS": "1,2,4", "MODEL_SERVER_MAX_QUEUE": "200"}
    with running(APP="text", ECHO_BATCH_SECONDS="0.5", **settings) as server:
        server.until("/readiness", 200)
        tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}

        def call(number: int) -> str:
            with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", number)]) as channel:
                try:
                    method = METHODS["ModelInfer"]
                    infer = channel.unary_unary(
                        "/inference.GRPCInferenceService/ModelInfer", method.request.SerializeToString, method.response.FromString
                    )
                    infer(method.request(model_name="text", inputs=[tensor]), timeout=30)
                except grpc.RpcError as error:
                    refusal: Any = error
                    return f"{refusal.code().name} {dict(refusal.trailing_metadata()).get('retry-after')}"
                return "200"

        with ThreadPoolExecutor(100) as threads, httpx.Client(base_url=server.url, limits=httpx.Limits(max_connections=100)) as http:
            calls = [threads.submit(call, number) for number in range(5)]
            asked = [threads.submit(http.post, "/echo", json={"prompt": "x"}, timeout=30) for _ in range(95)]
            while _waiting_requests(server) < 90:
                time.sleep(0.01)
            server.terminate()
            answers = [one.result() for one in asked]
            statuses = {answer.status_code for answer in answers}
            assert {503} <= statuses <= {200, 503}, "on a busy machine no batch may end in time"
            late = [answer for answer in answers if answer.status_code == 503]
            assert {(answer.headers["retry-after"], answer.json()["error"]["code"]) for answer in late} == {("1", "unavailable")}
            assert {one.result() for one in calls} <= {"200", "UNAVAILABLE 1"}
        assert server.ended() == 0
        assert "Traceback" not in "".join(server.text)


def _waiting_requests(server: ServerProcess) -> float:
    """Requests in the queue and on the accelerator."""
    names = ("model_server_queued_requests ", "model_server_running_requests ")
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(names))


def test_a_body_that_does_not_come_until_the_end_is_answered() -> None:
    """Its client has more time for it than the server has."""
    with running(MODEL_SERVER_FINISH_SECONDS="0", MODEL_SERVER_DRAIN_SECONDS="0") as server:
        server.until("/readiness", 200)
        with socket.create_connection(("127.0.0.1", server.logged("listening")["http"]), timeout=20) as connection:
            connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            httpx.get(f"{server.url}/health")
            server.terminate()
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1\r\n" in answer.lower()
        assert server.ended() == 0
        assert "Traceback" not in "".join(server.text)


def test_no_time_to_finish_is_none() -> None:
    """With FINISH_SECONDS=0 a request of ten minutes does not keep the process after the drain time."""
    with running(ECHO_BATCH_SECONDS="600", ECHO_STEPS="60000", MODEL_SERVER_FINISH_SECONDS="0") as server:
        server.until("/readiness", 200)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(post, server, "long")
            while "model_server_running_requests 1.0" not in httpx.get(f"{server.url}/metrics").text:
                time.sleep(0.01)
            server.terminate()
            assert server.ended() == 0


def test_a_hanging_accelerator_fails_liveness_and_does_not_stop_the_exit() -> None:
    """A batch that never ends: /health says 500 and why, requests get 503; SIGTERM still ends the process, with an exit code that tells."""
    with running(MODEL_SERVER_WEDGE_SECONDS="0.3", MODEL_SERVER_FINISH_SECONDS="1", MODEL_SERVER_BATCH_BUCKETS="1") as server:
        server.until("/readiness", 200)
        with ThreadPoolExecutor(1) as threads, grpc.insecure_channel(server.grpc) as channel:
            stuck = threads.submit(post, server, HANG, **{"X-Request-Timeout": "2"})
            wedged = server.until("/health", 500).json()
            assert wedged["state"] == "WEDGED"
            assert "worker 0" in wedged["reason"]
            assert httpx.get(f"{server.url}/readiness").status_code == 503
            assert check(channel, "liveness") == NOT_SERVING
            assert post(server, "x").status_code == 503
            assert stuck.result().status_code == 504
        server.terminate()
        assert server.ended() == 1


def test_a_long_generation_is_healthy_and_a_step_that_never_comes_is_not() -> None:
    """A batch of many times the limit that makes progress fails no probe; one that stops making it does."""
    settings = {"MODEL_SERVER_WEDGE_SECONDS": "0.3", "MODEL_SERVER_FINISH_SECONDS": "1", "MODEL_SERVER_BATCH_BUCKETS": "1"}
    with running(ECHO_BATCH_SECONDS="6", ECHO_STEPS="120", **settings) as server:
        server.until("/readiness", 200)
        with ThreadPoolExecutor(1) as threads:
            long = threads.submit(post, server, "long")
            while not long.done():
                assert httpx.get(f"{server.url}/health").status_code == 200
                assert httpx.get(f"{server.url}/readiness").status_code == 200
                time.sleep(0.05)
            assert long.result().status_code == 200
            threads.submit(post, server, HANG, **{"X-Request-Timeout": "10"})
            assert "no progress" in server.until("/health", 500).json()["reason"]


def test_a_model_that_cannot_load_ends_the_process_with_its_reason() -> None:
    """A failed load is an exit code that is not 0 and a line in the log, not a server that never becomes ready."""
    with running(ECHO_LOAD_ERROR="weights: unet/model.safetensors is missing") as server:
        assert server.ended() == 1
        assert server.logged("failed")["reason"] == "weights: unet/model.safetensors is missing"


def test_a_load_that_takes_too_long_ends_the_process() -> None:
    """A thread that hangs in loading does not keep the process alive for ever."""
    with running(ECHO_LOAD_SECONDS="1000", MODEL_SERVER_LOAD_TIMEOUT="0.5") as server:
        assert server.ended() == 1
        assert "load_timeout" in server.logged("failed")["reason"]


def test_sigterm_while_loading_ends_at_once() -> None:
    """A pod that is deleted before it was ready does not wait for its model."""
    with running(ECHO_LOAD_SECONDS="1000", MODEL_SERVER_DRAIN_SECONDS="60") as server:
        server.until("/readiness", 503)
        server.terminate()
        assert server.ended() == 0


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MODEL_SERVER_BATCH_BUCKETS", "4,2", "ascending order"),
        ("MODEL_SERVER_PORT", "x", "MODEL_SERVER_PORT"),
        ("MODEL_SERVER_BACKEND", "tpu", "installed: "),
        ("MODEL_SERVER_TASK", "sing", "installed: "),
    ],
)
def test_a_wrong_setting_names_the_variable(variable: str, value: str, says: str) -> None:
    """Nothing starts with a setting that is wrong; the message says which and what is allowed."""
    with running(**{variable: value}) as server:
        assert server.ended() in {1, 2}
        text = "".join(server.text)
        assert says in text
        assert "Traceback" not in text


def test_a_port_in_use_is_reported() -> None:
    """Two servers on one port: the second says so and ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken, running(MODEL_SERVER_PORT=str(taken.getsockname()[1])) as server:
        assert server.ended() == 1
        assert "Address already in use" in "".join(server.text)


@pytest.mark.parametrize("dual", [True, False], ids=["with IPv6", "without IPv6"])
def test_every_address_is_of_both_families(dual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pods of an IPv6 cluster have no IPv4 address, and the kubelet's probes come to the pod's own."""
    if dual and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: dual)
    with listen("::", 0) as listener:
        for address in ("127.0.0.1", "::1") if dual else ("127.0.0.1",):
            with socket.create_connection((address, listener.getsockname()[1])):
                pass


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Connections are without Nagle's algorithm: with it headers and body of an answer are 40 ms apart."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
