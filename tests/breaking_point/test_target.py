"""The request, and its parts that must not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import ConfigError
from controller.notifiers.redact import redact
from failover_setup.breaking_point.target import make_target

SECRET = "Bearer s3cr3t-token-value"


def test_url_method_headers_and_body_are_read(tmp_path: Path) -> None:
    """Without a method, a body means POST."""
    body = tmp_path / "body.json"
    body.write_bytes(b'{"prompt": "a cat"}')
    target = make_target("http://127.0.0.1:8000/genimage", "", ["Content-Type: application/json"], body)
    assert (target.method, target.headers, target.body) == ("POST", {"Content-Type": "application/json"}, b'{"prompt": "a cat"}')
    assert make_target("http://h/", "", [], None).method == "GET"
    assert make_target("http://h/", "put", [], None).method == "PUT"


def test_headers_can_come_from_a_file(tmp_path: Path) -> None:
    """So that no list of processes shows them; empty lines and comments are skipped."""
    file = tmp_path / "headers"
    file.write_text(f"# of the test\nAuthorization: {SECRET}\n\nX-Try:1\n")
    assert make_target("http://h/", "", [f"@{file}"], None).headers == {"Authorization": SECRET, "X-Try": "1"}


def test_parts_that_may_be_secret_are_not_shown() -> None:
    """Neither user information nor query nor headers, in no form."""
    target = make_target("https://user:password1@host:8443/a/b?key=abcdefgh", "", [f"Authorization: {SECRET}"], None)
    assert target.shown == "GET https://host:8443/a/b?…"
    for text in (repr(target), target.shown, redact(f"cannot reach {target.url} with {SECRET}, key=abcdefgh")):
        assert "abcdefgh" not in text
        assert "password1" not in text
        assert "s3cr3t" not in text


@pytest.mark.parametrize(
    ("url", "method", "header", "option"),
    [
        pytest.param("ftp://h/", "", "A: b", "--url", id="scheme"),
        pytest.param("http:///path", "", "A: b", "--url", id="no host"),
        pytest.param("http://h:99999/", "", "A: b", "--url", id="port"),
        pytest.param("http://h/a b", "", "A: b", "--url", id="space"),
        pytest.param("http://[::1/", "", "A: b", "--url", id="bracket"),
        pytest.param("http://h/", "P OST", "A: b", "--method", id="method"),
        pytest.param("http://h/", "", "top-secret-value", "--header", id="no colon"),
        pytest.param("http://h/", "", "A b: top-secret-value", "--header", id="name"),
        pytest.param("http://h/", "", "A: top-secret-value\r\nB: c", "--header", id="two headers"),
        pytest.param("http://h/", "", "@/no/such/file", "--header", id="no file"),
    ],
)
def test_an_invalid_value_is_refused_by_its_option_and_not_repeated(url: str, method: str, header: str, option: str) -> None:
    """The value may be a secret."""
    with pytest.raises(ConfigError, match=f"^{option}: ") as error:
        make_target(url, method, [header], None)
    assert "top-secret" not in str(error.value)


def test_a_body_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Before anything is loaded."""
    with pytest.raises(ConfigError, match=r"^--body: .*cannot be read: No such file"):
        make_target("http://h/", "", [], tmp_path / "none")
