"""The gRPC door: grpc.health.v1, TorchServe's Ping, the Open Inference Protocol, reflection."""
