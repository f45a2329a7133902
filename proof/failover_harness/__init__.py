"""Real servers on loopback for tests and benchmarks: a Kubernetes control plane, Envoy, model servers. Not shipped."""
