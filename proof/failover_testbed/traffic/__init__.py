"""Demand, its requests and metrics, and autoscaling."""
