"""Server reflection, so that grpcurl and its kind know services and messages without a file of them."""

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from failover_model_server.rpc.messages import OPEN_INFERENCE_SERVICE, POOL

HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
SERVICES = (OPEN_INFERENCE_SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)


def reflect(server: grpc.aio.Server) -> None:
    """Let a server describe its services. It describes protocols that are public, and nothing of the model."""
    for known in (health_pb2, reflection_pb2):
        POOL.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    reflection.enable_server_reflection(SERVICES, server, POOL)
