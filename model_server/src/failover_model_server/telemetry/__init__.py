"""What operators see: logs, Prometheus, CloudWatch."""
