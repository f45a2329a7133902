"""The serving process asks nobody for models: what is not here is an error at once, not a download in the middle of a request."""

import os
import sys

VARIABLES = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def go_offline() -> None:
    """From here on the libraries of this process, and of those it starts, fetch nothing."""
    os.environ.update(VARIABLES)
    if "huggingface_hub" in sys.modules:
        tell_hub_client(offline=True)


def tell_hub_client(*, offline: bool) -> None:
    """Set the mode in the hub's client. It reads the variables only at import, but this constant at every request or new session."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = offline
    try:
        from huggingface_hub.utils import close_session as forget_sessions
    except ImportError:  # before 1.0
        from huggingface_hub.utils import reset_sessions as forget_sessions
    forget_sessions()
