"""One suite, two servers: what the project relies on holds on the emulated API and on a real kube-apiserver alike.

Every test takes the fixture ``server`` (mostly through ``client``) and so runs twice, once as ``[emulated]`` and once as ``[real]``; the
latter is marked ``cluster``. Its docstring is its row in docs/contract.md.
"""
