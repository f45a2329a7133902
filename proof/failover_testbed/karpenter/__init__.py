"""A fake Karpenter on the emulated Kubernetes API."""
