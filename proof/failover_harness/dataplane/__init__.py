"""A real data plane behind the emulated AWS: Envoy for the load balancers, HTTP servers for the pods, and load.

`elb` reads what ELBv2 is told, `config` makes Envoy's configuration of it (pure), `envoy` runs Envoy, `plane` keeps the one like the other
and says how the targets are; `pods` serves, `load` sends, `cluster` puts all of it behind the embedded Kubernetes API and load-balancer
controller.
"""
