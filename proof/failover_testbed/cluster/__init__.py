"""The emulated cluster: its shared state, its objects, and fakes of Kubernetes' own controllers."""
