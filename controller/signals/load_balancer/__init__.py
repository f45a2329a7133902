"""What the load balancer shows of the routing action."""
