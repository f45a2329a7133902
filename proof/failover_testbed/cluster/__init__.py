"""The emulated cluster: its shared state, its objects, and fakes of Kubernetes' built-in controllers."""
