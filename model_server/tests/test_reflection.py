"""gRPC reflection: a client that has no file of the services finds and calls them."""

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.process import running

pytestmark = pytest.mark.slow


def call(channel: grpc.Channel, pool: descriptor_pool.DescriptorPool, service: str, method: str, /, **fields: Any) -> Any:
    """A call with nothing but what the server says of itself."""
    described = pool.FindServiceByName(service).methods_by_name[method]
    request = message_factory.GetMessageClass(described.input_type)
    response = message_factory.GetMessageClass(described.output_type)
    made = channel.unary_unary(
        f"/{service}/{method}", request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    return made(request(**fields), timeout=5)


def test_a_client_that_knows_nothing_finds_every_service_and_calls_it() -> None:
    """With the parameters' map and their choice of types, which are the hardest to describe."""
    with running(APP="text") as server, grpc.insecure_channel(server.grpc) as channel:
        server.until("/readiness", 200)
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "inference.GRPCInferenceService",
        }
        pool = descriptor_pool.DescriptorPool(database)
        assert call(channel, pool, "grpc.health.v1.Health", "Check", service="readiness").status == 1
        for method in ("ServerLive", "ServerReady", "ServerMetadata"):
            call(channel, pool, "inference.GRPCInferenceService", method)
        assert call(channel, pool, "inference.GRPCInferenceService", "ModelReady", name="text").ready
        assert call(channel, pool, "inference.GRPCInferenceService", "ModelMetadata", name="text").inputs[0].name == "prompt"
        given = {"name": "prompt", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}
        answer = call(channel, pool, "inference.GRPCInferenceService", "ModelInfer", model_name="text", inputs=[given])
        assert list(answer.outputs[0].contents.bytes_contents) == [b"a"]
        with pytest.raises(grpc.RpcError) as refused:
            call(
                channel,
                pool,
                "inference.GRPCInferenceService",
                "ModelInfer",
                model_name="text",
                inputs=[given],
                parameters={"steps": {"int64_param": 3}},
            )
        assert "steps" in refused.value.details()


def test_what_is_not_there_is_said_so_and_the_stream_goes_on() -> None:
    with running() as server, grpc.insecure_channel(server.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        with pytest.raises(KeyError):
            database.FindFileContainingSymbol("no.such.Service")
        assert database.FindFileContainingSymbol("inference.ModelInferRequest").package == "inference"
