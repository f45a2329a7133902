"""Benchmarks. Each is a module with a `main` and a target in the Makefile; what they measure is in docs/benchmarks.md."""
