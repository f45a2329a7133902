"""Warming: every shape at every batch bucket, on every worker, through the path of a real request."""

import asyncio
from collections.abc import Callable
from typing import Any

from failover_model_server.errors import LoadError, RequestError
from failover_model_server.serving.batcher import Batcher
from failover_model_server.tasks.base import Task

Progress = Callable[[str], None]
"""Called with the name of the run in progress."""


async def warm(task: Task[Any, Any], batcher: Batcher, progress: Progress) -> int:
    """Run each synthetic request at each bucket and let the task check the responses. Returns the number of batches run.

    Raises:
        LoadError: a batch failed, or the task found a response wrong.
    """
    requests = list(task.warm_requests())
    if not requests:
        raise LoadError(f"task {task.name}: it has no synthetic request; nothing would prove that the model works")
    plan = [(worker, request, size) for worker in batcher.workers for request in requests for size in batcher.shape.buckets]
    for done, (worker, request, size) in enumerate(plan):
        progress(f"batch {done + 1} of {len(plan)}: {size} on worker {worker.number}")
        try:
            items = [await asyncio.to_thread(task.prepare, request) for _ in range(size)]
            outputs = await batcher.run(worker, items)
            responses = [await asyncio.to_thread(task.finish, request, item, output) for item, output in zip(items, outputs, strict=True)]
        except RequestError as error:
            raise LoadError(f"the synthetic request was refused: {error}") from error
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(f"warming failed at a batch of {size}: {type(error).__name__}; the log has the cause") from error
        for response in responses:
            task.check(response)
    for worker in batcher.workers:
        await worker.warmed()
    return len(plan)
