"""Replicas that contend for one Lease, simulated and on a real API server."""
