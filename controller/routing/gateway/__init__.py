"""A route of the Gateway API as the routing object: the backends of one rule of an HTTPRoute or a GRPCRoute.

What the load-balancer controller makes of them is read in its source at v3.5.0 (`pkg/gateway/routeutils`, `pkg/gateway/model`).
"""
