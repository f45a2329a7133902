"""`download.fetch` ends by forbidding the process to fetch: on purpose in a server, and undone here for the next test."""

import os

from failover_model_server.download import offline


def online() -> None:
    """Let this process fetch again."""
    for name in offline.VARIABLES:
        os.environ.pop(name, None)
    offline.tell_hub_client(offline=False)
