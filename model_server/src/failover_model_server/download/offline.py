"""The serving process asks nobody for models: what is not here is an error at once, not a download in the middle of a request."""

import os
import sys

VARIABLES = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def go_offline() -> None:
    """From here on the libraries of this process, and of those it starts, fetch nothing."""
    os.environ.update(VARIABLES)
    if "huggingface_hub" in sys.modules:
        import huggingface_hub
        from huggingface_hub import constants

        # Read from the environment when the module was imported; the client looks at it on every request, or when it makes a session.
        constants.HF_HUB_OFFLINE = True
        reset = getattr(huggingface_hub, "close_session", None) or getattr(huggingface_hub.utils, "reset_sessions", None)
        if reset is not None:
            reset()
