"""The components that every application relies on: Karpenter, KEDA, the load-balancer controller, device plugins, Container Insights."""
