"""The routing port: how the object that routes an application's requests is read, written and named.

The policy knows targets, weights, stickiness, standby and the mode as values. Only the adapters here know the text: annotations, field
paths, and the rules that the load-balancer controller makes of them. `controller.routing.kinds.routing_port` finds an application's
adapter.
"""
