"""`python -m failover_model_server`: the same as the `failover-model-server` command."""

from failover_model_server.cli import main

main()
