"""A real data plane behind the emulated AWS: Envoy for the load balancers, HTTP servers for the pods, and load.

`elb` reads the state of ELBv2, `config` makes Envoy's configuration from it (pure), `envoy` runs Envoy, and `plane` keeps Envoy equal to
ELBv2 and reports the targets' health. `pods` serves requests, `load` sends them, and `cluster` joins all of it with the emulated Kubernetes
API and the fake load-balancer controller.
"""
