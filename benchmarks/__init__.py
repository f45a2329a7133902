"""Benchmarks. Each is a module with a `main` and a target in the Makefile; docs/benchmarks.md says what they measure."""
