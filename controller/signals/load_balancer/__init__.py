"""Verifies that the load balancer shows the routing action."""
