"""Sets up what the controller works on: the application file, the stack and the cluster. People run it; the controller never imports it.

docs/architecture.md lists its layers.
"""
