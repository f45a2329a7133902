"""Tests with the real Karpenter and the real load-balancer controller on the real control plane: not real are AWS and the machines."""
