"""Runs the real Karpenter, KEDA and AWS Load Balancer Controller as processes, with the parts of AWS that moto lacks."""
