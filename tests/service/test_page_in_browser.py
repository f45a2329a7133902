"""The page in a headless Chromium: it is styled under its own content security policy, and nothing is refused or asked for elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry

from controller.service.http import Answer, HttpServer, make_routes
from controller.service.page import HEADERS, page
from tests.service.test_page import PROCESS, _shown, _view
from tests.support.applications import snapshot

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def url() -> Iterator[str]:
    """The page as the controller serves it."""
    html = page([_view(_shown(snapshot()))], PROCESS).encode()
    made = HttpServer(
        make_routes(
            CollectorRegistry(),
            healthy=str,
            ready=str,
            status=dict,
            page=lambda _: Answer(html, "text/html; charset=utf-8", headers=HEADERS),
        ),
        "127.0.0.1",
        0,
    )
    made.start()
    yield f"http://127.0.0.1:{made.port}/"
    made.stop()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")
@pytest.mark.parametrize("width", [400, 1600])
def test_it_is_drawn_with_its_style_and_nothing_is_refused(url: str, width: int, tmp_path: Path) -> None:
    """An unstyled page has a white background only; the banner's green is the style's."""
    assert CHROMIUM is not None
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={width},1200"]
    words += [f"--user-data-dir={tmp_path}/profile", f"--screenshot={tmp_path}/page.png", url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    assert (tmp_path / "page.png").stat().st_size > 10_000, done.stderr
    assert "Refused" not in done.stderr
    assert "violates the following Content Security Policy" not in done.stderr
