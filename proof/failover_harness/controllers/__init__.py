"""The real Karpenter, KEDA and AWS Load Balancer Controller as processes, and what they need of AWS that moto lacks."""
