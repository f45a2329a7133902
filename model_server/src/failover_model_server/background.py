"""Tasks that run for as long as the process does: one that ends by an exception is logged at once and ends the process."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()

Lost = Callable[[str], None]
"""Gets the reason, for people and without internals, when a task that must not end has ended; must not raise or block."""


def begin(work: Callable[[], Coroutine[Any, Any, None]], name: str, lost: Lost) -> asyncio.Task[None]:
    """Run `work()` in a task of this name.

    asyncio keeps the exception of a task until somebody awaits it, which for these is at the exit of the process: until then the
    probes of a server without them succeed.

    Args:
        work: runs until it is cancelled, or has nothing left to do.
        name: of the task, in the log and the reason.
        lost: called once where the work raises; it ends the process with an exit code that is not 0.
    """

    async def watched() -> None:
        try:
            await work()
        except Exception as error:
            log.exception("background_task_failed", task=name)
            lost(f"the background task {name} ended by {type(error).__name__}; the log has the cause")

    return asyncio.create_task(watched(), name=name)
