"""The gRPC door: grpc.health.v1, the Open Inference Protocol, reflection."""
