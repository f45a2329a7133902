"""Sets up what the controller works on: the application file, the stack and the cluster. People run it; the controller never imports it.

The layers, from the top (an import contract in ``pyproject.toml`` enforces the direction):
``cli -> schema -> adoption | doctor | rendering | breaking_point -> application | tables -> stack``, and below them the controller.
"""
