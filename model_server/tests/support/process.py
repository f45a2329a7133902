"""The server as a process of its own, as a container runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

PATIENCE = 30.0
"""Seconds after which something that should have happened has not."""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {PATIENCE:g} s"
        time.sleep(0.02)


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class ServerProcess:
    """A running server, or the adapter, as `command` says. Its output is read into `logs`."""

    def __init__(self, command: str, environment: dict[str, str]) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL_SERVER_", "ECHO_"))}
        ours = {
            "MODEL_SERVER_BACKEND": "echo",
            "MODEL_SERVER_HOST": "127.0.0.1",
            "MODEL_SERVER_PORT": "0",
            "MODEL_SERVER_GRPC_PORT": "0",
            "MODEL_SERVER_DRAIN_SECONDS": "0.2",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "failover_model_server", command],
            env={**clean, **ours, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.logs: list[dict[str, Any]] = []
        self.text: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.text.append(line)
            if re.match(r"\{.*\}$", line):
                self.logs.append(json.loads(line))

    def logged(self, event: str) -> dict[str, Any]:
        """The first line of the log with this event; waited for."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [line for line in list(self.logs) if line["event"] == event]
            if found:
                return found[0]
            if self._process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.01)
        raise AssertionError(f"no {event!r} in:\n{''.join(self.text)}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.logged('listening')['http']}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.logged('listening')['grpc']}"

    def until(self, path: str, status: int, patience: float = PATIENCE) -> httpx.Response:
        """Ask until the status comes. On a busy machine a server that loads may not answer for seconds."""
        deadline = time.monotonic() + patience
        answer = None
        while time.monotonic() < deadline:
            with suppress(httpx.TimeoutException):
                answer = httpx.get(self.url + path)
                if answer.status_code == status:
                    return answer
            time.sleep(0.02)
        raise AssertionError(f"{path} answered {answer}, not {status}; the log:\n{''.join(self.text)}")

    def outcome(self, name: str) -> float:
        """Requests with this outcome, as `/metrics` counts them."""
        line = f'model_server_requests_total{{outcome="{name}"}} '
        text = httpx.get(f"{self.url}/metrics", trust_env=False).text
        return next((float(found.removeprefix(line)) for found in text.splitlines() if found.startswith(line)), 0.0)

    def terminate(self) -> None:
        """SIGTERM, as the kubelet sends it."""
        self._process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """The exit code; waited for."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running(command: str = "serve", /, **environment: str) -> Iterator[ServerProcess]:
    """A server with these variables, or the adapter; gone at the end."""
    server = ServerProcess(command, environment)
    try:
        yield server
    finally:
        server.kill()
