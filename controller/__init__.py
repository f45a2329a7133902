"""Failover controller for mixed-accelerator inference on EKS.

The layers, from the top (an import contract in ``pyproject.toml`` enforces the direction):
``cli, embedded -> web -> service -> signals | actuators | notifiers -> clients | catalog -> settings -> ports -> policy``.
"""

__version__ = "0.1.0"
