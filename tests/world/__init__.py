"""Tests with the real Karpenter, KEDA and load-balancer controller on the real control plane: not real are AWS and the machines."""
