"""A drill's plan, and a page that answers its requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from failover_setup.drill.plan import Limits, Plan

KEY = "default/sd21"
ROLE = "arn:aws:iam::123456789012:role/karpenter"
ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")


def plan(**changes: Any) -> Plan:
    """A drill of five minutes in every zone."""
    limits = Limits(failover_s=300, return_s=2400, failed=0.01, latency_s=60)
    given: dict[str, Any] = {
        "application": KEY,
        "karpenter_role": ROLE,
        "fis_role": "arn:aws:iam::123456789012:role/fis",
        "zones": ZONES,
        "percentage": 100,
        "duration_s": 300,
        "stop_alarms": (),
        "rate": 1,
        "limits": limits,
    }
    return Plan(**given | changes)


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500 if self.path == "/fails" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def page() -> Iterator[str]:
    """The URL of a page on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
