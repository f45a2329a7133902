"""A fake AWS Load Balancer Controller."""
