"""Notifications: Slack, CloudWatch and Kubernetes Events, each isolated from the others and from the tick."""
