"""A fake of the Hugging Face hub's server: what its client asks of it, LFS on another host, ranges, and faults on request."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS = (".safetensors", ".bin", ".ckpt", ".neuron", ".pt")


@dataclass
class Hub:
    """One repository at one commit, and what is to go wrong."""

    repository: str
    files: Mapping[str, bytes]
    url: str = ""
    content_url: str = ""
    """Where LFS files are: another host, which must not see the token."""
    cut: dict[str, int] = field(default_factory=dict)
    """Path to the bytes after which the connection breaks, once."""
    broken: dict[str, int] = field(default_factory=dict)
    """Path (or `api`) to how many more times it is answered with 503."""
    corrupt: dict[str, int] = field(default_factory=dict)
    """Path to how many more times its content arrives changed, at its full length."""
    hold: threading.Event | None = None
    """The second half of every LFS file waits for it."""
    gated: bool = False
    leaks: list[str] = field(default_factory=list)
    """Paths of the other host that were requested with the token."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, Range."""

    def gets(self, path: str) -> list[str]:
        """The ranges that were asked of a file's content; empty text: all of it."""
        return [ranged for method, asked, ranged in self.requests if method == "GET" and asked.endswith(f"/{path}")]

    def info(self) -> dict[str, Any]:
        """What the API says about the repository."""
        siblings = []
        for path, content in self.files.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            sibling: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git}
            if path.endswith(LFS):
                sibling["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        return {"id": self.repository, "modelId": self.repository, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}

    def etag(self, path: str) -> str:
        """As the hub makes it."""
        content = self.files[path]
        if path.endswith(LFS):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/cdn/") and "Authorization" in self.headers:
            self.hub.leaks.append(path)
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        if path.startswith(f"/api/models/{self.hub.repository}"):
            self._api(path.removeprefix(f"/api/models/{self.hub.repository}").removeprefix("/revision/"))
        elif path.startswith(f"/{self.hub.repository}/resolve/{COMMIT}/"):
            self._resolve(path.removeprefix(f"/{self.hub.repository}/resolve/{COMMIT}/"), body=body)
        elif path.startswith("/cdn/"):
            self._content(path.removeprefix("/cdn/"), {}, body=body)
        else:
            self._error(404, "RepoNotFound")

    def _api(self, revision: str) -> None:
        if self._broken("api"):
            return
        if self.hub.gated:
            self._error(403, "GatedRepo")
        elif revision in {"", "main", COMMIT}:
            self._send(200, json.dumps(self.hub.info()).encode(), {"Content-Type": "application/json"})
        else:
            self._error(404, "RevisionNotFound")

    def _resolve(self, path: str, *, body: bool) -> None:
        if self._broken(path):
            return
        if path not in self.hub.files:
            self._error(404, "EntryNotFound")
            return
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{self.hub.etag(path)}"'}
        if path.endswith(LFS):
            headers |= {
                "X-Linked-Etag": headers["ETag"],
                "X-Linked-Size": str(len(self.hub.files[path])),
                "Location": f"{self.hub.content_url}/cdn/{path}",
            }
            self._send(302, b"", headers)
        else:
            self._content(path, headers, body=body)

    def _content(self, path: str, headers: dict[str, str], *, body: bool) -> None:
        content = self.hub.files[path]
        if self.hub.corrupt.get(path, 0) > 0 and body:
            self.hub.corrupt[path] -= 1
            content = bytes(255 - byte for byte in content)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = headers | {"Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.hub.cut.pop(path, None) if body else None
        self._send(206 if start else 200, content[start:], headers, body=body, cut=cut)

    def _broken(self, path: str) -> bool:
        if self.hub.broken.get(path, 0) <= 0:
            return False
        self.hub.broken[path] -= 1
        self._send(503, b"busy", {})
        return True

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body and self.command != "HEAD":
            content = content if cut is None else content[:cut]
            self.wfile.write(content[: len(content) // 2])
            if self.hub.hold is not None and self.path.startswith("/cdn/"):
                self.hub.hold.wait(60)
            self.wfile.write(content[len(content) // 2 :])
            if cut is not None:
                self.close_connection = True


@contextmanager
def serve(repository: str, files: Mapping[str, bytes]) -> Iterator[Hub]:
    """Serve a repository on a free port of this machine."""
    hub = Hub(repository, files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.content_url = hub.url.replace("127.0.0.1", "localhost")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
