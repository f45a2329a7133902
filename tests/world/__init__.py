"""Tests with the real Karpenter, KEDA and load-balancer controller on the real control plane; only AWS and the machines are fakes."""
