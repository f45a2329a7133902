"""One suite for two servers: what the project relies on holds for the emulated API and a real kube-apiserver.

Every test takes the fixture ``server`` (mostly through ``client``) and so runs twice, once as ``[emulated]`` and once as ``[real]``; the
latter is marked ``cluster``. Its docstring is its row in docs/laboratory/contract.md.
"""
