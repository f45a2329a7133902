"""A real data plane behind the emulated AWS: Envoy for the load balancers, HTTP servers for the pods, and load."""
