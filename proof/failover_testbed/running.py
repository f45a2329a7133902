"""Runs the production controller in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from controller.errors import FailoverError
from controller.service.wiring import Service

_STOP_S: Final = 30.0


@contextmanager
def running(service: Service) -> Iterator[threading.Thread]:
    """Runs a controller while the block runs, then ends it.

    Raises:
        FailoverError: The controller failed, or did not stop.
    """
    failures: list[BaseException] = []

    def body() -> None:
        try:
            service.run()
        except BaseException as error:  # noqa: BLE001 - raised where the block ends
            failures.append(error)

    thread = threading.Thread(target=body, name="controller")
    thread.start()
    try:
        yield thread
    finally:
        service.stop()
        thread.join(_STOP_S)
        if thread.is_alive():
            raise FailoverError(f"the controller did not stop within {_STOP_S:g} s")
        if failures:
            (failure,) = failures
            raise failure if isinstance(failure, FailoverError) else FailoverError(f"the controller failed: {failure!r}") from failure
