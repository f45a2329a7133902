"""Compares the policies with the optimum that knows the future: `make bench-policy`. See docs/laboratory/policy-evaluation.md."""
