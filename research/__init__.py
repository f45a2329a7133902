"""How far the policies are from somebody who knows the future: `make bench-policy`. See docs/policy-evaluation.md."""
