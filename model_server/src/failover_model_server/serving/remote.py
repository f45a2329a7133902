"""A backend in a process of its own: for devices that are chosen by environment variables, once for each process (Neuron cores)."""

import os
import signal
import traceback
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from failover_model_server import registry
from failover_model_server.backends.base import Backend, Context, Loaded
from failover_model_server.errors import LoadError
from failover_model_server.run import Abandoned, Run
from failover_model_server.serving.worker import WorkerLost
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Item, Task

NOTICE_SECONDS = 0.05
"""Between two checks for callers that have gone, while a batch runs."""
CLOSE_SECONDS = 5.0
"""How long the process may take to end on request; then it is killed."""


class RemoteBackend(Backend):
    """Looks like a backend to its worker; the real one lives in a child process and is called through a pipe."""

    name = "remote"

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings)
        spawn = get_context("spawn")  # a fork would copy the threads' locks and an initialised runtime
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(theirs, settings, dict(context.environment)), daemon=True)
        self._process.start()
        theirs.close()

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:  # noqa: ARG002 - the child makes its own task: tokenizers do not pickle
        """Load in the child; the child loads the task from the same directory for itself."""
        loaded = self._call("load", model)
        assert isinstance(loaded, Loaded)  # noqa: S101 - the other end is this file
        return loaded

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """Run a batch in the child, which hears of each caller that goes, and reports its steps."""
        outputs = self._call("run", list(items), list(run.over), run.work, run=run)
        assert isinstance(outputs, list)  # noqa: S101 - the other end is this file
        return outputs

    def warmed(self) -> None:
        """Tell the child."""
        self._call("warmed")

    def close(self) -> None:
        """End the child."""
        self._pipe.close()
        self._process.join(CLOSE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(CLOSE_SECONDS)

    def _call(self, method: str, *args: object, run: Run | None = None) -> object:
        try:
            self._pipe.send((method, args))
            outcome, value = self._result(run)
        except (EOFError, OSError) as error:
            self._process.join(CLOSE_SECONDS)
            raise WorkerLost(f"the worker's process ended with exit code {self._process.exitcode}") from error
        if outcome == "result":
            return value
        if outcome == "abandoned":
            raise Abandoned
        raise LoadError(value) if outcome == "load_error" else RuntimeError(value)

    def _result(self, run: Run | None) -> tuple[str, Any]:
        """The last message of a call; those before it are steps of `run`."""
        known = list(run.over) if run else []
        while True:
            for place, gone in enumerate(run.over if run else ()):
                if gone and not known[place]:
                    known[place] = True
                    self._pipe.send(("leave", (place,)))
            if run and not self._pipe.poll(NOTICE_SECONDS):
                continue
            kind, value = self._pipe.recv()
            if run and kind == "step":
                run.steps += 1
                run.moved()
            else:
                return kind, value


class ChildRun(Run):
    """A batch's run in the child: what it reports goes to the parent, which says who has gone."""

    def __init__(self, pipe: Connection, over: Sequence[bool], work: float) -> None:
        super().__init__(len(over), len(over), work)
        for place, ended in enumerate(over):
            if ended:
                self.leave(place)
        self._pipe = pipe

    def step(self) -> None:
        """Report the step, and hear who has gone."""
        self._pipe.send(("step", None))
        while self._pipe.poll():
            _, (place,) = self._pipe.recv()  # nothing else comes while a batch runs
            self.leave(place)
        super().step()


def serve(pipe: Connection, settings: Settings, environment: dict[str, str]) -> None:
    """Answer calls until the pipe closes. Runs in the child, on its main thread."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the parent drains; it closes the pipe when the last batch has ended
        signal.signal(ignored, signal.SIG_IGN)
    os.environ.update(environment)
    backend: Backend | None = None
    while True:
        try:
            method, args = pipe.recv()
        except EOFError:
            break
        if method == "leave":  # of a batch that has ended meanwhile
            continue
        try:
            if backend is None:
                backend = registry.backend(settings.backend)(settings)
            answer: tuple[str, object] = ("result", _answer(backend, settings, pipe, method, args))
        except Abandoned:
            answer = ("abandoned", None)
        except LoadError as error:
            answer = ("load_error", str(error))
        except Exception:  # noqa: BLE001 - goes to the parent, whatever it is
            answer = ("error", traceback.format_exc())
        pipe.send(answer)
    if backend is not None:
        backend.close()


def _answer(backend: Backend, settings: Settings, pipe: Connection, method: str, args: tuple[Any, ...]) -> object:
    if method == "load":
        task = registry.task(settings.task)(settings)
        task.load(args[0])
        return backend.load(args[0], task)
    if method == "run":
        items, over, work = args
        return list(backend.run(items, ChildRun(pipe, over, work)))
    backend.warmed()
    return None
