"""The page at /serve, in a browser."""

import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.process import ServerProcess, running

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with the page."""
    pytest.importorskip("gradio", reason="the extra `ui` is not installed")
    with running(MODEL_SERVER_UI="true", APP="demo", MODEL_SERVER_MAX_INPUT_TOKENS="8") as running_server:
        running_server.until("/readiness", 200)
        yield running_server


@pytest.fixture
def page(server: ServerProcess) -> Iterator[Any]:
    """The page, opened in Chromium; what the browser's console complained of is an error."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(f"{server.url}/serve")
        yield opened
        browser.close()


def test_the_page_asks_the_same_queue(server: ServerProcess, page: Any) -> None:
    """What a person types is answered on the page, and counted like every other request."""
    before = server.outcome("ok")
    page.get_by_label("prompt").fill("hello")
    page.get_by_role("button", name="Run").click()
    page.wait_for_function("document.querySelectorAll('textarea')[1].value === 'hello'")
    assert server.outcome("ok") == before + 1


def test_a_refusal_is_shown_in_words(server: ServerProcess, page: Any) -> None:
    """The page reports an exceeded limit as to every other client."""
    page.get_by_label("prompt").fill("x" * 100)
    page.get_by_role("button", name="Run").click()
    page.get_by_text("prompt: 100 characters; at most 32").wait_for()


def test_without_the_setting_there_is_no_page() -> None:
    """The page is off unless it is enabled."""
    with running() as plain:
        plain.until("/readiness", 200)
        assert httpx.get(f"{plain.url}/serve").status_code == 404
