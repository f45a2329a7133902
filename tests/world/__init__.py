"""Tests with the real Karpenter on the real control plane: what is not real is AWS and the machines (`make test-world`)."""
