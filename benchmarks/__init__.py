"""Measures what the controller costs and how fast it reacts. docs/laboratory/benchmarks.md has the results.

Each module with a `main` has a target in the Makefile.
"""
