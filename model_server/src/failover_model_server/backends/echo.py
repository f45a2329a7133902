"""A backend without an accelerator, for tests: gives each payload back, after a wait, and fails or hangs where a test asks for it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from failover_model_server.backends.base import Backend, Loaded
from failover_model_server.errors import LoadError
from failover_model_server.run import Run
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Item, Task

FAIL = "please fail"
"""A batch that holds this payload raises."""
DIE = "please die"
"""A batch that holds this payload ends the process."""
WHICH = "which"
"""A payload that begins with this gives the value of ECHO_CORE, to tell processes apart."""
WARM = "warm"
"""The synthetic request's payload: takes no time in a batch of steps, or no test could have long ones."""
HANG = "please hang"
"""A batch that holds this payload never ends."""


class EchoBackend(Backend):
    """Gives the payloads back.

    ECHO_LOAD_SECONDS, ECHO_BATCH_SECONDS and ECHO_ITEM_SECONDS are the times that loading, a batch, and each item of it take; a batch
    reports ECHO_STEPS steps within its time. ECHO_LOAD_ERROR is the reason for which loading fails.
    """

    name = "echo"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.batch_seconds = float(os.environ.get("ECHO_BATCH_SECONDS", "0"))
        self.item_seconds = float(os.environ.get("ECHO_ITEM_SECONDS", "0"))
        self.steps = int(os.environ.get("ECHO_STEPS", "0"))

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Wait, as a real one would."""
        time.sleep(float(os.environ.get("ECHO_LOAD_SECONDS", "0")))
        if reason := os.environ.get("ECHO_LOAD_ERROR"):
            raise LoadError(reason)
        return Loaded(device="none")

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """Take the time of a batch, then give the payloads back."""
        payloads = [item.payload for item in items]
        if DIE in payloads:
            os._exit(9)
        if HANG in payloads:
            time.sleep(1e9)
        seconds = self.batch_seconds + self.item_seconds * len(items)
        for _ in range(0 if WARM in payloads else self.steps):
            time.sleep(seconds / self.steps)
            run.step()
        if not self.steps:
            time.sleep(seconds)
        if FAIL in payloads:
            raise RuntimeError(f"a payload of /secret/path asked to fail: {payloads}")
        return [_answer(str(payload)) for payload in payloads]


def _answer(payload: str) -> str:
    return os.environ.get("ECHO_CORE", "") if payload.startswith(WHICH) else payload
