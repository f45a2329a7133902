"""The soak goes on where the controller does not answer in time: two hours of samples are not lost to one scrape."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import soak

_METRICS = b'# TYPE failoverctl_kept_objects gauge\nfailoverctl_kept_objects{kind="pods"} 7\n'


@pytest.fixture
def site() -> Iterator[str]:
    """A controller that hangs at the first scrape."""
    hung, over = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics" and not hung.is_set():
                hung.set()
                over.wait()
                return  # the client has gone
            self.send_response(200)
            self.end_headers()
            self.wfile.write(_METRICS if self.path == "/metrics" else b"ok")

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()
            serving.join()


def test_a_scrape_without_an_answer_is_noted(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_SAMPLE_S", 0.05), ("_SCRAPE_S", 0.1), ("_SCRAPE_ANSWER_S", 0.3), ("_ANSWER_S", 30.0), ("_FIRST_PROBE_S", 0.0)):
        monkeypatch.setattr(soak, name, value)
    session = SimpleNamespace(request=lambda *_: {"items": []})
    plane, controller = SimpleNamespace(patient_session=lambda: session), SimpleNamespace(pid=os.getpid(), check=lambda: None)
    seen = soak._observed(plane, controller, site, 3.0, (), print)  # type: ignore[arg-type]
    assert len(seen.without_answer) == 1
    assert "timed out" in seen.without_answer[0]
    assert seen.scrapes[0].kept == {"pods": 7.0}
    assert not seen.unhealthy
