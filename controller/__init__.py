"""The failover controller for mixed-accelerator inference on EKS: what runs in a cluster, and the operator's commands.

docs/architecture.md lists its layers.
"""

__version__ = "0.1.0"
