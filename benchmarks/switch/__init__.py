"""Benchmark of mode changes under load."""
